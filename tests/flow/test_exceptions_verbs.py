"""What people do about exceptions, with every process real: an ERP that refuses and then takes it, outcomes that
nobody knows, versions that wait, and a kill between any two steps. Nothing is ever in the ERP twice, nor lost."""
import collections
import json
import signal
import sqlite3
import threading

import httpx
import pytest

from tests.flow.test_http_json import LOOKED_UP, UPSERT, erp, number, posting, settle
from tests.harness import stack
from tests.harness.faultproxy import FaultProxy
from tests.harness.rest import Rest

NONE = {"path": "/labor", "dedupe": "none", "key_field": "external_id"}
REVERSIBLE = UPSERT | {"reverse": "post"}
NO = (422, {}, {"message": "this cost center is closed"})


def cli(firm, *args, **kw):
    return firm.orchestrator.run("exceptions", *args, "-c", firm.yaml, **kw)


def call(firm, client, id_, verb, body=None, scope="ops:write", tenant="acme"):
    token = firm.token(scope, client="ops-anna", tenant=tenant)
    return client.post(f"/v1/ops/exceptions/{id_}/{verb}", json=body, headers={"Authorization": f"Bearer {token}"})


def sql(firm, text, *args):
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    try:
        return db.execute(text, args).fetchall()
    finally:
        db.close()


def checked(firm):
    done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
    assert done.returncode == 0, done.stdout + done.stderr


def hook(firm, data, **kw):
    with firm.client() as c:
        answer = firm.hook(c, data, **kw)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


def refused(firm, rest, **kw):
    """An entry that the ERP refuses, and its exception."""
    rest.answers.append(NO)
    data = firm.entry(number(), **kw)
    event = hook(firm, data)
    assert posting(settle(firm, event))["state"] == "exception"
    return data, event, next(x for x in firm.exceptions() if x["subject"] == f"{data['id']}@1")


def state(firm, event, want, seconds=40):
    def done():
        with firm.client() as c:
            story = firm.status(c, event).json()
        return story if posting(story)["state"] == want else None
    return posting(stack.wait_for(done, seconds, f"{event} {want}"))


def test_replayed_after_the_erp_was_put_right(make_firm):
    with Rest() as rest:
        firm = make_firm(erp=erp(rest.url, UPSERT))
        data, event, x = refused(firm, rest)
        assert x["code"] == "destination_rejected" and rest.keys() == []
        done = cli(firm, "assign", str(x["id"]), "--to", "ben", "--reason", "he knows the ERP")
        assert done.returncode == 0 and done.stdout.endswith(f"exceptions: {x['id']} is assigned to ben\n"), done.stderr
        shown = cli(firm, "show", str(x["id"]))
        assert "assignee   ben" in shown.stdout
        assert " ben " in cli(firm, "list").stdout
        done = cli(firm, "replay", str(x["id"]), "--reason", "opened again")
        assert done.returncode == 0 and "is replayed (ready)" in done.stdout, done.stderr
        assert state(firm, event, "posted")["ref"] == "1"
        assert rest.keys() == [posting(settle(firm, event))["key"]]
        again = cli(firm, "replay", str(x["id"]))
        assert again.returncode == 0 and again.stdout.endswith("; nothing changed\n")
        late = cli(firm, "discard", str(x["id"]), "--reason", "too late")
        assert late.returncode == 1 and "replayed by cli:" in late.stderr
        rows = sql(firm, "SELECT actor, action, detail FROM audit WHERE subject = ? ORDER BY seq", f"exception {x['id']}")
        assert [r[1] for r in rows] == ["exception.opened", "exception.assigned", "exception.replayed"]
        assert rows[2][0].startswith("cli:") and json.loads(rows[2][2])["reason"] == "opened again"
        checked(firm)


