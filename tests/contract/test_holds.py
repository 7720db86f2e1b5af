"""What waits for master data or a period, and what becomes of it: released by a reload, in time or not,
in order, after a crash, and once."""
from decimal import Decimal

import pytest

from tests.harness import stack
from tests.harness.sidecar import Sidecar, week

HELD, VALIDATED, SUPERSEDED, WITHDRAWN, IN_EXCEPTION = 0, 1, 2, 3, 4


def make(hold_timeout):
    s = Sidecar(hold_timeout)
    s.redis.start()
    return s


def end(s):
    if s.orchestrator.process is not None and s.orchestrator.process.alive():
        assert s.orchestrator.stop() == 0, s.orchestrator.process.text()[-2000:]
    for args in (("check", "-c", s.orchestrator.config, "--journal"),
                 ("audit", "verify", "-c", s.orchestrator.config)):
        done = s.orchestrator.run(*args)
        assert done.returncode == 0, done.stdout + done.stderr
    s.redis.stop()
    assert s.orchestrator.findings() == ""
    s.remove()


@pytest.fixture
def sidecar():
    s = make("1h")
    yield s
    end(s)


def without_worker(name):
    def edit(master):
        master["workers"] = [w for w in master["workers"] if w["id"] != name]
        master["assignments"] = [a for a in master["assignments"] if a["worker"] != name]
    return edit


def objects(s, n):
    return s.sql("select version, state, waits_for from objects where object_id = ? order by id",
                 f"TE-{n:06}")


def exceptions(s):
    return s.sql("select code, state from exceptions order by id")


def worker_of(s, n):
    return s.entry(n)["worker"]


def test_an_entry_waits_for_its_worker(sidecar):
    s = sidecar
    who = worker_of(s, 1)
    s.write_master(without_worker(who))
    s.orchestrator.start()
    s.add(1)
    s.add(2)
    s.wait_posted(2)
    s.quiet()
    assert objects(s, 1) == [(1, HELD, f"worker:{who}")]
    assert exceptions(s) == []
    s.reload()  # nothing new: nothing changes
    s.add(3)
    s.wait_posted(3)
    assert objects(s, 1) == [(1, HELD, f"worker:{who}")]
    s.write_master()
    s.reload()
    s.wait_posted(1)
    assert objects(s, 1) == [(1, SUPERSEDED, f"worker:{who}"), (1, VALIDATED, "")]
    assert exceptions(s) == []
    assert s.sql("select actor from audit where action = 'event.released'") == [("orchestrator",)]
    s.reload()
    s.settled()
    assert s.posted().count("TE-000001") == 1


def test_it_waits_for_one_thing_after_the_other(sidecar):
    s = sidecar
    who = worker_of(s, 1)
    s.write_master(without_worker(who))
    s.orchestrator.start()
    s.add(1)
    s.quiet()
    due = s.sql("select due_ms from objects")

    def no_assignment(master):
        master["assignments"] = [a for a in master["assignments"] if a["worker"] != who]
    s.write_master(no_assignment)
    s.reload()
    name = f"assignment:{who}/{s.entry(1)['project']}"
    stack.wait_for(lambda: objects(s, 1) == [(1, HELD, name)], 20, "held for the next thing")
    assert s.sql("select due_ms from objects") == due  # no longer in all
    s.write_master()
    s.reload()
    s.wait_posted(1)


def test_a_crash_between_arrival_and_release(sidecar):
    """The master data came while the process was dead: looked at at the start."""
    s = sidecar
    s.write_master(without_worker(worker_of(s, 1)))
    s.orchestrator.start()
    s.add(1)
    s.quiet()
    s.orchestrator.kill()
    s.write_master()
    s.orchestrator.start()
    s.wait_posted(1)


def test_a_later_version_takes_the_place_of_a_held_one(sidecar):
    s = sidecar
    who = worker_of(s, 1)
    s.write_master(without_worker(who))
    s.orchestrator.start()
    s.add(1)
    s.quiet()
    s.add(1, version=2, worker="W-001", project="P-101", task="T-1", hours="2.00")
    s.wait_posted(1)
    late = s.add(1, version=1, event_id="again")
    s.quiet()
    assert s.state_of(late)[:2] == (1, SUPERSEDED)
    s.write_master()
    s.reload()
    s.add(2)
    s.wait_posted(2)
    s.settled()
    assert s.net(1) == ([Decimal("2.00")], Decimal("2.00"))


