"""The API of a running `serve` without NGINX before it, and the commands beside it."""
import http.client
import json
import os
import signal
import socket
import threading
import time

import pytest

from tests.harness import sign, stack

TENANT, SOURCE = "acme", "urn:acme:psa"
AS_ACME = {"X-Tally-Tenant": TENANT, "X-Correlation-ID": "corr-1"}


def fnv1a64(data: bytes) -> int:
    h = 0xcbf29ce484222325
    for b in data:
        h = (h ^ b) * 0x100000001b3 % 2**64
    return h


SHARD = fnv1a64(TENANT.encode()) % 16


def entry(n, **more):
    return {"id": f"TE-{n}", "version": 1, "worker": "W-001", "project": "P-101", "task": "T-1",
            "date": "2026-11-16", "hours": "7.50", "approved_at": "2026-11-20T17:00:00Z",
            "approved_by": "W-900", **more}


class World:
    def __init__(self):
        self.dir = stack.scratch("api")
        self.redis = stack.Redis(self.dir)
        self.sock = str(self.dir / "api.sock")
        self.conf = self.dir / "t.yaml"
        self.conf.write_text(f"""\
redis: {{url: 'unix:{self.redis.sock}', user: orchestrator,
         password_file: {self.redis.secrets}/redis-orchestrator}}
journal: {{path: {self.dir}/journal.db, checkpoints: {{dir: {self.dir}/cp, key: {self.dir}/audit.pem}}}}
api: {{listen: 'unix:{self.sock}', threads: 2}}
tenants:
  - id: {TENANT}
    sources: {{psa: {{decoder: canonical, uri: '{SOURCE}'}}}}
    master: conf/demo/master.json
    hold_timeout: 0
    calendar: conf/demo/calendar.yaml
    destinations:
      erp: {{connector: file, path: {self.dir}/out/erp}}
      payroll: {{connector: file, path: {self.dir}/out/payroll}}
""")
        self.orchestrator = stack.Orchestrator(self.dir, self.conf, self.sock)

    def start(self):
        (self.dir / "out").mkdir()
        made = self.orchestrator.run("token", "keys", "--out", self.dir, "--name", "audit", "--alg",
                                     "EdDSA")
        assert made.returncode == 0, made.stderr
        self.redis.start()
        self.orchestrator.start()
        return self

    def stop(self, sig=signal.SIGTERM):
        status = self.orchestrator.process.stop(sig, 40)
        self.redis.stop()
        return status

    def publish(self, data, event_id):
        """What the edge writes; the id of the 202."""
        body = sign.cloudevent(event_id, data, source=SOURCE)
        fields = {"id": event_id, "type": "com.tallygate.time_entry.approved.v1", "source": SOURCE,
                  "subject": "", "tenant": TENANT, "client": "hook:psa", "time": "",
                  "received_at": str(int(time.time() * 1000)), "dataschema": "", "key": event_id,
                  "correlation_id": f"corr-{event_id}", "traceparent": "", "body_sha256": "0" * 64,
                  "content_type": "application/cloudevents+json", "body": body}
        stream_id = self.redis.client().xadd(f"tg:{{s{SHARD:02}}}:events", fields).decode()
        return f"s{SHARD:02}-{stream_id}"

    def get(self, path, headers=None):
        status, head, body = stack.unix_request(self.sock, "GET", path,
                                                headers=AS_ACME if headers is None else headers)
        return status, head, json.loads(body)

    def validate(self, body, headers=None):
        status, head, text = stack.unix_request(
            self.sock, "POST", "/v1/time-entries/validate", body=body,
            headers={**AS_ACME, "Content-Type": "application/json", **(headers or {})})
        return status, head, json.loads(text)

    def settled(self, event):
        def at_end():
            status, _, story = self.get(f"/v1/events/{event}")
            return story if status == 200 and story["stage"] in ("posted", "exception") else None
        return stack.wait_for(at_end, 30, f"{event} settled")

    def cli(self, *args):
        return self.orchestrator.run(*args)


@pytest.fixture(scope="module")
def world():
    w = World().start()
    yield w
    assert w.stop() == 0


def test_a_posted_event_and_its_repetition(world):
    first = world.publish(entry(1), "ce-1")
    story = world.settled(first)
    assert (story["id"], story["status"], story["stage"]) == (first, "accepted", "posted")
    assert story["correlation_id"] == "corr-ce-1"
    (thing,) = story["objects"]
    assert (thing["kind"], thing["id"], thing["version"]) == ("time_entry", "TE-1", 1)
    assert {p["destination"]: (p["state"], p["quantity"]) for p in thing["postings"]} == {
        "erp": ("posted", "7.5"), "payroll": ("posted", "7.5")}
    assert len({p["key"] for p in thing["postings"]}) == 2

    again = world.publish(entry(1), "ce-1")
    story = world.settled(again)
    assert (story["status"], story["duplicate_of"]) == ("duplicate", first)
    assert story["stage"] == "posted"


