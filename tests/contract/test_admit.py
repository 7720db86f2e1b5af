"""lua_rules/redis/admit.lua against a real Redis: each invariant of its head, and its rates against
the reference model in common/rate.c."""
import ctypes
import shutil
import subprocess

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import stack

SCRIPT = (stack.ROOT / "lua_rules/redis/admit.lua").read_text(encoding="utf-8")
FIELDS = ("id type source subject tenant client time received_at dataschema key correlation_id "
          "traceparent body_sha256 content_type body").split()
STREAM, RECORD = b"tg:{s07}:events", b"tg:{s07}:idem:\x00\xff0123456789abcd"
PRINT = b"\x01" * 32
OTHER = b"\x02" * 32


@pytest.fixture(scope="module")
def server():
    r = stack.Redis(stack.scratch("admit")).start()
    yield r
    r.stop()
    shutil.rmtree(r.dir, ignore_errors=True)


@pytest.fixture
def redis(server):
    client = server.client()
    client.flushall()
    client.config_set("maxmemory", "0")
    return client


def rate_key(i):
    return b"tg:{s07}:rate:%016d" % i


def admit(client, what="ip", fingerprint=PRINT, ttl=3600, rates=(), contract="1", body=b"{}",
          record=RECORD):
    """rates: (emission_us, capacity, cost). The reply as text, the rates' numbers apart."""
    keys = [STREAM, record] + [rate_key(i) for i in range(len(rates))]
    args = [contract, what, fingerprint, ttl, "s07", len(rates)]
    args += [n for rate in rates for n in rate]
    if "p" in what:
        for name in FIELDS:
            args += [name, body if name == "body" else f"v-{name}"]
    reply = [p.decode() for p in client.eval(SCRIPT, len(keys), *keys, *args)]
    numbers = [int(n) for n in reply[4:]]
    return reply[:4], [numbers[i:i + 3] for i in range(0, len(numbers), 3)]


def dump(client):
    """Everything that is stored, without the expiry."""
    out = {}
    for key in client.keys():
        out[key] = client.xrange(key) if client.type(key) == b"stream" else client.get(key)
    return out


