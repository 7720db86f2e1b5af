"""A file of the file destination that somebody saved with a spreadsheet: its postings wait without
using anything up, everybody else's go on, and all of them go when it is mended."""
import json

import pytest

from tests.harness.stack import wait_for


def postings(firm, http, event):
    story = firm.status(http, event).json()
    return {p["destination"]: p for o in story.get("objects", []) for p in o["postings"]}


def gauge(firm, name):
    (line,) = [x for x in firm.orchestrator.get("/metrics")[2].decode().splitlines()
               if x.startswith(f'{name}{{destination="acme/payroll"}}')]
    return int(line.split()[-1])


@pytest.fixture
def firm(make_firm):
    """With a second pay period, hence a second file, in which people work."""
    f = make_firm(start=False)
    calendar = f.path("calendar.yaml")
    w47 = '  - { id: "2026-W47"'
    assert w47 in calendar.read_text()
    calendar.write_text(calendar.read_text().replace(w47, (
        '  - { id: "2026-W46", from: 2026-11-09, to: 2026-11-15, cutoff: "2026-11-17T12:00:00Z" }\n'
        + w47)))
    return f.start()


def test_a_damaged_file_waits_to_be_mended(firm, http):
    for n in (1, 2, 3):
        firm.settled(http, firm.hook(http, firm.entry(n)).json()["id"])
    other = firm.settled(http, firm.hook(http, firm.entry(4, date="2026-11-09")).json()["id"])
    assert other["stage"] == "posted", other["exceptions"]
    first, path = sorted(firm.dir.glob("out/payroll/payroll-*.csv"))
    assert first.name != path.name
    good = path.read_bytes()
    path.write_bytes(good.replace(b"\n", b"\r\n"))

    waiting = [firm.hook(http, firm.entry(n)).json()["id"] for n in range(41, 61)]  # of one entity: one file
    wait_for(lambda: gauge(firm, "tallygate_destination_stuck") == 20, 20, "all of them stuck")
    for event in waiting:
        wait_for(lambda: postings(firm, http, event)["erp"]["state"] == "posted", 20, "the ERP's leg")
        mine = postings(firm, http, event)["payroll"]
        assert mine["attempt"] <= 1 and mine["state"] in ("ready", "sent", "retry"), mine
    assert gauge(firm, "tallygate_destination_breaker") == 0
    passed = firm.settled(http, firm.hook(http, firm.entry(40, date="2026-11-09")).json()["id"])
    assert passed["stage"] == "posted"
    said = [json.loads(x)["msg"] for x in firm.orchestrator.process.text().splitlines()
            if x.startswith("{") and path.name in x]
    assert len([x for x in said if "line 1 ends with CR LF" in x]) == 1, said

    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    for event in waiting:
        assert firm.settled(http, event, 60)["stage"] == "posted"
    assert len([r for r in firm.payroll() if r["entry"] >= "TE-000010"]) == 21
    assert gauge(firm, "tallygate_destination_stuck") == 0
    assert not firm.exceptions()
    assert any("repaired, in use again" in x for x in firm.orchestrator.process.text().splitlines())