def test_an_unknown_outcome_is_resolved_both_ways(make_firm):
    with Rest(dedupe=False) as rest, FaultProxy(("127.0.0.1", rest.port)) as proxy:
        firm = make_firm(erp=erp(proxy.url, NONE))
        for cut, there in (("cut_after", True), ("cut_before", False)):
            proxy.rule(cut, times=1, match=lambda r: r.method == "POST")
            event = hook(firm, firm.entry(number()))
            key = posting(settle(firm, event))["key"]
            (x,) = firm.exceptions()
            assert x["code"] == "outcome_unknown"
            assert rest.keys().count(key) == there
            with firm.client() as c:
                for verb, body in (("discard", {"reason": "away"}), ("edit", {"content": {"a": "b"}})):
                    answer = call(firm, c, x["id"], verb, body)
                    assert answer.status_code == 409 and answer.json()["code"] == "conflict"
                    assert "use resolve" in answer.json()["detail"]
                said = {"outcome": "posted", "reference": "L-9"} if there else {"outcome": "absent"}
                other = {"outcome": "absent"} if there else {"outcome": "posted", "reference": "L-9"}
                answer = call(firm, c, x["id"], "resolve", said | {"reason": "seen there"})
                assert answer.status_code == 200, answer.text
                assert answer.json()["state"] == "resolved" and answer.json()["changed"]
                assert answer.json()["closed_by"] == "ops-anna" and answer.json()["reason"] == "seen there"
                p = state(firm, event, "posted")
                assert p["ref"] == ("L-9" if there else "2")
                answer = call(firm, c, x["id"], "resolve", said)
                assert answer.status_code == 200 and not answer.json()["changed"]
                assert call(firm, c, x["id"], "resolve", other).status_code == 409
            assert rest.keys().count(key) == 1
        checked(firm)


def test_a_discarded_reversal_lets_the_next_version_go_and_stays_discarded(make_firm):
    with Rest() as rest:
        firm = make_firm(erp=erp(rest.url, REVERSIBLE))
        n = number()
        first = hook(firm, firm.entry(n))
        state(firm, first, "posted")
        rest.answers.append(NO)  # the reversal
        second = hook(firm, firm.entry(n, version=2, hours="2.00"))
        stack.wait_for(firm.exceptions, 40, "the reversal refused")
        (x,) = firm.exceptions()
        assert posting(settled_or_held(firm, second))["state"] == "held"
        done = cli(firm, "discard", str(x["id"]), "--reason", "taken out by hand")
        assert done.returncode == 0, done.stderr
        state(firm, second, "posted")
        third = hook(firm, firm.entry(n, version=3, hours="3.00"))
        state(firm, third, "posted")
        reversals = sql(firm, "SELECT o.version, r.state FROM postings r JOIN postings p ON p.id = r.reverses JOIN "
                              "objects o ON o.id = p.object JOIN destinations d ON d.id = p.destination "
                              "WHERE d.name = 'acme/erp' ORDER BY r.id")
        assert reversals == [(1, 8), (2, 6)], "version 1 was decided by a person; version 2 was taken back"
        assert max(collections.Counter(rest.keys()).values()) == 1
        checked(firm)


def settled_or_held(firm, event):
    def done():
        with firm.client() as c:
            story = firm.status(c, event).json()
        return story if story.get("objects") and posting(story)["state"] in ("held", "posted", "exception") else None
    return stack.wait_for(done, 20, f"{event} is held")


def payload_of(firm, key):
    return json.loads(sql(firm, "SELECT payload FROM postings WHERE key = ?", bytes.fromhex(key))[0][0])


