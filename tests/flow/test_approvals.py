"""Giving something up with a second person: asked for by one, done when another one approves, both in the audit chain."""
import json
import sqlite3

import pytest

from tests.flow.test_exceptions_verbs import call, checked, cli, hook, sql
from tests.flow.test_http_json import UPSERT, erp, number, posting, settle
from tests.harness import stack
from tests.harness.rest import Rest


def with_approvals(make_firm, expires="72h", **kw):
    firm = make_firm(start=False, **kw)
    firm.yaml.write_text(firm.yaml.read_text() + f"\napprovals: {{ discard: on, expires: {expires} }}\n")
    return firm.start()


def decide(firm, client, id_, decision, who="ops-ben", scope="ops:approve", tenant="acme", **more):
    return client.post(f"/v1/ops/approvals/{id_}", json={"decision": decision} | more, headers={
        "Authorization": "Bearer " + firm.token(scope, client=who, tenant=tenant)})


def waiting(firm, client, query=""):
    answer = client.get(f"/v1/ops/approvals{query}", headers={
        "Authorization": "Bearer " + firm.token("ops:read", client="ops-anna")})
    assert answer.status_code == 200, answer.text
    return answer.json()["approvals"]


def an_exception(firm):
    before = {x["id"] for x in firm.exceptions()}
    hook(firm, firm.entry(number(), worker="W-404"))
    return stack.wait_for(lambda: next((x["id"] for x in firm.exceptions() if x["id"] not in before), None), 20, "one more")


def ask(firm, client, id_):
    answer = call(firm, client, id_, "discard", {"reason": "a test entry"})
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_posting_is_given_up_by_two(make_firm):
    with Rest() as rest:
        firm = with_approvals(make_firm, erp=erp(rest.url, UPSERT))
        rest.answers.append((422, {}, {"message": "no"}))
        event = hook(firm, firm.entry(number()))
        assert posting(settle(firm, event))["state"] == "exception"
        (x,) = firm.exceptions()
        with firm.client() as c:
            asked = ask(firm, c, x["id"])
            assert asked["changed"]
            again = ask(firm, c, x["id"])
            assert again["approval"] == asked["approval"] and not again["changed"], "twice is once"
            assert posting(settle(firm, event))["state"] == "exception" and len(firm.exceptions()) == 1
            (row,) = waiting(firm, c)
            assert (row["verb"], row["subject"], row["asked_by"]) == ("discard", f"exception {x['id']}", "ops-anna")
            own = decide(firm, c, asked["approval"], "approve", who="ops-anna")
            assert own.status_code == 409 and "second person" in own.json()["detail"]
            firm.orchestrator.kill()
            firm.orchestrator.start()
            firm.edge_ready()
            done = decide(firm, c, asked["approval"], "approve", reason="agreed")
            assert done.status_code == 200, done.text
            assert done.json()["state"] == "done" and done.json()["decided_by"] == "ops-ben"
            assert posting(settle(firm, event))["state"] == "cancelled" and firm.exceptions() == []
            twice = decide(firm, c, asked["approval"], "approve")
            assert twice.status_code == 200 and not twice.json()["changed"]
            assert decide(firm, c, asked["approval"], "refuse").status_code == 409
            assert waiting(firm, c) == [] and len(waiting(firm, c, "?state=all")) == 1
        rows = sql(firm, "SELECT actor, action, detail FROM audit WHERE action LIKE 'approval.%' OR action = "
                         "'exception.discarded' ORDER BY seq")
        assert [r[:2] for r in rows] == [("ops-anna", "approval.asked"), ("ops-ben", "approval.done"),
                                         ("ops-anna", "exception.discarded")]
        assert json.loads(rows[2][2])["approved_by"] == "ops-ben"
        with firm.client() as c:
            seen = c.get("/v1/ops/audit?action=approval", headers={
                "Authorization": "Bearer " + firm.token("ops:read", client="ops-anna")}).json()["audit"]
        assert [r["action"] for r in seen] == ["approval.done", "approval.asked"]
        checked(firm)


