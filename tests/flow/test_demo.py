"""make demo, as its user runs it: reconciled, exit 0, no process left behind; and it can fail."""
import subprocess
import sys

from tests.harness import stack

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
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


def test_the_expectation_notices_a_missing_entry():
    sends = week.plan(week.entries())
    whole = week.expected(sends)
    lost = week.expected([s for s in sends if s.entry.id != "TE-000005"])
    assert whole.posted == lost.posted + 1
    assert whole.hours_posted > lost.hours_posted
