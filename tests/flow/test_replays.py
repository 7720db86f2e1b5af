"""Many exceptions replayed at one wish: looked at first, run as it was looked at, in slices, across a kill."""
import json
import signal
import sqlite3

import pytest

from tests.flow.test_http_json import UPSERT, erp
from tests.harness import stack
from tests.harness.firm import Firm
from tests.harness.rest import Rest

NO = (422, {}, {"message": "this cost center is closed"})
MANY = 300  # more than a slice, several times


def more_room(conf):
    return conf.replace("tally_rate 20r/s burst=40 name=ops", "tally_rate 2000r/s burst=4000 name=ops")


@pytest.fixture
def make():
    made = []

    def build(name, start=True, **kw):
        made.append(Firm(name, edit_nginx=more_room, **kw))
        return made[-1].start() if start else made[-1]
    yield build
    found = [f.stop() for f in made]
    for f in made:
        f.remove()
    assert not any(found)


def call(firm, client, body, scope="ops:write", tenant="acme"):
    token = firm.token(scope, client="ops-anna", tenant=tenant)
    return client.post("/v1/ops/replays", content=body if isinstance(body, str) else json.dumps(body),
                       headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})


def get(firm, client, path, tenant="acme"):
    token = firm.token("ops:read", client="ops-anna", tenant=tenant)
    return client.get(f"/v1/ops/{path}", headers={"Authorization": f"Bearer {token}"})


def sql(firm, text, *args):
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    try:
        return db.execute(text, args).fetchall()
    finally:
        db.close()


def open_now(firm):
    return sql(firm, "SELECT count(*) FROM exceptions WHERE state IN (0, 1)")[0][0]


def unknown_workers(firm, client, numbers):
    """Entries of a worker nobody knows: exceptions of events."""
    for n in numbers:
        assert firm.send(client, firm.entry(n, worker="W-new", project="P-101", task="T-1")).status_code == 202


def knows(firm):
    """Master data has the worker from now on."""
    worker = dict(firm.master["workers"][0], id="W-new", aliases={})
    firm.master["workers"].append(worker)
    firm.master["assignments"].append({"worker": "W-new", "project": "P-101", "from": "2026-01-01", "to": None})
    firm.write_master()
    before = firm.orchestrator.process.text().count("reload: rules")
    firm.orchestrator.process.send(signal.SIGHUP)
    stack.wait_for(lambda: firm.orchestrator.process.text().count("reload: rules") > before, 20, "reload")


def ended(firm, client, id_, seconds=90):
    def over():
        answer = get(firm, client, f"replays/{id_}").json()
        return answer if answer["state"] == "ended" else None
    return stack.wait_for(over, seconds, f"replay {id_} is over")


def refused_by_the_erp(firm, rest, client, numbers):
    rest.answers.extend([NO] * len(numbers))
    for n in numbers:
        assert firm.send(client, firm.entry(n)).status_code == 202
    stack.wait_for(lambda: open_now(firm) == len(numbers), 60, "the ERP refuses all")


def test_replayed_as_it_was_looked_at(make):
    with Rest() as rest:
        firm = make("replays", erp=erp(rest.url, UPSERT))
        with firm.client() as c:
            refused_by_the_erp(firm, rest, c, range(MANY))
            body = {"filter": {"code": "destination_rejected", "destination": "erp"}}
            seen = call(firm, c, body).json()
            assert seen["dry_run"] is True and seen["count"] == MANY and len(seen["groups"]) == 1
            assert seen["groups"][0]["destination"] == "erp" and open_now(firm) == MANY, "nothing was done"
            for other in ({"destination": "payroll"}, {"owner": "nobody"}, {"until": "2020-01-01T00:00:00Z"},
                          {"subject_prefix": "TE-9"}, {"code": "' OR 1=1 --"}, {"ids": [999999]}):
                none = call(firm, c, {"filter": other}).json()
                assert none["count"] == 0 and none["token"] is None, other
            assert call(firm, c, {"filter": {"subject_prefix": "TE-00000"}}).json()["count"] == 10
            assert call(firm, c, {"filter": {"ids": [3, 2, 3], "destination": "erp"}}).json()["count"] == 2
            run = {**body, "dry_run": False, "token": seen["token"], "reason": "it is open again"}
            # a token of another filter, an altered one, and a set that is another by now
            for bad in ({**run, "filter": {"code": "destination_rejected"}}, {**run, "token": seen["token"][::-1]}):
                answer = call(firm, c, bad)
                assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
            x = get(firm, c, "exceptions?limit=1").json()["exceptions"][0]
            token = firm.token("ops:write", client="ops-ben")
            done = c.post(f"/v1/ops/exceptions/{x['id']}/replay", headers={"Authorization": f"Bearer {token}"})
            assert done.status_code == 200, done.text
            answer = call(firm, c, run)
            assert answer.status_code == 409 and f"finds {MANY - 1} open" in answer.json()["detail"]
            assert open_now(firm) == MANY - 1, "nothing was done"
            seen = call(firm, c, body).json()
            run["token"] = seen["token"]
            begun = call(firm, c, run)
            assert begun.status_code == 200, begun.text
            assert begun.json()["total"] == MANY - 1 and begun.json()["by"] == "ops-anna"
            again = call(firm, c, run)
            assert again.status_code == 200 and again.json()["id"] == begun.json()["id"], "sent twice is once"
            over = ended(firm, c, begun.json()["id"])
            assert (over["done"], over["unchanged"], over["refused"], over["left"]) == (MANY - 1, 0, 0, 0)
            assert over["reason"] == "it is open again" and over["ended_at"]
            stack.wait_for(lambda: len(rest.keys()) == MANY, 60, "all are in the ERP")
            assert len(set(rest.keys())) == MANY and open_now(firm) == 0
            assert call(firm, c, run).json()["id"] == begun.json()["id"], "and later too"
        rows = sql(firm, "SELECT action, count(*) FROM audit WHERE actor = 'ops-anna' GROUP BY action")
        assert dict(rows) == {"exception.replayed": MANY - 1, "replay.begun": 1, "replay.ended": 1}
        found = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
        assert found.returncode == 0, found.stdout + found.stderr


