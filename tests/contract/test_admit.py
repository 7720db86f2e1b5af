"""lua_rules/redis/admit.lua against common/admit.h: a real Redis with conf/redis.conf and its ACL,
driven as the edge drives it, and compared with a model of GCRA written from its definition.

The clock is Redis' own; each reply says its time, and the model decides with that.
"""
import dataclasses
import hashlib
import os
import uuid

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import stack

SCRIPT = (stack.ROOT / "lua_rules/redis/admit.lua").read_bytes()
FIELDS = ("id type source subject tenant client time received_at dataschema key correlation_id "
          "traceparent body_sha256 content_type body").split()
STREAM, TAG = b"tg:{s07}:events", b"s07"
TTL_S = 86400


@dataclasses.dataclass
class Rate:
    key: bytes
    emission_us: int
    capacity: int
    cost: int = 1


@dataclasses.dataclass
class Reply:
    verdict: str
    now_us: int
    event_id: bytes
    violated: list
    rates: list  # (remaining, reset_us, retry_after_us)


def new_key(kind):
    return b"tg:{s07}:" + kind.encode() + b":" + os.urandom(16)


def fingerprint(body):
    return hashlib.sha256(body).digest()


def fields_of(body=b"{}", **more):
    values = {name: b"" for name in FIELDS}
    values |= {"id": b"e-1", "tenant": b"acme", "body": body,
               "body_sha256": hashlib.sha256(body).hexdigest().encode()}
    values |= {k: v for k, v in more.items()}
    return [part for name in FIELDS for part in (name.encode(), values[name])]


def arguments(what="ip", idem=None, body=b"{}", rates=(), contract=b"1", fields=None, ttl=TTL_S):
    keys = [STREAM, idem or STREAM] + [r.key for r in rates]
    argv = [contract, what.encode(), fingerprint(body), ttl, TAG, len(rates)]
    for r in rates:
        argv += [r.emission_us, r.capacity, r.cost]
    if "p" in what:
        argv += fields_of(body) if fields is None else fields
    return keys, argv


