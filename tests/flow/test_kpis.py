"""Figures of a time through the edge, against what the test itself knows: what it sent and when, and the destinations'
own files."""
import datetime
import json
import math
import signal
import time
from urllib.parse import quote

import pytest

from tests.harness import stack
from tests.harness.firm import Firm

SENT, CORRECTED, REPEATED, BAD = 40, 4, 5, 6
STEP = 977  # seconds between two approvals


@pytest.fixture(scope="module")
def firm():
    f = Firm("kpis", edit_nginx=lambda c: c.replace("tally_rate 20r/s burst=40 name=ops",
                                                    "tally_rate 2000r/s burst=4000 name=ops"))
    f.start()
    yield f
    found = f.stop()
    f.remove()
    assert not found


def at(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def head(firm, scope="ops:read"):
    return {"Authorization": "Bearer " + firm.token(scope, client="ops-anna")}


def kpis(firm, client, **params):
    query = "&".join(f"{k}={quote(str(v), safe='')}" for k, v in params.items())
    answer = client.get(f"/v1/ops/kpis{'?' + query if query else ''}", headers=head(firm))
    assert answer.status_code == 200, answer.text
    return answer.json()


def rank(values, percent):
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def act(firm, client, id_, verb, body=None):
    answer = client.post(f"/v1/ops/exceptions/{id_}/{verb}", json=body, headers=head(firm, "ops:write"))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def week(firm):
    """What was sent, between which moments, and what people then did."""
    begun = int(time.time()) - 2
    approvals = [begun - 3600 - n * STEP for n in range(SENT)]
    with firm.client() as c:
        events = [firm.send(c, firm.entry(n, approved_at=at(approvals[n]))).json()["id"] for n in range(SENT)]
        for e in events:
            assert firm.settled(c, e)["stage"] == "posted"
        posted_by = time.time()
        for n in range(REPEATED):  # the same event under another key: only the orchestrator can tell
            again = firm.send(c, firm.entry(n, approved_at=at(approvals[n])))
            assert again.status_code == 202 and again.json()["id"] not in events
        bad = [firm.send(c, firm.entry(900 + n, worker="W-nobody", project="P-101")).json()["id"] for n in range(BAD)]
        opened = stack.wait_for(lambda: len(firm.exceptions()) == BAD and firm.exceptions(), 30, "exceptions")
        corrected_at = int(time.time()) - 60
        for n in range(CORRECTED):
            event = firm.send(c, firm.entry(n, version=2, hours="2.00", approved_at=at(corrected_at))).json()["id"]
            assert firm.settled(c, event)["stage"] == "posted"
        act(firm, c, opened[0]["id"], "discard", {"reason": "of nobody"})
        act(firm, c, opened[1]["id"], "discard", {"reason": "of nobody"})
        stack.wait_for(lambda: kpis(firm, c)["events"]["count"] == SENT + REPEATED + BAD + CORRECTED, 30, "all arrived")
    return {"begun": begun, "approvals": approvals, "posted_by": posted_by, "bad": bad, "corrected_at": corrected_at}


def test_what_was_posted_and_how_fast(firm, week):
    with firm.client() as c:
        k = kpis(firm, c, **{"from": at(week["begun"])})
    files = {"erp": firm.labor(), "payroll": firm.payroll()}
    rows = {d["destination"]: d for d in k["postings"]["destinations"]}
    assert {n: rows[n]["posted"] for n in files} == {n: len(lines) for n, lines in files.items()}
    assert k["postings"]["posted"] == sum(map(len, files.values()))
    reversals = 2 * CORRECTED
    assert k["corrections"]["reversals"] == reversals
    assert k["postings"]["posted"] == 2 * SENT + 2 * CORRECTED + reversals
    assert k["postings"]["exceptions"] == 0 and k["postings"]["success_rate"] == "1"
    # each took from its approval to some moment before we saw it posted
    late = [time.time()] * SENT
    least = sorted([week["begun"] - a for a in week["approvals"]] * 2 + [0] * 2 * CORRECTED)
    most = sorted([late[0] - a for a in week["approvals"]] * 2 + [late[0] - week["corrected_at"]] * 2 * CORRECTED)
    latency = k["approval_to_posting"]
    assert latency["count"] == latency["from_approval"] == len(least) and latency["from_receipt"] == 0
    for name, percent in (("p50_ms", 50), ("p95_ms", 95), ("max_ms", 100)):
        assert rank(least, percent) * 1000 <= latency[name] <= rank(most, percent) * 1000 + 1, name
    assert {n: rows[n]["approval_to_posting"]["count"] for n in files} == {n: SENT + CORRECTED for n in files}


def test_what_came_twice_or_was_corrected(firm, week):
    with firm.client() as c:
        k = kpis(firm, c)
    total = SENT + REPEATED + BAD + CORRECTED
    assert k["events"] == {"count": total, "duplicates": REPEATED, "duplicate_rate": number(REPEATED, total)}
    assert k["corrections"] == {
        "superseded": CORRECTED, "withdrawn": 0, "correction_rate": number(CORRECTED, total - REPEATED),
        "reversals": 2 * CORRECTED, "reversal_rate": number(2 * CORRECTED, 2 * SENT + 2 * CORRECTED)}
    assert k["complete"] and k["covered_from"] == k["from"]


def number(part, whole):
    """A rate as it is written: rounded to 6 digits, no zeros behind."""
    micros = (part * 1_000_000 + whole // 2) // whole
    return f"{micros // 1_000_000}.{micros % 1_000_000:06}".rstrip("0").rstrip(".")


def test_exceptions_and_how_long_they_took(firm, week):
    with firm.client() as c:
        k = kpis(firm, c)
        x = k["exceptions"]
        assert (x["opened"], x["closed"]) == (BAD, 2)
        assert [(r["code"], r["opened"], r["resolution"]["count"]) for r in x["codes"]] == [("worker_unknown", BAD, 2)]
        took = x["codes"][0]["resolution"]
        assert 0 < took["p50_ms"] <= took["p95_ms"] == took["max_ms"] <= (time.time() - week["begun"]) * 1000
        assert x["codes"][0]["title"] and k["replays"] == {"exceptions": 0, "runs": 0}
        # the worker is hired, and those that are left are replayed
        firm.master["workers"].append(dict(firm.master["workers"][0], id="W-nobody", aliases={}))
        firm.master["assignments"].append(dict(firm.master["assignments"][0], worker="W-nobody"))
        firm.write_master()
        firm.orchestrator.process.send(signal.SIGHUP)
        left = [e["id"] for e in firm.exceptions()]
        stack.wait_for(lambda: act(firm, c, left[0], "replay")["changed"], 20, "reloaded")
        dry = c.post("/v1/ops/replays", json={"filter": {"code": "worker_unknown"}}, headers=head(firm, "ops:write")).json()
        assert dry["count"] == BAD - 3
        done = c.post("/v1/ops/replays", json={"filter": {"code": "worker_unknown"}, "dry_run": False,
                                               "token": dry["token"]}, headers=head(firm, "ops:write"))
        assert done.status_code == 200, done.text

        def ended():
            now = kpis(firm, c)
            return now if now["exceptions"]["closed"] == BAD else None
        k = stack.wait_for(ended, 30, "all are closed")
        assert k["replays"] == {"exceptions": BAD - 2, "runs": 1}


def test_totals_and_what_waits(firm, week):
    with firm.client() as c:
        stack.wait_for(lambda: kpis(firm, c)["backlog"]["unposted"] == 0, 30, "nothing waits")
        k = kpis(firm, c)
        totals = c.get("/v1/ops/reconciliation", headers=head(firm)).json()["reconciliation"]
        periods = {t["period"] for t in totals}
        assert k["reconciliation"] == {"periods": len(periods), "groups": len(totals), "different": 0,
                                       "variance": {"count": 0, "quantity": "0"}, "more": False}
        assert c.post("/v1/ops/destinations/erp/pause", json={"reason": "month end"},
                      headers=head(firm, "ops:write")).status_code == 200
        before = time.time()
        for n in range(3):
            firm.send(c, firm.entry(700 + n))

        def waiting():
            b = kpis(firm, c)["backlog"]
            return b if b["unposted"] == 3 else None
        b = stack.wait_for(waiting, 30, "three wait")
        rows = {d["destination"]: d for d in b["destinations"]}
        assert rows["erp"]["unposted"] == 3 and rows["payroll"] == {
            "destination": "payroll", "unposted": 0, "oldest_at": None, "more": False}
        oldest = datetime.datetime.fromisoformat(b["oldest_at"].replace("Z", "+00:00")).timestamp()
        assert before - 1 <= oldest <= time.time() and rows["erp"]["oldest_at"] == b["oldest_at"]
        c.post("/v1/ops/destinations/erp/resume", headers=head(firm, "ops:write"))
        stack.wait_for(lambda: kpis(firm, c)["backlog"]["unposted"] == 0, 30, "they went")


def test_a_time_in_which_nothing_was(firm, week):
    with firm.client() as c:
        k = kpis(firm, c, **{"from": "2026-01-05", "to": "2026-01-12T00:00:00+01:00"})
    assert (k["from"], k["to"]) == ("2026-01-05T00:00:00.000Z", "2026-01-11T23:00:00.000Z")
    assert k["approval_to_posting"] == {"count": 0, "p50_ms": None, "p95_ms": None, "max_ms": None,
                                        "from_approval": 0, "from_receipt": 0}
    assert k["postings"]["success_rate"] is None and k["events"]["duplicate_rate"] is None
    assert k["exceptions"] == {"opened": 0, "closed": 0, "codes": []}
    assert k["corrections"]["correction_rate"] is None and k["reconciliation"]["groups"] == 0


def test_the_command_says_the_same(firm, week):
    span = {"from": at(week["begun"]), "to": at(time.time() + 1)}
    with firm.client() as c:
        k = kpis(firm, c, **span)
    done = firm.orchestrator.run("kpis", "--from", span["from"], "--to", span["to"], "--json", "-c", firm.yaml)
    assert done.returncode == 0 and done.stderr == "kpis: ok\n", done.stderr
    assert json.loads(done.stdout) == k
    done = firm.orchestrator.run("kpis", "--tenant", "acme", "-c", firm.yaml)
    assert done.returncode == 0 and done.stdout.endswith("\nkpis: ok\n"), done.stdout + done.stderr
    assert f"posted {k['postings']['posted']}" in done.stdout and "worker_unknown" in done.stdout
    for args, status, said in ((["--tenant", "nope"], 1, "nope"), (["--from", "soon"], 1, "2026-11-21"),
                               (["--from", "2020-01-01"], 1, "92 days"), (["more"], 2, "usage"),
                               (["--until", "2020-01-01"], 2, "usage")):
        done = firm.orchestrator.run("kpis", *args, "-c", firm.yaml)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr
