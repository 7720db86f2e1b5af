"""SIGKILL of the orchestrator at random moments while versions of the same entries arrive in any order:
in the end each destination holds the hours of the newest version, whatever was taken back on the way."""
import collections
import os
import random
import threading
from decimal import Decimal

import pytest

from tests.harness.sidecar import Sidecar

ENTRIES = int(os.environ.get("TG_FAULT_EVENTS", "5000")) // 20
SEED = int(os.environ.get("TG_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


@pytest.fixture
def sidecar():
    s = Sidecar()
    s.redis.start()
    s.orchestrator.start()
    yield s
    assert s.orchestrator.stop() == 0, s.orchestrator.process.text()[-2000:]
    s.redis.stop()
    s.remove()


def versions(rng):
    """(entry, version) in an order in which a later version may come before, close behind or long after
    an earlier one."""
    out = []
    for n in range(1, ENTRIES + 1):
        at = rng.random()
        for version in range(1, rng.randint(1, 5) + 1):
            out.append((at + rng.choice([0, 0, 0.001, 0.3]) * rng.random(), n, version))
            at += rng.choice([-0.01, 0, 0.02, 0.2]) * rng.random()
    return [(n, version) for _, n, version in sorted(out)]


def is_withdrawal(n, version):
    return (n + version) % 5 == 0


def hours(n, version):
    return Decimal(0) if is_withdrawal(n, version) else Decimal(version) + Decimal("0.25")


def judge(s, newest):
    """Files against what was sent; the journal against itself."""
    for where in ("erp/labor", "payroll/payroll"):
        nets, keys = collections.defaultdict(Decimal), {}
        for row in s.rows(where):
            assert row["key"] not in keys, f"{where}: a key twice"
            keys[row["key"]] = Decimal(row["hours"])
            nets[row["entry"]] += Decimal(row["hours"])
        taken_back = [row["reverses"] for row in s.rows(where) if row["reverses"]]
        assert len(taken_back) == len(set(taken_back)), f"{where}: taken back twice"
        for row in s.rows(where):
            assert not row["reverses"] or keys[row["reverses"]] == -Decimal(row["hours"])
        assert {e: h for e, h in nets.items() if h} == \
            {f"TE-{n:06}": hours(n, v) for n, v in newest.items() if hours(n, v)}, where
    for args in (("check", "-c", s.orchestrator.config, "--journal"),
                 ("audit", "verify", "-c", s.orchestrator.config)):
        done = s.orchestrator.run(*args)
        assert done.returncode == 0, done.stdout + done.stderr
    assert s.sql("select sum(quantity_micros) from control_totals") == [
        (int(sum(hours(n, v) for n, v in newest.items()) * 2 * 1000000),)]


def test_corrections_under_kills(sidecar):
    print(f"seed {SEED}: TG_FAULT_SEED={SEED} repeats the order and the kills")
    s, rng = sidecar, random.Random(SEED)
    todo = versions(rng)
    newest = {}
    for n, v in todo:
        newest[n] = max(v, newest.get(n, 0))
    stop = threading.Event()

    def send():
        for n, v in todo:
            if is_withdrawal(n, v):
                s.withdraw(n, v)
            else:
                s.add(n, version=v, hours=str(hours(n, v)))
            stop.wait(rng.random() / 200)

    sender = threading.Thread(target=send)
    sender.start()
    while sender.is_alive():
        stop.wait(rng.random() * 0.4)  # the time between two kills
        s.orchestrator.kill()
        s.orchestrator.start(ready=False)
    sender.join()
    s.settled(120)
    judge(s, newest)
    reversed_ = s.sql("select count(*) from postings where state = 10")[0][0]
    cancelled = s.sql("select count(*) from postings where state = 8")[0][0]
    withdrawn = s.sql("select count(*) from objects where state = 3")[0][0]
    late = s.sql("select count(*) from objects o where state = 2 and not exists "
                 "(select 1 from postings p where p.object = o.id)")[0][0]
    assert min(reversed_, cancelled, late, withdrawn) > 0, "each way of a correction was met"
    print({"entries": ENTRIES, "reversed": reversed_, "cancelled": cancelled, "late": late,
           "withdrawn": withdrawn})
