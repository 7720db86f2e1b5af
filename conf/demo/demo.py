#!/usr/bin/python3
"""make demo: one week of approved time through NGINX, Redis, the orchestrator, into the ERPs of two legal
entities and payroll files; then the proof that each entry arrived once.

  demo.py                runs, reports, stops everything; exit 0 only when every number is what the input
                         implies (expect.py works that out apart from the product's counters)
  demo.py --erp=tryton   the same week into a real Tryton (make demo ERP=tryton)
  demo.py --stay         the same, then stays up until Ctrl-C (make run)

The last line says how it ended, whatever ended it.
"""
import argparse
import fcntl
import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import erps  # noqa: E402
import expect  # noqa: E402
import judge  # noqa: E402
import week  # noqa: E402
from tests.harness import sign, stack  # noqa: E402

VAR = ROOT / "var"
CONF = "var/conf/tallygate.yaml"
SENDERS = 8
QUIET_SECONDS = 60
DIFFERENCES = 20     # that are told line by line
OVER = ("posted", "exception", "cancelled", "reversed")  # states of postings


class Demo:
    def __init__(self, erp):
        self.port = 8080 if not stack.can_connect(("127.0.0.1", 8080)) else stack.free_port()
        self.secrets = {"hook": sign.new_secret(), "hr": sign.new_secret(),
                        "jira": sign.new_text_secret()}
        self.redis = self.nginx = self.orchestrator = self.erp = None
        self.erp_name = erp
        self.tokens, self.answers, self.held, self.began = {}, [], [], time.monotonic()

    # ---- set-up ----

    def prepare(self):
        for name in ("run", "lib", "out", "keys", "secrets", "conf", "tmp"):
            shutil.rmtree(VAR / name, ignore_errors=True)
        for name in ("run", "log", "lib", "out", "keys", "secrets", "conf", "tmp"):
            (VAR / name).mkdir(parents=True, exist_ok=True)
        for log in (VAR / "log").glob("*.log"):
            log.unlink()
        (VAR / "secrets").chmod(0o700)
        erps.secret_file(VAR / "secrets/webhooks", "".join(
            f"{week.TENANT} {source} {self.secrets[way]}\n"
            for way, source in (("hook", "psa"), ("jira", "jira"), ("hr", "hr"))))
        self.tallygate("token", "keys", "--out", "var/keys", "--name", "demo", "--alg", "ES256",
                       "--kid", "demo-1")
        conf = (ROOT / "conf/nginx.conf").read_text()
        conf = conf.replace("../var/", "../").replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        (VAR / "conf/nginx.conf").write_text(conf)
        self.erp = erps.ERPS[self.erp_name](VAR)
        self.erp.start()
        conf = (ROOT / "conf/tallygate.yaml").read_text()
        head, tail = conf.split("      erp:\n")
        _, payroll = tail.split("      payroll:\n")
        (VAR / "conf/tallygate.yaml").write_text(
            head + erps.as_yaml(self.erp.destinations(), 6) + "      payroll:\n" + payroll)

    def tallygate(self, *args):
        done = subprocess.run([stack.BINARY, *args], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"tallygate {args[0]} failed: {done.stderr}{done.stdout}")
        return done.stdout

    def token(self, client, scope):
        if (client, scope) not in self.tokens:
            self.tokens[client, scope] = self.tallygate(
                "token", "sign", "--key", "var/keys/demo.pem", "--kid", "demo-1", "--alg", "ES256",
                "--iss", "https://idp.demo.example", "--aud", "tallygate", "--sub", client,
                "--client", client, "--tenant", week.TENANT, "--scope", scope,
                "--ttl", "86400").strip()
        return self.tokens[client, scope]

    def start(self):
        self.redis = stack.Redis(VAR / "run", secrets_dir=VAR / "secrets")
        self.redis.process.log = VAR / "log/redis.log"
        self.redis.start()
        self.orchestrator = stack.Orchestrator(VAR / "log", ROOT / CONF,
                                               str(VAR / "run/orchestrator.sock"))
        self.orchestrator.start()
        globals_ = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        self.nginx = stack.Process("nginx", [binary, "-p", "var/", "-c", "conf/nginx.conf", "-g",
                                             globals_], VAR / "log/nginx.out.log", cwd=ROOT,
                                   orphaned="TERM")
        self.nginx.start()

        def edge_up():
            if not self.nginx.alive():
                raise RuntimeError(f"nginx ended: {self.nginx.text()[-1500:]}")
            try:  # a token for status passes the edge; 404 comes from the orchestrator
                token = self.token("svc-status", "status:read validate")
                ready = self.get("/v1/events/s00-1-0", token)[0] == 404
            except OSError:
                return False
            return ready and self.connected()
        stack.wait_for(edge_up, 20, "the edge")

    def connected(self):
        """Every worker's link to Redis is up: its own counter says so, the report uses none."""
        text = self.get("/metrics/edge", "")[1].decode()
        return "tallygate_edge_redis_connects_total 2" in text

    def stop(self):
        """Ends everything, whatever one of it does."""
        for name, end in (("NGINX", self.nginx and (lambda: self.nginx.stop(signal.SIGQUIT))),
                          ("the orchestrator", self.orchestrator and self.orchestrator.stop),
                          ("Redis", self.redis and self.redis.stop),
                          ("the ERP", self.erp and self.erp.stop)):
            if not end:
                continue
            try:
                status = end()
            except (OSError, RuntimeError) as e:
                print(f"demo: {name}: {e}")
                continue
            if status not in (0, None):
                print(f"demo: {name} ended with status {status}")

    def ended(self):
        """Which of the processes are no more, in words; "" while all are there."""
        parts = (("Redis", self.redis and self.redis.process),
                 ("the orchestrator", self.orchestrator and self.orchestrator.process),
                 ("NGINX", self.nginx), *(self.erp.processes if self.erp else ()))
        return ", ".join(f"{name} ended by itself, see {process.log.relative_to(ROOT)}"
                         for name, process in parts
                         if process and process.popen and not process.alive())

    # ---- the week ----

    def message(self, s: week.Send):
        """(path, headers, body) of a request."""
        if s.way == "jira":
            body, path = json.dumps(s.data).encode(), f"/hooks/{week.TENANT}/jira"
            secret = sign.new_text_secret() if s.spoil == "signature" else self.secrets["jira"]
            return path, sign.hub_headers(secret, body) | {"Content-Type": "application/json"}, body
        source = "urn:acme:hr" if s.way == "hr" else week.SOURCE
        body = sign.cloudevent(s.event_id, s.data, s.type, source, subject=s.data["id"],
                               time="2026-11-20T17:00:00Z")
        if s.way == "bearer":
            path = "/v1/events"
            headers = {"Authorization": "Bearer " + self.token(s.client, s.scope),
                       "Idempotency-Key": f'"{s.key}"'}
        else:
            path = f"/hooks/{week.TENANT}/{'hr' if s.way == 'hr' else 'psa'}"
            secret = sign.new_secret() if s.spoil == "signature" else self.secrets[s.way]
            headers = sign.webhook_headers(secret, s.key, body)
        return path, headers | {"Content-Type": "application/cloudevents+json"}, body

    def request(self, connection, s: week.Send):
        path, headers, body = self.message(s)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        code = ""
        if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
            code = json.loads(text)["code"]
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        event = json.loads(text)["id"] if answer.status == 202 else ""
        return answer.status, code, replayed, event

    def run(self, sends):
        """The week, step by step."""
        for step in sorted({s.step for s in sends} | set(week.BEFORE)):
            for what in week.BEFORE.get(step, []):
                self.act(what)
            self.send([s for s in sends if s.step == step])
            progress(f"sent {len(self.answers)} of {len(sends)} requests", self.began)
        line_end()

    def act(self, what):
        if what in ("pause", "resume"):
            for name in self.erp.pausable:
                self.tallygate("destinations", what, "-c", CONF, "--tenant", week.TENANT, "--reason",
                               "the demo", name)
        elif what == "note":
            self.held = sorted(o["id"] for story in self.wait("settle").values()
                               for o in story["objects"] if o["state"] == "held")
        else:
            self.wait(what)

    def send(self, sends):
        """All at the same time."""
        todo, out, errors = queue.SimpleQueue(), [], []
        for s in sends:
            todo.put(s)

        def work():
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            while True:
                try:
                    s = todo.get_nowait()
                except queue.Empty:
                    c.close()
                    return
                try:
                    out.append((s, self.request(c, s)))
                except (OSError, http.client.HTTPException, ValueError) as e:
                    errors.append((s, e))
                    c.close()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(SENDERS, len(sends)))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if errors:
            raise RuntimeError(f"{len(errors)} requests failed, the first: {errors[0]}")
        odd = [(s.way, s.key, r[:2]) for s, r in out if r[0] >= 500]
        if odd:
            raise RuntimeError(f"{len(odd)} requests were answered 5xx, the first: {odd[0]}")
        self.answers += out

    def get(self, path, token):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        c.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        r = c.getresponse()
        text = r.read()
        c.close()
        return r.status, text

    def wait(self, what):
        """Until the API says of every accepted event that it is in the journal (`seen`), that nothing of
        it is on its way (`settle`), or held either (`released`). Gives their stories."""
        token, began, stories = self.token("svc-status", "status:read"), time.monotonic(), {}
        events = list(dict.fromkeys(r[3] for _, r in self.answers if r[0] == 202))
        while len(stories) < len(events):
            for event in (e for e in events if e not in stories):
                status, text = self.get(f"/v1/events/{event}", token)
                story = json.loads(text) if status == 200 else None
                if not story or not is_over(story, what):
                    break  # in order: the rest is no further
                stories[event] = story
            progress(f"{what}: {len(stories)} of {len(events)} events", self.began)
            if self.ended():
                raise RuntimeError("the week could not go on")
            if time.monotonic() - began > QUIET_SECONDS:
                raise RuntimeError(f"{len(events) - len(stories)} events are not `{what}` in "
                                   f"{QUIET_SECONDS} s, e.g. {event}: {text.decode()[:1000]}")
            if len(stories) < len(events):
                time.sleep(0.05)
        return stories

    def exceptions(self):
        text = self.tallygate("exceptions", "list", "-c", CONF, "--json")
        rows = json.loads(text)
        return rows["exceptions"] if isinstance(rows, dict) else rows


