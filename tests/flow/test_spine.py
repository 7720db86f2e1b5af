"""From the webhook to the ERP line and back through the status API, with every process real."""
import json
import subprocess
import uuid
from decimal import Decimal

import pytest

from tests.harness.stack import wait_for


def number():
    return uuid.uuid4().int % 900000 + 100000


def test_a_webhook_becomes_one_posting_and_one_payroll_line(firm, http):
    n = number()
    data = firm.entry(n, hours="7.50")
    answer = firm.hook(http, data)
    assert answer.status_code == 202
    story = firm.settled(http, answer.json()["id"])
    assert story["status"] == "accepted"
    assert story["stage"] == "posted"
    assert story["correlation_id"] == answer.headers["x-correlation-id"]
    (obj,) = story["objects"]
    assert (obj["id"], obj["version"], obj["kind"]) == (data["id"], 1, "time_entry")
    assert {(p["destination"], p["state"]) for p in obj["postings"]} == \
        {("erp", "posted"), ("payroll", "posted")}
    (labor,) = [r for r in firm.labor() if r["entry"] == data["id"]]
    (pay,) = [r for r in firm.payroll() if r["entry"] == data["id"]]
    assert Decimal(labor["hours"]) == Decimal(pay["hours"]) == Decimal("7.50")
    keys = {p["key"] for p in obj["postings"]}
    assert {labor["key"], pay["key"]} == keys
    ref = next(p["ref"] for p in obj["postings"] if p["destination"] == "erp")
    assert ref.startswith(f"labor-{labor['period']}.csv:")


def test_bearer_and_every_form_of_hours(firm, http):
    forms = [({"hours": "1.5"}, "1.5"), ({"minutes": 90}, "1.5"), ({"duration": "PT1H30M"}, "1.5"),
             ({"duration": "1:30"}, "1.5"), ({"minutes": 20}, None)]
    for form, hours in forms:
        data = firm.entry(number())
        del data["hours"]
        data |= form
        event = firm.send(http, data).json()["id"]
        firm.settled(http, event)
        rows = [r for r in firm.labor() if r["entry"] == data["id"]]
        if hours is not None:
            assert [Decimal(r["hours"]) for r in rows] == [Decimal(hours)], form


def test_the_same_event_twice_under_two_keys(firm, http):
    data = firm.entry(number())
    first = firm.send(http, data, event_id="twice-" + data["id"]).json()["id"]
    firm.settled(http, first)
    again = firm.send(http, data, event_id="twice-" + data["id"]).json()["id"]
    assert again != first
    story = firm.settled(http, again)
    assert story["status"] == "duplicate"
    assert story["duplicate_of"] == first
    assert len([r for r in firm.labor() if r["entry"] == data["id"]]) == 1


@pytest.mark.parametrize("change,code", [
    ({"project": "P-112"}, "project_closed"), ({"worker": "W-040"}, "worker_inactive"),
    ({"worker": "W-999"}, "worker_unknown"), ({"project": "P-999"}, "project_unknown"),
    ({"task": "T-9"}, "task_unknown"), ({"date": "2026-10-30"}, "period_closed"),
    ({"hours": "25"}, "hours_invalid"), ({"hours": "-1"}, None), ({"colour": "red"}, None),
    ({"date": "2026-02-30"}, None), ({"version": "one"}, None)])
def test_what_needs_a_person_waits_with_code_and_owner(firm, http, change, code):
    data = firm.entry(number()) | change
    event = firm.send(http, data).json()["id"]
    story = firm.settled(http, event)
    rows = [e for e in story["exceptions"]]
    assert len(rows) == 1
    if code:
        assert rows[0]["code"] == code
    assert rows[0]["owner"] in ("master-data", "finance", "integration")
    assert rows[0]["message"]
    (field,) = change  # the sender learns what to mend without asking anyone
    assert any(v["code"] == rows[0]["code"] and v["message"] and field in v["field"] + v["message"]
               for v in rows[0]["violations"]), rows
    assert not [r for r in firm.labor() + firm.payroll() if r["entry"] == data["id"]]
    assert rows[0]["id"] in [e["id"] for e in firm.exceptions()]


def test_an_unknown_event_version_is_refused_with_a_clear_error(firm, http):
    data = firm.entry(number())
    answer = firm.send(http, data, type_="com.tallygate.time_entry.approved.v9")
    assert answer.status_code == 403  # the allow-list of this client names v1 only
    assert answer.json()["code"] == "type_not_allowed"


def test_validate_says_every_violation_at_once(firm, http):
    data = firm.entry(1) | {"worker": "W-999", "project": "P-112", "hours": "25"}
    answer = firm.validate(http, data)
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert not result["valid"]
    codes = {v["code"] for v in result["violations"]}
    assert {"worker_unknown", "project_closed", "hours_invalid"} <= codes
    for v in result["violations"]:
        assert v["code"] and v["field"] and v["message"] and v["owner"]


