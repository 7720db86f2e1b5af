"""SIGKILL of the orchestrator, NGINX workers, Redis and Tryton's workers at random moments while entries go
through a bad line to a real ERP: each accepted entry is there exactly once, judged from Tryton's own
database, which crashes too."""
import collections
import os
import random
from dataclasses import replace

import pytest

from tests.fault import test_kills as kills
from tests.flow.test_tryton import destination
from tests.harness import stack
from tests.harness.faultproxy import FaultProxy
from tests.harness.firm import Firm
from tests.harness.sender import Sender
from tests.harness.tryton import DATABASE, Line, Tryton, acme

EVENTS = int(os.environ.get("TG_TRYTON_EVENTS", "2000"))
FAULTS_MAX = 30  # then it must come to an end by itself
SEED = int(os.environ.get("TG_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


@pytest.fixture
def erp():
    made = Tryton().start()
    yield made
    made.stop()


@pytest.fixture
def line(erp):
    """Between us and Tryton: some requests are cut before, some after they arrived."""
    with FaultProxy(("127.0.0.1", erp.port), seed=SEED) as proxy:
        for fault in ("cut_before", "cut_after", "error_after"):
            proxy.rule(fault, probability=0.01)
        yield proxy


@pytest.fixture
def firm(erp, line):
    f = Firm("erpkill", asan=False, erp=destination(erp, f"{line.url}/{DATABASE}/", timeout="15s"))
    f.start()
    yield f
    found = kills.findings(f)
    assert not found, "\n".join(found[:40])
    f.remove()


def assert_exactly_once(erp, firm, accepted):
    """The judge: Tryton's database against what the sender was told."""
    book = erp.book()
    count = collections.Counter(row.description for row in book)
    wanted = {f"{entry} v1" for entry in accepted}
    assert [e for e, n in count.items() if n != 1] == []
    assert set(count) == wanted, f"missing {sorted(wanted - set(count))[:5]}," \
                                 f" too many {sorted(set(count) - wanted)[:5]}"
    assert len({row.uuid for row in book}) == len(book)
    for row in book:
        data = firm.entry(int(row.description.split(" ")[0].removeprefix("TE-")))
        assert (row.employee, row.work, row.date, row.seconds, row.company) == \
            (data["worker"], f"{data['project']}\\{data['task']}", data["date"], 4500,
             acme.entity_of(data["worker"]))


def test_random_kills_into_tryton(erp, line, firm):
    print(f"seed {SEED}: TG_FAULT_SEED={SEED} repeats the choice of kills")
    rng = random.Random(SEED)

    def kill_tryton(_, chosen):
        if pids := erp.workers():
            erp.kill_worker(chosen.randrange(len(pids)))

    def crash_database(*_):
        erp.restart_database(crash=True)

    sender = Sender(firm, 1, EVENTS, threads=4).start()
    faults = [kill_tryton, kills.kill_orchestrator, kills.kill_worker, kill_tryton, kills.kill_redis,
              crash_database]
    done = collections.Counter()

    def break_something(fault):
        kills.pause(rng.uniform(0.3, 3))
        fault(firm, rng)
        done[fault.__name__] += 1

    for fault in faults:  # each at least once, then at random while there is work
        break_something(fault)
    while (any(t.is_alive() for t in sender.threads) or len(erp.book()) < EVENTS * 0.9) and \
            sum(done.values()) < FAULTS_MAX:
        break_something(rng.choice(faults))
    assert sender.join(240), f"the sender did not finish: {sender.statuses}"
    assert not sender.wrong, sender.wrong[:5]
    assert len(sender.accepted) == EVENTS
    if not firm.orchestrator.process.alive():
        firm.orchestrator.start()
    stack.wait_for(lambda: len(erp.book()) >= EVENTS and len(firm.payroll()) >= EVENTS, 240,
                   "everything posted")
    assert_exactly_once(erp, firm, sender.accepted)
    assert collections.Counter(r["entry"] for r in firm.payroll()) == dict.fromkeys(sender.accepted, 1)
    checked = firm.orchestrator.run("check", "-c", firm.yaml, "--journal")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert firm.exceptions() == []
    verified = firm.orchestrator.run("audit", "verify", "-c", firm.yaml)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    print(dict(done), sender.statuses, dict(line.counts))


class Book:
    """A book as the judge reads it, with one good line and what a test adds."""

    def __init__(self, firm, *more):
        data = firm.entry(7)
        self.good = Line("k7", data["worker"], "ACME-DE", f"{data['project']}\\{data['task']}", data["date"],
                         4500, f"{data['id']} v1", None, None, None)
        self.lines = [self.good, *more]

    def book(self):
        return self.lines


def test_the_judge_notices_what_is_wrong():
    firm = Firm.__new__(Firm)  # its entry() alone, without processes
    accepted = [firm.entry(7)["id"]]
    good = Book(firm).good
    assert_exactly_once(Book(firm), firm, accepted)
    for bad in ([replace(good, uuid="k8")],                      # the same entry under another key
                [replace(good, uuid="k8", description="TE-000008 v1")],  # one that nobody sent
                [replace(good, uuid="k8", description=None)]):   # a line of somebody else
        with pytest.raises((AssertionError, AttributeError)):
            assert_exactly_once(Book(firm, *bad), firm, accepted)
    for change in ({"seconds": 4499}, {"employee": "W-001"}, {"company": "ACME-UK"}, {"work": "P-101\\T-9"}):
        book = Book(firm)
        book.lines = [replace(good, **change)]
        with pytest.raises(AssertionError):
            assert_exactly_once(book, firm, accepted)
    with pytest.raises(AssertionError):
        assert_exactly_once(Book(firm), firm, [*accepted, "TE-000009"])