def test_an_edit_posts_the_next_generation_once_across_a_kill(make_firm):
    with Rest() as rest:
        firm = make_firm(erp=erp(rest.url, UPSERT))
        data, event, x = refused(firm, rest)
        old = posting(settle(firm, event))["key"]
        payload = payload_of(firm, old)
        path = firm.path("edited.json")
        path.write_text(json.dumps(payload | {"hours": "99"}))
        done = cli(firm, "edit", str(x["id"]), "--file", path)
        assert done.returncode == 1 and "hours" in done.stderr
        path.write_text("{")
        assert cli(firm, "edit", str(x["id"]), "--file", path).returncode == 1
        for wrong, said in (({"hours": "-" + payload["hours"]}, "hours"), ({"amount": "-99999.00"}, "amount"),
                            ({"entry": "TE-999999"}, "entry"), ({"worker": "W-002"}, "worker")):
            path.write_text(json.dumps(payload | wrong))
            done = cli(firm, "edit", str(x["id"]), "--file", path)
            assert done.returncode == 1 and f"`{said}` cannot be edited" in done.stderr, (wrong, done.stderr)
        path.write_text(json.dumps({k: v for k, v in payload.items() if k != "hours"}))
        assert "`hours` is missing" in cli(firm, "edit", str(x["id"]), "--file", path).stderr
        for period, said in (("2026-10", "is closed"), ("2031-13", "has no period"), ("x", "has no period")):
            moved = {k: period if v == payload["period"] else v for k, v in payload.items()}
            path.write_text(json.dumps(moved))
            done = cli(firm, "edit", str(x["id"]), "--file", path, "--period", period)
            assert done.returncode == 1 and said in done.stderr, (period, done.stderr)
        assert not rest.keys()
        hold = firm.orchestrator.run("destinations", "pause", "erp", "-c", firm.yaml)
        assert hold.returncode == 0, hold.stderr
        path.write_text(json.dumps(payload | {"task": "T-EDITED"}))
        done = cli(firm, "edit", str(x["id"]), "--file", path, "--reason", "the task was closed")
        assert done.returncode == 0 and "is edited (ready)" in done.stdout, done.stderr
        firm.orchestrator.kill()
        firm.orchestrator.start()
        firm.edge_ready()
        assert cli(firm, "edit", str(x["id"]), "--file", path).stdout.endswith("; nothing changed\n")
        path.write_text(json.dumps(payload | {"task": "T-OTHER"}))
        done = cli(firm, "edit", str(x["id"]), "--file", path)
        assert done.returncode == 1 and "nothing was done" in done.stderr, done.stdout
        assert firm.orchestrator.run("destinations", "resume", "erp", "-c", firm.yaml).returncode == 0
        stack.wait_for(rest.keys, 20, "the edited one")
        stack.wait_for(lambda: sql(firm, "SELECT 1 FROM postings WHERE generation = 2 AND state = 6"), 20, "posted")
        assert [b["task"] for b in rest.bodies()] == ["T-EDITED"] and old not in rest.keys()
        assert sql(firm, "SELECT state FROM postings WHERE key = ?", bytes.fromhex(old)) == [(8,)]
        assert len(sql(firm, "SELECT 1 FROM edits WHERE posting IS NOT NULL")) == 1
        checked(firm)


def test_events_are_judged_again_edited_and_given_up(make_firm):
    firm = make_firm()
    numbers = [number() for _ in range(3)]
    events = [hook(firm, firm.entry(n, worker="W-404", project="P-101")) for n in numbers]
    by_subject = {x["subject"]: x for x in stack.wait_for(
        lambda: len(firm.exceptions()) == 3 and firm.exceptions(), 20, "three exceptions")}
    replayed, edited, dropped = (by_subject[f"TE-{n:06}@1"]["id"] for n in numbers)
    with firm.client() as c:
        answer = call(firm, c, replayed, "replay")
        assert answer.status_code == 200 and not answer.json()["changed"], answer.text
        assert answer.json()["state"] == "open" and "as before" in answer.json()["message"]
        firm.master["workers"].append(dict(firm.master["workers"][0], id="W-404", aliases={}))
        firm.master["assignments"].append(dict(firm.master["assignments"][0], worker="W-404"))
        firm.write_master()
        firm.orchestrator.process.send(signal.SIGHUP)
        answer = stack.wait_for(lambda: (a := call(firm, c, replayed, "replay").json()).get("changed") and a, 20, "reloaded")
        assert answer["state"] == "replayed" and answer["closed_by"] == "ops-anna"
        body = {"specversion": "1.0", "id": "by-hand", "source": "urn:acme:psa",
                "type": "com.tallygate.time_entry.approved.v1", "data": firm.entry(numbers[1], worker="W-001", project="P-101")}
        answer = call(firm, c, edited, "edit", {"content": body, "reason": "a typing error"})
        assert answer.status_code == 200 and answer.json()["state"] == "edited", answer.text
        for content, said in (({}, "`data` is missing"), ({"data": {}}, "nothing was done"), (dict(body, data=None), "`data`"),
                              (dict(body, data={"id": f"TE-{numbers[2]:06}"}), "nothing was done")):
            wrong = call(firm, c, dropped, "edit", {"content": content})
            assert (wrong.status_code, wrong.json()["code"]) == (400, "body_invalid"), wrong.text
            assert said in wrong.json()["detail"], wrong.text
        assert call(firm, c, dropped, "resolve", {"outcome": "absent"}).status_code == 409
        answer = call(firm, c, dropped, "discard", {"reason": "a test"})
        assert answer.status_code == 200 and answer.json()["state"] == "discarded"
        assert not call(firm, c, dropped, "discard", {"reason": "a test"}).json()["changed"]
        for event in events[:2]:
            assert firm.settled(c, event)["stage"] == "posted"
    assert firm.exceptions() == []
    assert {r["entry"] for r in firm.labor()} == {f"TE-{n:06}" for n in numbers[:2]}
    checked(firm)


