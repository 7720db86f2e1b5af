"""tally_signature github: what GitHub and Jira sign. Only the body is covered, so only the body names
the message: no identifier beside it can make one message two, or another's."""
import hashlib
import json
import shutil
import uuid

import pytest

from tests.edge.conftest import Edge, assert_problem
from tests.harness import sign, stack

IDENTIFIER = "X-Atlassian-Webhook-Identifier"


class HubEdge(Edge):
    """The default edge, with /jira/TENANT/SOURCE and a few neighbours of it."""

    def __init__(self, directory):
        self.hub, self.old_hub = sign.new_text_secret(), sign.new_secret()
        super().__init__(directory, locations=self.locations(directory))
        with open(self.secrets, "a", encoding="ascii") as f:
            f.write(f"acme jira {self.old_hub}\nacme jira {self.hub}\n"
                    f"other jira {sign.new_text_secret()}\n")

    @staticmethod
    def locations(directory):
        signed = "tally_tenant $hub_tenant; tally_signature github secret=$hub_tenant/$hub_source"
        publish = "tally_publish type=com.atlassian.jira.worklog.v1 source=urn:$hub_tenant:jira"

        def location(path, *rest):
            return (f"location ~ ^/{path}/(?<hub_tenant>[^/]+)/(?<hub_source>[^/]+)$ {{\n"
                    + "".join(f"    {r};\n" for r in rest) + "}\n")
        return (location("jira", signed, "tally_idempotency required", publish)
                + location("keyless", signed, publish)
                + location("chosen", signed,
                           "tally_idempotency required key=$http_x_github_delivery", publish)
                + location("events", signed, "tally_idempotency required",
                           "tally_publish cloudevents")
                + location("status", signed + " failure=403", publish)
                + location("both", "tally_auth main", signed, publish))

    def jira(self, client, body=None, path="/jira/acme/jira", secret=None, header="X-Hub-Signature",
             headers=None):
        body = worklog() if body is None else body
        h = {"Content-Type": "application/json", IDENTIFIER: uuid.uuid4().hex}
        h |= sign.hub_headers(secret or self.hub, body, header) | (headers or {})
        return client.post(path, content=body, headers={k: v for k, v in h.items() if v is not None})


def worklog(**more):
    return json.dumps({"webhookEvent": "worklog_created", "nonce": uuid.uuid4().hex, **more}).encode()


@pytest.fixture(scope="module")
def edge():
    e = HubEdge(stack.scratch("hub")).start().ready()
    yield e
    found = e.close()
    assert not found, found[:8000]
    shutil.rmtree(e.dir, ignore_errors=True)


@pytest.fixture(params=["http1", "http2"])
def client(request, edge):
    with edge.client(h2=request.param == "http2") as c:
        yield c


def entry(edge, answer):
    return {f"s{s:02}-{i}": f for s, i, f in edge.redis.entries()}[answer.json()["id"]]


@pytest.mark.valgrind
@pytest.mark.parametrize("header", ["X-Hub-Signature", "X-Hub-Signature-256"])
def test_accepted(edge, client, header):
    body = worklog()
    answer = edge.jira(client, body, header=header)
    assert answer.status_code == 202, answer.text
    f = entry(edge, answer)
    assert f["body"] == body
    assert (f["tenant"], f["client"]) == (b"acme", b"hook:jira")
    assert (f["type"], f["source"]) == (b"com.atlassian.jira.worklog.v1", b"urn:acme:jira")
    assert f["id"] == f["key"] == b"sha256:" + hashlib.sha256(body).hexdigest().encode()


def test_rotation_both_secrets_are_valid(edge, client):
    for secret in (edge.hub, edge.old_hub):
        assert edge.jira(client, secret=secret).status_code == 202


def test_github_sends_a_sha1_beside_it(edge, client):
    answer = edge.jira(client, header="X-Hub-Signature-256",
                       headers={"X-Hub-Signature": "sha1=" + "0" * 40})
    assert answer.status_code == 202


@pytest.mark.parametrize("headers", [
    {"X-Hub-Signature": None},
    {"X-Hub-Signature": ""},
    {"X-Hub-Signature": "sha1=" + "0" * 40},
    {"X-Hub-Signature": "sha256=" + "0" * 63},
    {"X-Hub-Signature": "sha256=" + "0" * 64 + "0"},
    {"X-Hub-Signature": "0" * 64},
    {"X-Hub-Signature-256": "sha1=" + "0" * 40},        # the right one beside it does not help
    {"X-Hub-Signature-256": "sha256=" + "0" * 64},
], ids=["none", "empty", "sha1", "short", "long", "bare", "256 is sha1", "256 is wrong"])
def test_headers_that_do_not_pass(edge, client, headers):
    assert_problem(edge.jira(client, headers=headers), 401, "signature_invalid")


def test_a_header_sent_twice(edge, client):
    body = worklog()
    right = sign.hub_headers(edge.hub, body)["X-Hub-Signature"]
    answer = client.post("/jira/acme/jira", content=body, headers=[
        ("Content-Type", "application/json"), ("X-Hub-Signature", right),
        ("X-Hub-Signature", right)])
    assert_problem(answer, 401, "signature_invalid")


