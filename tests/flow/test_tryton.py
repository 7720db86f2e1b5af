"""Tryton from the webhook to its own database: one line an entry, whatever breaks on the way."""
import collections
import json
import os
import random
import threading
import uuid

import pytest

from tests.harness import stack
from tests.harness.faultproxy import FaultProxy
from tests.harness.firm import Firm
from tests.harness.tryton import Tryton


@pytest.fixture(scope="module")
def erp():
    t = Tryton().start()
    yield t
    t.stop()


@pytest.fixture
def make(erp):
    made = []

    def start(proxy=None, **more):
        url = f"{proxy.url}/erp/" if proxy else erp.url
        keys = {"connector": "tryton", "url": url, "allow": ["127.0.0.1"], "user": erp.user,
                "password_file": str(erp.password_file), "concurrency": 4, "timeout": "10s"} | more
        f = Firm("tryton", erp=json.dumps(keys)[1:-1])
        made.append(f)
        return f.start()
    yield start
    found = [f.stop() for f in made]
    assert not any(found), "\n".join(found)[:8000]
    for f in made:
        f.remove()


def number():
    return uuid.uuid4().int % 900000 + 100000


def send(firm, n=None, **kw):
    with firm.client() as c:
        data = firm.entry(n or number(), **kw)
        answer = firm.hook(c, data)
        assert answer.status_code == 202, answer.text
        return data, answer.json()["id"]


def postings(firm, event, seconds=60):
    with firm.client() as c:
        story = firm.settled(c, event, seconds)
    (obj,) = story["objects"]
    return [p for p in obj["postings"] if p["destination"] == "erp"]


def test_an_entry_is_one_line(erp, make):
    firm = make()
    data, event = send(firm, hours="7.50")
    (p,) = postings(firm, event)
    assert p["state"] == "posted"
    line = erp.by_uuid()[p["key"]]
    assert (line.employee, line.company, line.work) == \
        (data["worker"], "ACME-DE", f"{data['project']}\\{data['task']}")
    assert (line.date, line.seconds) == (data["date"], 27000)
    assert line.description == f"{data['id']} v1"
    assert int(p["ref"]) > 0


def test_a_correction_writes_zero_and_a_new_line(erp, make):
    firm = make()
    n = number()
    _, first = send(firm, n, hours="8.00")
    (before,) = postings(firm, first)
    _, second = send(firm, n, hours="6.00", version=2)
    stack.wait_for(lambda: erp.by_uuid()[before["key"]].seconds == 0, 30, "the first line is reversed")
    new = [p for p in postings(firm, second) if p["state"] == "posted"]
    seconds = {erp.by_uuid()[p["key"]].seconds for p in new if p["key"] in erp.by_uuid()}
    assert 21600 in seconds
    assert erp.by_uuid()[before["key"]].description.endswith(" v1")  # the uuid and the line stay


def test_a_lost_answer_is_looked_up(erp, make):
    with FaultProxy(("127.0.0.1", erp.port)) as proxy:
        proxy.rule("cut_after", times=1, match=lambda r: b"line.create" in r.content)
        firm = make(proxy)
        _, event = send(firm)
        (p,) = postings(firm, event)
        assert p["state"] == "posted"
        assert proxy.counts["cut_after"] == 1
        assert [line.uuid for line in erp.book()].count(p["key"]) == 1


def test_sessions_that_are_over_are_renewed(erp, make):
    firm = make()
    assert postings(firm, send(firm)[1])[0]["state"] == "posted"
    erp.expire_sessions()
    assert postings(firm, send(firm)[1])[0]["state"] == "posted"


def test_what_tryton_does_not_know_or_take_is_a_persons(erp, make):
    firm = make()
    rows = {"W-900": ("P-101", "destination_unknown_worker"), "W-001": ("P-900", "destination_unknown_work")}
    for worker in rows:
        if not any(w["id"] == worker for w in firm.master["workers"]):
            firm.master["workers"].append(dict(firm.master["workers"][0], id=worker, aliases={}))
    firm.master["projects"].append(dict(firm.master["projects"][0], id="P-900", aliases={}))
    for worker, (project, _) in rows.items():
        firm.master["assignments"].append(dict(firm.master["assignments"][0], worker=worker, project=project))
    firm.write_master()
    firm.orchestrator.stop()
    firm.orchestrator.start()
    for worker, (project, code) in rows.items():
        data, event = send(firm, worker=worker, project=project, task="T-1")
        assert postings(firm, event)[0]["state"] == "exception"
        assert code in [e["code"] for e in firm.exceptions()], firm.exceptions()


def test_killed_workers_database_and_orchestrator_make_no_double_and_no_loss(erp, make):
    """SIGKILL of the orchestrator and of Tryton's workers, the database restarted, answers cut."""
    rng = random.Random(int(os.environ.get("TG_FAULT_SEED", "0")) or None)
    count = int(os.environ.get("TG_TRYTON_EVENTS", "150"))
    with FaultProxy(("127.0.0.1", erp.port), seed=rng.randrange(1 << 30)) as proxy:
        for fault in ("cut_before", "cut_after", "error_after"):
            proxy.rule(fault, probability=0.03)
        firm = make(proxy)
        events, done = [], threading.Event()

        def sender():
            for _ in range(count):
                events.append(send(firm)[1])
            done.set()

        thread = threading.Thread(target=sender)
        thread.start()
        hits = 0
        while not done.is_set() or hits < 4:
            done.wait(rng.uniform(0.3, 1.5))
            hits += 1
            if hits % 3 == 0:
                erp.kill_worker(rng.randrange(2))
            elif hits % 5 == 0:
                erp.restart_database(crash=True)
            else:
                firm.orchestrator.kill()
                firm.orchestrator.start()
        thread.join()
        proxy.clear()
        states = collections.Counter()
        keys = set()
        for event in events:
            (p,) = postings(firm, event, 180)
            states[p["state"]] += 1
            keys.add(p["key"])
        assert states == {"posted": count}, firm.exceptions()
        book = collections.Counter(line.uuid for line in erp.book() if line.uuid in keys)
        assert len(book) == count and set(book.values()) == {1}
