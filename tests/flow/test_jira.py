"""Jira's worklog webhooks, in Jira's shape and with Jira's signature, to the ERP and payroll lines."""
import datetime
import json
import signal
import uuid
from decimal import Decimal

import pytest

from tests.harness import jira, sign
from tests.harness.stack import wait_for

ZONE = datetime.timezone(datetime.timedelta(hours=1))
MONDAY = datetime.datetime(2026, 11, 16, 9, 0, tzinfo=ZONE)
ACCOUNT = "557058:worker-7"


@pytest.fixture(scope="module", autouse=True)
def account(firm):
    """Jira's name of W-007 is in the master data."""
    worker = next(w for w in firm.master["workers"] if w["id"] == "W-007")
    worker["aliases"]["jira"] = ACCOUNT
    firm.write_master()
    reload(firm)


def reload(firm):
    before = firm.orchestrator.process.text().count("reload: rules")
    firm.orchestrator.process.send(signal.SIGHUP)
    wait_for(lambda: firm.orchestrator.process.text().count("reload: rules") > before, 20, "reload")


def log(n=None, **kw):
    """A worklog of Monday, 7:30 hours, with an id of its own."""
    known = {"event": "created", "log_id": str(n or uuid.uuid4().int % 10**9), "issue": "10101",
             "account": ACCOUNT, "started": MONDAY, "seconds": 27000,
             "updated": MONDAY + datetime.timedelta(hours=8, milliseconds=125)}
    return jira.worklog(**known | kw)


def lines(firm, entry):
    return [r for r in firm.labor() + firm.payroll() if r["entry"] == entry]


def test_a_worklog_becomes_one_posting_and_one_payroll_line(firm, http):
    event = log()
    entry = "jira-" + event["worklog"]["id"]
    answer = firm.jira(http, event, identifier="delivery-a")
    assert answer.status_code == 202
    story = firm.settled(http, answer.json()["id"])
    assert (story["status"], story["stage"]) == ("accepted", "posted")
    (obj,) = story["objects"]
    assert (obj["id"], obj["version"]) == (entry, jira.millis(MONDAY) + 8 * 3600 * 1000 + 125)
    (labor,) = [r for r in firm.labor() if r["entry"] == entry]
    assert (labor["worker"], labor["project"], labor["task"]) == ("W-007", "P-101", "T-1")
    assert (labor["date"], Decimal(labor["hours"])) == ("2026-11-16", Decimal("7.5"))
    (pay,) = [r for r in firm.payroll() if r["entry"] == entry]
    assert (pay["worker"], Decimal(pay["hours"])) == ("W-007", Decimal("7.5"))


def test_sent_again_under_another_identifier(firm, http):
    event = log()
    first = firm.jira(http, event, identifier="delivery-b")
    again = firm.jira(http, event, identifier="delivery-c")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    firm.settled(http, first.json()["id"])
    assert len(lines(firm, "jira-" + event["worklog"]["id"])) == 2


def test_the_same_change_in_other_bytes_is_the_same_version(firm, http):
    """What the digest cannot see, the version does: nothing is owed twice."""
    event = log()
    firm.settled(http, firm.jira(http, event).json()["id"])
    later = json.dumps(event | {"timestamp": event["timestamp"] + 60000}).encode()
    answer = firm.jira(http, event, body=later)
    assert "Idempotent-Replayed" not in answer.headers
    story = firm.settled(http, answer.json()["id"])
    assert [o["state"] for o in story["objects"]] == ["superseded"]
    assert len(lines(firm, "jira-" + event["worklog"]["id"])) == 2


def test_an_older_change_that_comes_late(firm, http):
    """worklog_updated overtakes worklog_created: the older stamp owes nothing."""
    created = log()
    log_id = created["worklog"]["id"]
    updated = log(log_id, event="updated", seconds=3600, updated=MONDAY + datetime.timedelta(days=1))
    firm.settled(http, firm.jira(http, updated).json()["id"])
    story = firm.settled(http, firm.jira(http, created).json()["id"])
    assert [o["state"] for o in story["objects"]] == ["superseded"]
    assert [Decimal(r["hours"]) for r in lines(firm, "jira-" + log_id)] == [Decimal(1)] * 2


