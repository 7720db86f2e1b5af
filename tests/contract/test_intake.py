"""What the orchestrator does with a stream, whoever wrote it: no NGINX, entries by XADD.

Every test counts on the destination's files and on the journal, read by SQL.
"""
import json
import os
import signal
from decimal import Decimal

import pytest

from tests.harness import stack
from tests.harness.sidecar import CONSUMER, GROUP, STREAM, Sidecar, week


@pytest.fixture
def sidecar():
    s = Sidecar()
    s.redis.start()
    yield s
    if s.orchestrator.process is not None and s.orchestrator.process.alive():
        assert s.orchestrator.stop() == 0, s.orchestrator.process.text()[-2000:]
    if s.orchestrator.process is not None:
        done = s.orchestrator.run("check", "-c", s.orchestrator.config, "--journal")
        assert done.returncode == 0, done.stdout + done.stderr
    s.redis.stop()
    assert s.orchestrator.findings() == ""
    s.remove()


ACCEPTED, DUPLICATE, EXCEPTION = 1, 2, 3
VALIDATED, SUPERSEDED, WITHDRAWN, IN_EXCEPTION = 1, 2, 3, 4


def test_entries_no_edge_would_write_become_exceptions(sidecar):
    """Each is journalled with an owner, acknowledged once, and stops nobody else."""
    s = sidecar
    good = s.fields(1)
    bad = {
        "no field of ours": {"x": "y"},
        "bytes": {**good, "id": b"\xff\x00", "body": b"\x00"},
        "not JSON": {**good, "id": "a", "body": "not json"},
        "deep": {**good, "id": "b", "body": "[" * 100},
        "long": {**good, "id": "c", "subject": "s" * 3000},
        "huge": {**good, "id": "d", "body": b"x" * (3 << 20)},
        "no time": {**good, "id": "e", "received_at": "soon"},
        "no data": {**good, "id": "f", "body": '{"specversion":"1.0"}'},
        "lacks one": {k: v for k, v in good.items() if k != "traceparent"},
    }
    others = {
        "tenant_unknown": {**good, "id": "g", "tenant": "nobody"},
        "source_not_own": {**good, "id": "h", "client": "thief"},
        "event_type_unknown": {**good, "id": "i", "type": "com.example.unknown.v1"},
        "schema_invalid": {**good, "id": "j", "body": good["body"].replace("hours", "hurs")},
    }
    s.orchestrator.start()
    codes = {s.add_raw(**f): "event_undecodable" for f in bad.values()}
    codes |= {s.add_raw(**f): code for code, f in others.items()}
    s.add(2)
    s.quiet()
    s.wait_posted(2)
    for stream_id, code in codes.items():
        assert s.state_of(stream_id) == (EXCEPTION, None, code, "integration"), code
    assert s.posted() == ["TE-000002"]


def test_what_a_dead_process_left_is_taken_up(sidecar):
    """Own pending entries first, then those another consumer left long enough ago."""
    s, r = sidecar, sidecar.admin()
    r.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for n in range(1, 6):
        s.add(n)
    r.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=2)
    (_, others), = r.xreadgroup(GROUP, "another", {STREAM: ">"}, count=2)
    r.xclaim(STREAM, GROUP, "another", 0, [others[0][0]], idle=60000)
    s.orchestrator.start()
    s.wait_posted(1, 2, 3, 5)
    assert "TE-000004" not in s.posted()  # its owner may still live
    assert r.xpending(STREAM, GROUP)["consumers"] == [{"name": b"another", "pending": 1}]


def test_a_journalled_entry_is_only_acknowledged_again(sidecar):
    s, r = sidecar, sidecar.admin()
    s.orchestrator.start()
    stream_id = s.add(1)
    s.wait_posted(1)
    s.quiet()
    s.orchestrator.kill()
    r.xgroup_setid(STREAM, GROUP, "0")  # as if Redis had lost delivery and acknowledgement
    s.orchestrator.start()
    s.quiet()
    assert s.posted() == ["TE-000001"]
    assert s.state_of(stream_id)[0] == ACCEPTED
    assert s.sql("select count(*) from events") == [(1,)]


