"""Master data from HR's events: hired, moved, left; whose word counts; and that it outlives everything."""
import json
import signal
import sqlite3
import threading
import uuid
from decimal import Decimal

import pytest

from tests.harness.firm import Firm
from tests.harness.stack import wait_for

OWNERSHIP = """\
worker:
  name: hr
  legal_entity: hr
  cost_center: hr
  labor_category: psa
  pay_code: hr
  employment: hr
  aliases: hr
"""
HIRED = "2026-11-18"
numbers = iter(range(900000, 999999))


def staffed(hold_timeout="0"):
    """P-101 is staffed with people HR has yet to send: W-500 to W-599."""
    f = Firm("master")
    f.master["assignments"] += [{"worker": f"W-{n}", "project": "P-101", "from": "2026-01-01"}
                                for n in range(500, 600)]
    f.write_master()
    (f.dir / "ownership.yaml").write_text(OWNERSHIP)
    text = f.yaml.read_text()
    f.yaml.write_text(text.replace("ownership: ", f"ownership: {f.dir}/ownership.yaml # ")
                      .replace("hold_timeout: 0", f"hold_timeout: {hold_timeout}"))
    return f.start()


def end(f):
    done = f.orchestrator.run("check", "-c", f.yaml, "--journal")
    found = done.stdout + done.stderr if done.returncode else ""
    found += f.stop()
    assert not found, found[:8000]
    f.remove()


@pytest.fixture(scope="module")
def firm():
    f = staffed()
    yield f
    end(f)


@pytest.fixture(scope="module")
def patient():
    """What master data would cure waits for it; HR alone has the word of its workers."""
    f = staffed("1h")
    (f.dir / "ownership.yaml").write_text(OWNERSHIP.replace("psa", "hr"))
    reload(f)
    yield f
    end(f)


people = iter(range(500, 600))


def new_worker():
    return f"W-{next(people)}"


def whole(day=HIRED, **more):
    """What a hire says; labor_category is the PSA's, so the file or the PSA must give it."""
    return {"name": "Finn", "legal_entity": "ACME-DE", "cost_center": "CC-100", "pay_code": "REG",
            "employment": [{"from": day}]} | more


def taken(firm, http, answer):
    """The story of an HR event that changed something."""
    assert answer.status_code == 202, answer.text
    story = firm.settled(http, answer.json()["id"])
    assert story["status"] == "accepted" and not story["exceptions"], story
    return story


def hire(firm, http, worker, day=HIRED, version=1, **more):
    """A new worker: the labor category is the PSA's to say, so here the file has it beforehand."""
    known = any(w["id"] == worker for w in firm.master["workers"])
    if not known:
        firm.master["workers"].append({
            "id": worker, "name": "To come", "legal_entity": "ACME-DE", "cost_center": "CC-300",
            "labor_category": "senior", "pay_code": "REG", "employment": []})
        firm.write_master()
        reload(firm)
    return taken(firm, http, firm.hr(http, worker, version, day, **whole(day, **more)))


def reload(firm):
    before = firm.orchestrator.process.text().count("reload: rules")
    firm.orchestrator.process.send(signal.SIGHUP)
    wait_for(lambda: firm.orchestrator.process.text().count("reload: rules") > before, 20, "reload")


def entry(firm, worker, day):
    return firm.entry(next(numbers), worker=worker, project="P-101", task="T-1", date=day)


def post(firm, http, worker, day):
    """(code of the exception or None, ERP line or None) of an entry."""
    data = entry(firm, worker, day)
    story = firm.settled(http, firm.hook(http, data).json()["id"])
    lines = [r for r in firm.labor() if r["entry"] == data["id"]]
    return (story["exceptions"] or [{"code": None}])[0]["code"], lines[0] if lines else None


def sql(firm, query, *args):
    with sqlite3.connect(f"file:{firm.dir}/journal.db?mode=ro", uri=True) as db:
        return db.execute(query, args).fetchall()