def test_validate_array_stores_nothing(firm, http):
    before = firm.redis.added()
    items = [firm.entry(n) for n in range(500)]
    items[250]["project"] = "P-112"
    answer = firm.validate(http, items)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [r["index"] for r in results if not r["valid"]] == [250]
    assert len(results) == 500
    assert firm.redis.added() == before
    assert firm.validate(http, items + [firm.entry(501)]).status_code == 400
    assert firm.validate(http, []).status_code == 400


def test_validate_and_posting_agree(firm, http):
    """The very rules that posting runs: the same codes from both."""
    for change in ({"project": "P-112"}, {"worker": "W-040"}, {"date": "2026-10-30"},
                   {"hours": "0"}, {"task": "T-9", "worker": "W-999"}, {}):
        data = firm.entry(number()) | change
        said = firm.validate(http, data).json()["results"][0]["violations"]
        story = firm.settled(http, firm.send(http, data).json()["id"])
        assert {e["code"] for e in story["exceptions"]} <= {v["code"] for v in said}
        assert [v for e in story["exceptions"] for v in e["violations"]] == \
            [{k: v[k] for k in ("code", "field", "message")} for v in said]


@pytest.mark.parametrize("body,status", [
    ("{", 400), ("[1]", 200), ('"x"', 400), ("null", 400), ("[" * 100 + "]" * 100, 400)])
