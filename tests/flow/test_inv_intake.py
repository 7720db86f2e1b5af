"""Entries that come again through the whole product, and a Redis that holds another contract.
The traps of consumer groups one by one are in tests/contract/test_intake.py."""
import os
import re
import sqlite3
import subprocess

import pytest

from tests.harness import stack
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


def test_a_second_journal_is_not_worked_with(firm):
    """Two journals on one Redis would each get a part of the events. The second one is refused, is
    told both ids and where to read on, takes nothing, and takes over when an administrator has
    done what that place says."""
    with firm.client() as c:
        firm.settled(c, firm.hook(c, firm.entry(11)).json()["id"])
        shown = firm.orchestrator.run("check", "-c", firm.yaml, "--journal").stdout
        first = re.search(r"journal.db: id ([0-9a-f]{32})", shown).group(1)
        assert firm.redis.client().hget("tg:{s15}:meta", "journal") == first.encode()

        (firm.dir / "other").mkdir()
        other = stack.Orchestrator(firm.dir / "other", firm.dir / "other/tallygate.yaml",
                                   str(firm.dir / "other/api.sock"))
        text = firm.yaml.read_text()
        for name in ("journal.db", "out", "api.sock"):
            assert f"{firm.dir}/{name}" in text
            text = text.replace(f"{firm.dir}/{name}", f"{firm.dir}/other/{name}")
        other.config.write_text(text)
        try:
            other.start(ready=False)
            wait_for(lambda: "contract refused" in other.process.text(), 20, "the reason")
            (line,) = [x for x in other.process.text().splitlines() if "contract refused" in x
                       and "intake-read" in x]
            assert f"go to journal {first}" in line and "One journal" in line
            assert other.get("/readyz")[0] == 503
            firm.settled(c, firm.hook(c, firm.entry(12)).json()["id"])
            assert other.get("/readyz")[0] == 503

            firm.orchestrator.stop()
            waiting = firm.hook(c, firm.entry(13)).json()["id"]
            secret = (firm.redis.secrets / "redis-orchestrator").read_text().strip()
            take_over(firm.redis.sock, secret)
            wait_for(lambda: other.get("/readyz")[0] == 200, 20, "the other one is in charge")
            wait_for(lambda: rows_of(f"{firm.dir}/other/journal.db", waiting), 20, "its first event")
        finally:
            other.stop()
        firm.orchestrator.start(ready=False)  # and the first one is the stranger now
        wait_for(lambda: "contract refused" in firm.orchestrator.process.text(), 20, "the reason")


def rows_of(journal, event):
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
        return db.execute("SELECT 1 FROM events WHERE event_id = ?", [event]).fetchall()


def take_over(sock, secret):
    """The commands of docs/reference/configuration.md, as they stand there."""
    text = (stack.ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
    commands = re.search(r"## One journal.*?```\n(.*?)```", text, re.S).group(1).splitlines()
    assert commands[0].startswith("export REDISCLI_AUTH=")
    script = "\n".join(commands[1:]).replace("var/run/redis.sock", sock)
    done = subprocess.run(["bash", "-c", script], env=os.environ | {"REDISCLI_AUTH": secret},
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1"] * 16, done.stdout + done.stderr