def test_deleted_after_posting(firm, http):
    """What was posted is taken back, at both destinations, and the hours come to nothing."""
    event = log()
    log_id = event["worklog"]["id"]
    firm.settled(http, firm.jira(http, event).json()["id"])
    gone = log(log_id, event="deleted", sent=MONDAY + datetime.timedelta(days=2))
    story = firm.settled(http, firm.jira(http, gone).json()["id"])
    assert [o["state"] for o in story["objects"]] == ["withdrawn"]

    def taken_back():
        return len(lines(firm, "jira-" + log_id)) == 4
    wait_for(taken_back, 20, "both lines are taken back")
    for rows in (firm.labor(), firm.payroll()):
        assert sum(Decimal(r["hours"]) for r in rows if r["entry"] == "jira-" + log_id) == 0
    # an update that Jira sends late does not bring it back
    late = log(log_id, event="updated", seconds=3600, updated=MONDAY + datetime.timedelta(days=1))
    story = firm.settled(http, firm.jira(http, late).json()["id"])
    assert [o["state"] for o in story["objects"]] == ["superseded"]
    assert len(lines(firm, "jira-" + log_id)) == 4


def test_deleted_before_it_was_known(firm, http):
    """The deletion overtakes everything: nothing is ever owed."""
    event = log(issue="10999999")
    gone = log(event["worklog"]["id"], event="deleted", issue="10999999",
               sent=MONDAY + datetime.timedelta(days=2))
    story = firm.settled(http, firm.jira(http, gone).json()["id"])
    assert [o["state"] for o in story["objects"]] == ["withdrawn"]
    created = log(event["worklog"]["id"])
    story = firm.settled(http, firm.jira(http, created).json()["id"])
    assert [o["state"] for o in story["objects"]] == ["superseded"]
    assert not lines(firm, "jira-" + event["worklog"]["id"])


def only_exception(firm, http, event, **kw):
    answer = firm.jira(http, event, **kw)
    assert answer.status_code == 202
    story = firm.settled(http, answer.json()["id"])
    (known,) = story["exceptions"]
    (exception,) = [e for e in firm.exceptions() if e["id"] == known["id"]]
    if "worklog" in event:
        assert not lines(firm, "jira-" + str(event["worklog"].get("id")))
    return exception


def test_an_issue_without_a_row_waits_for_one(firm, http):
    event = log(issue="10999")
    exception = only_exception(firm, http, event)
    assert (exception["code"], exception["owner"]) == ("project_unmapped", "master-data")
    assert "Jira issue 10999" in json.dumps(exception["detail"])
    firm.write_project_map({"10101": ("P-101", "T-1"), "10102": ("P-102", "T-2"),
                            "10999": ("P-103", "T-3")})
    reload(firm)
    later = log(event["worklog"]["id"], issue="10999", event="updated",
                updated=MONDAY + datetime.timedelta(days=2))
    firm.settled(http, firm.jira(http, later).json()["id"])
    labor = [r for r in firm.labor() if r["entry"] == "jira-" + event["worklog"]["id"]]
    assert [(r["project"], r["task"]) for r in labor] == [("P-103", "T-3")]


def test_an_account_that_nobody_knows(firm, http):
    exception = only_exception(firm, http, log(account="557058:stranger"))
    assert (exception["code"], exception["owner"]) == ("worker_unknown", "master-data")
    assert "557058:stranger" in json.dumps(exception["detail"])


@pytest.mark.parametrize("change,says", [
    ({"webhookEvent": "jira:issue_updated"}, "webhookEvent"),
    ({"worklog": {}}, "worklog"),
    ({"worklog": None}, "worklog"),
    ({"timestamp": "now"}, "timestamp"),
])
def test_another_shape(firm, http, change, says):
    event = {k: v for k, v in (log() | change).items() if v is not None}
    exception = only_exception(firm, http, event)
    assert (exception["code"], exception["owner"]) == ("schema_invalid", "integration")
    assert says in json.dumps(exception["detail"])


@pytest.mark.parametrize("member,value", [("timeSpentSeconds", -60), ("timeSpentSeconds", "7h"),
                                          ("started", "yesterday"), ("updated", "2026-11-16"),
                                          ("started", "2026-02-30T09:00:00.000+0100"),
                                          ("author", {}), ("id", "../../x"), ("issueId", 5)])
def test_a_member_of_another_kind(firm, http, member, value):
    event = log()
    event["worklog"][member] = value
    exception = only_exception(firm, http, event)
    assert (exception["code"], exception["owner"]) == ("schema_invalid", "integration")
    assert member in json.dumps(exception["detail"])


def test_no_time_at_all(firm, http):
    exception = only_exception(firm, http, log(seconds=0))
    assert (exception["code"], exception["owner"]) == ("hours_invalid", "finance")


def test_what_is_no_json(firm, http):
    answer = firm.jira(http, {}, body=b"{worklog")
    story = firm.settled(http, answer.json()["id"])
    assert [e["code"] for e in story["exceptions"]] == ["event_undecodable"]


def test_the_psas_secret_does_not_sign_here(firm, http):
    answer = jira.post(http, "/hooks/acme/jira", firm.secret, log())
    assert answer.status_code == 401
    assert jira.post(http, "/hooks/acme/jira", sign.new_text_secret(), log()).status_code == 401