def test_validate_bad_bodies(firm, http, body, status):
    answer = http.post("/v1/time-entries/validate", content=body, headers={
        "Authorization": "Bearer " + firm.token("validate"), "Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "body_invalid"


def test_status_is_of_the_tenant_only(firm, http):
    event = firm.send(http, firm.entry(number())).json()["id"]
    firm.settled(http, event)
    assert firm.status(http, event, tenant="zeta").status_code == 404
    for bad in ("nonsense", "s99-1-1", "s00-1", "s00-1-1"):
        answer = firm.status(http, bad)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


def test_status_while_still_in_the_stream(make_firm):
    firm = make_firm()
    assert firm.orchestrator.stop() == 0
    with firm.client() as c:
        event = firm.hook(c, firm.entry(1)).json()["id"]
        firm.orchestrator.start()
        story = firm.settled(c, event)
    assert story["stage"] == "posted"


def test_in_stream_answer(make_firm):
    """The group's position is set ahead, so that intake does not see the next entry yet."""
    firm = make_firm()
    r = firm.redis.client()
    with firm.client() as c:
        first = firm.hook(c, firm.entry(1)).json()["id"]
        firm.settled(c, first)
        tenant_shard = int(first[1:3])
        r.xgroup_setid(f"tg:{{s{tenant_shard:02}}}:events", "orchestrator", "99999999999999-0")
        event = firm.hook(c, firm.entry(2)).json()["id"]
        story = firm.status(c, event).json()
        assert (story["id"], story["status"]) == (event, "in_stream") or \
            story.get("stage") == "in_stream"
        assert firm.status(c, event, tenant="zeta").status_code == 404
        r.xgroup_setid(f"tg:{{s{tenant_shard:02}}}:events", "orchestrator", "0")
        assert firm.settled(c, event)["stage"] == "posted"
    assert len(firm.labor()) == 2


def test_newer_version_after_posting_reverses_and_rebooks(firm, http):
    n = number()
    first = firm.send(http, firm.entry(n)).json()["id"]
    firm.settled(http, first)
    story = firm.settled(http, firm.send(http, firm.entry(n, version=2, hours="2")).json()["id"])
    assert story["stage"] == "posted" and story["exceptions"] == []
    old = firm.settled(http, first)
    assert old["stage"] == "reversed" and old["objects"][0]["state"] == "superseded"
    postings = old["objects"][0]["postings"]
    assert sorted(p["state"] for p in postings) == ["posted"] * 2 + ["reversed"] * 2
    keys = {p["key"] for p in postings if p["state"] == "reversed"}
    assert {p["reverses"] for p in postings if p["state"] == "posted"} == keys
    for rows in (firm.labor(), firm.payroll()):
        hours = [Decimal(r["hours"]) for r in rows if r["entry"] == f"TE-{n:06}"]
        assert hours == [Decimal("1.25"), Decimal("-1.25"), Decimal("2")]
    assert [r["amount"].startswith("-") for r in firm.labor()
            if r["entry"] == f"TE-{n:06}"] == [False, True, False]


def test_a_withdrawal_through_the_edge(firm, http):
    n = number()
    firm.settled(http, firm.send(http, firm.entry(n)).json()["id"])
    data = {"id": f"TE-{n:06}", "version": 2, "withdrawn_by": "W-001", "reason": "booked twice",
            "withdrawn_at": "2026-11-21T08:00:00Z"}
    answer = firm.send(http, data, type_="com.tallygate.time_entry.withdrawn.v1")
    assert answer.status_code == 202
    story = firm.settled(http, answer.json()["id"])
    assert story["objects"][0]["state"] == "withdrawn" and story["exceptions"] == []
    for rows in (firm.labor, firm.payroll):
        wait_for(lambda rows=rows: sum(Decimal(r["hours"]) for r in rows()
                                       if r["entry"] == f"TE-{n:06}") == 0, 20, "taken back")


def test_newer_version_mends_a_waiting_one(firm, http):
    n = number()
    firm.settled(http, firm.send(http, firm.entry(n, project="P-112")).json()["id"])
    story = firm.settled(http, firm.send(http, firm.entry(n, version=2)).json()["id"])
    assert story["stage"] == "posted"
    open_now = [e for e in firm.exceptions() if f"TE-{n:06}@1" == e.get("subject")]
    assert not open_now
    older = firm.send(http, firm.entry(n, version=1, hours="3"), event_id=f"late-{n}").json()["id"]
    firm.settled(http, older)
    assert len([r for r in firm.labor() if r["entry"] == f"TE-{n:06}"]) == 1


def test_health_ready_metrics(firm, http):
    assert http.get("/healthz").status_code == 200
    assert http.get("/readyz").status_code == 200
    text = http.get("/metrics").text
    assert 'tallygate_events_total{state="accepted"}' in text
    assert "tallygate_edge_requests_total" in http.get("/metrics/edge").text


def test_not_ready_without_redis(make_firm):
    firm = make_firm()
    firm.redis.kill()
    with firm.client() as c:
        wait_for(lambda: c.get("/readyz").status_code == 503, 20, "not ready")
        assert c.get("/healthz").status_code == 200
        firm.redis.start()
        wait_for(lambda: c.get("/readyz").status_code == 200, 20, "ready again")


def test_ledger_balances(firm, http):
    firm.settled(http, firm.send(http, firm.entry(number())).json()["id"])
    ledger = firm.dir / "out/erp/ledger.journal"
    assert subprocess.run(["hledger", "-f", ledger, "check"], capture_output=True).returncode == 0
    total = subprocess.run(["hledger", "-f", ledger, "balance", "wip", "-N", "-O", "csv",
                            "--layout", "bare"], capture_output=True, text=True, check=True).stdout
    hours = sum(Decimal(line.split(",")[2].strip('"')) for line in total.splitlines()[1:]
                if line.split(",")[1].strip('"') == "h")
    assert hours == sum(Decimal(r["hours"]) for r in firm.labor())


def test_payroll_control_totals(firm, http):
    firm.settled(http, firm.send(http, firm.entry(number())).json()["id"])

    def agree():
        for path in (firm.dir / "out/payroll").glob("*.totals.json"):
            totals = json.loads(path.read_text())
            rows = firm.rows(f"payroll/{path.name.replace('.totals.json', '.csv')}")
            if (totals["lines"], Decimal(totals["hours"])) != \
                    (len(rows), sum(Decimal(r["hours"]) for r in rows)):
                return False
        return (firm.dir / "out/payroll/payroll-2026-W47.totals.json").exists()
    wait_for(agree, 10, "control totals")


def test_check_and_audit_find_nothing(firm):
    for args in (("check", "-c", firm.yaml, "--journal"), ("audit", "verify", "-c", firm.yaml)):
        done = firm.orchestrator.run(*args)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ok" in done.stdout.strip().splitlines()[-1]


def test_check_names_postings_nobody_will_send(make_firm):
    """A destination taken out of the configuration with postings still to go to it."""
    firm = make_firm()
    (firm.dir / "out/payroll").rename(firm.dir / "away")
    (firm.dir / "out/payroll").write_text("a file in the way")
    with firm.client() as c:
        firm.hook(c, firm.entry(1))
        wait_for(lambda: len(firm.labor()) == 1, 20, "the ERP line")
        wait_for(lambda: c.get("/metrics").text.find(
            'tallygate_destination_open{destination="acme/payroll"} 1') > 0, 20, "the gauge")
    assert firm.orchestrator.stop() == 0
    (firm.dir / "out/payroll").unlink()
    text = firm.yaml.read_text()
    firm.yaml.write_text(text[:text.index("      payroll:")])
    done = firm.orchestrator.run("check", "-c", firm.yaml, "--journal")
    assert done.returncode == 1
    assert "acme/payroll, which is not configured" in done.stdout + done.stderr
    firm.yaml.write_text(text)
    firm.orchestrator.start()
    wait_for(lambda: len(firm.payroll()) == 1, 30, "the payroll line")


def test_nothing_is_left_pending(firm):
    r = firm.redis.client()

    def quiet():
        return all(r.xpending(k, "orchestrator")["pending"] == 0
                   for k in r.scan_iter("tg:*:events"))
    wait_for(quiet, 10, "nothing pending")