def test_it_goes_on_after_a_kill(make):
    with Rest() as rest:
        firm = make("replaykill", erp=erp(rest.url, UPSERT))
        with firm.client() as c:
            refused_by_the_erp(firm, rest, c, range(MANY))
            body = {"filter": {"owner": sql(firm, "SELECT owner FROM exceptions LIMIT 1")[0][0]}}
            run = {**body, "dry_run": False, "token": call(firm, c, body).json()["token"]}
            id_ = call(firm, c, run).json()["id"]
            for how in ("kill", "stop", "kill"):
                assert getattr(firm.orchestrator, how)() in (None, 0), "a stop in between is clean"
                firm.orchestrator.start()
                firm.edge_ready()
                assert get(firm, c, f"replays/{id_}").json()["total"] == MANY
            over = ended(firm, c, id_)
            assert over["done"] + over["unchanged"] == MANY and over["refused"] == 0 and over["left"] == 0, over
            stack.wait_for(lambda: len(set(rest.keys())) == MANY, 60, "all are in the ERP")
            assert len(rest.keys()) == MANY, "each once"
            assert open_now(firm) == 0
        rows = sql(firm, "SELECT subject, count(*) FROM audit WHERE action = 'exception.replayed' GROUP BY subject")
        assert len(rows) == MANY and {n for _, n in rows} == {1}
        found = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
        assert found.returncode == 0, found.stdout + found.stderr


def test_by_command(make):
    """Exceptions of events: judged again by the master data of now."""
    firm = make("replaycmd")

    def cli(*args):
        return firm.orchestrator.run("replay", *args, "-c", firm.yaml)
    with firm.client() as c:
        unknown_workers(firm, c, range(70))
        stack.wait_for(lambda: open_now(firm) == 70, 30, "nobody knows the worker")
        seen = cli("--filter", "code=worker_unknown,subject_prefix=TE-", "--dry-run")
        assert seen.returncode == 0 and seen.stdout.endswith("replay: 70 would be replayed\n"), seen.stderr
        assert "worker_unknown" in seen.stdout and open_now(firm) == 70
        shown = json.loads(cli("--filter", "code=worker_unknown", "--dry-run", "--json").stdout)
        assert shown["count"] == 70
        same = cli("--filter", "code=worker_unknown")
        assert same.returncode == 0 and "0 replayed, 70 as before, 0 refused, 0 left" in same.stdout, same.stdout + same.stderr
        assert open_now(firm) == 70
        knows(firm)
        ids = [x[0] for x in sql(firm, "SELECT id FROM exceptions ORDER BY id LIMIT 2")]
        done = cli("--filter", f"id={ids[0]},id={ids[1]}", "--reason", "HR was late")
        assert "2 replayed" in done.stdout, done.stdout + done.stderr
        done = cli("--filter", "owner=master-data")
        assert done.returncode == 0 and "68 replayed, 0 as before, 0 refused, 0 left" in done.stdout, done.stdout
        assert open_now(firm) == 0
        number = done.stdout.split("replay: ")[1].split()[0]
        assert "is over" in cli("--status", number).stdout
        none = cli("--filter", "owner=master-data")
        assert none.returncode == 0 and none.stdout.endswith("replay: 0 would be replayed\n")
        actors = sql(firm, "SELECT DISTINCT actor FROM audit WHERE action = 'replay.begun'")
        assert len(actors) == 1 and actors[0][0].startswith("cli:")
    for args in ((), ("--filter",), ("--filter", "x", "--status", "1"), ("--what",), ("--filter", "a=b", "more")):
        assert cli(*args).returncode == 2, args
    for text in ("x=y", "code", "code=", "=x", "id=x", "id=", ",", "code=a,,", "since=today"):
        done = cli("--filter", text)
        assert done.returncode == 1 and "accepted" in done.stderr or "an id is" in done.stderr, (text, done.stderr)
    assert cli("--status", "999").returncode == 1
    assert cli("--status", "x").returncode == 1


