"""SIGKILL of a worker, Redis and the orchestrator at random moments while 5,000 events go through:
every accepted entry is in the ERP file and in the payroll file exactly once."""
import collections
import os
import random
import signal
import threading
from decimal import Decimal

import pytest

from tests.harness import stack
from tests.harness.firm import Firm
from tests.harness.sender import Sender

EVENTS = int(os.environ.get("TG_FAULT_EVENTS", "5000"))
SEED = int(os.environ.get("TG_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


@pytest.fixture
def firm():
    f = Firm("fault", asan=False, workers=2)
    f.start()
    yield f
    found = findings(f)
    assert not found, "\n".join(found[:40])
    f.remove()


def findings(f):
    """What stopping says: exit status, alerts. That a worker was killed is what was done to it."""
    if f.orchestrator.process.alive():  # it may have been started a moment ago
        stack.wait_for(f.orchestrator.ready, 30, "orchestrator ready")
    return [line for line in f.stop().splitlines() if line and "exited on signal 9" not in line]


def pause(seconds):
    """The time between two faults: the one thing here that is meant to be a stretch of time."""
    threading.Event().wait(seconds)


def kill_worker(f, _):
    workers = f.nginx.workers()
    if workers:
        os.kill(workers[0], signal.SIGKILL)


def kill_redis(f, _):
    f.redis.kill()
    f.redis.start()


def kill_orchestrator(f, _):
    f.orchestrator.kill()
    f.orchestrator.start(ready=False)


def hang_redis(f, rng):
    f.redis.process.send(signal.SIGSTOP)
    pause(rng.random() / 2)
    f.redis.process.send(signal.SIGCONT)


def stop_orchestrator(f, _):
    f.orchestrator.process.stop(signal.SIGTERM, 60)
    f.orchestrator.start(ready=False)


def assert_exactly_once(f, accepted):
    """The judge: files of the destinations against what the sender was told."""
    for rows, name in ((f.labor(), "ERP"), (f.payroll(), "payroll")):
        count = collections.Counter(r["entry"] for r in rows)
        twice = [e for e, n in count.items() if n != 1]
        assert not twice, f"{name}: twice: {twice[:5]}"
        missing = set(accepted) - set(count)
        assert not missing, f"{name}: missing {len(missing)}: {sorted(missing)[:5]}"
        assert sum(Decimal(r["hours"]) for r in rows) == Decimal("1.25") * len(count)
        assert len({r["key"] for r in rows}) == len(rows)


def all_posted(f, accepted):
    return lambda: len(f.labor()) >= len(accepted) and len(f.payroll()) >= len(accepted)


def test_random_kills(firm):
    print(f"seed {SEED}: TG_FAULT_SEED={SEED} repeats the choice of kills")
    rng = random.Random(SEED)
    sender = Sender(firm, 1, EVENTS, threads=8).start()
    faults = [kill_worker, kill_redis, kill_orchestrator, hang_redis, kill_orchestrator,
              stop_orchestrator]
    done = collections.Counter()
    for fault in faults:  # each at least once, then at random
        pause(rng.random() * 0.5)
        fault(firm, rng)
        done[fault.__name__] += 1
    while any(t.is_alive() for t in sender.threads):
        pause(rng.random())
        fault = rng.choice(faults)
        fault(firm, rng)
        done[fault.__name__] += 1
    assert sender.join(240), f"the sender did not finish: {sender.statuses}"
    assert not sender.wrong, sender.wrong[:5]
    assert len(sender.accepted) == EVENTS
    if not firm.orchestrator.process.alive():
        firm.orchestrator.start()
    stack.wait_for(all_posted(firm, sender.accepted), 120, "everything posted")
    assert_exactly_once(firm, sender.accepted)
    checked = firm.orchestrator.run("check", "-c", firm.yaml, "--journal")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    verified = firm.orchestrator.run("audit", "verify", "-c", firm.yaml)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    log = firm.orchestrator.process.text()
    assert '"level":"error"' not in log or "data loss" not in log
    print(dict(done), sender.statuses)


def test_kill_orchestrator_often(firm):
    """Twenty kills in a row with work in hand: restarts, looks up what was sent, posts the rest."""
    sender = Sender(firm, 1, 1500, threads=6).start()
    for _ in range(20):
        pause(0.15)
        firm.orchestrator.kill()
        firm.orchestrator.start(ready=False)
    assert sender.join(120)
    stack.wait_for(all_posted(firm, sender.accepted), 120, "everything posted")
    assert_exactly_once(firm, sender.accepted)


def test_second_orchestrator_is_refused(firm):
    done = firm.orchestrator.run("serve", "-c", firm.yaml)
    assert done.returncode != 0
    assert str(firm.orchestrator.process.pid) in done.stderr


def test_no_half_line_after_a_kill(firm):
    sender = Sender(firm, 1, 800, threads=4).start()
    for _ in range(5):
        pause(0.2)
        firm.orchestrator.kill()
        for path in firm.dir.glob("out/*/*.csv"):
            lines = path.read_bytes().split(b"\n")
            fields = lines[0].count(b",")
            assert all(line.count(b",") >= fields for line in lines[1:-1]), path
        firm.orchestrator.start(ready=False)
    assert sender.join(120)
    stack.wait_for(all_posted(firm, sender.accepted), 60, "everything posted")
    assert_exactly_once(firm, sender.accepted)


def test_a_second_run_adds_nothing(firm):
    sender = Sender(firm, 1, 50, threads=2).start()
    assert sender.join(60)
    stack.wait_for(all_posted(firm, sender.accepted), 60, "everything posted")
    assert firm.orchestrator.stop() == 0
    before = {p: p.read_bytes() for p in firm.dir.glob("out/*/*")}
    firm.orchestrator.start()
    again = Sender(firm, 1, 50, threads=2).start()
    assert again.join(60)
    assert again.accepted == sender.accepted
    assert firm.orchestrator.stop() == 0
    assert {p: p.read_bytes() for p in firm.dir.glob("out/*/*")} == before
