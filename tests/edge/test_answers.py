"""Each answer of design section 3, over HTTP/1.1 and HTTP/2."""
import base64
import json
import socket
import time
import uuid

import pytest

from tests.edge.conftest import assert_problem
from tests.harness import sign


def challenge(answer):
    return answer.headers.get("www-authenticate", "")


@pytest.mark.valgrind
def test_accepted_says_where(edge, client):
    answer = edge.post(client)
    assert answer.status_code == 202
    doc = answer.json()
    assert doc["status"] == "accepted"
    assert answer.headers["location"] == f"/v1/events/{doc['id']}"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-correlation-id"]
    shard, ms, _ = doc["id"].split("-")
    entry = [e for e in edge.redis.entries() if e[0] == int(shard[1:]) and e[1].startswith(ms)]
    assert len(entry) == 1


@pytest.mark.valgrind
def test_webhook_is_accepted(edge, client):
    assert edge.hook(client).status_code == 202


def test_old_secret_still_signs(edge, client):
    assert edge.hook(client, secret=edge.old_secret).status_code == 202


@pytest.mark.parametrize("alg", [0, 1, 2], ids=["ES256", "RS256", "EdDSA"])
def test_each_algorithm(edge, client, alg):
    assert edge.post(client, token=edge.token(key=alg)).status_code == 202


# ---- 401, 400: tokens ----

@pytest.mark.valgrind
def test_token_missing(edge, client):
    answer = client.post("/v1/events", content=edge.event())
    assert_problem(answer, 401, "token_missing")
    assert challenge(answer).startswith("Bearer")
    assert "error=" not in challenge(answer)


def test_other_scheme_is_missing(edge, client):
    answer = client.post("/v1/events", content=edge.event(),
                         headers={"Authorization": "Basic dTpw"})
    assert_problem(answer, 401, "token_missing")


@pytest.mark.parametrize("value", [b"Bearer", b"Bearer ", b"Bearer a b", b"Bearer a,b",
                                   b"Bearer \xff", b"bearer  a=b=c d"])
def test_token_malformed(edge, value):
    with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as s:
        s.sendall(b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n"
                  b"Connection: close\r\nAuthorization: " + value + b"\r\n\r\n")
        head, body = s.makefile("rb").read().split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400")
    assert b'error="invalid_request"' in head
    assert json.loads(body)["code"] == "token_malformed"


def test_two_authorization_headers(edge, client):
    token = edge.token()
    answer = client.post("/v1/events", content=edge.event(),
                         headers=[(b"authorization", b"Bearer " + token.encode())] * 2)
    assert answer.status_code == 400


def forged(edge, kind):
    es = edge.issuer.keys[0]
    now = int(time.time())
    claims = {"iss": edge.issuer.iss, "aud": edge.issuer.audience, "sub": "s", "tenant": "acme",
              "exp": now + 600, "scope": "events:write"}
    def unsigned(head):
        return sign.b64url(json.dumps(head).encode()) + "." + \
            sign.b64url(json.dumps(claims).encode()) + "."
    if kind == "none":
        return unsigned({"alg": "none"})
    if kind == "other key":
        return sign.Key("ES256", "es").token(claims)
    if kind == "unknown kid":
        return sign.Key("ES256", "nobody").token(claims)
    if kind == "wrong alg for the key":
        return es.token(claims, {"alg": "RS256"})
    if kind == "hmac with the public key":
        import hashlib
        import hmac as mac
        head = sign.b64url(json.dumps({"alg": "HS256", "kid": "rs"}).encode())
        signed = head + "." + sign.b64url(json.dumps(claims).encode())
        key = json.dumps(edge.issuer.keys[1].jwk()).encode()
        return signed + "." + sign.b64url(mac.new(key, signed.encode(), hashlib.sha256).digest())
    if kind == "duplicate member":
        body = json.dumps(claims)[:-1] + ', "tenant": "other"}'
        signed = sign.b64url(json.dumps({"alg": "ES256", "kid": "es"}).encode()) + "." + \
            sign.b64url(body.encode())
        return signed + "." + sign.b64url(es.raw_sign(signed.encode()))
    if kind == "trailing bytes":
        return es.token(claims) + "AA"
    if kind == "padding":
        return es.token(claims) + "=="
    if kind == "two parts":
        return ".".join(es.token(claims).split(".")[:2])
    if kind == "not base64":
        return "a!b.c.d".replace("!", "~")
    if kind == "crit":
        return es.token(claims, {"crit": ["exp"]})
    raise ValueError(kind)