def admit(client, **kw):
    keys, argv = arguments(**kw)
    parts = client.eval(SCRIPT, len(keys), *keys, *argv)
    assert all(isinstance(p, bytes) for p in parts), parts
    n = len(kw.get("rates", ()))
    if parts[0] != b"contract":
        assert len(parts) == 4 + 3 * n
    numbers = [int(p) for p in parts[4:]]
    return Reply(parts[0].decode(), int(parts[1]), parts[2],
                 [int(i) for i in parts[3].split(b",")] if parts[3] else [],
                 [tuple(numbers[3 * i:3 * i + 3]) for i in range(len(numbers) // 3)])


def image(client):
    """Everything Redis holds, with absolute expiry: equal images mean nothing was written."""
    return {k: (client.dump(k), client.pexpiretime(k)) for k in client.scan_iter("*", count=1000)}


@pytest.fixture(scope="module")
def server():
    s = stack.Redis(stack.scratch("admit")).start()
    yield s
    s.stop()


@pytest.fixture
def admin(server):
    c = server.client()
    c.flushall()
    return c


@pytest.fixture
def edge(server, admin):
    assert admin is not None  # flushed first
    return server.client("edge")


# ---- the model ----

class Model:
    """GCRA by its definition: a theoretical arrival time for each key."""

    def __init__(self):
        self.tat = {}

    def decide(self, rates, now):
        ahead = {}
        for i, r in enumerate(rates):
            used = max(self.tat.get(r.key, now) - now, 0)
            ahead[i] = min(used, r.emission_us * r.capacity)
        over = {i: ahead[i] + r.cost * r.emission_us - r.emission_us * r.capacity
                for i, r in enumerate(rates)}
        violated = [i for i, r in enumerate(rates) if over[i] > 0]
        out = []
        for i, r in enumerate(rates):
            retry = 0
            if r.cost > r.capacity:
                retry = -1
            elif violated and over[i] > 0:
                retry = over[i]
            if not violated:
                ahead[i] += r.cost * r.emission_us
                self.tat[r.key] = now + ahead[i]
            out.append(((r.emission_us * r.capacity - ahead[i]) // r.emission_us, ahead[i], retry))
        return violated, out


RATE = st.tuples(st.integers(0, 3),  # which bucket
                 st.sampled_from([1, 7, 1000, 10_000, 250_000, 60_000_000, 86_400_000_000]),
                 st.integers(1, 6), st.integers(1, 8))


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(RATE, min_size=1, max_size=4, unique_by=lambda r: r[0]),
                      min_size=1, max_size=12))
def test_rates_as_the_model(edge, admin, calls):
    buckets, model = [new_key("rate") for _ in range(4)], Model()
    for call in calls:
        rates = [Rate(buckets[b], emission, capacity, cost)
                 for b, emission, capacity, cost in call]
        before = {k: admin.get(k) for k in buckets}
        got = admit(edge, what="", rates=rates)
        violated, states = model.decide(rates, got.now_us)
        assert got.violated == violated
        assert got.rates == states
        assert got.verdict == ("limited" if violated else "accepted")
        for r, (_, reset_us, _) in zip(rates, got.rates):
            if violated:
                assert admin.get(r.key) in (before[r.key], None)  # unless it has just expired
            elif reset_us > 50_000:  # shorter ones may expire before they are read
                assert int(admin.get(r.key)) == got.now_us + reset_us
                assert reset_us / 1000 - 5000 < admin.pttl(r.key) <= reset_us / 1000 + 2


def test_exact_count(edge):
    """A long window: exactly capacity pass, the next one is told when to come back."""
    rate = Rate(new_key("rate"), 3_600_000_000, 20)
    got = [admit(edge, what="", rates=[rate]) for _ in range(25)]
    assert [g.verdict for g in got] == ["accepted"] * 20 + ["limited"] * 5
    assert [g.rates[0][0] for g in got[:20]] == list(range(19, -1, -1))
    assert 0 < got[-1].rates[0][2] <= 3_600_000_000


def test_retry_after_is_enough(edge):
    rate = Rate(new_key("rate"), 30_000, 1)
    assert admit(edge, what="", rates=[rate]).verdict == "accepted"
    refused = admit(edge, what="", rates=[rate])
    assert refused.verdict == "limited"

    def later():
        r = admit(edge, what="", rates=[rate])
        return r if r.now_us >= refused.now_us + refused.rates[0][2] else None
    assert stack.wait_for(later, 5, "the time it named").verdict == "accepted"


# ---- all or none ----

def test_several_rates_all_or_none(edge, admin):
    wide, narrow = Rate(new_key("rate"), 60_000_000, 10), Rate(new_key("rate"), 60_000_000, 2)
    for _ in range(2):
        assert admit(edge, what="", rates=[wide, narrow]).verdict == "accepted"
    before = image(admin)
    got = admit(edge, what="ip", idem=new_key("idem"), rates=[wide, narrow])
    assert (got.verdict, got.violated, got.event_id) == ("limited", [1], b"")
    assert got.rates[0][0] == 8 and got.rates[0][2] == 0 and got.rates[1][2] > 0
    assert image(admin) == before


def test_both_violated(edge):
    a, b = Rate(new_key("rate"), 60_000_000, 1), Rate(new_key("rate"), 60_000_000, 1)
    assert admit(edge, what="", rates=[a, b]).verdict == "accepted"
    assert admit(edge, what="", rates=[a, b]).violated == [0, 1]


def test_cost(edge, admin):
    rate = Rate(new_key("rate"), 60_000_000, 10, cost=7)
    assert admit(edge, what="", rates=[rate]).rates[0][0] == 3
    before = image(admin)
    assert admit(edge, what="", rates=[rate]).verdict == "limited"
    assert image(admin) == before
    rate.cost = 3
    assert admit(edge, what="", rates=[rate]).rates[0][0] == 0


def test_cost_over_capacity_is_never(edge, admin):
    before = image(admin)
    got = admit(edge, what="", rates=[Rate(new_key("rate"), 1000, 3, cost=4)])
    assert (got.verdict, got.rates[0][2]) == ("limited", -1)
    assert image(admin) == before


def test_lowered_limit_frees_in_one_window(edge):
    """A bucket filled under a generous limit does not lock out for longer than the new window."""
    key = new_key("rate")
    assert admit(edge, what="", rates=[Rate(key, 60_000_000, 1000, cost=1000)]).verdict == "accepted"
    got = admit(edge, what="", rates=[Rate(key, 60_000_000, 2)])
    assert got.verdict == "limited" and got.rates[0][2] <= 60_000_000


# ---- idempotency ----

def test_replay_spends_and_writes_nothing(edge, admin):
    idem, rate = new_key("idem"), Rate(new_key("rate"), 60_000_000, 1)
    first = admit(edge, idem=idem, rates=[rate])
    assert (first.verdict, first.event_id[:4]) == ("accepted", b"s07-")
    before = image(admin)
    for _ in range(3):
        again = admit(edge, idem=idem, rates=[rate])
        assert (again.verdict, again.event_id) == ("replay", first.event_id)
        assert again.violated == [] and again.rates[0][0] == 0
    assert image(admin) == before


def test_mismatch_changes_nothing(edge, admin):
    idem, rate = new_key("idem"), Rate(new_key("rate"), 60_000_000, 5)
    admit(edge, idem=idem, body=b"one", rates=[rate])
    before = image(admin)
    got = admit(edge, idem=idem, body=b"two", rates=[rate])
    assert (got.verdict, got.event_id) == ("mismatch", b"")
    assert image(admin) == before


def test_a_refused_key_is_free(edge):
    """A key whose first request was over the rate is not taken by it."""
    idem, rate = new_key("idem"), Rate(new_key("rate"), 100_000, 1)
    admit(edge, what="", rates=[rate])
    assert admit(edge, idem=idem, rates=[rate]).verdict == "limited"
    got = stack.wait_for(lambda: (r := admit(edge, idem=idem, body=b"other", rates=[rate])).verdict
                         == "accepted" and r, 5, "the rate lets it through")
    assert got.event_id


def test_in_flight(edge, admin):
    """Without publish the record has no event id: the work is not done."""
    idem = new_key("idem")
    assert admit(edge, what="i", idem=idem, ttl=30).verdict == "accepted"
    assert 0 < admin.ttl(idem) <= 30
    assert admit(edge, what="i", idem=idem, ttl=30).verdict == "in_flight"
    assert admit(edge, what="i", idem=idem, body=b"x", ttl=30).verdict == "mismatch"


def test_record_of_another_version_is_an_error(edge, admin):
    idem = new_key("idem")
    admin.set(idem, b"2" + fingerprint(b"{}") + b"s07-1-0", ex=60)
    with pytest.raises(redis_py.ResponseError, match="unknown version"):
        admit(edge, idem=idem)
    assert admin.xlen(STREAM) == 0


# ---- publish ----

def test_every_field_and_a_binary_body(edge, admin):
    body = bytes(range(256)) * 64 + b"\r\n$5\r\n\0"
    got = admit(edge, idem=new_key("idem"), body=body,
                fields=fields_of(body, subject=b"\0\xff", key=b"k"))
    (entry_id, entry), = admin.xrange(STREAM)
    assert got.event_id == b"s07-" + entry_id
    assert [k.decode() for k in entry] == FIELDS
    assert entry[b"body"] == body and entry[b"subject"] == b"\0\xff"
    assert entry[b"received_at"] == str(got.now_us // 1000).encode()


def test_publish_without_a_key_publishes_each_time(edge, admin):
    ids = {admit(edge, what="p").event_id for _ in range(3)}
    assert len(ids) == 3 and admin.xlen(STREAM) == 3
    assert list(admin.scan_iter("*")) == [STREAM]


def test_a_body_of_a_mebibyte(edge, admin):
    body = os.urandom(1024 * 1024)
    assert admit(edge, idem=new_key("idem"), body=body).verdict == "accepted"
    assert admin.xrange(STREAM)[0][1][b"body"] == body


def test_every_key_expires_with_a_sane_unit(edge, admin):
    idem, rate = new_key("idem"), Rate(new_key("rate"), 500_000, 10, cost=10)
    admit(edge, idem=idem, rates=[rate], ttl=TTL_S)
    for key in admin.scan_iter("*"):
        ttl_ms = admin.pttl(key)
        if key == STREAM:
            assert ttl_ms == -1
        elif key == idem:
            assert TTL_S * 1000 - 10_000 < ttl_ms <= TTL_S * 1000
        else:
            assert key == rate.key and 0 < ttl_ms <= 5001


# ---- what must not pass ----

def test_contract_version(edge, admin):
    got = admit(edge, idem=new_key("idem"), contract=b"2", rates=[Rate(new_key("rate"), 1000, 1)])
    assert (got.verdict, got.event_id, got.rates) == ("contract", b"", [])
    assert image(admin) == {}


@pytest.mark.parametrize("change", [
    lambda k, a: (k[:1], a), lambda k, a: (k + [new_key("rate")], a), lambda k, a: (k, a[:-1]),
    lambda k, a: (k, a + [b""]), lambda k, a: (k, a[:1] + [b"x"] + a[2:]),
    lambda k, a: (k, a[:2] + [b"short"] + a[3:]), lambda k, a: (k, a[:3] + [0] + a[4:]),
    lambda k, a: (k, a[:5] + [b"one"] + a[6:]), lambda k, a: (k, a[:20] + [b"other"] + a[21:])])
def test_malformed_calls(edge, admin, change):
    keys, argv = change(*arguments(idem=new_key("idem")))
    with pytest.raises(redis_py.ResponseError, match="malformed call"):
        edge.eval(SCRIPT, len(keys), *keys, *argv)
    assert image(admin) == {}


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, -5), ("x", 1, 1)])
def test_malformed_rates(edge, admin, numbers):
    with pytest.raises(redis_py.ResponseError, match="malformed rate"):
        admit(edge, idem=new_key("idem"), rates=[Rate(new_key("rate"), *numbers)])
    assert image(admin) == {}


def test_stream_of_another_type(edge, admin):
    """XADD is the first write: when it cannot be, neither record nor rate is there."""
    admin.set(STREAM, b"not a stream")
    before = image(admin)
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        admit(edge, idem=new_key("idem"), rates=[Rate(new_key("rate"), 60_000_000, 1)])
    assert image(admin) == before


@pytest.mark.parametrize("what", ["ip", "p", "i", ""])
def test_out_of_memory_leaves_nothing_half_done(edge, admin, what):
    done = new_key("idem")
    first = admit(edge, idem=done)
    before = image(admin)
    admin.config_set("maxmemory", "1mb")
    try:
        # newer redis-py has a class of its own for it and strips the word
        with pytest.raises(redis_py.ResponseError, match="^OOM |^command not allowed when used"):
            admit(edge, what=what, idem=new_key("idem"),
                  rates=[Rate(new_key("rate"), 60_000_000, 5)])
        assert image(admin) == before
        again = admit(edge, idem=done)
        assert (again.verdict, again.event_id) == ("replay", first.event_id)
    finally:
        admin.config_set("maxmemory", "0")
    assert image(admin) == before


def test_evalsha_and_noscript(edge, admin):
    keys, argv = arguments(idem=new_key("idem"))
    sha = edge.script_load(SCRIPT)
    assert sha == hashlib.sha1(SCRIPT).hexdigest()
    assert edge.evalsha(sha, len(keys), *keys, *argv)[0] == b"accepted"
    admin.script_flush()
    with pytest.raises(redis_py.exceptions.NoScriptError):
        edge.evalsha(sha, len(keys), *keys, *argv)
    assert edge.eval(SCRIPT, len(keys), *keys, *argv)[0] == b"replay"


# ---- rights ----

META = b"tg:{s07}:meta"


def denied(client, *command):
    with pytest.raises(redis_py.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_edge_may_do_its_work(edge):
    assert edge.execute_command("CLIENT", "SETNAME", "tallygate-edge-1")
    assert edge.hsetnx(META, "contract", "1") == 1
    assert edge.hmget(META, "contract", "shards") == [b"1", None]
    assert edge.config_get("appendfsync") == {"appendfsync": "always"}
    assert edge.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert admit(edge, idem=new_key("idem"), rates=[Rate(new_key("rate"), 1000, 1)]).event_id


@pytest.mark.parametrize("command", [
    ("XRANGE", STREAM, "-", "+"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", STREAM, ">"),
    ("XTRIM", STREAM, "MAXLEN", 0), ("XDEL", STREAM, "1-1"), ("DEL", STREAM), ("FLUSHALL",),
    ("KEYS", "*"), ("SCAN", 0), ("GET", "other"), ("GET", "tg:{s07}:other"), ("SET", "x", "y"),
    ("XADD", "other", "*", "a", "b"), ("CONFIG", "SET", "appendfsync", "no"), ("ACL", "LIST"),
    ("MONITOR",), ("INFO",), ("SHUTDOWN",), ("CLIENT", "KILL", "TYPE", "normal"),
    ("SCRIPT", "FLUSH"), ("PUBLISH", "a", "b"), ("MULTI",), ("EVAL", "return 1", 1, "other")])
def test_edge_may_do_nothing_else(edge, command):
    denied(edge, *command)


def test_a_script_of_the_edge_is_shut_in_too(edge, admin):
    admin.set("other", "secret")
    admin.xadd(STREAM, {"a": "b"})
    for body in ("return redis.call('GET', 'other')",
                 f"return redis.call('XRANGE', '{STREAM.decode()}', '-', '+')"):
        with pytest.raises(redis_py.ResponseError, match="user executing the script can't|NOPERM"):
            edge.eval(body, 0)


def test_a_script_of_the_orchestrator_is_shut_in_too(server, admin):
    admin.set("other", "secret")
    o = server.client("orchestrator")
    for body in ("return redis.call('GET', 'other')", "return redis.call('XLEN', 'other')",
                 f"return redis.call('XADD', '{STREAM.decode()}', '*', 'a', 'b')"):
        with pytest.raises(redis_py.ResponseError, match="user executing the script can't|NOPERM"):
            o.eval(body, 0)
    assert not admin.exists(STREAM)


def test_orchestrator_may_do_its_work(server, edge):
    o = server.client("orchestrator")
    admit(edge, idem=new_key("idem"))
    assert o.execute_command("CLIENT", "SETNAME", "tallygate-orchestrator")
    assert o.hsetnx(META, "shards", "16") == 1 and o.hmget(META, "shards") == [b"16"]
    assert o.xgroup_create(STREAM, "orchestrator", "0", mkstream=True)
    ((_, entries),) = o.xreadgroup("orchestrator", "c1", {STREAM: ">"}, count=10)
    assert len(entries) == 1 and o.xlen(STREAM) == 1
    assert o.xpending(STREAM, "orchestrator")["pending"] == 1
    assert o.xautoclaim(STREAM, "orchestrator", "c2", 0)[1]
    assert o.xack(STREAM, "orchestrator", entries[0][0]) == 1
    assert o.xinfo_groups(STREAM)[0]["pending"] == 0 and o.xinfo_stream(STREAM)["length"] == 1
    assert o.xrange(STREAM) and o.xtrim(STREAM, minid="9999999999999-0") == 1


@pytest.mark.parametrize("command", [
    ("XADD", STREAM, "*", "a", "b"), ("DEL", STREAM), ("XDEL", STREAM, "1-1"), ("FLUSHALL",),
    ("XGROUP", "DESTROY", STREAM, "orchestrator"), ("EVALSHA", "0" * 40, 0), ("GET", "x"),
    ("XGROUP", "DELCONSUMER", STREAM, "orchestrator", "c1"), ("KEYS", "*"), ("SCRIPT", "LOAD", "x"),
    ("CONFIG", "SET", "save", ""), ("XRANGE", "tg:{s07}:idem:x", "-", "+"), ("ACL", "WHOAMI"),
    ("XLEN", "other"), ("HGETALL", META), ("SHUTDOWN",)])
def test_orchestrator_may_do_nothing_else(server, admin, command):
    assert admin.ping()
    denied(server.client("orchestrator"), *command)


def test_nobody_comes_in_without_a_password(server):
    with pytest.raises(redis_py.exceptions.AuthenticationError):
        redis_py.Redis(unix_socket_path=server.sock).ping()
    for user, word in (("default", ""), ("default", "x"), ("edge", "x")):
        with pytest.raises((redis_py.exceptions.AuthenticationError, redis_py.ResponseError)):
            redis_py.Redis(unix_socket_path=server.sock, username=user, password=word).ping()


# ---- durable ----

def test_what_was_accepted_survives_kill_9():
    """With the ACL of conf/: Redis replays its file as user default, and skips what that user may
    not do. (With default -@all every accepted event was gone after a restart.)"""
    s = stack.Redis(stack.scratch("admit")).start()
    try:
        edge, idem = s.client("edge"), new_key("idem")
        rate = Rate(new_key("rate"), 3_600_000_000, 5)
        first = admit(edge, idem=idem, rates=[rate], body=uuid.uuid4().bytes)
        before = image(s.client())
        s.kill()
        s.start()
        assert image(s.client()) == before
        assert len(before) == 3 and first.event_id
    finally:
        s.stop()
