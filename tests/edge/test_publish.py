"""What an accepted request does to Redis: one script call, one entry with every field, on disk."""
import hashlib
import re
import time
import uuid

import pytest

from tests.edge.conftest import SLOW, TYPE, assert_problem, default_config
from tests.harness import stack


def entry_of(edge, answer):
    return {f"s{s:02}-{i}": f for s, i, f in edge.redis.entries()}[answer.json()["id"]]


def test_one_round_trip(edge):
    """MONITOR: an accepted webhook is one EVALSHA and nothing else.

    AUTH and ECHO are the test's own; CONFIG GET is the link's, on a timer, and no request waits."""
    with edge.client() as c:
        edge.hook(c)
        with edge.monitor() as seen:
            assert edge.hook(c).status_code == 202
    commands = [s.split(" ")[0].lower() for s in seen]
    assert [c for c in commands if c not in ("auth", "echo", "config")] == ["evalsha"], seen


def test_every_field(edge):
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    body = edge.event(event_id="e-1", subject="TE-1", time="2026-11-20T17:00:00Z",
                      dataschema="urn:x:1")
    with edge.client() as c:
        before = time.time()
        answer = edge.post(c, body=body, key="key-of-fields",
                           headers={"X-Correlation-ID": "corr-1", "traceparent": trace})
    f = {k: v.decode() for k, v in entry_of(edge, answer).items()}
    received = int(f.pop("received_at")) / 1000
    assert before - 5 < received < time.time() + 5
    assert f == {"id": "e-1", "type": TYPE, "source": "urn:acme:psa", "subject": "TE-1",
                 "tenant": "acme", "client": "svc", "time": "2026-11-20T17:00:00Z",
                 "dataschema": "urn:x:1", "key": "key-of-fields", "correlation_id": "corr-1",
                 "traceparent": trace, "body_sha256": hashlib.sha256(body).hexdigest(),
                 "content_type": "application/cloudevents+json", "body": body.decode()}


def test_webhook_client_is_its_source(edge):
    with edge.client() as c:
        f = entry_of(edge, edge.hook(c))
    assert (f["client"], f["tenant"]) == (b"hook:psa", b"acme")


def test_type_publish_keeps_the_bytes(edge):
    body = bytes(range(256))
    with edge.client() as c:
        answer = edge.post(c, "/optional", body=body, key="raw-1",
                           headers={"Content-Type": "text/csv"})
    f = entry_of(edge, answer)
    assert f["body"] == body
    assert (f["type"], f["source"], f["id"]) == (b"com.acme.raw", b"urn:raw", b"raw-1")


def test_type_publish_without_a_key_makes_an_id(edge):
    """Two requests of one trace are two facts: the sender's correlation id is no id."""
    with edge.client() as c:
        answers = [edge.post(c, "/optional", body=b"{}", key=False,
                             headers={"Content-Type": "application/json",
                                      "X-Correlation-ID": "trace-1"}) for _ in range(2)]
    entries = [entry_of(edge, a) for a in answers]
    assert [f["correlation_id"] for f in entries] == [b"trace-1"] * 2
    ids = [f["id"].decode() for f in entries]
    assert all(re.fullmatch("[0-9a-f]{32}", i) for i in ids) and ids[0] != ids[1], ids


def test_bad_traceparent_is_dropped(edge):
    with edge.client() as c:
        f = entry_of(edge, edge.post(c, headers={"traceparent": "00-zz-zz-01"}))
    assert f["traceparent"] == b""


def test_every_key_expires_or_is_a_stream(edge):
    with edge.client() as c:
        edge.post(c, "/limited")
    r = edge.redis.client()
    for key in r.scan_iter("tg:*"):
        kind = key.split(b":")[2]
        if kind in (b"idem", b"rate"):
            left_ms = r.pttl(key)  # -2: it expired since the scan
            assert left_ms == -2 or 0 <= left_ms <= 86400_000, key
        else:
            assert kind in (b"events", b"meta"), key


def test_keys_of_one_decision_share_a_tag(edge):
    with edge.client() as c, edge.monitor() as seen:
        edge.post(c, "/limited")
    tags = re.findall(r"tg:\{(s\d\d)\}", "".join(s for s in seen if s.startswith("EVALSHA")))
    assert len(tags) == 4 and len(set(tags)) == 1, seen  # stream, idempotency, two rates


def test_everysec_is_refused(make_edge):
    """202 with ack=aof needs appendfsync always: the module says 503 otherwise, and why."""
    edge = make_edge(ready=False,
                     redis=stack.Redis(stack.scratch("edge"), durable=False).start())
    with edge.client() as c:
        doc = assert_problem(edge.post(c), 503, "redis_unavailable")
        assert int(edge.post(c).headers["retry-after"]) >= 1
    stack.wait_for(lambda: "appendfsync" in edge.nginx.log(), 10, "the reason in the log")
    assert doc["detail"]
    assert edge.redis.added() == 0


@pytest.mark.parametrize("setting,value,good", [
    ("appendfsync", "no", "always"), ("appendfsync", "everysec", "always"),
    ("appendonly", "no", "yes"), ("no-appendfsync-on-rewrite", "yes", "no"),
    ("maxmemory-policy", "allkeys-lru", "noeviction")])
def test_setting_changed_under_a_live_link(make_edge, setting, value, good):
    """The link asks again every 2 s: no 202 after that, and 202 again once it is put right."""
    edge = make_edge()
    with edge.client() as c:
        assert edge.post(c).status_code == 202
        edge.admin.config_set(setting, value)
        stack.wait_for(lambda: edge.post(c).status_code == 503, 8 * SLOW, "no 202 any more")
        added = edge.redis.added()
        assert_problem(edge.post(c), 503, "redis_unavailable")
        assert edge.redis.added() == added
        assert f'set "{setting} {good}" in redis.conf' in edge.nginx.log()
        edge.admin.config_set(setting, good)
        stack.wait_for(lambda: edge.post(c).status_code == 202, 10 * SLOW, "202 again")