def test_many_need_a_second_person(make):
    with Rest() as rest:
        firm = make("replaytwo", start=False, erp=erp(rest.url, UPSERT))
        firm.yaml.write_text(firm.yaml.read_text() + "\napprovals: { replay_above: 5 }\n")
        firm.start()

        def decide(client, id_, decision, who):
            return client.post(f"/v1/ops/approvals/{id_}", json={"decision": decision}, headers={
                "Authorization": "Bearer " + firm.token("ops:approve", client=who)})
        with firm.client() as c:
            refused_by_the_erp(firm, rest, c, range(20))
            few = {"filter": {"ids": [1, 2, 3, 4, 5]}}
            done = call(firm, c, {**few, "dry_run": False, "token": call(firm, c, few).json()["token"]})
            assert done.status_code == 200 and ended(firm, c, done.json()["id"])["done"] == 5
            body = {"filter": {"destination": "erp"}}
            run = {**body, "dry_run": False, "token": call(firm, c, body).json()["token"], "reason": "opened again"}
            asked = call(firm, c, run)
            assert asked.status_code == 202 and asked.json()["changed"], asked.text
            again = call(firm, c, run)
            assert again.status_code == 202 and again.json() == {**asked.json(), "changed": False}
            assert open_now(firm) == 15, "nothing was done yet"
            id_ = asked.json()["approval"]
            rows = get(firm, c, "approvals").json()["approvals"]
            assert [(r["verb"], r["asked_by"]) for r in rows] == [("replay", "ops-anna")]
            assert rows[0]["subject"].startswith("15 exceptions")
            assert decide(c, id_, "approve", "ops-anna").status_code == 409
            firm.orchestrator.kill()
            firm.orchestrator.start()
            firm.edge_ready()
            approved = decide(c, id_, "approve", "ops-ben")
            assert approved.status_code == 200 and approved.json()["state"] == "done", approved.text
            over = ended(firm, c, call(firm, c, run).json()["id"])
            assert (over["done"], over["by"], over["reason"]) == (15, "ops-anna", "opened again")
            stack.wait_for(lambda: len(rest.keys()) == 20, 60, "all are in the ERP")
            assert decide(c, id_, "approve", "ops-ben").json()["changed"] is False
            seen = {r["action"]: r["actor"] for r in get(firm, c, f"audit?subject=approval%20{id_}").json()["audit"]}
            assert seen == {"approval.asked": "ops-anna", "approval.done": "ops-ben"}
            refused_by_the_erp(firm, rest, c, range(100, 110))
            done = firm.orchestrator.run("replay", "--filter", "destination=erp", "-c", firm.yaml)
            assert done.returncode == 0 and "waits for a second person: approval " in done.stdout, done.stdout + done.stderr
            number = done.stdout.split("approval ")[1].strip()
            refused = decide(c, number, "refuse", "ops-ben")
            assert refused.json()["state"] == "refused" and open_now(firm) == 10


BAD = ["", "[]", "{", "7", '{"filter": {}}', '{"filter": []}', '{"filter": {"x": 1}}', '{"filter": {"code": 1}}',
       '{"filter": {"code": ""}}', '{"filter": {"code": "a\\nb"}}', '{"filter": {"since": "x"}}',
       '{"filter": {"ids": []}}', '{"filter": {"ids": [0]}}', '{"filter": {"ids": ["1"]}}', '{"filter": {"ids": [1.5]}}',
       '{"filter": {"code": "a", "code": "b"}}', '{"filter": {"code": "a"}, "dry_run": 1}',
       '{"filter": {"code": "a"}, "more": 1}', '{"filter": {"code": "a"}, "dry_run": false}',
       '{"filter": {"code": "a"}, "dry_run": false, "token": "x"}', '{"filter": {"code": "a"}, "reason": ""}',
       '{"filter": {"code": "a"}, "reason": "  "}',
       json.dumps({"filter": {"ids": list(range(1, 1002))}}), json.dumps({"filter": {"code": "x" * 256}})]


def test_refused(make):
    firm = make("replaybad")
    with firm.client() as c:
        for body in BAD:
            answer = call(firm, c, body)
            assert (answer.status_code, answer.json()["code"]) == (400, "body_invalid"), (body, answer.text)
        good = {"filter": {"code": "worker_unknown"}}
        for scope in ("ops:read", "events:write"):
            assert call(firm, c, good, scope=scope).status_code == 403
        assert call(firm, c, good, tenant="zeta").status_code == 403
        empty = call(firm, c, {**good, "dry_run": False, "token": "0" * 64})
        assert (empty.status_code, empty.json()["code"]) == (409, "conflict")
        for path in ("replays/1", "replays/x", "replays/-1"):
            assert get(firm, c, path).status_code == 404
        assert get(firm, c, "replays").status_code == 405
