"""make demo, as its user runs it: reconciled, exit 0, no process left behind; and it can fail."""
import subprocess
import sys

import pytest

from tests.harness import stack

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
import judge  # noqa: E402
import week  # noqa: E402


def processes():
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [p for p in done.stdout.splitlines() if "var/run/redis.sock" in p
            or "conf/tallygate.yaml" in p or "-p var/ -c conf/nginx.conf" in p]


def test_demo_reconciles():
    done = subprocess.run(["/usr/bin/python3", "conf/demo/demo.py"], cwd=stack.ROOT,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo: reconciled" in done.stdout.splitlines()[-1]
    assert not processes()


def test_committed_demo_data_is_the_generators():
    import json
    data = json.loads((stack.ROOT / "conf/demo/master.json").read_text())
    assert data == week.master()
    assert (stack.ROOT / "conf/demo/calendar.yaml").read_text() == week.CALENDAR


def right():
    """An Arrived that is as the input implies, made without the product."""
    sends = week.plan(week.entries())
    x = week.expected(sends)
    answers = [(s, (s.status, s.code, s.replayed, "s00-1-0")) for s in sends]
    def lines(want):
        return [dict(line, key=f"{n:032x}") for n, line in enumerate(want.values())]
    totals = [{"hours": str(x.hours_posted), "lines": x.posted}]
    waiting = [{"code": c, "owner": "finance", "subject": f"{e}@1"}
               for c, entries in x.waiting.items() for e in entries]
    return judge.Arrived(answers, lines(x.labor), lines(x.payroll), totals,
                         judge.expected_ledger(x.labor), waiting, x.duplicates), x


def test_the_judge_accepts_what_is_right():
    a, x = right()
    assert judge.judge(a, x) == []


@pytest.mark.parametrize("spoil", [
    lambda a: a.labor.pop(),
    lambda a: a.payroll.pop(5),
    lambda a: a.labor.append(dict(a.labor[0])),
    lambda a: a.payroll[7].update(worker="W-002" if a.payroll[7]["worker"] != "W-002" else "W-003"),
    lambda a: a.labor[9].update(project="P-999"),
    lambda a: a.labor[9].update(amount="0.01"),
    lambda a: a.payroll[9].update(pay_code="OT"),
    lambda a: a.labor[1].update(key=a.labor[0]["key"]),
    lambda a: a.ledger.update({("cost:P-101", "EUR"): 1}),
    lambda a: a.ledger.update({("other", "EUR"): 1}),
    lambda a: a.totals[0].update(lines=1),
    lambda a: a.exceptions.pop(),
    lambda a: a.exceptions[0].update(subject="TE-000001@1"),
    lambda a: setattr(a, "duplicates", 4),
    lambda a: a.answers.__setitem__(3, (a.answers[3][0], (503, "", False, ""))),
])
def test_the_judge_notices(spoil):
    a, x = right()
    spoil(a)
    assert judge.judge(a, x)


def test_swapped_hours_are_noticed():
    a, x = right()
    i = next(n for n, r in enumerate(a.payroll) if r["hours"] != a.payroll[0]["hours"])
    a.payroll[0]["hours"], a.payroll[i]["hours"] = a.payroll[i]["hours"], a.payroll[0]["hours"]
    assert judge.judge(a, x)


def test_a_second_demo_is_refused():
    import fcntl
    (stack.ROOT / "var").mkdir(exist_ok=True)
    with open(stack.ROOT / "var/demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["/usr/bin/python3", "conf/demo/demo.py"], cwd=stack.ROOT,
                              capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "another demo" in done.stdout


def test_the_expectation_notices_a_missing_entry():
    sends = week.plan(week.entries())
    whole = week.expected(sends)
    lost = week.expected([s for s in sends if s.entry.id != "TE-000005"])
    assert whole.posted == lost.posted + 1
    assert whole.hours_posted > lost.hours_posted
