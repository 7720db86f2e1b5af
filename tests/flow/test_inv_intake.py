"""The traps of Redis' consumer groups: what a dead reader left, what is gone, what comes again."""
import sqlite3

import pytest

from tests.harness.stack import wait_for

GROUP = "orchestrator"
LONG_AGO_MS = 3_600_000


class Stopped:
    """A firm whose orchestrator is down and whose edge goes on accepting."""

    def __init__(self, firm):
        self.firm, self.r = firm, firm.redis.client()
        assert firm.orchestrator.stop() == 0

    def accept(self, n):
        """One event in the stream; its event id, stream key and stream id."""
        with self.firm.client() as c:
            event = self.firm.hook(c, self.firm.entry(n)).json()["id"]
        tag, stream_id = event.split("-", 1)
        return event, f"tg:{{{tag}}}:events", stream_id

    def deliver(self, key, stream_id, consumer):
        """A reader took the entry an hour ago and never came back."""
        self.r.xreadgroup(GROUP, consumer, {key: ">"})
        self.r.xclaim(key, GROUP, consumer, 0, [stream_id], idle=LONG_AGO_MS)

    def restart(self):
        self.firm.orchestrator.start()


def at_rest(firm):
    """Nothing is pending and nothing is undelivered in any stream."""
    r = firm.redis.client()
    for key in r.scan_iter("tg:*:events"):
        for group in r.xinfo_groups(key):
            if group["pending"] or group["lag"]:
                return False
    return True


def journal(firm, sql):
    db = sqlite3.connect(f"file:{firm.dir}/journal.db?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def counts(firm):
    (row,) = journal(firm, "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM objects), "
                           "(SELECT count(*) FROM postings), (SELECT count(*) FROM attempts)")
    return row, len(firm.labor()), len(firm.payroll())


def metric(firm, name):
    text = firm.orchestrator.get("/metrics")[2].decode()
    return next(int(line.split()[-1]) for line in text.splitlines() if line.split(" ")[0] == name)


def test_what_a_dead_reader_took_is_claimed(firm):
    down = Stopped(firm)
    event, key, stream_id = down.accept(1)
    down.deliver(key, stream_id, "a-reader-that-died")
    down.restart()
    with firm.client() as c:
        assert firm.settled(c, event)["stage"] == "posted"
    assert metric(firm, "tallygate_intake_claimed_total") == 1
    wait_for(lambda: at_rest(firm), 10, "acknowledged")


def test_what_this_process_took_before_it_died_is_read_first(firm):
    down = Stopped(firm)
    event, key, stream_id = down.accept(2)
    down.r.xreadgroup(GROUP, "orchestrator-1", {key: ">"})  # not idle: a claim would not take it
    down.restart()
    with firm.client() as c:
        assert firm.settled(c, event)["stage"] == "posted"
    assert metric(firm, "tallygate_intake_claimed_total") == 0


@pytest.mark.parametrize("consumer,n", [("orchestrator-1", 3), ("a-reader-that-died", 4)])
def test_a_pending_entry_without_a_body_is_an_alarm(firm, consumer, n):
    """XREADGROUP gives nil fields for it, XAUTOCLAIM its id in the third element."""
    down = Stopped(firm)
    event, key, stream_id = down.accept(n)
    down.deliver(key, stream_id, consumer)
    down.r.xdel(key, stream_id)
    down.restart()
    wait_for(lambda: metric(firm, "tallygate_intake_data_loss_total") == 1, 20, "the alarm")
    wait_for(lambda: at_rest(firm), 10, "acknowledged: it is told once")
    assert f"{event} was pending" in firm.orchestrator.process.text()
    assert journal(firm, f"SELECT count(*) FROM audit WHERE action = 'stream.entry_lost' "
                         f"AND subject = '{event}'") == [(1,)]
    with firm.client() as c:
        assert firm.status(c, event).status_code == 404


def test_entries_that_come_again_do_nothing(firm):
    """As after a kill between commit and XACK, and as a late twin's claim would give them."""
    with firm.client() as c:
        event = firm.hook(c, firm.entry(5)).json()["id"]
        firm.settled(c, event)
    wait_for(lambda: at_rest(firm), 10, "acknowledged")
    down = Stopped(firm)
    before = counts(firm)
    for key in down.r.scan_iter("tg:*:events"):
        down.r.xgroup_setid(key, GROUP, "0")
        entries = [i for i, _ in down.r.xrange(key)]
        if entries:
            down.r.xreadgroup(GROUP, "twin", {key: ">"}, count=1)
            down.r.xclaim(key, GROUP, "twin", 0, entries[:1], idle=LONG_AGO_MS)
    assert not at_rest(firm)
    down.restart()
    wait_for(lambda: at_rest(firm), 20, "acknowledged again")
    assert counts(firm) == before


def test_a_lost_group_is_made_again_without_a_hot_loop(firm):
    with firm.client() as c:
        event = firm.hook(c, firm.entry(6)).json()["id"]
        firm.settled(c, event)
        wait_for(lambda: at_rest(firm), 10, "acknowledged")
        before, r = counts(firm), firm.redis.client()
        said = firm.orchestrator.process.text().count("the consumer group is gone")
        keys = list(r.scan_iter("tg:*:events"))
        for key in keys:
            r.xgroup_destroy(key, GROUP)
        wait_for(lambda: all(r.xinfo_groups(k) for k in keys) and at_rest(firm), 20, "groups again")
        assert counts(firm) == before
        again = firm.hook(c, firm.entry(7)).json()["id"]
        assert firm.settled(c, again)["stage"] == "posted"
    assert firm.orchestrator.process.text().count("the consumer group is gone") - said <= 3