def test_a_held_correction_leaves_what_stands(sidecar):
    s = sidecar
    who = worker_of(s, 1)
    s.orchestrator.start()
    s.add(1)
    s.wait_posted(1)
    s.write_master(without_worker(who))
    s.reload()
    s.add(1, version=2, hours="3.00")
    s.quiet()
    assert [o[:2] for o in objects(s, 1)] == [(1, VALIDATED), (2, HELD)]
    s.write_master()
    s.reload()
    stack.wait_for(lambda: s.net(1)[0] == [Decimal(x) for x in ("1.25", "-1.25", "3.00")], 20,
                   "reversed and rebooked")
    s.settled()


def test_a_closed_period_may_be_waited_for(sidecar):
    s = sidecar
    calendar = s.dir / "calendar.yaml"
    text = week.CALENDAR
    closed = text.replace("to: 2026-11-30, state: open", "to: 2026-11-30, state: closed")
    calendar.write_text("closed_periods: hold\n" + closed)
    s.orchestrator.start()
    s.add(1)
    s.quiet()
    assert objects(s, 1) == [(1, HELD, "period:2026-11")]
    calendar.write_text("closed_periods: hold\n" + text)
    s.reload()
    s.wait_posted(1)
    calendar.write_text("closed_periods: hold\n" + closed)  # a correction of what is posted there
    s.reload()
    s.add(1, version=2, hours="3.00")
    s.quiet()
    assert objects(s, 1)[-1] == (2, HELD, "period:2026-11")
    assert s.net(1)[1] == Decimal("1.25")
    calendar.write_text("closed_periods: hold\n" + text)
    s.reload()
    stack.wait_for(lambda: s.net(1)[1] == Decimal("3.00"), 20, "corrected")
    s.settled()


def test_a_closed_period_may_be_passed_on(sidecar):
    """Posted in November; November closes; a correction goes to December whole, reversal and all, and a
    correction of that stays there."""
    s = sidecar
    calendar = s.dir / "calendar.yaml"
    text = "closed_periods: next_open\n" + week.CALENDAR.replace(
        "pay_cycles:", '  - { id: "2026-12", from: 2026-12-01, to: 2026-12-31, state: open }\npay_cycles:')
    calendar.write_text(text)
    s.orchestrator.start()
    s.add(1)
    s.wait_posted(1)
    calendar.write_text(text.replace("to: 2026-11-30, state: open", "to: 2026-11-30, state: closed"))
    s.reload()
    s.add(1, version=2, hours="3.00")
    stack.wait_for(lambda: len(s.net(1)[0]) == 3, 20, "corrected")
    s.add(1, version=3, hours="4.00")
    stack.wait_for(lambda: len(s.net(1)[0]) == 5, 20, "corrected again")
    s.settled()
    rows = [(r["period"], r["date"], r["posting_date"], r["hours"]) for r in s.rows()
            if r["entry"] == "TE-000001"]
    assert rows == [("2026-11", "2026-11-16", "", "1.25"),
                    ("2026-12", "2026-11-16", "2026-12-01", "-1.25"),
                    ("2026-12", "2026-11-16", "2026-12-01", "3.00"),
                    ("2026-12", "2026-11-16", "2026-12-01", "-3.00"),
                    ("2026-12", "2026-11-16", "2026-12-01", "4.00")]
    totals = dict(s.sql("select t.period, t.quantity_micros from control_totals t "
                        "where t.kind = 'labor'"))
    assert totals == {"2026-11": 1250000, "2026-12": 2750000}


def test_time_runs_out():
    s = make("1s")
    who = worker_of(s, 1)
    s.write_master(without_worker(who))
    s.orchestrator.start()
    s.add(1)
    stack.wait_for(lambda: exceptions(s) == [("worker_unknown", 0)], 30, "told to a person")
    assert objects(s, 1) == [(1, SUPERSEDED, f"worker:{who}"), (1, IN_EXCEPTION, "")]
    s.add(1, version=2, worker="W-001", project="P-101", task="T-1")
    s.wait_posted(1)
    assert exceptions(s) == [("worker_unknown", 5)]
    end(s)


def test_many_are_released_once():
    s = make("1h")
    s.write_master(without_worker("W-003"))
    s.orchestrator.start()
    numbers = [39 * k + 2 for k in range(300)]
    for n in numbers:
        s.add(n)
    s.quiet()
    assert s.sql("select count(*) from objects where state = 0") == [(300,)]
    s.write_master()
    s.orchestrator.process.send(1)
    stack.wait_for(lambda: s.sql("select count(*) from objects where state = 1")[0][0] > 20, 20,
                   "some released")
    s.orchestrator.kill()
    s.orchestrator.start()
    s.wait_posted(*numbers)
    s.settled()
    assert len(s.posted()) == len(set(s.posted())) == 300
    end(s)