def test_events_refusals_and_what_cannot_be_done_any_more(make_firm):
    firm = with_approvals(make_firm)
    with firm.client() as c:
        first, second, third = (an_exception(firm) for _ in range(3))
        asked = [ask(firm, c, x)["approval"] for x in (first, second, third)]
        done = decide(firm, c, asked[0], "approve")
        assert done.status_code == 200 and done.json()["state"] == "done"
        no = decide(firm, c, asked[1], "refuse", reason="it is real work")
        assert no.status_code == 200 and no.json()["state"] == "refused" and no.json()["said"] == "it is real work"
        assert {x["id"] for x in firm.exceptions()} == {second, third}
        body = {"specversion": "1.0", "id": "by-hand", "source": "urn:acme:psa",
                "type": "com.tallygate.time_entry.approved.v1"}
        subject = next(x["subject"] for x in firm.exceptions() if x["id"] == third)
        entry = firm.entry(int(subject[3:9]), worker="W-001", project="P-101")
        edited = call(firm, c, third, "edit", {"content": body | {"data": entry}})
        assert edited.status_code == 200, edited.text
        late = decide(firm, c, asked[2], "approve")
        assert late.status_code == 409 and "could not be done" in late.json()["detail"]
        assert next(a for a in waiting(firm, c, "?state=all") if a["id"] == asked[2])["state"] == "refused"
        anew = ask(firm, c, second)
        assert anew["changed"] and anew["approval"] not in asked, "what was refused can be asked for again"
        assert call(firm, c, first, "discard", {"reason": "x"}).json()["changed"] is False
    checked(firm)


def test_nobody_decided_in_time(make_firm):
    firm = with_approvals(make_firm)
    with firm.client() as c:
        x = an_exception(firm)
        asked = ask(firm, c, x)["approval"]
        firm.orchestrator.stop()
        db = sqlite3.connect(firm.path("journal.db"))
        with db:
            db.execute("UPDATE approvals SET expires_ms = 1")
        db.close()
        firm.orchestrator.start()
        firm.edge_ready()
        assert waiting(firm, c)[0]["state"] == "expired"
        late = decide(firm, c, asked, "approve")
        assert late.status_code == 409 and "expired" in late.json()["detail"]
        assert [r["id"] for r in firm.exceptions()] == [x] and waiting(firm, c) == []
        anew = ask(firm, c, x)
        assert anew["changed"] and anew["approval"] != asked
        assert decide(firm, c, anew["approval"], "approve").status_code == 200
        assert firm.exceptions() == []
    checked(firm)


def test_who_may_and_what_is_sound(make_firm):
    firm = with_approvals(make_firm)
    with firm.client() as c:
        x = an_exception(firm)
        id_ = ask(firm, c, x)["approval"]
        assert decide(firm, c, id_, "approve", scope="ops:write").status_code == 403
        assert decide(firm, c, id_, "approve", tenant="other").status_code in (403, 404)
        assert decide(firm, c, 999, "approve").status_code == 404
        assert decide(firm, c, "x", "approve").status_code == 404
        for body in ("perhaps", 5, None):
            assert decide(firm, c, id_, body).status_code == 400
        assert decide(firm, c, id_, "approve", force=True).status_code == 400
        assert decide(firm, c, id_, "approve", reason="  ").status_code == 400
        assert len(firm.exceptions()) == 1
        listed = firm.orchestrator.run("approvals", "list", "-c", firm.yaml)
        assert listed.returncode == 0 and f"exception {x}" in listed.stdout, listed.stderr
        said = firm.orchestrator.run("approvals", "approve", "-c", firm.yaml, "--reason", "yes", str(id_))
        assert said.returncode == 0 and said.stdout == f"approvals: {id_} is done\n", said.stderr
        y = an_exception(firm)
        own = cli(firm, "discard", str(y), "--reason", "mine")
        assert own.returncode == 0 and "waits for a second person: approval" in own.stdout, own.stderr
        mine = waiting(firm, c)[0]["id"]
        no = firm.orchestrator.run("approvals", "approve", "-c", firm.yaml, str(mine))
        assert no.returncode == 1 and "second person" in no.stderr
    checked(firm)


@pytest.mark.parametrize("word,accepted", [("maybe", "off or on")])
def test_a_wrong_word_in_the_configuration(make_firm, word, accepted):
    firm = make_firm(start=False)
    firm.yaml.write_text(firm.yaml.read_text() + f"\napprovals: {{ discard: {word} }}\n")
    done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
    assert done.returncode != 0 and accepted in done.stdout + done.stderr