def test_an_exception_is_told_by_api_and_commands(world):
    event = world.publish(entry(2, worker="W-none"), "ce-2")
    story = world.settled(event)
    assert story["stage"] == "exception"
    (x,) = [x for x in story["exceptions"] if x["code"] == "worker_unknown"]
    assert x["owner"] == "master-data" and x["state"] == "open" and x["title"]
    (violation,) = x["violations"]
    assert violation == {"code": "worker_unknown", "field": "worker", "message": x["message"]}
    assert "W-none" in x["message"]

    listed = world.cli("exceptions", "list", "-c", world.conf, "--json")
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)["exceptions"]
    (row,) = [r for r in rows if r["id"] == x["id"]]
    assert (row["code"], row["owner"], row["tenant"]) == ("worker_unknown", "master-data", TENANT)
    assert listed.stderr.strip() == f"exceptions: {len(rows)} open"
    table = world.cli("exceptions", "list", "-c", world.conf, "--tenant", TENANT)
    assert "worker_unknown" in table.stdout
    assert table.stdout.strip().splitlines()[-1] == f"exceptions: {len(rows)} open"
    other = world.cli("exceptions", "list", "-c", world.conf, "--tenant", "other")
    assert other.stdout == "exceptions: 0 open\n"
    discarded = world.cli("exceptions", "list", "-c", world.conf, "--state", "discarded")
    assert discarded.stdout == "exceptions: 0 discarded\n"

    shown = world.cli("exceptions", "show", "-c", world.conf, x["id"])
    assert shown.returncode == 0, shown.stderr
    assert "docs/runbooks/worker_unknown.md" in shown.stdout
    assert shown.stdout.strip().splitlines()[-1] == f"exceptions: {x['id']} is open"
    assert world.cli("exceptions", "show", "-c", world.conf, "--tenant", "other",
                     x["id"]).returncode == 1
    missing = world.cli("exceptions", "show", "-c", world.conf, "999999")
    assert missing.returncode == 1 and "999999" in missing.stderr


def test_unknown_events_and_other_tenants(world):
    event = world.publish(entry(3), "ce-3")
    world.settled(event)
    for path, headers, status, code in (
            (f"/v1/events/{event}", {"X-Tally-Tenant": "other"}, 404, "not_found"),
            (f"/v1/events/{event}", {}, 403, "tenant_missing"),
            (f"/v1/events/s{SHARD:02}-1-1", AS_ACME, 404, "not_found"),
            ("/v1/events/nonsense", AS_ACME, 404, "not_found"),
            ("/v1/nothing", AS_ACME, 404, "not_found")):
        got, head, problem = world.get(path, headers)
        assert (got, problem["code"]) == (status, code)
        assert head["content-type"] == "application/problem+json"
        assert head.get("x-correlation-id", "") == headers.get("X-Correlation-ID", "")


def test_validation_stores_nothing(world):
    before = (world.redis.added(), (world.dir / "journal.db-wal").stat().st_mtime_ns
              if (world.dir / "journal.db-wal").exists() else 0)
    status, head, answer = world.validate(json.dumps([entry(9), entry(10, task="T-none")]))
    assert status == 200 and head["x-correlation-id"] == "corr-1"
    assert [r["valid"] for r in answer["results"]] == [True, False]
    assert answer["valid"] is False
    assert [v["code"] for v in answer["results"][1]["violations"]] == ["task_unknown"]
    assert world.redis.added() == before[0]
    status, _, listed = world.get("/v1/events/s07-9-9")
    assert status == 404


@pytest.mark.parametrize("body, headers, status, code", [
    (b"", {}, 400, "body_invalid"), (b"[]", {}, 400, "body_invalid"),
    (b"[" + b",".join([b"{}"] * 501) + b"]", {}, 400, "body_invalid"),
    (b"{", {}, 400, "body_invalid"), (b"null", {}, 400, "body_invalid"),
    (b"\xff\xfe", {}, 400, "body_invalid"), (b"[" * 33 + b"]" * 33, {}, 400, "body_invalid"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "media_type"),
    (b" " * (1024 * 1024 + 1), {}, 413, "body_too_large"),
    (b"{}", {"X-Tally-Tenant": ""}, 403, "tenant_missing")])
def test_bodies_that_are_refused(world, body, headers, status, code):
    got, head, problem = world.validate(body, headers)
    assert (got, problem["code"], problem["status"]) == (status, code, status)
    assert problem["correlation_id"] == "corr-1"