def test_hired_by_event(firm, http):
    worker = new_worker()
    assert post(firm, http, worker, HIRED)[0] == "worker_unknown"
    story = hire(firm, http, worker)
    (obj,) = story["objects"]
    assert (obj["kind"], obj["id"], obj["state"], obj["postings"]) == \
        ("worker", worker, "validated", [])
    code, line = post(firm, http, worker, HIRED)
    assert code is None
    assert (line["worker"], line["cost_center"], line["legal_entity"]) == \
        (worker, "CC-100", "ACME-DE")
    assert post(firm, http, worker, "2026-11-17")[0] == "worker_inactive"


def test_left(firm, http):
    worker = new_worker()
    hire(firm, http, worker, "2026-11-02")
    assert post(firm, http, worker, "2026-11-19")[0] is None
    taken(firm, http, firm.hr(http, worker, 2, "2026-11-18", employment=[
        {"from": "2026-11-02", "to": "2026-11-17"}]))
    assert post(firm, http, worker, "2026-11-17")[0] is None
    assert post(firm, http, worker, "2026-11-18")[0] == "worker_inactive"
    assert post(firm, http, worker, "2026-11-19")[0] == "worker_inactive"


def test_moved_from_a_day_on(firm, http):
    worker = new_worker()
    hire(firm, http, worker, "2026-11-02")
    taken(firm, http, firm.hr(http, worker, 2, "2026-11-18", cost_center="CC-200"))
    assert post(firm, http, worker, "2026-11-17")[1]["cost_center"] == "CC-100"
    assert post(firm, http, worker, "2026-11-18")[1]["cost_center"] == "CC-200"


def test_old_news_changes_nothing(firm, http):
    """HR's events overtake each other: version 3 (left), then 2 (stays), then 1 again."""
    worker = new_worker()
    hire(firm, http, worker, "2026-11-02")
    taken(firm, http, firm.hr(http, worker, 3, "2026-11-02", employment=[
        {"from": "2026-11-02", "to": "2026-11-17"}], cost_center="CC-300"))
    story = taken(firm, http, firm.hr(http, worker, 2, "2026-11-02", cost_center="CC-200",
                                      employment=[{"from": "2026-11-02"}]))
    assert [o["state"] for o in story["objects"]] == ["superseded"]
    assert post(firm, http, worker, "2026-11-19")[0] == "worker_inactive"
    assert post(firm, http, worker, "2026-11-16")[1]["cost_center"] == "CC-300"
    again = firm.hr(http, worker, 1, "2026-11-02", **whole("2026-11-02"))
    assert again.headers.get("Idempotent-Replayed") == "true"


def test_the_same_version_with_other_words_is_a_conflict(firm, http):
    worker = new_worker()
    hire(firm, http, worker)
    answer = firm.hook(http, {"id": worker, "version": 1, "effective_from": HIRED, "name": "Eve",
                              "changed_at": "2026-11-20T17:00:00Z"}, source="hr",
                       event_id="evt-" + uuid.uuid4().hex, type_="com.tallygate.worker.changed.v1")
    story = firm.settled(http, answer.json()["id"])
    assert [e["code"] for e in story["exceptions"]] == ["duplicate_version_conflict"]
    assert post(firm, http, worker, HIRED)[0] is None


def test_the_owner_alone_has_the_word(firm, http):
    """HR sends everything it knows; labor_category is the PSA's and stays."""
    worker = new_worker()
    hire(firm, http, worker, labor_category="junior")
    assert post(firm, http, worker, HIRED)[1]["labor_category"] == "senior"
    ((attributes, refused, version),) = sql(
        firm, "SELECT attributes, refused, version FROM master WHERE name = ?", worker)
    assert "labor_category" not in json.loads(attributes)
    assert (json.loads(refused), version) == (["labor_category"], 1)
    (detail,) = [json.loads(d) for (d,) in sql(
        firm, "SELECT detail FROM audit WHERE action = 'master.changed'")
        if json.loads(d)["name"] == worker]
    assert detail["refused"] == ["labor_category"]
    metrics = firm.orchestrator.get("/metrics")[1]
    text = metrics.decode() if isinstance(metrics, bytes) else metrics
    assert "tallygate_master_refused_total 0" not in text


def refused(firm, http, answer):
    assert answer.status_code == 202
    story = firm.settled(http, answer.json()["id"])
    (known,) = story["exceptions"]
    (exception,) = [e for e in firm.exceptions() if e["id"] == known["id"]]
    return exception["code"], exception["owner"], json.dumps(exception["detail"])


