"""From the webhook into a real ERP and back, with every process real: Tryton's own database is the judge."""
import collections
import json
import threading
import uuid

import pytest

from tests.harness import stack
from tests.harness.faultproxy import FaultProxy
from tests.harness.firm import Firm
from tests.harness.tryton import Tryton

PEOPLE = {"X-UK": "ACME-UK", "X-LEFT": "ACME-DE", "X-NEXT": "ACME-DE", "X-UNHEARD": "ACME-DE"}


def destination(erp, url, **more):
    """Tryton as the YAML of a firm's `erp`."""
    keys = {"connector": "tryton", "url": url, "user": erp.user, "password_file": str(erp.password_file),
            "auth": "session", "allow": ["127.0.0.1"], "timeout": "3s", "concurrency": 4} | more
    return json.dumps(keys)[1:-1]


def employ(firm):
    """The gateway's own master data says that everybody of tryton_extra.json may work, and one and a task
    that Tryton never heard of: what Tryton refuses has then got past our own rules."""
    m = firm.master
    entities = {e["id"] for e in m["legal_entities"]}
    if "ACME-UK" not in entities:
        m["legal_entities"].append({"id": "ACME-UK", "currency": "GBP"})
    m["cost_centers"].append({"id": "CC-X-UK", "legal_entity": "ACME-UK"})
    like = next(w for w in m["workers"] if w["legal_entity"] == "ACME-DE")
    project = json.loads(json.dumps(next(p for p in m["projects"] if p["id"] == "P-101")))
    project["id"] = "X-900"
    for task in ("T-CLOSED", "T-UNHEARD"):
        project["tasks"].append(project["tasks"][0] | {"id": task, "name": task})
    m["projects"].append(project)
    for worker, entity in PEOPLE.items():
        center = "CC-X-UK" if entity == "ACME-UK" else like["cost_center"]
        m["workers"].append(like | {"id": worker, "name": worker, "legal_entity": entity, "aliases": {},
                                    "cost_center": center})
        m["assignments"].append({"worker": worker, "project": "X-900", "from": "2026-01-01", "to": None})
    for worker in ("W-001", "W-002"):
        m["assignments"].append({"worker": worker, "project": "X-900", "from": "2026-01-01", "to": None})
    firm.write_master()


@pytest.fixture(scope="module")
def erp():
    made = Tryton().start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def line(erp):
    with FaultProxy(("127.0.0.1", erp.port), seed=1) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def shop(erp, line):
    made = Firm("erp", erp=destination(erp, erp.url.replace(f":{erp.port}/", f":{line.port}/")))
    employ(made)
    made.start()
    yield made
    found = made.stop()
    assert not found, found[:8000]
    made.remove()


@pytest.fixture
def proxy(line):
    line.clear()
    yield line
    line.clear()
    line.go()
    line.accept()


def entry(firm, **kw):
    return firm.entry(uuid.uuid4().int % 900000 + 100000, **kw)


def send(firm, data):
    with firm.client() as c:
        answer = firm.hook(c, data)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


def settle(firm, event, seconds=60):
    with firm.client() as c:
        return firm.settled(c, event, seconds)


def posting(story, reversal=False):
    return next(p for o in story["objects"] for p in o["postings"]
                if p["destination"] == "erp" and bool(p.get("reverses")) == reversal)


def posted(firm, **kw):
    """(entry, its posting at the ERP), once it is posted."""
    data = entry(firm, **kw)
    p = posting(settle(firm, send(firm, data)))
    assert p["state"] == "posted", p
    return data, p


def create(request):
    return b"timesheet.line.create" in request.content


def lines_of(erp, data):
    return [row for row in erp.book() if (row.description or "").startswith(data["id"] + " ")]


# ---- a posting ----

def test_a_posting_is_a_line_in_the_right_company(erp, shop, proxy):
    for worker, company in (("W-001", "ACME-DE"), ("X-UK", "ACME-UK")):
        data, p = posted(shop, worker=worker, project="X-900", task="T-1", hours="7.50")
        row = erp.by_uuid()[p["key"]]
        assert (row.employee, row.company, row.work, row.date, row.seconds) == \
            (worker, company, "X-900\\T-1", data["date"], 27000)
        assert erp.postgres.sql("select uuid from timesheet_line where id = %s", [p["ref"]]) == [(p["key"],)]
        assert lines_of(erp, data) == [row]