def test_lost_entries_raise_an_alarm(sidecar):
    """A pending entry whose body is gone: by XREADGROUP's nil and by XAUTOCLAIM's third element."""
    s, r = sidecar, sidecar.admin()
    r.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    ids = [s.add(n) for n in (1, 2, 3)]
    r.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=1)
    r.xreadgroup(GROUP, "another", {STREAM: ">"}, count=1)
    r.xclaim(STREAM, GROUP, "another", 0, [ids[1]], idle=60000)
    r.xdel(STREAM, ids[0], ids[1])
    s.orchestrator.start()
    s.wait_posted(3)
    lost = {row[0].split("-", 1)[1] for row in
            s.sql("select subject from audit where action = 'stream.entry_lost'")}
    assert lost == {ids[0].decode(), ids[1].decode()}
    assert len([m for m in s.messages("error") if "data loss" in m]) == 2
    stack.wait_for(lambda: s.pending() == 0, 10, "acknowledged")
    answer = s.orchestrator.get("/metrics")
    assert answer[0] == 200 and "tallygate_intake_data_loss_total 2" in str(answer[-1])


def test_another_event_under_a_used_id_is_kept(sidecar):
    """Redis emptied, its clock set back: the same stream id comes with another event."""
    s = sidecar
    s.orchestrator.start()
    r = s.admin()
    stream_id = "1790000000000-0"
    event_id = f"{STREAM[4:7]}-{stream_id}"
    r.xadd(STREAM, s.fields(1), id=stream_id)
    stack.wait_for(lambda: s.sql("select count(*) from postings where state = 6")[0][0] == 2)
    r.delete(STREAM)
    r.xadd(STREAM, s.fields(2), id=stream_id)
    stack.wait_for(lambda: s.sql("select count(*) from exceptions where code = 'event_id_reused'")
                   [0][0] == 1)
    assert s.sql("select event_id, ce_id, state from events order by id") == [
        (event_id, "evt-1-1", 1), (event_id + "-r1", "evt-2-1", 3)]
    assert "tallygate_intake_data_loss_total 1" in str(s.orchestrator.get("/metrics")[-1])

    r.delete(STREAM)  # either of them again: known, acknowledged, nothing more
    r.xadd(STREAM, s.fields(2), id=stream_id)
    r.xadd(STREAM, s.fields(3), id="1790000000001-0")
    stack.wait_for(lambda: s.sql("select count(*) from postings where state = 6")[0][0] == 4)
    r.delete(STREAM)
    r.xadd(STREAM, s.fields(1), id=stream_id)
    r.xadd(STREAM, s.fields(4), id="1790000000001-0")  # a third event, under another used id
    stack.wait_for(lambda: s.sql("select count(*) from events")[0][0] == 4)
    assert s.sql("select event_id, state from events order by id")[3] == (
        f"{STREAM[4:7]}-1790000000001-0-r1", 3)
    assert s.sql("select count(*) from postings")[0][0] == 4
    s.quiet()


def test_a_lost_group_is_made_again_and_nothing_doubles(sidecar):
    s, r = sidecar, sidecar.admin()
    s.orchestrator.start()
    s.add(1)
    s.wait_posted(1)
    s.quiet()
    r.xgroup_destroy(STREAM, GROUP)
    s.add(2)
    s.wait_posted(2)
    s.quiet()
    assert sorted(s.posted()) == ["TE-000001", "TE-000002"]
    gone = [m for m in s.messages("error") if "group is gone" in m]
    assert 1 <= len(gone) <= 3  # said, not shouted


def test_trimming_stays_below_what_is_pending(sidecar):
    s, r = sidecar, sidecar.admin()
    script = (stack.ROOT / "lua_rules/redis/trim.lua").read_text()
    assert r.eval(script, 1, STREAM, "9-0") == 0  # no stream yet
    ids = [r.xadd(STREAM, {"n": n}, id=f"{n + 1}-{n % 3}") for n in range(1000)]
    assert r.eval(script, 1, STREAM, ids[-1]) == 0  # no group: nobody is done with anything
    r.xgroup_create(STREAM, GROUP, id="0")
    assert r.eval(script, 1, STREAM, ids[-1]) == 0  # nothing delivered
    r.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=700)
    r.xack(STREAM, GROUP, *ids[:450], *ids[451:700])
    r.eval(script, 1, STREAM, ids[-1])
    left = [i for i, _ in r.xrange(STREAM)]
    assert ids[450] in left and left[-1] == ids[-1] and len(left) < 1000
    assert left == ids[len(ids) - len(left):]
    r.xgroup_create(STREAM, "slow", id="0")  # a second group that has read nothing
    r.xack(STREAM, GROUP, ids[450])
    assert r.eval(script, 1, STREAM, ids[-1]) == 0
    r.xgroup_destroy(STREAM, "slow")
    r.eval(script, 1, STREAM, ids[-1])
    left = [i for i, _ in r.xrange(STREAM)]
    assert left == ids[len(ids) - len(left):] and set(ids[699:]) <= set(left)