def test_who_owns_nothing_changes_nothing(firm, http):
    worker = new_worker()
    hire(firm, http, worker)
    code, owner, text = refused(firm, http, firm.hr(http, worker, 2, HIRED, labor_category="junior"))
    assert (code, owner) == ("not_owner", "master-data")
    assert "labor_category (psa)" in text
    assert post(firm, http, worker, HIRED)[1]["labor_category"] == "senior"


def test_the_edge_lets_the_psa_send_no_workers(firm, http):
    answer = firm.hook(http, {"id": "W-001", "version": 1, "effective_from": HIRED, "name": "Eve",
                              "changed_at": "2026-11-20T17:00:00Z"},
                       type_="com.tallygate.worker.changed.v1")
    assert (answer.status_code, answer.json()["code"]) == (403, "type_not_allowed")


@pytest.mark.parametrize("change,code,says", [
    ({"legal_entity": "ACME-XX"}, "worker_invalid", "legal entity ACME-XX"),
    ({"cost_center": "CC-999"}, "cost_center_invalid", "CC-999"),
    ({"employment": [{"from": "2026-11-18", "to": "2026-11-01"}]}, "worker_invalid", "before it begins"),
    ({"aliases": {"psa": "u-1"}}, "worker_invalid", "u-1"),
    ({"shoe_size": 43}, "schema_invalid", "shoe_size"),
    ({"employment": [{"from": "yesterday"}]}, "schema_invalid", "employment"),
    ({}, "schema_invalid", ""),
])
def test_what_hr_gets_wrong_waits_with_code_and_owner(firm, http, change, code, says):
    worker = new_worker()
    hire(firm, http, worker)
    got, owner, text = refused(firm, http, firm.hr(http, worker, 2, HIRED, **change))
    assert got == code and says in text
    assert owner in ("master-data", "finance", "integration")
    # and the next version, when it is right, ends it
    taken(firm, http, firm.hr(http, worker, 3, HIRED, cost_center="CC-200"))
    assert post(firm, http, worker, HIRED)[1]["cost_center"] == "CC-200"


def test_a_new_worker_must_be_whole(firm, http):
    worker = new_worker()
    code, _, text = refused(firm, http, firm.hr(http, worker, 1, HIRED,
                                                **whole(labor_category="senior")))
    assert code == "worker_invalid"
    assert "it may only come from psa" in text
    assert post(firm, http, worker, HIRED)[0] == "worker_unknown"


def test_validate_knows_it_at_once(firm, http):
    worker = new_worker()
    data = entry(firm, worker, HIRED)
    assert not firm.validate(http, data).json()["valid"]
    hire(firm, http, worker)
    wait_for(lambda: firm.validate(http, data).json()["valid"], 10, "validate knows the worker")


def test_what_was_judged_by_what(firm, http):
    """Each object names the master data it was judged by: files, and the newest row over them."""
    worker = new_worker()
    hire(firm, http, worker)
    data = entry(firm, worker, HIRED)
    firm.settled(http, firm.hook(http, data).json()["id"])
    ((newest,),) = sql(firm, "SELECT max(id) FROM master")
    ((version,),) = sql(firm, "SELECT master_version FROM objects WHERE object_id = ?", data["id"])
    assert version.endswith(f"+m{newest}")


def test_a_reload_keeps_it(firm, http):
    worker = new_worker()
    hire(firm, http, worker)
    reload(firm)
    assert post(firm, http, worker, HIRED)[0] is None


def test_a_kill_keeps_it(firm, http):
    worker = new_worker()
    hire(firm, http, worker)
    taken(firm, http, firm.hr(http, worker, 2, "2026-11-19", cost_center="CC-200"))
    firm.orchestrator.kill()
    firm.orchestrator.start()
    assert post(firm, http, worker, HIRED)[1]["cost_center"] == "CC-100"
    assert post(firm, http, worker, "2026-11-19")[1]["cost_center"] == "CC-200"