def test_one_session_serves_many_and_is_renewed_when_it_ends(erp, shop, proxy):
    posted(shop)
    before = len(proxy.seen)
    for _ in range(3):
        posted(shop)
    erp.expire_sessions()
    data, _ = posted(shop)
    assert len(lines_of(erp, data)) == 1
    calls = collections.Counter(json.loads(r.content)["method"] for r in list(proxy.seen)[before:])
    assert calls["common.db.login"] == 1


# ---- in doubt, in every way a connection can end ----

FAULTS = {
    "cut_before": {}, "cut_request": {"part": 0.8}, "cut_after": {}, "cut_after_reset": {"reset": True},
    "cut_head": {}, "cut_body": {"part": 0.4}, "half_close": {}, "error_before": {}, "error_after": {},
    "throttle": {"retry_after": 1}, "trickle": {"size": 40, "seconds": 0.005},
    "trickle_too_slow": {"size": 1, "seconds": 0.2}, "garbage": {}, "repeat": {},
}
SENT_ON = {"cut_after", "cut_after_reset", "cut_head", "cut_body", "half_close", "error_after", "trickle",
           "trickle_too_slow", "garbage", "repeat"}


@pytest.mark.parametrize("fault", FAULTS)
def test_once_whatever_breaks(erp, shop, proxy, fault):
    name = fault.removesuffix("_reset").removesuffix("_too_slow")
    rule = proxy.rule(name, times=1, match=create, **FAULTS[fault])
    data = entry(shop, hours="2.25")
    before = len(proxy.seen)
    p = posting(settle(shop, send(shop, data)))
    assert p["state"] == "posted" and rule.hits == 1
    assert int(p["ref"]) > 0
    (row,) = lines_of(erp, data)
    assert (row.uuid, row.seconds) == (p["key"], 8100)
    sent = [r for r in list(proxy.seen)[before:] if create(r)]
    # what arrived is found by its key and not sent again; what did not arrive is sent once more
    assert len(sent) == (1 if fault in SENT_ON else 2), [(r.fault, r.status) for r in sent]


def test_a_request_that_lands_late_makes_no_second_line(erp, shop, proxy):
    """The line is looked up, absent, sent again; then the first request arrives at Tryton after all."""
    held = proxy.rule("hold", times=1, match=create)
    data, p = posted(shop)
    assert held.hits == 1 and len(lines_of(erp, data)) == 1
    held.release()
    stack.wait_for(lambda: proxy.counts["hung_up"] > 0, 20, "the late request went out")
    late = next(r for r in proxy.seen if r.fault == "hold")
    stack.wait_for(lambda: late.status == 200, 20, "and was answered")
    assert [row.uuid for row in lines_of(erp, data)] == [p["key"]]


def test_a_log_in_that_breaks_is_only_a_delay(erp, shop, proxy):
    erp.expire_sessions()
    for fault in ("cut_after", "garbage"):
        proxy.rule(fault, times=1, match=lambda r: b"common.db.login" in r.content)
    data, _ = posted(shop)
    assert len(lines_of(erp, data)) == 1


# ---- refused ----

@pytest.mark.parametrize("change,code", [
    ({"worker": "X-LEFT"}, "worker_inactive"), ({"worker": "X-NEXT"}, "worker_inactive"),
    ({"task": "T-CLOSED", "worker": "W-001"}, "task_closed"),
    ({"worker": "X-UNHEARD"}, "destination_unknown_worker"),
    ({"task": "T-UNHEARD", "worker": "W-001"}, "destination_unknown_work")])
def test_what_tryton_refuses_waits_for_its_owner(erp, shop, proxy, change, code):
    data = entry(shop, **({"project": "X-900", "task": "T-1"} | change))
    story = settle(shop, send(shop, data))
    assert posting(story)["state"] == "exception"
    (row,) = [e for e in shop.exceptions() if e.get("object_id") == data["id"] or data["id"] in str(e)]
    assert (row["code"], row["state"]) == (code, "open") and row["owner"]
    assert lines_of(erp, data) == []


