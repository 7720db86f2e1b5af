"""What each Redis user may not do, and trimming that never passes a pending entry."""
import shutil
import socket

import pytest
import redis as redis_py

from tests.harness import stack

TRIM = (stack.ROOT / "lua_rules/redis/trim.lua").read_text(encoding="utf-8")
STREAM = "tg:{s03}:events"
GROUP = "orchestrator"
ALL = "99999999999999-0"  # the journal has everything


@pytest.fixture(scope="module")
def server():
    r = stack.Redis(stack.scratch("inv")).start()
    yield r
    r.stop()
    shutil.rmtree(r.dir, ignore_errors=True)


@pytest.fixture
def admin(server):
    client = server.client()
    client.flushall()
    client.config_set("stream-node-max-entries", 1)  # `~` drops whole nodes: now each entry is one
    return client


@pytest.fixture
def orchestrator(server, admin):
    return server.client("orchestrator")


def fill(admin, n=6):
    admin.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    return [admin.xadd(STREAM, {"n": i}).decode() for i in range(n)]


def left(admin):
    return [i.decode() for i, _ in admin.xrange(STREAM)]


def test_trimming_stops_at_the_oldest_pending_entry(admin, orchestrator):
    ids = fill(admin)
    orchestrator.xreadgroup(GROUP, "orchestrator-1", {STREAM: ">"}, count=5)
    orchestrator.xack(STREAM, GROUP, ids[0], ids[1], ids[3])
    orchestrator.eval(TRIM, 1, STREAM, ALL)
    assert left(admin) == ids[2:], "the pending one and all behind it stay"
    orchestrator.xack(STREAM, GROUP, ids[2], ids[4])
    orchestrator.eval(TRIM, 1, STREAM, ALL)
    assert left(admin) == ids[4:], "what is not delivered stays"


def test_trimming_without_any_delivery_drops_nothing(admin, orchestrator):
    ids = fill(admin)
    assert orchestrator.eval(TRIM, 1, STREAM, ALL) == 0
    assert orchestrator.eval(TRIM, 1, "tg:{s04}:events", ALL) == 0  # no such stream
    assert left(admin) == ids


def test_trimming_stops_at_what_the_journal_has(admin, orchestrator):
    """The group's position may have been set ahead by hand: it is no proof that anybody read."""
    ids = fill(admin)
    orchestrator.xreadgroup(GROUP, "orchestrator-1", {STREAM: ">"}, count=3)
    orchestrator.xack(STREAM, GROUP, *ids[:3])
    admin.xgroup_setid(STREAM, GROUP, ids[-1])
    orchestrator.eval(TRIM, 1, STREAM, ids[2])
    assert left(admin) == ids[2:]


def test_trimming_waits_for_the_slowest_group(admin, orchestrator):
    ids = fill(admin)
    admin.xgroup_create(STREAM, "second", id=ids[0])
    orchestrator.xreadgroup(GROUP, "orchestrator-1", {STREAM: ">"})
    orchestrator.xack(STREAM, GROUP, *ids)
    orchestrator.eval(TRIM, 1, STREAM, ALL)
    assert left(admin) == ids


def test_ids_are_compared_as_numbers(admin, orchestrator):
    """9-1 comes before 10-1, and 10-9 before 10-10: as text they would not."""
    admin.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    ids = ["9-1", "10-9", "10-10", "11-0"]
    for i in ids:
        admin.xadd(STREAM, {"n": "1"}, id=i)
    admin.xgroup_create(STREAM, "second", id="10-10")
    orchestrator.xreadgroup(GROUP, "orchestrator-1", {STREAM: ">"}, count=2)
    orchestrator.xack(STREAM, GROUP, "9-1")
    orchestrator.eval(TRIM, 1, STREAM, ALL)
    assert left(admin) == ids[1:], "10-9 is pending"


@pytest.mark.parametrize("user,command", [
    ("orchestrator", ["XADD", STREAM, "*", "a", "b"]), ("orchestrator", ["XDEL", STREAM, "1-1"]),
    ("orchestrator", ["XGROUP", "DELCONSUMER", STREAM, GROUP, "orchestrator-1"]),
    ("orchestrator", ["XGROUP", "DESTROY", STREAM, GROUP]),
    ("orchestrator", ["XGROUP", "SETID", STREAM, GROUP, "$"]),
    ("orchestrator", ["DEL", STREAM]), ("orchestrator", ["FLUSHALL"]),
    ("orchestrator", ["GET", "tg:{s03}:idem:x"]), ("orchestrator", ["KEYS", "*"]),
    ("orchestrator", ["CONFIG", "SET", "appendfsync", "no"]),
    ("orchestrator", ["XLEN", "other:{s03}:events"]),
    ("edge", ["XRANGE", STREAM, "-", "+"]), ("edge", ["XTRIM", STREAM, "MAXLEN", "0"]),
    ("edge", ["XREADGROUP", "GROUP", GROUP, "c", "STREAMS", STREAM, ">"]),
    ("edge", ["DEL", STREAM]), ("edge", ["FLUSHALL"]), ("edge", ["HSET", "tg:{s03}:meta", "a", "b"]),
    ("edge", ["CONFIG", "SET", "appendfsync", "no"]), ("edge", ["SET", "elsewhere", "1"])])
def test_a_user_may_not(server, admin, user, command):
    fill(admin, 1)
    with pytest.raises(redis_py.exceptions.NoPermissionError):
        server.client(user).execute_command(*command)
    assert len(left(admin)) == 1


def test_nobody_logs_in_as_default(server):
    for line in (b"AUTH x\r\n", b'AUTH default ""\r\n'):  # no client of ours says more than this
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(server.sock)
            s.sendall(line)
            assert s.recv(4096).startswith(b"-WRONGPASS"), line
    with pytest.raises(redis_py.exceptions.AuthenticationError):
        redis_py.Redis(unix_socket_path=server.sock).ping()


def test_what_was_accepted_outlives_a_restart(server, admin):
    """The append-only file is replayed as `default`: without its rights, what a script wrote would
    be skipped."""
    script = (stack.ROOT / "lua_rules/redis/admit.lua").read_text(encoding="utf-8")
    args = ["1", "ip", b"\x01" * 32, 60, "s03", 0]
    for i in range(15):
        args += ["received_at" if i == 7 else f"f{i}", "v"]
    keys = [STREAM, "tg:{s03}:idem:k"]
    event = server.client("edge").eval(script, 2, *keys, *args)[2]
    server.kill()
    server.start()
    assert ["s03-" + i for i in left(server.client())] == [event.decode()]
    assert server.client("edge").eval(script, 2, *keys, *args)[:3:2] == [b"replay", event]