def test_hired_and_at_work_in_one_batch(firm, http):
    """Both wait in the stream; the entry is judged by what the event before it in the batch said."""
    worker = new_worker()
    hire(firm, http, worker, "2026-11-19")
    firm.orchestrator.stop()
    early = firm.hook(http, entry(firm, worker, HIRED)).json()["id"]
    change = firm.hr(http, worker, 2, HIRED, employment=[{"from": HIRED}]).json()["id"]
    late = firm.hook(http, entry(firm, worker, HIRED)).json()["id"]
    firm.orchestrator.start()
    assert [e["code"] for e in firm.settled(http, early)["exceptions"]] == ["worker_inactive"]
    assert firm.settled(http, change)["status"] == "accepted"
    assert not firm.settled(http, late)["exceptions"]


def test_many_at_once(firm, http):
    """HR and the PSA send at the same time; every hire counts, and the hours of each are there."""
    workers = [new_worker() for _ in range(8)]
    for worker in workers:
        hire(firm, http, worker)
    events, errors = [], []

    def work(worker):
        try:
            with firm.client() as c:
                for n in range(2, 12):
                    events.append(firm.hr(c, worker, n, f"2026-11-{n + 7:02}",
                                          cost_center=f"CC-{100 * (n % 3 + 1)}").json()["id"])
        except Exception as e:  # noqa: BLE001 - told below
            errors.append(e)
    threads = [threading.Thread(target=work, args=(w,)) for w in workers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    for event in events:
        assert firm.settled(http, event)["status"] == "accepted"
    for worker in workers:
        for n in (2, 6, 11):
            line = post(firm, http, worker, "2026-11-18" if n == 11 else f"2026-11-{n + 7:02}")[1]
            if line:  # days before the hire have none
                assert line["cost_center"] == f"CC-{100 * (n % 3 + 1)}"
                assert Decimal(line["hours"]) == Decimal("1.25")


# ---- what waits ----

def held(patient, http, event, name):
    def waits():
        rows = sql(patient, "SELECT o.waits_for FROM objects o JOIN events e ON e.id = o.event "
                            "WHERE e.event_id = ? AND o.state = 0", event)
        return rows == [(name,)]
    wait_for(waits, 20, f"{event} waits for {name}")
    assert not patient.status(http, event).json()["exceptions"]


def released(patient, http, event):
    def posted():
        story = patient.status(http, event).json()
        return story if story.get("stage") in ("posted", "exception") else None
    return wait_for(posted, 20, f"{event} is posted")


@pytest.fixture
def web(patient):
    with patient.client() as c:
        yield c


def test_an_entry_that_comes_before_its_worker(patient, web):
    worker = new_worker()
    data = entry(patient, worker, HIRED)
    event = patient.hook(web, data).json()["id"]
    early = patient.hook(web, entry(patient, worker, "2026-11-17")).json()["id"]
    held(patient, web, event, f"worker:{worker}")
    held(patient, web, early, f"worker:{worker}")
    taken(patient, web, patient.hr(web, worker, 1, HIRED, **whole(labor_category="senior")))
    assert released(patient, web, event)["stage"] == "posted"
    assert len([r for r in patient.labor() if r["entry"] == data["id"]]) == 1
    story = released(patient, web, early)  # judged again, and now it is known that he was not there
    assert [e["code"] for e in story["exceptions"]] == ["worker_inactive"]


def test_an_account_of_jira_that_hr_names_later(patient, web):
    """The worker is known; what Jira calls him comes with the event."""
    from tests.flow.test_jira import log
    worker, account = new_worker(), "557058:" + uuid.uuid4().hex
    taken(patient, web, patient.hr(web, worker, 1, "2026-11-02",
                                   **whole("2026-11-02", labor_category="senior")))
    event = patient.jira(web, log(account=account)).json()["id"]
    held(patient, web, event, f"worker:{account}")
    taken(patient, web, patient.hr(web, worker, 2, "2026-11-02", aliases={"jira": account}))
    assert released(patient, web, event)["stage"] == "posted"


def test_released_after_a_kill(patient, web):
    """The hire is on disk, and nobody was told yet: what waits is looked at again at the start."""
    worker = new_worker()
    event = patient.hook(web, entry(patient, worker, HIRED)).json()["id"]
    held(patient, web, event, f"worker:{worker}")
    patient.orchestrator.kill()
    patient.hr(web, worker, 1, HIRED, **whole(labor_category="senior"))
    patient.orchestrator.start()
    assert released(patient, web, event)["stage"] == "posted"
