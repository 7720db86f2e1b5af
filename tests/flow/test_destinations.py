"""A person holds a destination and lets it go: by API and by command, across a kill, named in the audit
trail; and nobody does so without the scope."""
import json
import sqlite3

import pytest

from tests.harness import stack
from tests.harness.firm import Firm

NOW = iter(range(1, 10_000))


@pytest.fixture(scope="module")
def firm():
    f = Firm("dest").start()
    yield f
    found = f.stop()
    f.remove()
    assert not found


def ops(firm, client, method, path, scope="ops:read ops:write", body=None, tenant="acme", **headers):
    headers["Authorization"] = "Bearer " + firm.token(scope, client="ops-anna", tenant=tenant)
    return client.request(method, f"/v1/ops/destinations{path}", json=body, headers=headers)


def cli(firm, *args):
    return firm.orchestrator.run("destinations", *args, "-c", firm.yaml)


def state(firm, name="erp"):
    done = cli(firm, "list", "--json")
    assert done.returncode == 0, done.stderr
    return {d["destination"]: d for d in json.loads(done.stdout)["destinations"]}[name]


def audit(firm, action):
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    try:
        return db.execute("SELECT actor, subject, detail FROM audit WHERE action = ? ORDER BY seq",
                          (action,)).fetchall()
    finally:
        db.close()


def test_held_and_released(firm):
    before = len(audit(firm, "destination.paused"))
    with firm.client() as c:
        answer = ops(firm, c, "POST", "/erp/pause", body={"reason": "month end"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "paused"
        assert answer.json()["paused"]["by"] == "ops-anna"
        assert answer.json()["paused"]["reason"] == "month end"
        again = ops(firm, c, "POST", "/erp/pause", body={"reason": "another"})
        assert again.json()["paused"] == answer.json()["paused"], "twice is once"
        assert len(audit(firm, "destination.paused")) == before + 1
        numbers = [next(NOW) for _ in range(5)]
        events = [firm.send(c, firm.entry(n)).json()["id"] for n in numbers]
        want = {f"TE-{n:06}" for n in numbers}
        stack.wait_for(lambda: want <= {r["entry"] for r in firm.payroll()}, 20, "payroll goes on")
        assert not want & {r["entry"] for r in firm.labor()}

        def shown():
            rows = ops(firm, c, "GET", "").json()["destinations"]
            return {r["destination"]: (r["state"], r["loaded"], bool(r["oldest_open_since"]))
                    for r in rows}
        stack.wait_for(lambda: shown() == {"erp": ("paused", 5, True),
                                           "payroll": ("running", 0, False)}, 20, "the list")
        assert ops(firm, c, "POST", "/erp/resume", body={"reason": "all clear"}).json()["state"] == "running"
        for event in events:
            assert firm.settled(c, event)["stage"] == "posted"
    assert [r["entry"] for r in firm.labor() if r["entry"] in want] == sorted(want), "in order"
    assert audit(firm, "destination.paused")[-1][0] == "ops-anna"
    assert "month end" in audit(firm, "destination.paused")[-1][2]
    assert audit(firm, "destination.resumed")[-1][0] == "ops-anna"
    assert "all clear" in audit(firm, "destination.resumed")[-1][2]


def test_held_across_a_kill(firm):
    done = cli(firm, "pause", "erp", "--reason", "a new server tonight")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("destinations: erp is paused\n")
    firm.orchestrator.kill()
    firm.orchestrator.start()
    firm.edge_ready()
    held = state(firm)
    assert held["state"] == "paused" and held["paused"]["by"].startswith("cli:")
    n = next(NOW)
    with firm.client() as c:
        event = firm.send(c, firm.entry(n)).json()["id"]
        stack.wait_for(lambda: f"TE-{n:06}" in {r["entry"] for r in firm.payroll()}, 20, "payroll")
        assert f"TE-{n:06}" not in {r["entry"] for r in firm.labor()}
        assert "paused by cli:" in cli(firm, "list").stdout
        assert cli(firm, "resume", "erp").stdout.endswith("destinations: erp is running\n")
        assert firm.settled(c, event)["stage"] == "posted"


@pytest.mark.parametrize("scope,method,path,status,code", [
    ("ops:read", "POST", "/erp/pause", 403, "scope_insufficient"),
    ("status:read", "GET", "", 403, "scope_insufficient"),
    ("events:write", "POST", "/erp/resume", 403, "scope_insufficient"),
    ("ops:read ops:write", "POST", "/nope/pause", 404, "not_found"),
    ("ops:read ops:write", "POST", "/" + "x" * 300 + "/pause", 404, "not_found"),
    ("ops:read ops:write", "POST", "/erp/stop", 404, "not_found"),
    ("ops:read", "GET", "?state=paused", 400, "query_invalid"),
    ("ops:read", "GET", "?limit=1", 400, "query_invalid"),
    ("ops:read ops:write", "GET", "/erp/pause", 405, "method_not_allowed"),
    ("ops:read ops:write", "DELETE", "", 405, "method_not_allowed"),
])
def test_refused(firm, scope, method, path, status, code):
    with firm.client() as c:
        answer = ops(firm, c, method, path, scope=scope)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert state(firm)["state"] == "running"


@pytest.mark.parametrize("body", ["[]", "{", '{"reason": 7}', '{"reason": "a", "why": "b"}',
                                  '{"reason": "a", "reason": "b"}', '{"reason": ""}', '{"reason": "   "}',
                                  r'{"reason": "a\u001b[2J"}', json.dumps({"reason": "x" * 201})])
def test_bad_reasons(firm, body):
    with firm.client() as c:
        answer = c.post("/v1/ops/destinations/erp/pause", content=body, headers={
            "Authorization": "Bearer " + firm.token("ops:write", client="ops-anna")})
        assert (answer.status_code, answer.json()["code"]) == (400, "body_invalid"), answer.text
    assert state(firm)["state"] == "running"


def test_a_scope_in_a_header_is_no_scope(firm):
    """What the client says of itself is replaced by what its token says, in every location."""
    mine = {"X-Tally-Scope": "ops:read ops:write", "X-Tally-Client": "boss"}
    with firm.client() as c:
        for scope in ("status:read", "validate", "ops:read"):
            answer = ops(firm, c, "POST", "/erp/pause", scope=scope, **mine)
            assert answer.status_code == 403
        assert ops(firm, c, "POST", "/erp/pause", tenant="zeta", **mine).status_code == 403
    assert state(firm)["state"] == "running"


def test_command_line(firm):
    assert cli(firm).returncode == 2
    for args in (("stop",), ("pause",), ("pause", "a", "b"), ("list", "x"), ("pause", "../erp")):
        assert firm.orchestrator.run("destinations", *args).returncode == 2, args
    done = cli(firm, "pause", "nope")
    assert done.returncode == 1 and "no destination of that name" in done.stderr
    done = cli(firm, "list", "--tenant", "zeta")
    assert done.returncode == 1 and "tenant zeta is not in the configuration" in done.stderr


def test_nobody_listens(firm):
    assert firm.orchestrator.stop() == 0
    try:
        done = cli(firm, "list")
        assert done.returncode == 1 and "start `tallygate serve`" in done.stderr
    finally:
        firm.orchestrator.start()
        firm.edge_ready()
