"""Maintenance windows of the calendar: nothing goes out in one, nothing is dropped, what waited goes in
order; the calendar may change under way, and a wrong one changes nothing."""
import signal
import sqlite3
import time
from datetime import datetime, timedelta, timezone

import pytest

from tests.flow.test_destinations import cli, state
from tests.harness import stack
from tests.harness.firm import Firm, week

NOW = iter(range(1, 10_000))
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@pytest.fixture(scope="module")
def firm():
    f = Firm("window").start()
    yield f
    found = f.stop()
    f.remove()
    assert not found


def stamp(seconds):
    """A time from now, in another zone than ours."""
    at = datetime.now(timezone(timedelta(hours=-5))) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds")


def write(firm, maintenance):
    text = week.CALENDAR + ("maintenance:\n" + maintenance if maintenance else "")
    (firm.dir / "calendar.yaml").write_text(text)


def reload(firm, says="are in force"):
    before = firm.orchestrator.process.text().count(says)
    firm.orchestrator.process.send(signal.SIGHUP)
    stack.wait_for(lambda: firm.orchestrator.process.text().count(says) > before, 30, says)


def once(seconds_from, seconds_to, names="erp", reason="new release"):
    return (f'  - {{ destinations: [{names}], from: "{stamp(seconds_from)}", to: "{stamp(seconds_to)}",'
            f' reason: "{reason}" }}\n')


def send(firm, client, count=4):
    numbers = [next(NOW) for _ in range(count)]
    events = [firm.send(client, firm.entry(n)).json()["id"] for n in numbers]
    return [f"TE-{n:06}" for n in numbers], events


def labor(firm, names):
    return [r["entry"] for r in firm.labor() if r["entry"] in names]


def held(firm, client):
    """Sends some; returns them once payroll has all and the ERP none."""
    names, events = send(firm, client)
    stack.wait_for(lambda: set(names) <= {r["entry"] for r in firm.payroll()}, 20, "payroll goes on")
    assert labor(firm, names) == []
    return names, events


def first_sent(firm, name):
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    try:
        return db.execute("SELECT min(p.first_sent_ms) FROM postings p JOIN objects o ON o.id = p.object "
                          "JOIN destinations d ON d.id = p.destination "
                          "WHERE o.object_id = ? AND d.name = 'acme/erp'", (name,)).fetchone()[0]
    finally:
        db.close()


def test_held_in_a_window_and_released_by_the_calendar(firm):
    write(firm, once(-3600, 3600))
    reload(firm)
    is_now = state(firm)
    assert (is_now["state"], is_now["paused"]) == ("maintenance", None)
    assert is_now["maintenance"]["now"] and is_now["maintenance"]["reason"] == "new release"
    assert state(firm, "payroll")["state"] == "running" and state(firm, "payroll")["maintenance"] is None
    assert "in maintenance until" in cli(firm, "list").stdout
    with firm.client() as c:
        names, events = held(firm, c)
        firm.orchestrator.kill()  # a restart finds the window in the calendar
        firm.orchestrator.start()
        firm.edge_ready()
        assert state(firm)["state"] == "maintenance" and state(firm)["open"] == len(names)
        assert labor(firm, names) == []
        write(firm, "")
        reload(firm)
        for event in events:
            assert firm.settled(c, event)["stage"] == "posted"
    assert labor(firm, names) == sorted(names), "in order"
    assert firm.exceptions() == []
    assert state(firm)["maintenance"] is None


def test_a_window_begins_and_ends_by_itself(firm):
    write(firm, once(3, 7) + once(6, 10, reason="and the next one"))
    reload(firm)
    soon = state(firm)
    assert soon["state"] == "running" and not soon["maintenance"]["now"]
    ends_ms = datetime.fromisoformat(soon["maintenance"]["until"].replace("Z", "+00:00")).timestamp() * 1000
    begins_ms = datetime.fromisoformat(soon["maintenance"]["from"].replace("Z", "+00:00")).timestamp() * 1000
    assert 5000 < ends_ms - begins_ms < 9000, "two that overlap are one"
    stack.wait_for(lambda: state(firm)["state"] == "maintenance", 20, "it begins")
    assert time.time() * 1000 >= begins_ms
    with firm.client() as c:
        names, events = held(firm, c)
        for event in events:
            assert firm.settled(c, event, 30)["stage"] == "posted"
    assert min(first_sent(firm, n) for n in names) >= ends_ms, "not one before it was over"
    assert labor(firm, names) == sorted(names)
    assert state(firm)["state"] == "running"


def test_every_week(firm):
    zone = timezone(timedelta(hours=5, minutes=45))
    there = datetime.now(zone)
    write(firm, f'  - {{ destinations: [erp, payroll], days: [{DAYS[there.weekday()]}], from: "00:00",'
                f' to: "24:00", timezone: "+05:45" }}\n')
    reload(firm)
    assert state(firm)["state"] == state(firm, "payroll")["state"] == "maintenance"
    until = datetime.fromisoformat(state(firm)["maintenance"]["until"].replace("Z", "+00:00"))
    assert until.astimezone(zone).time().isoformat() == "00:00:00"
    write(firm, f'  - {{ destinations: [erp], days: [{DAYS[(there.weekday() + 2) % 7]}], from: "22:00",'
                f' to: "02:00", timezone: "Z" }}\n')
    reload(firm)
    nearest = state(firm)["maintenance"]
    assert state(firm)["state"] == "running" and nearest["from"].endswith("T22:00:00.000Z")
    assert nearest["until"].endswith("T02:00:00.000Z")
    assert "next maintenance from" in cli(firm, "list").stdout


def test_a_person_and_a_window(firm):
    """Held for two reasons, let go of when both are gone."""
    write(firm, once(-60, 3600))
    reload(firm)
    with firm.client() as c:
        assert cli(firm, "pause", "erp", "--reason", "to be sure").returncode == 0
        assert state(firm)["state"] == "paused" and state(firm)["maintenance"]["now"]
        names, events = held(firm, c)
        assert cli(firm, "resume", "erp").stdout.endswith("destinations: erp is maintenance\n")
        assert cli(firm, "pause", "erp").returncode == 0
        write(firm, "")
        reload(firm)
        assert state(firm)["state"] == "paused" and labor(firm, names) == []
        assert cli(firm, "resume", "erp").stdout.endswith("destinations: erp is running\n")
        for event in events:
            assert firm.settled(c, event)["stage"] == "posted"
    assert labor(firm, names) == sorted(names)


@pytest.mark.parametrize("text,says", [
    ('  - { destinations: [erp, nope], from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z" }\n',
     "tenant `acme` has no destination `nope`; accepted: erp, payroll"),
    ('  - { destinations: [erp], from: "2026-01-02T00:00:00Z", to: "2026-01-01T00:00:00Z" }\n',
     "`to` is not accepted; accepted: a time later than `from`"),
])
def test_a_wrong_calendar_changes_nothing(firm, text, says):
    write(firm, once(-60, 3600))
    reload(firm)
    write(firm, text)
    done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
    assert done.returncode == 1 and says in done.stdout + done.stderr
    assert "calendar.yaml:" in done.stdout + done.stderr
    reload(firm, "reload refused")
    assert says in firm.orchestrator.process.text()
    assert state(firm)["state"] == "maintenance"
    write(firm, "")
    reload(firm)
    assert state(firm)["state"] == "running"