FORGED = ["none", "other key", "unknown kid", "wrong alg for the key", "hmac with the public key",
          "duplicate member", "trailing bytes", "padding", "two parts", "not base64", "crit"]


@pytest.mark.parametrize("kind", FORGED)
def test_forged_tokens(edge, client, kind):
    answer = edge.post(client, token=forged(edge, kind))
    assert_problem(answer, 401, "token_invalid")
    assert 'error="invalid_token"' in challenge(answer)
    assert edge.post(client).status_code == 202  # attack, then normal


@pytest.mark.parametrize("change", [
    {"exp": 1}, {"exp": None}, {"exp": "soon"}, {"nbf": 4102444800}, {"iss": "https://other"},
    {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": []}, {"sub": 7}, {"exp": 1e308}],
    ids=str)
def test_claims(edge, client, change):
    assert_problem(edge.post(client, token=edge.token(**change)), 401, "token_invalid")


@pytest.mark.parametrize("claims", [
    {"client_id": "hook:psa"}, {"client_id": None, "azp": "hook:psa"},
    {"client_id": None, "azp": None, "sub": "hook:psa"}], ids=["client_id", "azp", "sub"])
def test_token_is_no_webhook(edge, client, claims):
    """$tally_client hook:SOURCE means that SOURCE's secret signed; no token may say so."""
    answer = edge.post(client, token=edge.token(**claims))
    assert "claim" in assert_problem(answer, 401, "token_invalid")["detail"]
    assert edge.post(client, token=edge.token(sub="hook:psa", client_id="svc")).status_code == 202


def test_leeway_and_audience_list(edge, client):
    now = int(time.time())
    assert edge.post(client, token=edge.token(exp=now - 5)).status_code == 202
    assert edge.post(client, token=edge.token(nbf=now + 5)).status_code == 202
    assert edge.post(client, token=edge.token(aud=["x", "tallygate"])).status_code == 202


def test_expiry_is_checked_on_a_cached_token(make_edge):
    edge = make_edge()
    token = edge.token(exp=int(time.time()) - 28)  # two seconds of its leeway are left
    with edge.client() as c:
        assert edge.post(c, token=token).status_code == 202
        from tests.harness.stack import wait_for
        wait_for(lambda: edge.post(c, token=token).status_code == 401, 15, "expiry")


def test_too_large_a_token(edge, client):
    answer = edge.post(client, token=edge.token(pad="x" * 7000))
    assert answer.status_code in (400, 401)


# ---- 403 ----

@pytest.mark.valgrind
def test_scope_insufficient(edge, client):
    answer = edge.post(client, token=edge.token(scope="status:read"))
    assert_problem(answer, 403, "scope_insufficient")
    assert 'error="insufficient_scope"' in challenge(answer)
    assert 'scope="events:write"' in challenge(answer)


def test_scope_as_array(edge, client):
    assert edge.post(client, token=edge.token(scope=["a", "events:write"])).status_code == 202


def test_type_and_source_not_allowed(edge, client):
    assert_problem(edge.post(client, body=edge.event(type_="org.other.x")), 403,
                   "type_not_allowed")
    assert_problem(edge.hook(client, body=edge.event(source="urn:other:psa")), 403,
                   "type_not_allowed")


def test_token_without_tenant(edge, client):
    assert_problem(edge.post(client, token=edge.token(tenant=None)), 403, "tenant_missing")
    assert_problem(edge.post(client, token=edge.token(tenant="a/b")), 401, "token_invalid")


# ---- signatures ----

@pytest.mark.valgrind
def test_signature_wrong(edge, client):
    assert_problem(edge.hook(client, secret=sign.new_secret()), 401, "signature_invalid")


@pytest.mark.parametrize("drop", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_signature_missing(edge, client, drop):
    assert_problem(edge.hook(client, headers={drop: None}), 401, "signature_invalid")


@pytest.mark.parametrize("age", [400, -400])
def test_signature_outside_the_window(edge, client, age):
    answer = edge.hook(client, timestamp=int(time.time()) - age)
    assert_problem(answer, 401, "signature_invalid")


def test_signature_over_another_body(edge, client):
    a, b = edge.event(), edge.event()
    headers = sign.webhook_headers(edge.secret, "msg-1", a)
    answer = client.post("/hooks/acme/psa", content=b,
                         headers=headers | {"Content-Type": "application/cloudevents+json"})
    assert_problem(answer, 401, "signature_invalid")


def test_unknown_tenant_is_refused_alike(edge, client):
    a = assert_problem(edge.hook(client, tenant="nobody"), 401, "signature_invalid")
    b = assert_problem(edge.hook(client, secret=sign.new_secret()), 401, "signature_invalid")
    assert a["detail"] == b["detail"]


def test_secret_of_another_tenant(edge, client):
    assert_problem(edge.hook(client, tenant="other"), 401, "signature_invalid")


def test_several_signatures_one_right(edge, client):
    body, msg = edge.event(), f"msg_{uuid.uuid4().hex}"
    h = sign.webhook_headers(edge.secret, msg, body)
    wrong = "v1," + base64.b64encode(b"x" * 32).decode()
    h["webhook-signature"] = f"{wrong} v1a,AAAA {h['webhook-signature']}"
    assert edge.hook(client, body=body, msg_id=msg, headers=h).status_code == 202


# ---- idempotency ----

def test_key_missing(edge, client):
    assert_problem(edge.post(client, key=False), 400, "idempotency_key_missing")


@pytest.mark.parametrize("key", ["x" * 256, '"open', '"a"b', "tab\tin"])
def test_key_invalid(edge, client, key):
    assert_problem(edge.post(client, key=key), 400, "idempotency_key_invalid")


@pytest.mark.valgrind
def test_replay_gives_the_first_answer(edge, client):
    body, key = edge.event(), str(uuid.uuid4())
    first = edge.post(client, body=body, key=key)
    again = edge.post(client, body=body, key=f'"{key}"')  # quoted is the same key
    assert first.status_code == again.status_code == 202
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.valgrind
def test_mismatch(edge, client):
    key = str(uuid.uuid4())
    assert edge.post(client, key=key).status_code == 202
    assert_problem(edge.post(client, key=key), 422, "idempotency_mismatch")


def test_keys_of_tenants_clients_and_routes_are_apart(edge, client):
    body, key = edge.event(), str(uuid.uuid4())
    ids = {edge.post(client, body=body, key=key, token=t).json()["id"] for t in (
        edge.token(), edge.token(client="svc-2"), edge.token(tenant="zeta"))}
    ids.add(edge.post(client, "/limited", body=body, key=key).json().get("id", "limited"))
    assert len(ids) == 4


def test_webhook_id_is_the_key(edge, client):
    body, msg = edge.event(), f"msg_{uuid.uuid4().hex}"
    first = edge.hook(client, body=body, msg_id=msg)
    again = edge.hook(client, body=body, msg_id=msg, timestamp=int(time.time()) - 3)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert_problem(edge.hook(client, msg_id=msg), 422, "idempotency_mismatch")


def test_same_key_at_once(edge):
    """Fifty at the same time: one entry, fifty equal answers."""
    import concurrent.futures
    body, key, token = edge.event(), str(uuid.uuid4()), edge.token()
    before = edge.redis.added()

    def one(_):
        with edge.client() as c:
            return edge.post(c, body=body, key=key, token=token)
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(one, range(50)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("idempotent-replayed" not in a.headers for a in answers) == 1
    assert edge.redis.added() == before + 1


# ---- rates ----

@pytest.mark.valgrind
def test_rate_limited(edge, client):
    token = edge.token(client=f"c-{uuid.uuid4()}")
    answers = [edge.post(client, "/limited", token=token) for _ in range(5)]
    assert [a.status_code for a in answers] == [202, 202, 202, 429, 429]
    doc = assert_problem(answers[3], 429, "rate_limited")
    assert doc["violated-policies"] == ["slow"]
    assert doc["type"].endswith("#quota-exceeded")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 600
    assert '"slow";q=3;w=1800' in answers[0].headers["ratelimit-policy"]
    assert '"slow";r=2' in answers[0].headers["ratelimit"]
    assert '"slow";r=0' in answers[2].headers["ratelimit"]
    assert '"fast";r=' in answers[0].headers["ratelimit"]


def test_signed_id_is_the_key(edge, client):
    """A captured webhook under other Idempotency-Key values is a replay, not another event."""
    body, msg_id, added = edge.event(), f"msg_{uuid.uuid4().hex}", edge.redis.added()
    answers = [edge.hook(client, body=body, msg_id=msg_id, headers=h) for h in (
        {"Idempotency-Key": "one"}, {"Idempotency-Key": "two"}, {},
        {"X-Atlassian-Webhook-Identifier": "three"})]
    assert [a.status_code for a in answers] == [202] * 4
    assert ["idempotent-replayed" in a.headers for a in answers] == [False, True, True, True]
    assert len({a.json()["id"] for a in answers}) == 1
    assert edge.redis.added() == added + 1
    other = edge.hook(client, body=edge.event(), headers={"Idempotency-Key": "one"})
    assert other.status_code == 202 and "idempotent-replayed" not in other.headers


def test_a_refusal_and_a_replay_spend_nothing(edge, client):
    token, body = edge.token(client=f"c-{uuid.uuid4()}"), edge.event()
    first = edge.post(client, "/limited", token=token, body=body, key="one")
    for _ in range(4):
        again = edge.post(client, "/limited", token=token, body=body, key="one")
        assert again.headers["idempotent-replayed"] == "true"
    assert first.status_code == 202
    codes = [edge.post(client, "/limited", token=token).status_code for _ in range(5)]
    assert codes == [202, 202, 429, 429, 429]


# ---- bodies ----

@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'{"specversion":"1.0"}', b"\xff\xfe",
    b'{"specversion":"0.3","id":"1","source":"s","type":"t"}',
    b'{"specversion":"1.0","id":"","source":"s","type":"t"}',
    b'{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}',
    b'{"specversion":"1.0","id":1,"source":"s","type":"t"}',
    b'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"yesterday"}',
    b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":' + b"[" * 200 + b"]" * 200
    + b"}"], ids=lambda b: b[:60].decode("latin-1"))
def test_body_invalid(edge, client, body):
    assert_problem(edge.post(client, body=body), 400, "body_invalid")


@pytest.mark.parametrize("media", ["application/json", "text/plain", "",
                                   "application/cloudevents-batch+json",
                                   "application/cloudevents+json; charset=utf-16"])
def test_media_type(edge, client, media):
    assert_problem(edge.post(client, headers={"Content-Type": media}), 415, "media_type")


def test_media_type_parameters(edge, client):
    answer = edge.post(client, headers={
        "Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"})
    assert answer.status_code == 202


def test_extensions_are_kept(edge, client):
    body = edge.event(myextension="kept")
    event = edge.post(client, body=body).json()["id"]
    stored = {f"s{s:02}-{i}": f for s, i, f in edge.redis.entries()}[event]
    assert stored["body"] == body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_method_not_allowed(edge, client, method):
    token = edge.token()
    answer = client.request(method, "/v1/events", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_correlation_id_is_taken_or_made(edge, client):
    given = edge.post(client, headers={"X-Correlation-ID": "trip-42"})
    assert given.headers["x-correlation-id"] == "trip-42"
    made = [edge.post(client, headers={"X-Correlation-ID": bad}).headers["x-correlation-id"]
            for bad in ("", "a b", "x" * 129, 'a"b')]
    assert len(set(made)) == 4
    assert not set(made) & {"", "a b", 'a"b'}