def test_idle_link_asks_again(make_edge):
    """Many times over, without a request: the link stays, and the worker can leave."""
    edge = make_edge()

    def asked():
        return edge.admin.info("commandstats")["cmdstat_config|get"]["calls"]
    before, links = asked(), edge.metric("tallygate_edge_redis_connects_total")
    assert links >= 1
    stack.wait_for(lambda: asked() >= before + 3, 20 * SLOW, "the link asked three times")
    with edge.client() as c:
        assert edge.post(c).status_code == 202
    assert edge.metric("tallygate_edge_redis_connects_total") == links
    began = time.monotonic()
    assert edge.nginx.quit(30 * SLOW) == 0
    assert time.monotonic() - began < 2 * SLOW


def test_settings_of_an_event_less_edge(make_edge):
    """Rates alone promise nothing: an edge that publishes nothing does not ask."""
    def rates_only(e, **kw):
        return re.sub(r"(?m)^ *(tally_publish|tally_idempotency|tally_allow) .*\n", "",
                      default_config(e, **kw))
    edge = make_edge(ready=False, config=rates_only,
                     redis=stack.Redis(stack.scratch("edge"), durable=False).start())
    stack.wait_for(lambda: edge.metric("tallygate_edge_redis_connects_total"), 10 * SLOW, "a link")
    assert "cmdstat_config|get" not in edge.admin.info("commandstats")


def test_no_fsync_on_rewrite_is_refused(make_edge):
    """With it, Redis does not sync while a child saves or rewrites: the handshake says 503."""
    redis = stack.Redis(stack.scratch("edge"), extra=["--no-appendfsync-on-rewrite", "yes"])
    edge = make_edge(ready=False, redis=redis.start())
    with edge.client() as c:
        assert_problem(edge.post(c), 503, "redis_unavailable")
    stack.wait_for(lambda: "no-appendfsync-on-rewrite no" in edge.nginx.log(), 10, "the reason")
    assert redis.added() == 0


@pytest.mark.parametrize("field,value", [("contract", "99"), ("shards", "7"), ("hash", "crc32")])
def test_contract_mismatch_is_refused(make_edge, field, value):
    redis = stack.Redis(stack.scratch("edge")).start()
    redis.client().hset("tg:{s00}:meta", field, value)
    edge = make_edge(ready=False, redis=redis)
    with edge.client() as c:
        assert_problem(edge.post(c), 503, "redis_unavailable")
    stack.wait_for(lambda: field in edge.nginx.log(), 10, "the reason in the log")
    assert redis.added() == 0


def test_script_cache_flushed(edge):
    """NOSCRIPT: one EVAL, the client sees nothing."""
    edge.admin.script_flush()
    with edge.client() as c:
        assert edge.post(c).status_code == 202
        assert edge.post(c).status_code == 202


def test_out_of_memory(make_edge):
    edge = make_edge()
    edge.admin.config_set("maxmemory", "1mb")
    added = edge.redis.added()
    with edge.client() as c:
        answer = edge.post(c)
        assert_problem(answer, 503, "backlog")
        assert int(answer.headers["retry-after"]) >= 1
        assert edge.redis.added() == added
        edge.admin.config_set("maxmemory", "0")
        assert edge.post(c).status_code == 202


def test_variables_in_the_log(edge):
    key, marker = str(uuid.uuid4()), uuid.uuid4().hex
    body = edge.event()
    with edge.client() as c:
        for _ in range(2):
            edge.post(c, body=body, key=key, token=edge.token(dept="d-7"),
                      headers={"X-Correlation-ID": marker})
    facts = stack.wait_for(lambda: [f for f in edge.facts() if f["correlation"] == marker][1:]
                           and [f for f in edge.facts() if f["correlation"] == marker], 5, "log")
    assert [f["idempotency"] for f in facts] == ["new", "replay"]
    assert facts[0]["tenant"] == "acme" and facts[0]["client"] == "svc"
    assert facts[0]["scope"] == "events:write" and facts[0]["dept"] == "d-7"
    assert facts[0]["event"].startswith("s") and facts[0]["decision"]
    assert re.fullmatch(r"\d+\.\d{3}", facts[0]["redis_time"])  # seconds spent waiting


def test_no_secret_in_any_log(edge):
    body = edge.event(data={"iban": "DE-VERY-SECRET"})
    token = edge.token()
    with edge.client() as c:
        edge.post(c, body=body, key="key-very-secret", token=token)
        edge.post(c, body=body + b"x", key="key-very-secret", token=token)
        edge.hook(c, body=body)
    text = edge.nginx.log() + (edge.dir / "access.log").read_text()
    for secret in (token, "DE-VERY-SECRET", "key-very-secret", edge.secret,
                   edge.redis.passwords["edge"]):
        assert secret not in text


def test_metrics_count(edge):
    name = "tallygate_edge_decisions_total"
    before = edge.metric(name, 'decision="accepted"')
    with edge.client() as c:
        edge.post(c)
        body = edge.event()
        edge.post(c, body=body, key="m-1")
        edge.post(c, body=body, key="m-1")
        edge.post(c, token="x.y.z")
    assert edge.metric(name, 'decision="accepted"') == before + 2
    assert edge.metric(name, 'decision="replayed"') >= 1
    assert edge.metric("tallygate_edge_refused_total", 'code="token_invalid"') >= 1
