#!/usr/bin/python3
"""make bench: ratios of one run, never bare numbers. See docs/performance.md.

Edge subjects do the same work (verify an RS256 token, two rates, idempotency key, append 1 KB, 202)
except the two floors. Each rival first passes the answer tests. Subjects are interleaved round by
round; the table gives medians, CPU of server and Redis per request from /proc, and the ratio to the
floor. The pipeline has a file of its own: pipeline.py.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from cryptography.hazmat.primitives import serialization  # noqa: E402

from tests.harness import sign, stack  # noqa: E402

HERE = Path(__file__).resolve().parent
HZ = os.sysconf("SC_CLK_TCK")
CONF = """
worker_processes 1;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_max_body_size 64k;
    client_body_buffer_size 64k;
    keepalive_requests 100000000;
    {http}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location = /v1/events {{ {location} }}
    }}
}}
"""


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / HZ


class Subject:
    def __init__(self, name, directory, http, location, modules=(), checked=True):
        self.name, self.checked, self.rows = name, checked, []
        self.port = stack.free_port()
        folder = directory / re.sub(r"\W+", "-", name)
        folder.mkdir()
        self.nginx = stack.Nginx(folder, CONF.format(http=http, location=location, port=self.port))
        head = "".join(f"load_module {m};\n" for m in modules)
        self.nginx.conf.write_text(head + self.nginx.conf.read_text())

    def start(self):
        self.nginx.start([self.port])


def lua_modules():
    found = []
    for name in ("ndk_http_module", "ngx_http_lua_module"):
        path = Path("/usr/lib/nginx/modules") / f"{name}.so"
        if path.exists():
            found.append(path)
    return found


def answers(port, token, issuer):
    """The answer tests every subject that claims to do the work must pass."""
    import httpx
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as c:
        def post(body=None, key=None, tok=token):
            h = {"Content-Type": "application/cloudevents+json"}
            if tok:
                h["Authorization"] = f"Bearer {tok}"
            if key is not False:
                h["Idempotency-Key"] = key or uuid.uuid4().hex
            return c.post("/v1/events", content=body or sign.cloudevent(uuid.uuid4().hex, {}),
                          headers=h)
        stack.wait_for(lambda: post().status_code == 202, 15, "the subject accepts")
        body, key = sign.cloudevent("same", {}), uuid.uuid4().hex
        first, again = post(body, key), post(body, key)
        assert again.headers["idempotent-replayed"] == "true" and first.json() == again.json()
        assert post(None, key).status_code == 422
        assert post(tok=None).status_code == 401
        assert post(tok=token[:-6] + "AAAAAA").status_code == 401
        assert post(tok=issuer.token(scope="other")).status_code == 403
        assert post(tok=issuer.token(scope="events:write", exp=1)).status_code == 401
        assert post(key=False).status_code == 400
        assert post(b"{").status_code == 400


def load(subject, redis, token, connections, seconds, name):
    workers = subject.nginx.workers()
    before = cpu_seconds(workers), cpu_seconds([redis.process.pid])
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s",
                           str(HERE / "post.lua"), f"http://127.0.0.1:{subject.port}/v1/events",
                           "--", token, name], capture_output=True, text=True, check=True)
    n, micros, errors, p50, p99 = (float(x) for x in
                                   re.search(r"RESULT (.*)", done.stdout).group(1).split())
    after = cpu_seconds(workers), cpu_seconds([redis.process.pid])
    return {"rate": n / (micros / 1e6), "errors": errors / max(n, 1), "p50": p50 / 1000,
            "p99": p99 / 1000, "cpu": (after[0] - before[0]) / n * 1e6,
            "redis": (after[1] - before[1]) / n * 1e6, "n": n}


def edge(args, out):
    directory = stack.scratch("bench")
    redis = stack.Redis(directory).start()
    issuer = sign.Issuer(keys=[sign.Key("RS256", "rs")])
    issuer.write(directory / "issuer.jwks")
    pem = issuer.keys[0].private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "issuer.pem").write_bytes(pem)
    token = issuer.token(scope="events:write", ttl=36000)
    admin = redis.client()
    sha = admin.script_load((stack.ROOT / "lua_rules/redis/admit.lua").read_text())
    tally_http = f"""tally_redis {redis.url()} user=edge password_file={redis.secrets}/redis-edge;
        tally_issuer main iss={issuer.iss} jwks={directory}/issuer.jwks audience=tallygate;"""
    tally = """tally_auth main; tally_scope POST all events:write; tally_allow types=* sources=*;
        tally_rate 1000000r/s burst=999999 name=a;
        tally_rate 1000000r/s burst=999999 name=b key=$tally_tenant;
        tally_idempotency required; tally_publish %s;"""
    rival = f"""lua_package_path "{HERE}/?.lua;;";
        init_by_lua_block {{ require("rival").init {{ pem = "{directory}/issuer.pem", sha = "{sha}",
            redis = "{redis.sock}", password = "{redis.passwords['edge']}" }} }}"""
    subjects = [
        Subject("return 202 (the floor)", directory, "", "return 202;", checked=False),
        Subject("limit_req", directory,
                "limit_req_zone $http_authorization zone=z:1m rate=1000000r/s;",
                "limit_req zone=z burst=100000 nodelay; limit_req_status 429; "
                "try_files /none @ok; } location @ok { return 202;", checked=False),
        Subject("tallygate, CloudEvent checked", directory, tally_http, tally % "cloudevents"),
        Subject("tallygate, type=", directory, tally_http, tally % (
            "type=com.x source=urn:x media=application/cloudevents+json")),
    ]
    if lua_modules():
        subjects.append(Subject("lua-nginx, token cache", directory, rival,
                                'content_by_lua_block { require("rival").handle() }',
                                lua_modules()))
    for s in subjects:
        s.start()
        if s.checked and "type=" not in s.name:
            answers(s.port, token, issuer)
    for connections in args.connections:
        for s in subjects:
            s.rows = []
        for r in range(args.rounds):
            for s in subjects:
                admin.flushdb()
                if "tallygate" in s.name:  # FLUSHDB took the contract with it: a new handshake
                    s.nginx.reload()
                    answers_once(s.port, token)
                s.rows.append(load(s, redis, token, connections, args.seconds,
                                   f"{r}-{connections}-{subjects.index(s)}"))
                print(f"bench: {connections} connections, round {r + 1}: {s.name}: "
                      f"{s.rows[-1]['rate']:.0f}/s", file=sys.stderr, flush=True)
        floor = statistics.median(x["cpu"] for x in subjects[0].rows)
        out.append(f"\n{connections} connections, {args.rounds} rounds of {args.seconds} s\n")
        out.append("| subject | req/s | p50 ms | p99 ms | errors | server CPU us | Redis CPU us | "
                   "server CPU / floor |\n|---|---|---|---|---|---|---|---|")
        for s in subjects:
            m = {k: statistics.median(x[k] for x in s.rows) for k in s.rows[0]}
            out.append(f"| {s.name} | {m['rate']:.0f} | {m['p50']:.2f} | {m['p99']:.2f} | "
                       f"{m['errors']:.2%} | {m['cpu']:.1f} | {m['redis']:.1f} | "
                       f"{m['cpu'] / floor:.2f} |")
    for s in subjects:
        s.nginx.quit()
    redis.stop()
    shutil.rmtree(directory, ignore_errors=True)


def answers_once(port, token):
    import httpx
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as c:
        stack.wait_for(lambda: c.post("/v1/events", content=sign.cloudevent("w", {}), headers={
            "Authorization": f"Bearer {token}", "Idempotency-Key": uuid.uuid4().hex,
            "Content-Type": "application/cloudevents+json"}).status_code == 202, 15, "ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=lambda s: [int(x) for x in s.split(",")],
                        default=[1, 64])
    args = parser.parse_args()
    out = []
    edge(args, out)
    print("\n".join(out))
    print("bench: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