def test_trimming_stays_below_what_the_journal_has(sidecar):
    """The group's position is set past an entry nobody has read: trimming leaves it, and it is read
    once the position is put right."""
    s, r = sidecar, sidecar.admin()
    r.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    s.add(1)
    r.xreadgroup(GROUP, CONSUMER, {STREAM: ">"})  # delivered, so that it is read at the start
    skipped = s.add(2)
    r.xgroup_setid(STREAM, GROUP, "99999999999999-0")
    s.orchestrator.start()
    stack.wait_for(lambda: "cmdstat_xtrim" in r.info("commandstats"), 20, "trimmed")
    r.xgroup_setid(STREAM, GROUP, "0")
    s.wait_posted(1, 2)
    assert s.state_of(skipped)[0] == ACCEPTED


def test_twins_in_one_batch_see_each_other(sidecar):
    """The same event twice and ten versions of one object, all waiting before the start."""
    s = sidecar
    first = [s.add(1), s.add(1)]
    versions = [s.add(2, version=v, hours=f"{v}.00") for v in range(1, 11)]
    late = s.add(2, version=5, event_id="late", hours="5.00")
    s.orchestrator.start()
    s.quiet()
    s.wait_posted(1, 2)
    assert [s.state_of(i)[:2] for i in first] == [(ACCEPTED, VALIDATED), (DUPLICATE, None)]
    assert s.state_of(late)[:2] == (ACCEPTED, SUPERSEDED)
    s.settled()
    live = [i for i in versions if s.state_of(i)[1] == VALIDATED]
    assert live == versions[-1:]
    # whatever was sent of the older ones was taken back
    for where in ("erp/labor", "payroll/payroll"):
        assert s.net(1, where) == ([Decimal("1.25")], Decimal("1.25"))
        lines, total = s.net(2, where)
        assert total == Decimal("10.00") and lines[-1] == Decimal("10.00")


def test_a_correction_after_posting_is_reversed_and_rebooked(sidecar):
    s = sidecar
    s.orchestrator.start()
    s.add(1)
    s.wait_posted(1)
    second = s.add(1, version=2, hours="3.00")
    stack.wait_for(lambda: all(s.net(1, where)[0] == [Decimal(x) for x in ("1.25", "-1.25", "3.00")]
                               for where in ("erp/labor", "payroll/payroll")), 20,
                   "reversed and rebooked")
    third = s.add(1, version=3, hours="4.00")
    again = s.add(1, event_id="again")
    other = s.add(1, event_id="other", hours="9.00")
    s.settled()
    assert s.state_of(second) == (ACCEPTED, SUPERSEDED, None, None)
    assert s.state_of(third) == (ACCEPTED, VALIDATED, None, None)
    assert s.state_of(again) == (ACCEPTED, SUPERSEDED, None, None)
    assert s.state_of(other) == (EXCEPTION, None, "duplicate_version_conflict", "integration")
    for where in ("erp/labor", "payroll/payroll"):
        assert s.net(1, where) == ([Decimal(x) for x in ("1.25", "-1.25", "3.00", "-3.00", "4.00")],
                                   Decimal("4.00"))
    # linked both ways, in one commit each
    assert s.sql("select count(*) from postings p join postings r on r.reverses = p.id "
                 "where p.state = 10 and r.state = 6 and r.quantity_micros = -p.quantity_micros") \
        == [(4,)]
    assert s.sql("select sum(quantity_micros) from control_totals") == [(8000000,)]