# ---- corrections ----

def correct(firm, data, **kw):
    changed = data | {"version": data["version"] + 1} | kw
    return changed, settle(firm, send(firm, changed))


def test_a_correction_takes_the_hours_back_and_posts_anew(erp, shop, proxy):
    data, first = posted(shop, hours="4.00")
    _, story = correct(shop, data, hours="3.50")
    (second,) = [p for o in story["objects"] if o["version"] == 2 for p in o["postings"]
                 if p["destination"] == "erp" and p["state"] == "posted" and p["key"] != first["key"]
                 and p["key"] in erp.by_uuid()]
    old, new = lines_of(erp, data)
    assert (old.uuid, old.seconds) == (first["key"], 0)
    assert (new.uuid, new.seconds) == (second["key"], 12600)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "error_after"])
def test_a_reversal_in_doubt_is_looked_up(erp, shop, proxy, fault):
    data, _ = posted(shop, hours="4.00")
    rule = proxy.rule(fault, times=1, match=lambda r: b"timesheet.line.write" in r.content)
    correct(shop, data, hours="1.00")
    assert rule.hits == 1
    assert [row.seconds for row in lines_of(erp, data)] == [0, 3600]


def test_an_invoiced_line_is_not_changed_and_a_person_is_asked(erp, shop, proxy):
    data, _ = posted(shop, worker="W-002", project="X-900", task="T-1", hours="4.00")
    billing = erp.rpc("billing")
    company = billing.ids("company.company", ["party.code", "=", "ACME-DE"])[0]
    project = billing.ids("project.work", ["name", "=", "X-900"], ["company", "=", company],
                          context={"company": company})
    billing.call("model.project.work.invoice", project, {"company": company})
    changed = data | {"version": 2, "hours": "3.00"}
    send(shop, changed)
    (row,) = stack.wait_for(lambda: [e for e in shop.exceptions() if data["id"] in str(e)], 60, "asked")
    assert row["code"] == "destination_locked" and row["owner"]
    (line_,) = lines_of(erp, data)
    assert line_.seconds == 14400 and line_.invoice_line is not None


# ---- away and back ----

def many(firm, count):
    return {data["id"]: send(firm, data) for data in (entry(firm) for _ in range(count))}


def assert_all_once(erp, firm, events):
    for event in events.values():
        assert posting(settle(firm, event, 90))["state"] == "posted"
    count = collections.Counter((row.description or "").split(" ")[0] for row in erp.book())
    assert {e: count[e] for e in events} == dict.fromkeys(events, 1)


def test_tryton_is_down_and_comes_back(erp, shop, proxy):
    before = len(shop.exceptions())
    erp.stop_server()
    proxy.refuse()
    events = many(shop, 8)
    stack.wait_for(lambda: breaker(shop) == 2, 60, "breaker open")
    assert len(shop.exceptions()) == before
    erp.start_server()
    proxy.accept()
    assert_all_once(erp, shop, events)
    assert len(shop.exceptions()) == before


def breaker(firm):
    for text in firm.orchestrator.get("/metrics")[2].decode().splitlines():
        if text.startswith("tallygate_destination_breaker") and 'acme/erp"' in text:
            return int(float(text.rsplit(" ", 1)[1]))
    return None


@pytest.mark.parametrize("crash", [False, True], ids=["restart", "crash"])
def test_its_database_goes_away_while_it_works(erp, shop, proxy, crash):
    events = {}
    sender = threading.Thread(target=lambda: events.update(many(shop, 60)))
    sender.start()
    base = len(erp.book())
    stack.wait_for(lambda: len(erp.book()) > base + 5, 30, "some are posted")
    erp.restart_database(crash)
    sender.join(60)
    assert_all_once(erp, shop, events)


def test_its_workers_are_killed_while_it_works(erp, shop, proxy):
    events, killed = {}, []
    sender = threading.Thread(target=lambda: events.update(many(shop, 80)))
    sender.start()
    while sender.is_alive() or len(killed) < 3:
        stack.wait_for(erp.workers, 30, "a worker")
        killed.append(erp.kill_worker())
        sender.join(0.4)
    sender.join(60)
    assert_all_once(erp, shop, events)