@pytest.mark.parametrize("verb,body", [
    ("assign", None), ("assign", {"assignee": ""}), ("assign", {"assignee": "a\nb"}), ("assign", {"assignee": 5}),
    ("discard", None), ("discard", {}), ("discard", {"reason": ""}), ("discard", {"reason": " "}),
    ("assign", {"assignee": "  "}), ("replay", {"reason": "    "}), ("discard", {"reason": "x" * 201}),
    ("resolve", {}), ("resolve", {"outcome": "perhaps"}), ("resolve", {"outcome": "posted"}),
    ("resolve", {"outcome": "absent", "reference": "L"}), ("resolve", {"outcome": "posted", "reference": "L" * 129}),
    ("edit", {}), ("edit", {"content": []}), ("edit", {"content": {}, "period": "a b"}), ("replay", {"force": True}),
    ("replay", [])])
def test_a_body_that_is_not_sound(firm, http, verb, body):
    answer = call(firm, http, 1, verb, body)
    assert answer.status_code == 400 and answer.json()["code"] == "body_invalid", answer.text
    assert "send {" in answer.json()["detail"]
    if body == {}:
        assert f"the member `{ {'discard': 'reason', 'resolve': 'outcome', 'edit': 'content'}[verb] }` is missing" in answer.text


def test_whose_and_who(firm, http):
    event = hook(firm, firm.entry(number(), worker="W-404"))
    assert event
    (x,) = stack.wait_for(firm.exceptions, 20, "an exception")
    for id_ in ("999999", "0", "-1", "x", "1e3", "99999999999999999999"):
        answer = call(firm, http, id_, "replay")
        assert answer.status_code == 404 and answer.json()["code"] == "not_found", id_
    assert call(firm, http, x["id"], "replay", scope="ops:read").status_code == 403
    stranger = call(firm, http, x["id"], "replay", tenant="other")
    assert stranger.status_code in (403, 404)
    assert http.get(f"/v1/ops/exceptions/{x['id']}/replay", headers={
        "Authorization": "Bearer " + firm.token("ops:read")}).status_code == 405
    assert call(firm, http, x["id"], "discard", {"reason": "done with it"}).json()["changed"]


def test_verbs_beside_kills_double_nothing_and_lose_nothing(make_firm):
    count = 24
    with Rest(dedupe=False) as rest:
        firm = make_firm(erp=erp(rest.url, LOOKED_UP))
        rest.answers.extend([NO] * count)
        events = [hook(firm, firm.entry(number())) for _ in range(count)]
        stack.wait_for(lambda: len(firm.exceptions()) == count, 60, "all refused")
        todo = collections.deque(x["id"] for x in firm.exceptions())
        over = threading.Event()

        def person():
            with firm.client() as c:
                while todo:
                    id_ = todo.popleft()
                    verb = ("discard", {"reason": "no"}) if id_ % 4 == 0 else ("replay", None)
                    try:
                        if call(firm, c, id_, *verb).status_code != 200:
                            todo.append(id_)
                    except httpx.HTTPError:
                        todo.append(id_)
            over.set()
        people = [threading.Thread(target=person) for _ in range(3)]
        for p in people:
            p.start()
        kills = 0
        while any(p.is_alive() for p in people) and kills < 12:
            firm.orchestrator.kill()
            firm.orchestrator.start()
            firm.edge_ready()
            kills += 1
        for p in people:
            p.join(120)
        assert over.is_set() and kills >= 1

        def states():
            rows = sql(firm, "SELECT p.state, count(*) FROM postings p JOIN destinations d ON d.id = p.destination "
                             "WHERE d.name = 'acme/erp' GROUP BY 1")
            return dict(rows)

        # what a kill left in doubt and absent is a person's question once more: it is not there
        def all_over():
            with firm.client() as c:
                for x in firm.exceptions():
                    if x["code"] == "outcome_unknown":
                        key = sql(firm, "SELECT lower(hex(p.key)) FROM exceptions x JOIN postings p ON p.id = x.posting "
                                        "WHERE x.id = ?", x["id"])[0][0]
                        assert key not in rest.keys()
                        call(firm, c, x["id"], "resolve", {"outcome": "absent"})
            return sum(n for s, n in states().items() if s in (6, 8)) == count
        stack.wait_for(all_over, 120, "all over")
        doubled = {k: n for k, n in collections.Counter(rest.keys()).items() if n > 1}
        assert not doubled
        assert len(rest.keys()) == states()[6] and states()[8] == sum(1 for x in range(1, count + 1) if x % 4 == 0)
        assert len(events) == count
        checked(firm)
