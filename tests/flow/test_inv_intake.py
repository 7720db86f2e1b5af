"""Entries that come again through the whole product, and a Redis that holds another contract.
The traps of consumer groups one by one are in tests/contract/test_intake.py."""
import sqlite3

import pytest

from tests.harness.stack import wait_for

GROUP = "orchestrator"
LONG_AGO_MS = 3_600_000


def at_rest(firm):
    """Nothing is pending and nothing is undelivered in any stream."""
    r = firm.redis.client()
    return not any(g["pending"] or g["lag"] for key in r.scan_iter("tg:*:events")
                   for g in r.xinfo_groups(key))


def counts(firm):
    db = sqlite3.connect(f"file:{firm.dir}/journal.db?mode=ro", uri=True)
    try:
        rows = [db.execute(f"SELECT count(*) FROM {t}").fetchone()[0]
                for t in ("events", "objects", "postings", "attempts", "exceptions")]
    finally:
        db.close()
    return rows, len(firm.labor()), len(firm.payroll())


def test_entries_that_come_again_do_nothing(firm):
    """As after a kill between commit and XACK, and as a late twin's claim would give them: being
    idle for long is a lease that ran out, never a licence to send."""
    with firm.client() as c:
        for n in range(1, 4):
            firm.settled(c, firm.hook(c, firm.entry(n)).json()["id"])
    wait_for(lambda: at_rest(firm), 10, "acknowledged")
    assert firm.orchestrator.stop() == 0
    before, r = counts(firm), firm.redis.client()
    (key,) = [k for k in r.scan_iter("tg:*:events") if r.xlen(k)]
    first = r.xrange(key, count=1)[0][0]
    r.xgroup_setid(key, GROUP, "0")
    r.xreadgroup(GROUP, "a-twin", {key: ">"}, count=1)
    r.xclaim(key, GROUP, "a-twin", 0, [first], idle=LONG_AGO_MS)
    assert not at_rest(firm)
    firm.orchestrator.start()
    wait_for(lambda: at_rest(firm), 20, "acknowledged again")
    assert counts(firm) == before


@pytest.mark.parametrize("field,value,said", [
    ("contract", "99", "99"), ("shards", "8", "8"), ("hash", "crc32", "another hash")])
def test_another_contract_is_not_worked_with(make_firm, field, value, said):
    firm = make_firm(start=False)
    firm.redis.start()
    r = firm.redis.client()
    r.hset("tg:{s00}:meta", field, value)
    r.xadd("tg:{s00}:events", {"body": "{}"})
    firm.orchestrator.start(ready=False)
    wait_for(lambda: "contract refused" in firm.orchestrator.process.text(), 20, "the reason")
    assert said in firm.orchestrator.process.text()
    assert firm.orchestrator.get("/readyz")[0] == 503
    assert r.xinfo_groups("tg:{s00}:events") == []
