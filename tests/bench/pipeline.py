#!/usr/bin/python3
"""make bench-pipeline: what the orchestrator costs, in one run. See docs/performance.md.

drain   a prepared stream into two destinations, beside XREADGROUP+XACK alone and two Node workers
steady  a paced sender through the edge for --seconds: in, out, backlog from second to second
slow    the same drain while every fsync takes 2 ms longer
grown   the same drain on a journal of --grown events, against one of --base
"""
import argparse
import hashlib
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.harness import sign, stack  # noqa: E402
from tests.harness.firm import Firm  # noqa: E402

HERE = Path(__file__).resolve().parent
HZ = os.sysconf("SC_CLK_TCK")
GROUP = "orchestrator"
SINK = """
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port};
        location /status {{ stub_status; }}
        location / {{ default_type application/json; return 201 '{{"id":"sink"}}'; }}
    }}
}}
"""
RESULTS = []
GOALS = []  # (what, got, wanted, reached)


def goal(what, got, at_least=None, at_most=None):
    """Each figure the product must reach; --require makes one that is missed an error."""
    reached = got >= at_least if at_least is not None else got <= at_most
    wanted = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    GOALS.append((what, f"{got:.4g}", wanted, "yes" if reached else "NO"))


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / HZ


def peak_mb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def shard_of(tenant, count=16):
    h = 0xcbf29ce484222325
    for byte in tenant.encode():
        h = (h ^ byte) * 0x100000001b3 % (1 << 64)
    return h % count


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    """A firm whose postings go to a local HTTP sink that answers at once, or to files."""

    def __init__(self, args, env=None):
        self.firm = Firm("bench", asan=False, workers=1, edit_nginx=lambda c: c.replace(
            "rate 500r/s burst=1000", "rate 1000000r/s burst=999999"))
        self.args, self.sink = args, None
        if env:
            self.firm.orchestrator.extra_env = env
        if args.sink == "http":
            port = stack.free_port()
            folder = self.firm.dir / "sink"
            folder.mkdir()
            self.sink = stack.Nginx(folder, SINK.format(port=port), name="sink").start([port])
            text = self.firm.yaml.read_text()
            for name in ("erp", "payroll"):
                text = re.sub(rf"{name}: *{{ connector: file, path: [^}}]* }}",
                              f"{name}: {{ connector: http-json, concurrency: 64, "
                              f"url: \"http://127.0.0.1:{port}/{name}\", allow: [127.0.0.0/8], "
                              "options: { dedupe: unique, method: PUT, path: \"/{key}\" } }", text)
            self.firm.yaml.write_text(text)
        self.firm.redis.start()
        self.key = f"tg:{{s{shard_of('acme'):02}}}:events"

    @property
    def pid(self):
        return self.firm.orchestrator.process.pid

    def metrics(self):
        """Metric line -> value."""
        _, _, body = self.firm.orchestrator.get("/metrics")
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in body.decode().splitlines()
                                         if line and not line.startswith("#"))}

    def counts(self):
        """(events accepted, postings posted, entries in the stream and not acknowledged)"""
        m = self.metrics()
        return (m['tallygate_events_total{state="accepted"}'],
                m['tallygate_postings_total{outcome="posted"}'], m["tallygate_stream_backlog"])

    def fill(self, count, prefix="e"):
        """Puts entries straight into the stream, as admit.lua would: the edge is not measured."""
        r = self.firm.redis.client()
        pipe = r.pipeline(transaction=False)
        now = int(time.time() * 1000)
        for n in range(count):
            data = self.firm.entry(n) | {"id": f"{prefix}-{n}"}
            body = sign.cloudevent(f"{prefix}-{n}", data)
            pipe.xadd(self.key, {
                "id": f"{prefix}-{n}", "type": "com.tallygate.time_entry.approved.v1",
                "source": "urn:acme:psa", "subject": "", "tenant": "acme", "client": "hook:psa",
                "time": "", "received_at": str(now), "dataschema": "", "key": f"{prefix}-{n}",
                "correlation_id": f"c-{n}", "traceparent": "",
                "body_sha256": hashlib.sha256(body).hexdigest(),
                "content_type": "application/cloudevents+json", "body": body})
            if n % 1000 == 999:
                pipe.execute()
        pipe.execute()

    def drain(self, count):
        """Starts the orchestrator on what is in the stream; a row once all of it is posted."""
        redis = self.firm.redis.process.pid
        redis_before, began = cpu_seconds([redis]), time.monotonic()
        self.firm.orchestrator.start(ready=False)

        def done():
            if not self.firm.orchestrator.process.alive():
                raise RuntimeError(self.firm.orchestrator.process.text()[-2000:])
            try:
                return self.counts()[1] >= 2 * count
            except (OSError, KeyError):
                return False
        stack.wait_for(done, 900, "drained")
        row = {"seconds": time.monotonic() - began, "cpu": cpu_seconds([self.pid]) / count * 1e6,
               "rss": peak_mb(self.pid),
               "redis": (cpu_seconds([redis]) - redis_before) / count * 1e6}
        assert self.firm.orchestrator.stop() == 0
        return row

    def end(self):
        if self.sink:
            self.sink.quit()
        self.firm.stop()
        self.firm.remove()


def read_and_ack(bench, count):
    """The floor of a consumer: XREADGROUP and XACK of the same entries, nothing else."""
    r = bench.firm.redis.client()
    r.xgroup_create(bench.key, "floor", "0")
    began, n = time.monotonic(), 0
    while n < count:
        batch = r.xreadgroup("floor", "one", {bench.key: ">"}, count=256)
        ids = [i for _, rows in batch for i, _ in rows]
        r.xack(bench.key, "floor", *ids)
        n += len(ids)
    seconds = time.monotonic() - began
    r.xgroup_destroy(bench.key, "floor")
    return seconds


def middle(rows):
    return {k: statistics.median(r[k] for r in rows) for k in rows[0]}


def table(head, rows):
    RESULTS.append("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    RESULTS.extend("| " + " | ".join(str(c) for c in row) + " |" for row in rows)


def drain(args):
    ours, floor, plain, same = [], [], [], []
    for n in range(args.rounds):
        bench = Bench(args)
        bench.fill(args.events)
        floor.append(read_and_ack(bench, args.events))
        if args.sink == "http":
            plain.append(node_worker(bench, args.events, "worker.js"))
            same.append(node_worker(bench, args.events, "same_work.js", same_work_folder(bench)))
        ours.append(bench.drain(args.events))
        say(f"drain, round {n + 1}: {args.events / ours[-1]['seconds']:.0f} events/s")
        bench.end()
    m, base = middle(ours), statistics.median(floor)
    RESULTS.append(f"\n**Drain.** {args.events} events stand in the stream, each owes two postings "
                   f"({args.sink}); {args.rounds} rounds\n")
    rows = [("tallygate serve, start included", f"{args.events / m['seconds']:.0f}",
             f"{2 * args.events / m['seconds']:.0f}", f"{m['cpu']:.0f}", f"{m['redis']:.1f}",
             f"{m['rss']:.0f}", f"{m['seconds'] / base:.2f}")]
    if same:
        for name, of in (("Node, the same work", same), ("Node, no journal, no checks", plain)):
            w = middle(of)
            rows.append((name, f"{args.events / w['seconds']:.0f}",
                         f"{2 * args.events / w['seconds']:.0f}", f"{w['cpu']:.0f}",
                         f"{w['redis']:.1f}", f"{w['rss']:.0f}", f"{w['seconds'] / base:.2f}"))
    rows.append(("XREADGROUP + XACK only (Python)", f"{args.events / base:.0f}", "-", "-", "-", "-",
                 "1.00"))
    table(("what", "events/s", "postings/s", "CPU us per event", "Redis CPU us per event",
           "peak RSS MB", "time / floor"), rows)
    if same:
        w = middle(same)
        RESULTS.append(f"\ntallygate's CPU per event is {m['cpu'] / w['cpu']:.2f} of that of Node "
                       f"doing the same work, its rate {w['seconds'] / m['seconds']:.2f} times that.")


def same_work_folder(bench):
    """What same_work.js reads: the firm's schema, master data and calendar, as JSON."""
    folder = bench.firm.dir / "node"
    folder.mkdir()
    schema = stack.ROOT / "conf/schemas/com.tallygate.time_entry.approved.v1.json"
    (folder / "schema.json").write_bytes(schema.read_bytes())
    (folder / "master.json").write_text(json.dumps(bench.firm.master))
    calendar = yaml.load((bench.firm.dir / "calendar.yaml").read_text(), Loader=yaml.BaseLoader)
    (folder / "calendar.json").write_text(json.dumps(calendar))
    return folder


def node_modules():
    """Where the rivals' packages are. better-sqlite3 is built from its source: the binary that its own
    script would fetch is on a host that is not npm's."""
    folder = stack.ROOT / "build/bench-node"
    lock = (HERE / "node/package-lock.json").read_bytes()
    installed = folder / "installed"
    if not installed.exists() or installed.read_bytes() != lock:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_bytes((HERE / "node/package.json").read_bytes())
        (folder / "package-lock.json").write_bytes(lock)
        headers = subprocess.run(["node", "-p", "path.resolve(process.execPath, '../..')"], check=True,
                                 capture_output=True, text=True).stdout.strip()
        gyp = folder / "node_modules/node-gyp/bin/node-gyp.js"
        for command in (["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                        ["node", str(gyp), "rebuild", "--release", f"--nodedir={headers}",
                         "-C", "node_modules/better-sqlite3"]):
            with (folder / "install.log").open("w") as log:
                if subprocess.run(command, cwd=folder, stdout=log, stderr=log).returncode != 0:
                    raise RuntimeError(f"{command[:2]} failed, see {folder}/install.log; "
                                       "tests/harness/deps.sh bench installs what it needs")
        installed.write_bytes(lock)
    return folder / "node_modules"


def node_worker(bench, count, script, *more):
    """The same events by a Node consumer; what it does and leaves out is said in its file."""
    packages = node_modules()  # the first time it builds one: not a part of what is timed
    redis = bench.firm.redis
    r = redis.client()
    r.xgroup_create(bench.key, "node", "0")
    before, began = cpu_seconds([redis.process.pid]), time.monotonic()
    port = re.search(r"http://127.0.0.1:(\d+)", bench.firm.yaml.read_text()).group(1)
    worker = subprocess.Popen(
        ["node", str(HERE / "node" / script), redis.sock, redis.passwords["admin"], bench.key,
         port, str(count), *map(str, more)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "NODE_PATH": str(packages)})
    line = worker.stdout.readline()
    seconds = time.monotonic() - began
    if not line.startswith("done "):
        raise RuntimeError(f"the Node worker ended with status {worker.wait()}: {line}")
    row = {"seconds": seconds, "cpu": cpu_seconds([worker.pid]) / count * 1e6,
           "rss": peak_mb(worker.pid),
           "redis": (cpu_seconds([redis.process.pid]) - before) / count * 1e6}
    worker.kill()
    worker.wait()
    r.xgroup_destroy(bench.key, "node")
    return row


def steady(args):
    bench = Bench(args)
    bench.firm.orchestrator.start()
    bench.firm.nginx.start([bench.firm.port])
    bench.firm.edge_ready()
    token = bench.firm.token("events:write", ttl=36000)
    pids = {"edge": bench.firm.nginx.workers(), "Redis": [bench.firm.redis.process.pid],
            "orchestrator": [bench.pid]}
    if bench.sink:
        pids["sink"] = bench.sink.workers()
    before = {k: cpu_seconds(v) for k, v in pids.items()}
    wrk = subprocess.Popen(
        ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "--latency", "-s",
         str(HERE / "entries.lua"), f"http://127.0.0.1:{bench.firm.port}/v1/events", "--", token,
         "steady", str(args.rate), str(args.connections)], stdout=subprocess.PIPE, text=True)
    began, samples, tick = time.monotonic(), [], threading.Event()
    while wrk.poll() is None:
        tick.wait(1)
        accepted, posted, stream = bench.counts()
        samples.append((time.monotonic() - began, accepted, posted,
                        stream + 2 * accepted - posted))
    said = wrk.stdout.read()
    sent, _, errors, p50, p99 = (float(x) for x in re.search(r"RESULT (.*)", said).group(1).split())
    stack.wait_for(lambda: bench.counts()[1] >= 2 * (sent - errors), 120, "all posted")
    after = {k: cpu_seconds(v) for k, v in pids.items()}
    rss = peak_mb(bench.pid)
    n = len(samples)
    quarters = [statistics.median(s[3] for s in samples[i * n // 4:(i + 1) * n // 4])
                for i in range(4) if i * n // 4 < (i + 1) * n // 4]
    goal("steady: events/s in, all of them posted", (sent - errors) / args.seconds, at_least=1500)
    goal("steady: postings/s out", samples[-1][2] / samples[-1][0], at_least=3000)
    goal("steady: open work in the last quarter", quarters[-1], at_most=2 * max(quarters[0], 256))
    RESULTS.append(f"\n**Steady.** {args.seconds} s through the edge, {args.connections} "
                   f"connections, destinations: {args.sink}\n")
    table(("in, events/s", "out, postings/s", "errors", "202 after ms p50 / p99",
           "open work, median of each quarter", "peak RSS MB"),
          [(f"{sent / args.seconds:.0f}", f"{2 * sent / args.seconds:.0f}", f"{errors:.0f}",
            f"{p50 / 1000:.1f} / {p99 / 1000:.1f}",
            ", ".join(f"{q:.0f}" for q in quarters), f"{rss:.0f}")])
    table(("CPU us per event of",) + tuple(pids),
          [("",) + tuple(f"{(after[k] - before[k]) / sent * 1e6:.0f}" for k in pids)])
    bench.end()


def slow(args):
    shim = stack.ROOT / "build/slow_fsync.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", shim, HERE / "slow_fsync.c", "-ldl"],
                   check=True)
    rows = []
    for us in (0, 2000):
        bench = Bench(args, {"LD_PRELOAD": str(shim), "SLOW_FSYNC_US": str(us)})
        bench.fill(args.events)
        row = bench.drain(args.events)
        rows.append((f"{us / 1000:.0f} ms", f"{2 * args.events / row['seconds']:.0f}",
                     f"{row['cpu']:.0f}"))
        say(f"fsync +{us} us: {2 * args.events / row['seconds']:.0f} postings/s")
        bench.end()
    goal("fsync 2 ms longer: postings/s", 2 * args.events / row["seconds"], at_least=2500)
    RESULTS.append("\n**Slow disk.** The drain, while each fsync of the orchestrator takes longer; "
                   "64 in flight for each destination\n")
    table(("fsync longer by", "postings/s", "CPU us per event"), rows)


# What is another row in each copy; all else is copied.
COPIES = {
    "events": {"id": "id+:e", "identity": "randomblob(16)",
               "event_id": "substr(event_id,1,4)||(1000000000000+id+:e)||'-0'"},
    "objects": {"id": "id+:o", "event": "event+:e", "key": "randomblob(16)",
                "object_id": "object_id||'-'||:k"},
    "postings": {"id": "id+:p", "object": "object+:o", "key": "randomblob(16)",
                 "reverses": "NULL", "hold_on": "NULL"},
    "attempts": {"id": "id+:a", "posting": "posting+:p"},
    "audit": {"seq": "seq+:u",
              "subject": "CASE WHEN subject LIKE 'posting %' THEN 'posting '||"
                         "(CAST(substr(subject,9) AS INTEGER)+:p) ELSE subject END"},
}


def grow(journal, target):
    """Copies what is in a closed journal until it has so many events. The copied audit rows do not
    continue the chain (`audit verify` would say so); what is appended to them costs the same."""
    db = sqlite3.connect(journal, isolation_level=None)
    db.execute("PRAGMA cache_size=-4000000")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA foreign_keys=OFF")
    ids = {t: "seq" if t == "audit" else "id" for t in COPIES}
    top = {t: db.execute(f"SELECT max({ids[t]}) FROM {t}").fetchone()[0] for t in COPIES}
    for k in range(1, target // top["events"]):
        offsets = {"u" if t == "audit" else t[0]: top[t] * k for t in COPIES} | {"k": k}
        db.execute("BEGIN")
        for t, changed in COPIES.items():
            names = [r[1] for r in db.execute(f"PRAGMA table_info({t})")]
            values = [re.sub(r":(\w)", lambda m: str(offsets[m[1]]), changed.get(c, c))
                      for c in names]
            db.execute(f"INSERT INTO {t}({','.join(names)}) SELECT {','.join(values)} FROM {t} "
                       f"WHERE {ids[t]} <= {top[t]}")
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    events = db.execute("SELECT count(*) FROM events").fetchone()[0]
    db.close()
    return events, Path(journal).stat().st_size


def grown(args):
    bench, rows, costs = Bench(args), [], []
    bench.fill(args.base, "base")
    bench.drain(args.base)
    journal = bench.firm.path("journal.db")
    for target in (args.base, args.grown):
        events, size = grow(journal, target)
        say(f"journal of {events} events, {size / 1e9:.1f} GB")
        runs = []
        for n in range(args.rounds):
            bench.fill(args.events, f"g{target}-{n}")
            runs.append(bench.drain(args.events))
        m = middle(runs)
        costs.append(m["cpu"])
        rows.append((events, f"{size / 1e9:.2f}", f"{m['cpu']:.0f}", f"{m['cpu'] / costs[0]:.2f}",
                     f"{args.events / m['seconds']:.0f}", f"{m['rss']:.0f}"))
        say(f"at {events}: {m['cpu']:.0f} us CPU per event")
    bench.end()
    goal(f"CPU per event at {events} journalled events, against {args.base}", costs[-1] / costs[0],
         at_most=1.2)
    goal("peak RSS in MB then", m["rss"], at_most=60)
    RESULTS.append(f"\n**Growth.** The drain of {args.events} events on a journal that has so many "
                   "already\n")
    table(("events in the journal", "GB", "CPU us per event", "ratio", "events/s", "peak RSS MB"),
          rows)


PARTS = {"drain": drain, "slow": slow, "steady": steady, "grown": grown}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(PARTS))
    parser.add_argument("--sink", choices=["http", "file"], default="file")
    parser.add_argument("--events", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=int, default=1700)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--base", type=int, default=50000)
    parser.add_argument("--grown", type=int, default=500000)
    parser.add_argument("--require", action="store_true", help="a goal that is missed is an error")
    args = parser.parse_args()
    for name, part in PARTS.items():
        if args.only in (None, name):
            part(args)
    if GOALS:
        RESULTS.append("\n**Goals.**\n")
        table(("what", "measured", "wanted", "reached"), GOALS)
    print("\n".join(RESULTS))
    missed = sum(g[3] == "NO" for g in GOALS)
    print(f"bench-pipeline: {'ok' if missed == 0 else f'{missed} of {len(GOALS)} goals missed'}")
    return 1 if missed and args.require else 0


if __name__ == "__main__":
    sys.exit(main())