def test_accepted_writes_the_entry_and_the_record(redis):
    body = bytes(range(256))
    (verdict, now_us, event, violated), _ = admit(redis, body=body)
    assert (verdict, violated) == ("accepted", "")
    ((stream_id, fields),) = redis.xrange(STREAM)
    assert event == "s07-" + stream_id.decode()
    assert list(fields) == [f.encode() for f in FIELDS]
    assert fields[b"body"] == body
    assert fields[b"received_at"] == b"%d" % (int(now_us) // 1000)
    assert redis.get(RECORD) == b"1" + PRINT + event.encode()


def test_a_replay_writes_nothing_and_spends_no_rate(redis):
    rates = [(1_000_000, 5, 1)]
    (_, _, first, _), _ = admit(redis, rates=rates)
    before = dump(redis)
    (verdict, _, event, _), _ = admit(redis, rates=rates)
    assert (verdict, event) == ("replay", first)
    assert dump(redis) == before


def test_refusals_write_nothing(redis):
    admit(redis, rates=[(60_000_000, 1, 1)])
    before = dump(redis)
    assert admit(redis, fingerprint=OTHER)[0][0] == "mismatch"
    redis.set(RECORD, b"1" + PRINT, ex=60)  # without an id: the work still runs
    assert admit(redis)[0][0] == "in_flight"
    redis.set(RECORD, before[RECORD], ex=60)
    (verdict, _, _, violated), numbers = admit(redis, what="p", rates=[(60_000_000, 1, 1),
                                                                       (1000, 9, 1)])
    assert (verdict, violated) == ("limited", "0")
    assert 0 < numbers[0][2] <= 60_000_000 and numbers[1][2] == 0
    assert admit(redis, contract="2")[0][0] == "contract"
    assert dump(redis) == before


def test_all_rates_or_none(redis):
    """One of three is exhausted: the other two are not charged."""
    admit(redis, what="", rates=[(1000, 9, 1), (60_000_000, 1, 1), (1000, 9, 1)])
    for i in (0, 2):
        redis.delete(rate_key(i))
    (verdict, _, _, violated), _ = admit(redis, what="",
                                         rates=[(1000, 9, 1), (60_000_000, 1, 1), (1000, 9, 1)])
    assert (verdict, violated) == ("limited", "1")
    assert redis.exists(rate_key(0), rate_key(2)) == 0


@pytest.mark.parametrize("ahead_s", [40, 86_400, 400 * 86_400])
def test_a_clock_set_back_locks_nobody_out(redis, ahead_s):
    """A busy client's time and its expiry are as far ahead as the clock was set back, or as it had
    been ahead before it was set right. Each call finds the whole window, and the expiry is mended.
    """
    rates = [(600_000_000, 3, 1)]
    seconds, _ = redis.time()
    redis.set(rate_key(0), b"%d" % ((seconds + ahead_s) * 1_000_000 + 1_800_000_000),
              px=ahead_s * 1000 + 1_800_000)
    said = [admit(redis, what="", rates=rates) for _ in range(4)]
    assert [s[0][0] for s in said] == ["accepted"] * 3 + ["limited"]
    assert [s[1][0][0] for s in said] == [2, 1, 0, 0]
    assert redis.pttl(rate_key(0)) <= 1_800_001


def test_a_cost_over_the_capacity_is_never_allowed(redis):
    (verdict, _, _, violated), numbers = admit(redis, what="", rates=[(1000, 3, 4)])
    assert (verdict, violated, numbers[0][2]) == ("limited", "0", -1)
    assert redis.keys() == []


def test_every_key_but_the_stream_expires(redis):
    admit(redis, ttl=77, rates=[(1_000_000, 5, 2)])
    assert redis.ttl(STREAM) == -1
    assert 70 <= redis.ttl(RECORD) <= 77
    assert 1900 <= redis.pttl(rate_key(0)) <= 2001


def test_short_of_memory_leaves_nothing_half_done(redis):
    """A replay is still answered; what would write is refused before its first write."""
    first = admit(redis, rates=[(1_000_000, 5, 1)])[0][2]
    before = dump(redis)
    redis.config_set("maxmemory", "1mb")
    assert admit(redis, rates=[(1_000_000, 5, 1)])[0][0::2] == ["replay", first]
    for what in ("p", "ip", "i"):
        with pytest.raises(redis_py.ResponseError, match="maxmemory"):
            admit(redis, what=what, record=RECORD + b"+", rates=[(1_000_000, 5, 1)])
        assert dump(redis) == before
    redis.config_set("maxmemory", "0")


def test_another_type_under_the_streams_name_leaves_nothing(redis):
    redis.set(STREAM, "a string")
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        admit(redis, rates=[(1000, 5, 1)])
    assert redis.keys() == [STREAM]


def test_a_record_of_another_version_is_an_error(redis):
    redis.set(RECORD, b"2" + PRINT + b"s07-1-0", ex=60)
    with pytest.raises(redis_py.ResponseError, match="unknown version"):
        admit(redis)
    assert redis.exists(STREAM) == 0


@pytest.mark.parametrize("kw", [{"what": "x"}, {"fingerprint": b"short"}, {"ttl": 0}, {"ttl": "z"},
                                {"rates": [(0, 1, 1)]}, {"rates": [(1, 0, 1)]},
                                {"rates": [("a", 1, 1)]}])
def test_malformed_calls_are_refused(redis, kw):
    with pytest.raises(redis_py.ResponseError, match="malformed"):
        admit(redis, **kw)
    assert redis.keys() == []


def test_times_are_the_servers_own_in_whole_numbers(redis):
    """A microsecond time has 16 digits: a plain join in Lua would print 1.79e+15."""
    seconds, micros = redis.time()
    (_, now_us, _, _), _ = admit(redis, what="", rates=[(3_600_000_000, 10, 1)])
    assert now_us.isdigit() and 0 <= int(now_us) - (seconds * 1_000_000 + micros) < 5_000_000
    assert redis.get(rate_key(0)) == b"%d" % (int(now_us) + 3_600_000_000)


# ---- the same rates in C ----

class Rate(ctypes.Structure):
    _fields_ = [("emission_us", ctypes.c_int64), ("capacity", ctypes.c_int64)]


class State(ctypes.Structure):
    _fields_ = [("remaining", ctypes.c_int64), ("reset_us", ctypes.c_int64),
                ("retry_after_us", ctypes.c_int64)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("rate") / "rate.so"
    subprocess.run(["gcc", "-std=gnu11", "-shared", "-fPIC", "-I.", "common/rate.c", "common/str.c",
                    "-o", out], cwd=stack.ROOT, check=True)
    gcra = ctypes.CDLL(str(out)).tg_rate_gcra
    gcra.restype = ctypes.c_bool
    gcra.argtypes = [ctypes.POINTER(Rate), ctypes.c_int64, ctypes.c_int64, ctypes.c_bool,
                     ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(State)]
    return gcra


@settings(max_examples=300, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(emission=st.sampled_from([1, 1000, 33_333, 1_000_000, 86_400_000_000]) |
       st.integers(1, 10_000_000),
       capacity=st.integers(1, 1001), cost=st.integers(1, 12),
       used=st.none() | st.fractions(-1, 2))  # of the window: in the past, ahead, or beyond it
def test_rates_are_as_the_reference_model(redis, model, emission, capacity, cost, used):
    rate, tat, state = Rate(emission, capacity), ctypes.c_int64(0), State()
    redis.delete(rate_key(0))
    if used is not None:
        seconds, micros = redis.time()
        tat.value = seconds * 1_000_000 + micros + int(used * emission * capacity)
        redis.set(rate_key(0), b"%d" % tat.value, px=60_000)
    (verdict, now_us, _, _), (said,) = admit(redis, what="", rates=[(emission, capacity, cost)])
    allowed = model(rate, cost, int(now_us), True, tat, state)
    assert (verdict == "accepted") == allowed
    assert said == [state.remaining, state.reset_us, state.retry_after_us]
    stored = redis.get(rate_key(0))
    if stored is not None:  # a short one may have expired already
        assert stored == b"%d" % tat.value