def test_another_body(edge, client):
    headers = sign.hub_headers(edge.hub, worklog())
    assert_problem(edge.jira(client, headers=headers), 401, "signature_invalid")


def test_an_empty_body(edge, client):
    assert edge.jira(client, b"").status_code == 202  # signed; whether it means something comes later
    assert_problem(edge.jira(client, b"", secret=sign.new_secret()), 401, "signature_invalid")


def test_strangers_are_refused_alike(edge, client):
    a = assert_problem(edge.jira(client, path="/jira/nobody/jira"), 401, "signature_invalid")
    b = assert_problem(edge.jira(client, secret=sign.new_text_secret()), 401, "signature_invalid")
    c = assert_problem(edge.jira(client, path="/jira/other/jira"), 401, "signature_invalid")
    d = assert_problem(edge.jira(client, path="/jira/acme/psa"), 401, "signature_invalid")
    assert a["detail"] == b["detail"] == c["detail"] == d["detail"]


def test_a_standard_signature_does_not_pass_here(edge, client):
    body = worklog()
    headers = sign.webhook_headers(edge.hub, "msg-1", body) | {"X-Hub-Signature": None}
    assert_problem(edge.jira(client, body, headers=headers), 401, "signature_invalid")


def test_status_of_a_refusal(edge, client):
    answer = edge.jira(client, path="/status/acme/jira", secret=sign.new_secret())
    assert_problem(answer, 403, "signature_invalid")


def test_token_and_signature(edge, client):
    body = worklog()
    assert_problem(edge.jira(client, body, path="/both/acme/jira"), 401, "token_missing")
    token = {"Authorization": "Bearer " + edge.token()}
    assert_problem(edge.jira(client, body, path="/both/acme/jira", secret=sign.new_secret(),
                             headers=token), 401, "signature_invalid")
    assert edge.jira(client, body, path="/both/acme/jira", headers=token).status_code == 202


# ---- replays ----

def test_sent_again_by_jira(edge, client):
    """A retry has the same identifier and the same body."""
    body = worklog()
    before = edge.redis.added()
    first = edge.jira(client, body, headers={IDENTIFIER: "delivery-1"})
    again = edge.jira(client, body, headers={IDENTIFIER: "delivery-1",
                                             "X-Atlassian-Webhook-Retry": "1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert edge.redis.added() == before + 1


@pytest.mark.parametrize("headers", [{}, {IDENTIFIER: None}, {"webhook-id": "other"},
                                     {"Idempotency-Key": "other"}, {"X-GitHub-Delivery": "other"}],
                         ids=["identifier", "none", "webhook-id", "key", "delivery"])
def test_captured_and_sent_under_another_name(edge, client, headers):
    """Every unsigned name is the attacker's: it must not make the message a new one."""
    body = worklog()
    before = edge.redis.added()
    first = edge.jira(client, body, headers={IDENTIFIER: "delivery-2"})
    again = edge.jira(client, body, headers=headers)
    assert again.headers.get("Idempotent-Replayed") == "true"
    assert again.json() == first.json()
    assert edge.redis.added() == before + 1


def test_an_old_message_does_not_take_a_new_ones_name(edge, client):
    """The attacker sends an old body under the identifier of a message to come: that one passes."""
    old, new = worklog(), worklog()
    edge.jira(client, old)
    edge.jira(client, old, headers={IDENTIFIER: "delivery-3"})
    answer = edge.jira(client, new, headers={IDENTIFIER: "delivery-3"})
    assert answer.status_code == 202 and "Idempotent-Replayed" not in answer.headers


def test_without_idempotency_the_events_id_is_the_bodys(edge, client):
    """The edge lets both in; intake knows the second by its identity."""
    body = worklog()
    ids = [entry(edge, edge.jira(client, body, path="/keyless/acme/jira"))["id"] for _ in range(2)]
    assert ids == [b"sha256:" + hashlib.sha256(body).hexdigest().encode()] * 2


def test_a_cloudevent_keeps_its_own_id(edge, client):
    body = edge.event(event_id="ce-1", data={"n": uuid.uuid4().hex})
    f = entry(edge, edge.jira(client, body, path="/events/acme/jira",
                              headers={"Content-Type": "application/cloudevents+json"}))
    assert f["id"] == b"ce-1"
    assert f["key"] == b"sha256:" + hashlib.sha256(body).hexdigest().encode()


def test_a_chosen_key(edge, client):
    """key= is the word of who wrote the configuration."""
    body = worklog()
    assert_problem(edge.jira(client, body, path="/chosen/acme/jira"), 400,
                   "idempotency_key_missing")
    name = uuid.uuid4().hex
    first = edge.jira(client, body, path="/chosen/acme/jira", headers={"X-GitHub-Delivery": name})
    assert entry(edge, first)["id"] == name.encode()
    other = edge.jira(client, path="/chosen/acme/jira", headers={"X-GitHub-Delivery": name})
    assert_problem(other, 422, "idempotency_mismatch")