def test_corrections_may_wait_for_finance(sidecar):
    s = sidecar
    text = s.orchestrator.config.read_text()
    s.orchestrator.config.write_text(text.replace("  - id: acme\n",
                                                  "  - id: acme\n    corrections: review\n"))
    s.orchestrator.start()
    s.add(1)
    s.wait_posted(1)
    second = s.add(1, version=2, hours="3.00")
    third = s.add(1, version=3, hours="4.00")
    s.quiet()
    assert s.state_of(second) == (ACCEPTED, SUPERSEDED, None, None)  # closed by the third
    assert s.state_of(third) == (ACCEPTED, IN_EXCEPTION, "correction_after_posting", "finance")
    assert s.posted() == ["TE-000001"]


def test_a_correction_before_posting_collapses(sidecar):
    """One destination cannot be written to: there the second version takes the place of the first, at
    the other one the first is taken back."""
    s = sidecar
    (s.dir / "out").mkdir()
    (s.dir / "out/payroll").write_text("in the way")
    text = s.orchestrator.config.read_text()
    s.orchestrator.config.write_text(text.replace(f"{s.dir}/out/payroll", f"{s.dir}/out/late"))
    (s.dir / "out/late").mkdir()
    s.orchestrator.start()
    (s.dir / "out/late").rename(s.dir / "away")
    (s.dir / "out/late").write_text("in the way")
    s.add(1)
    stack.wait_for(lambda: s.posted() == ["TE-000001"], 20, "posted to the ERP")
    stack.wait_for(lambda: s.sql("select count(*) from postings where state = 4") == [(1,)], 20,
                   "payroll cannot take it")
    s.add(1, version=2, hours="3.00")
    stack.wait_for(lambda: s.net(1)[1] == Decimal("3.00"), 20, "reversed and rebooked")
    (s.dir / "out/late").unlink()
    s.settled()
    assert s.net(1)[0] == [Decimal(x) for x in ("1.25", "-1.25", "3.00")]
    assert s.net(1, "late/payroll")[0] == [Decimal("3.00")]


def test_a_correction_that_overtakes_its_original(sidecar):
    s = sidecar
    s.orchestrator.start()
    second = s.add(1, version=2, hours="3.00")
    s.wait_posted(1)
    first = s.add(1)
    s.settled()
    assert s.state_of(first) == (ACCEPTED, SUPERSEDED, None, None)
    assert s.state_of(second) == (ACCEPTED, VALIDATED, None, None)
    assert s.net(1) == ([Decimal("3.00")], Decimal("3.00"))


def test_nothing_is_taken_back_in_a_closed_period(sidecar):
    s = sidecar
    calendar = s.dir / "calendar.yaml"
    text = calendar.read_text()
    s.orchestrator.start()
    s.add(1)
    s.wait_posted(1)
    calendar.write_text(text.replace("to: 2026-11-30, state: open", "to: 2026-11-30, state: closed"))
    s.orchestrator.process.send(signal.SIGHUP)
    stack.wait_for(lambda: any("are in force" in m for m in s.messages()), 30, "reloaded")
    second = s.add(1, version=2, hours="3.00")
    s.quiet()
    assert s.state_of(second)[:3] == (ACCEPTED, IN_EXCEPTION, "period_closed")
    assert s.net(1) == ([Decimal("1.25")], Decimal("1.25"))


def test_a_withdrawal_takes_back_what_was_posted(sidecar):
    s = sidecar
    s.orchestrator.start()
    first = s.add(1)
    s.wait_posted(1)
    gone = s.withdraw(1, 2)
    s.settled()
    assert s.state_of(first)[:2] == (ACCEPTED, SUPERSEDED)
    assert s.state_of(gone) == (ACCEPTED, WITHDRAWN, None, None)
    for where in ("erp/labor", "payroll/payroll"):
        assert s.net(1, where) == ([Decimal("1.25"), Decimal("-1.25")], Decimal(0))
    assert s.sql("select count(*) from audit where action = 'object.withdrawn'") == [(1,)]
    again = s.withdraw(1, 2)  # the very same event
    s.quiet()
    assert s.state_of(again)[0] == DUPLICATE
    back = s.add(1, version=3, hours="2.00")
    s.settled()
    assert s.state_of(back)[:2] == (ACCEPTED, VALIDATED)
    assert s.net(1)[1] == Decimal("2.00")