def is_over(story, what):
    if "in_stream" in (story["status"], story.get("stage")):
        return False
    objects = story.get("objects", [])
    moving = what != "seen" and any(p["state"] not in OVER for o in objects for p in o["postings"])
    return not moving and not (what == "released" and any(o["state"] == "held" for o in objects))


def progress(text, began):
    """One line that is written over on a terminal; else a line now and then."""
    progress.calls += 1
    if sys.stderr.isatty():
        print(f"\rdemo: {text} ({time.monotonic() - began:.1f} s)   ", end="", file=sys.stderr,
              flush=True)
    elif progress.calls % 20 == 1:
        print(f"demo: {text} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)


progress.calls = 0


def line_end():
    if sys.stderr.isatty():
        print(file=sys.stderr)


class Ended(BaseException):
    """A signal that ends it: Ctrl-C, kill, a closed terminal."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def end(number, _frame):
    on_signals(signal.SIG_IGN)  # once: the end is in order, and in limited time
    raise Ended(number)


def on_signals(do):
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, do)


def week_of(demo, began):
    """The whole week, to the report: (did it reconcile, the same in words)."""
    print(f"demo: starting Redis, the orchestrator and NGINX{', and Tryton' * bool(demo.erp_name)}",
          flush=True)
    demo.prepare()
    demo.start()
    sends = week.plan(week.entries())
    demo.run(sends)
    stories = demo.wait("released")
    duplicates = sum(s["status"] == "duplicate" for s in stories.values())
    x = expect.expected(sends)
    arrived = judge.read(VAR / "out", demo.answers, demo.erp.book(), demo.exceptions(), demo.held,
                         duplicates)
    wrong = judge.judge(arrived, x)
    line_end()
    print(judge.table(arrived, x, demo.erp.names))
    for line in wrong[:DIFFERENCES]:
        print(f"demo: {line}")
    if len(wrong) > DIFFERENCES:
        print(f"demo: and {len(wrong) - DIFFERENCES} more")
    verify = demo.tallygate("audit", "verify", "-c", CONF).strip().splitlines()[-1]
    print(f"demo: {verify}")
    return not wrong, (f"{'NOT ' * bool(wrong)}reconciled{f', {len(wrong)} differences' * bool(wrong)} "
                       f"({time.monotonic() - began:.1f} s)")


def run(demo, stays):
    """All of it: (exit status, how it ended)."""
    code, verdict, over = 1, "ended before the week was over", False
    on_signals(end)
    try:
        good, verdict = week_of(demo, time.monotonic())
        code, over = 0 if good else 1, True
        if stays:
            print(f"demo: {verdict}")
            week_was, verdict = verdict, f"ended; the week was {verdict}"
            stay(demo)
            code, verdict = 1, f"{demo.ended()}; the week was {week_was}"
    except Ended as signalled:
        line_end()
        code = code if over else 128 + signalled.number
        verdict = f"{verdict}, by {signalled}"
    except Exception as e:  # whatever it is, the processes end in order and the last line says it
        line_end()
        if not isinstance(e, (OSError, RuntimeError)):
            traceback.print_exc()
        gone = demo.ended()
        verdict = f"failed: {gone}{'; ' * bool(gone)}{e}"
    finally:
        on_signals(signal.SIG_IGN)
        demo.stop()
    return code, verdict


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stay", action="store_true", help="stay up after the report")
    parser.add_argument("--erp", choices=list(erps.ERPS), default="", help="default: files, and REST")
    args = parser.parse_args()
    os.chdir(ROOT)
    VAR.mkdir(exist_ok=True)
    lock = open(VAR / "demo.lock", "w", encoding="ascii")  # held to the end of this process
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("demo: another demo is up in this tree (make run?); end it first")
        return 1
    code, verdict = run(Demo(args.erp), args.stay)
    try:
        print(f"demo: {verdict}", flush=True)
    except OSError:
        pass  # the terminal is gone
    return code


def stay(demo):
    base = f"http://127.0.0.1:{demo.port}"
    print(f"demo: staying up at {base} until Ctrl-C; try\n"
          f"  curl -s {base}/metrics/edge | head\n"
          f"  build/tallygate exceptions list -c {CONF}\n"
          f"  build/tallygate destinations list -c {CONF}\n"
          f"  TOKEN=$(build/tallygate token sign --key var/keys/demo.pem --kid demo-1 --alg ES256 "
          f"--iss https://idp.demo.example --aud tallygate --sub me --tenant acme "
          f"--scope 'validate status:read')\n"
          f"  curl -s -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' "
          f"-d '{{\"id\":\"TE-1\",\"version\":1,\"worker\":\"W-001\",\"project\":\"P-112\","
          f"\"task\":\"T-1\",\"date\":\"2026-11-16\",\"hours\":\"7.5\",\"approved_by\":\"W-001\","
          f"\"approved_at\":\"2026-11-20T17:00:00Z\"}}' "
          f"{base}/v1/time-entries/validate", flush=True)
    while not demo.ended():
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