def test_many_requests_on_one_connection(world):
    c = stack.UnixConnection(world.sock)
    for n in range(50):
        c.request("POST", "/v1/time-entries/validate", body=json.dumps(entry(n)),
                  headers={**AS_ACME, "Content-Type": "application/json"})
        r = c.getresponse()
        assert r.status == 200 and json.loads(r.read())["valid"] is True
    c.close()


def test_a_client_that_leaves_harms_nobody(world):
    for sent in (b"POST /v1/time-ent", b"POST /v1/time-entries/validate HTTP/1.1\r\nHost: x\r\n"
                 b"X-Tally-Tenant: acme\r\nContent-Length: 100\r\n\r\n{", b"\x00\x01\x02\r\n\r\n"):
        c = stack.UnixConnection(world.sock)
        c.connect()
        c.sock.sendall(sent)
        c.close()
    assert world.get("/healthz")[0] == 200


def test_health_ready_and_metrics(world):
    assert world.get("/healthz", {})[0] == 200
    status, _, ready = world.get("/readyz", {})
    assert status == 200 and ready["ready"] is True
    status, head, text = stack.unix_request(world.sock, "GET", "/metrics")
    assert status == 200 and head["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\ntallygate_events_total{state=\"accepted\"} " in text


def test_the_health_command_asks_the_running_process(world):
    done = world.cli("health", "-c", world.conf)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"health: ok (unix:{world.sock}: /readyz: status 200)\n"
    done = world.cli("health", "--at", f"unix:{world.sock}", "--path", "/metrics")  # more than it keeps
    assert done.returncode == 0, done.stderr
    done = world.cli("health", "--at", f"unix:{world.sock}", "--path", "/nothing")
    assert done.returncode == 1 and "/nothing: status 404: " in done.stderr


@pytest.mark.parametrize("said", [None, b"", b"SSH-2.0-x\r\n",
                                  b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"])
def test_who_does_not_answer_is_not_well(world, said):
    """A full queue, a peer that closes, one that speaks something else, one that stops half-way."""
    path = str(world.dir / "odd.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(4)

        def answer():
            peer, _ = listener.accept()
            peer.recv(4096)
            peer.sendall(said)
            peer.close()
        peer = threading.Thread(target=answer) if said is not None else None
        if peer:
            peer.start()
        done = world.cli("health", "--at", f"unix:{path}", "--timeout", "1")
        if peer:
            peer.join(10)
    os.unlink(path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"tallygate health: unix:{path}: no answer to /readyz: ")



def test_the_commands_beside_a_running_serve(world):
    world.settled(world.publish(entry(20), "ce-20"))
    done = world.cli("check", "-c", world.conf, "--journal")
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().splitlines()[-1] == "check: ok"
    done = world.cli("audit", "checkpoint", "-c", world.conf)
    assert done.returncode == 0, done.stderr
    assert "audit: checkpoint written to" in done.stdout
    done = world.cli("audit", "verify", "-c", world.conf)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("audit: ok (")
    report = json.loads(world.cli("audit", "verify", "-c", world.conf, "--json").stdout)
    assert report["intact"] is True and report["rows"] > 0 and report["checkpoints"] >= 1
    assert len(report["head"]) == 64


def test_a_checkpoint_of_another_key_is_not_believed(world):
    world.cli("audit", "checkpoint", "-c", world.conf)
    other = stack.scratch("key")
    made = world.cli("token", "keys", "--out", other, "--name", "other", "--alg", "EdDSA")
    assert made.returncode == 0
    from cryptography.hazmat.primitives import serialization
    key = serialization.load_pem_private_key((other / "other.pem").read_bytes(), None)
    (other / "public.pem").write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    done = world.cli("audit", "verify", "-c", world.conf, "--public-key", other / "public.pem")
    assert done.returncode == 1
    assert "BROKEN" in done.stdout.strip().splitlines()[-1]


def test_without_redis_the_journal_still_answers():
    w = World().start()
    event = w.publish(entry(1), "ce-1")
    w.settled(event)
    w.redis.kill()
    stack.wait_for(lambda: w.get("/readyz", {})[0] == 503, 10, "not ready")
    assert w.get("/readyz", {})[2]["parts"]["redis"] == "not ready"
    done = w.cli("health", "-c", w.conf)
    assert done.returncode == 1
    assert '/readyz: status 503: {"ready":false,' in done.stderr
    assert w.get("/healthz", {})[0] == 200
    assert w.get(f"/v1/events/{event}")[2]["stage"] == "posted"
    status, _, problem = w.get(f"/v1/events/s{SHARD:02}-1-1")
    assert (status, problem["code"]) == (503, "unavailable")
    assert w.validate(json.dumps(entry(2)))[0] == 200
    assert w.stop(signal.SIGQUIT) == 0  # an image's one stop signal for both halves
    with pytest.raises((OSError, http.client.HTTPException)):
        w.get("/healthz", {})