def test_a_withdrawal_that_overtakes_its_entry(sidecar):
    s = sidecar
    s.orchestrator.start()
    gone = s.withdraw(1, 2)
    s.quiet()
    late = s.add(1)
    s.add(2)
    s.wait_posted(2)
    s.settled()
    assert s.state_of(gone)[:2] == (ACCEPTED, WITHDRAWN)
    assert s.state_of(late) == (ACCEPTED, SUPERSEDED, None, None)
    assert s.posted() == ["TE-000002"]


def test_a_later_version_cures_an_exception(sidecar):
    s = sidecar
    s.orchestrator.start()
    wrong = s.add(1, worker="W-999")
    s.quiet()
    assert s.state_of(wrong) == (ACCEPTED, IN_EXCEPTION, "worker_unknown", "master-data")
    right = s.add(1, version=2)
    s.wait_posted(1)
    assert s.state_of(wrong) == (ACCEPTED, SUPERSEDED, None, None)
    assert s.state_of(right)[:2] == (ACCEPTED, VALIDATED)
    assert s.sql("select state from exceptions") == [(5,)]


def test_it_is_cured_also_when_it_came_twice(sidecar):
    """The same version sent again as another event does nothing, and hides nothing: the exception of
    the first one closes with the version that mends it."""
    s = sidecar
    s.orchestrator.start()
    wrong = s.add(1, worker="W-999")
    s.quiet()
    again = s.add(1, event_id="again", worker="W-999")
    s.quiet()
    assert s.state_of(again)[:2] == (ACCEPTED, SUPERSEDED)
    s.add(1, version=2)
    s.wait_posted(1)
    assert s.state_of(wrong) == (ACCEPTED, SUPERSEDED, None, None)
    assert s.sql("select state from exceptions") == [(5,)]


def test_redis_comes_and_goes(sidecar):
    s = sidecar
    s.redis.stop()
    s.orchestrator.start(ready=False)
    stack.wait_for(lambda: any(m.startswith("ready") for m in s.messages()), 20, "started")
    s.redis.start()
    s.add(1)
    s.wait_posted(1)
    os.kill(s.redis.process.pid, signal.SIGSTOP)
    try:
        stack.wait_for(lambda: any("no answer in time" in m for m in s.messages("warn")), 30,
                       "hung Redis noticed")
    finally:
        os.kill(s.redis.process.pid, signal.SIGCONT)
    s.add(2)
    s.wait_posted(2)
    s.redis.process.kill()
    s.redis.start()
    s.add(3)
    s.wait_posted(3)
    os.kill(s.redis.process.pid, signal.SIGSTOP)
    try:
        assert s.orchestrator.stop() == 0  # a hung Redis does not hold up the end
    finally:
        os.kill(s.redis.process.pid, signal.SIGCONT)


def test_a_reload_is_whole_or_not_at_all(sidecar):
    s = sidecar
    rule = s.dir / "rules/validate/time_entry.lua"
    good = rule.read_text()
    s.orchestrator.start()

    def reload(word):
        before = len([m for m in s.messages() if word in m])
        s.orchestrator.process.send(signal.SIGHUP)
        stack.wait_for(lambda: len([m for m in s.messages() if word in m]) > before, 30, word)

    rule.write_text("return {")
    reload("reload refused")
    s.add(1)
    s.wait_posted(1)
    rule.write_text(good)
    route = s.dir / "rules/route/time_entry.lua"
    names = route.read_text()
    assert '"erp.*", "payroll"}' in names
    route.write_text(names.replace('"erp.*", "payroll"}', '"erp.*"}'))
    reload("no file in route/ of the rules plans for")
    route.write_text(names)
    master = week.master()
    master["workers"] = [w for w in master["workers"] if w["id"] != "W-003"]
    (s.dir / "master.json").write_text(json.dumps(master))
    reload("reload: rules")
    gone = s.add(2)
    s.quiet()
    assert s.state_of(gone)[2] == "worker_unknown"
    (s.dir / "master.json").write_text("{")
    reload("reload refused")
    (s.dir / "master.json").write_text(json.dumps(master))
    s.add(3)
    s.wait_posted(3)
    assert len(s.sql("select 1 from audit where action = 'rules.loaded'")) == 2
