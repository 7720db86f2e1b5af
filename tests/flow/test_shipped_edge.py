"""What conf/nginx.conf itself must get right: room for what is promised, and an answer when the
orchestrator does not give one."""
import json
import re
import uuid

import pytest

from tests.harness import h2wire, sign, stack
from tests.harness.firm import Firm

HTTP2_PORT = stack.free_port()


@pytest.fixture(scope="module")
def firm():
    f = Firm("shipped", edit_nginx=lambda c: re.sub(
        r"(listen 127\.0\.0\.1:\d+;)", rf"\1 listen 127.0.0.1:{HTTP2_PORT} http2;", c)).start()
    yield f
    found = f.stop()
    f.remove()
    assert not found


def test_five_hundred_entries_with_long_notes(firm):
    entries = [firm.entry(n) | {"note": "x" * 900} for n in range(500)]
    with firm.client() as c:
        answer = firm.validate(c, entries)
        assert answer.status_code == 200, answer.text[:300]
        assert len(answer.json()["results"]) == 500 and answer.json()["valid"] is True


@pytest.mark.parametrize("size,status", [(8192, 200), (8193, 401)])
def test_a_token_of_eight_kilobytes(firm, size, status):
    """8192 bytes is the largest token taken; a longer one is told so by us, not by NGINX."""
    token, pad = "", size // 2
    for _ in range(60):
        token = firm.token("validate", pad="x" * pad)
        if len(token) == size:
            break
        pad += 1 if len(token) < size else -1
    if len(token) != size:  # base64 leaves out every fourth length
        token = firm.token("validate", pad="x" * (size * 3 // 4 + (200 if size > 8192 else -600)))
        assert (len(token) > 8192) == (status == 401)
    with firm.client() as c:
        answer = c.post("/v1/time-entries/validate", json=firm.entry(1),
                        headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text[:300]
        if status == 401:
            assert answer.json()["code"] == "token_invalid"


def test_the_orchestrator_is_down(firm):
    assert firm.orchestrator.stop() == 0
    try:
        with firm.client() as c:
            for answer in (firm.validate(c, firm.entry(1)), firm.status(c, "s00-1-0"),
                           c.get("/readyz")):
                assert answer.status_code == 503, answer.text[:200]
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"] == "5"
                assert answer.json()["code"] == "unavailable"
                assert answer.json()["correlation_id"]
            assert firm.send(c, firm.entry(1)).status_code == 202, "what is sent is taken all the same"
    finally:
        firm.orchestrator.start()
        firm.edge_ready()
    stack.wait_for(lambda: any(r["entry"] == "TE-000001" for r in firm.labor()), 20, "posted")


def access_log(firm, marker):
    lines = [json.loads(x) for x in firm.path("access.log").read_text().splitlines()]
    return [x for x in lines if x["correlation_id"] == marker]


def refused_for_size(firm):
    with firm.client() as c:
        text = c.get("/metrics/edge").text
    return int(re.search(r'^tallygate_edge_refused_total\{code="body_too_large"\} (\d+)$', text,
                         re.M).group(1))


def too_large(firm, place):
    """(path, headers, a body over what is taken there, how much that is)"""
    marker, limit = uuid.uuid4().hex, 256 * 1024
    headers = {"X-Correlation-ID": marker, "Content-Type": "application/cloudevents+json"}
    if place == "hook":
        body = b" " * (limit + 1)
        return marker, "/hooks/acme/psa", headers | sign.webhook_headers(
            firm.secret, marker, body), body, limit
    headers["Authorization"] = "Bearer " + firm.token("events:write validate")
    if place == "event":
        return marker, "/v1/events", headers | {"Idempotency-Key": marker}, b" " * (limit + 1), limit
    headers["Content-Type"] = "application/json"
    return marker, "/v1/time-entries/validate", headers, b" " * (4 * limit + 1), 4 * limit


@pytest.mark.parametrize("place", ["hook", "event", "validate"])
@pytest.mark.parametrize("say_length", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_too_large_a_body(firm, http2, say_length, place):
    """Refused in the contract's form, counted, and told in the access log; also where NGINX has
    passed the request on before it saw how long the body is."""
    marker, path, headers, body, limit = too_large(firm, place)
    before = refused_for_size(firm)
    if http2:
        answer = h2wire.post(HTTP2_PORT, path, body, headers, say_length)
        status, kind, text = answer.status, answer.headers["content-type"], answer.body
    else:
        with firm.client() as c:
            answer = c.post(path, headers=headers, content=body if say_length else iter([body]))
        status, kind, text = answer.status_code, answer.headers["content-type"], answer.content
    assert (status, kind) == (413, "application/problem+json")
    document = json.loads(text)
    assert document["code"] == "body_too_large" and f"{limit} bytes" in document["detail"]
    assert document["correlation_id"] == marker
    assert refused_for_size(firm) == before + 1
    (line,) = stack.wait_for(lambda: access_log(firm, marker), 10, "the line in the log")
    assert (line["status"], line["decision"], line["reason"]) == (413, "refused", "body_too_large")


def test_the_configuration_of_the_readme(make_firm):
    """The twenty lines a platform team copies: they run, take an event, and refuse in our form."""
    firm = make_firm(start=False)
    text = (stack.ROOT / "README.md").read_text(encoding="utf-8")
    conf = re.search(r"```nginx\n(.*?)```", text, re.S).group(1)
    for old, new in (("load_module modules/ngx_http_tally_module.so;\n", ""),
                     ("unix:/run/redis/redis.sock", f"unix:{firm.redis.sock}"),
                     ("/etc/tallygate/redis-edge", f"{firm.redis.secrets}/redis-edge"),
                     ("/etc/tallygate/idp.jwks", f"{firm.dir}/keys/demo.jwks"),
                     ("/etc/tallygate/webhooks", f"{firm.redis.secrets}/webhooks"),
                     ("127.0.0.1:8080", f"127.0.0.1:{firm.port}")):
        assert old in conf
        conf = conf.replace(old, new)
    firm.nginx = stack.Nginx(firm.dir, conf)
    firm.redis.start()
    firm.nginx.start([firm.port])
    with firm.client() as c:
        stack.wait_for(lambda: firm.hook(c, firm.entry(1)).status_code == 202, 20, "accepted")
        body = b" " * (256 * 1024 + 1)
        for content in (body, iter([body])):
            answer = c.post("/hooks/acme/psa", content=content, headers={
                "Content-Type": "application/cloudevents+json",
                **sign.webhook_headers(firm.secret, "m", body)})
            assert answer.status_code == 413
            assert answer.json()["code"] == "body_too_large"
