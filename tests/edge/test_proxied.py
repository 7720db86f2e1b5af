"""Proxied locations: the rate is charged once, after access checks, and shows in the answer."""
import os
import re
import signal
import uuid

import pytest

from tests.edge.conftest import SLOW, assert_problem, default_config
from tests.harness import sign
from tests.harness.stack import wait_for


def config(e, **kw):
    up = f"http://127.0.0.1:{e.port}/up"
    return default_config(e, locations=f"""
        location = /up {{ default_type text/plain; return 200 "$http_x_tenant|$http_x_client"; }}
        location = /api {{
            tally_auth main;
            tally_scope GET any status:read ops:read;
            tally_scope POST all ops:write approve;
            tally_rate 6r/h burst=4 name=api;
            proxy_set_header X-Tenant $tally_tenant;
            proxy_set_header X-Client $tally_client;
            proxy_pass {up};
        }}
        location = /forbidden {{ tally_auth main; tally_rate 6r/h burst=4 name=deny; deny all;
                                 proxy_pass {up}; }}
        location = /errors {{ tally_auth main; tally_rate 6r/h burst=4 name=err;
                              error_page 404 = /fallback; proxy_intercept_errors on;
                              proxy_pass http://127.0.0.1:{e.port}/missing; }}
        location = /fallback {{ tally_auth main; tally_rate 6r/h burst=4 name=err;
                                proxy_pass {up}; }}
        location = /errors-more {{ tally_auth main; tally_rate 6r/h burst=4 name=err;
                              error_page 404 = /more; proxy_intercept_errors on;
                              proxy_pass http://127.0.0.1:{e.port}/missing; }}
        location = /more {{ tally_auth main; tally_rate 6r/h burst=4 name=err;
                            tally_rate 6r/h burst=1 name=more; proxy_pass {up}; }}
        location = /errors-key {{ tally_auth main; tally_rate 6r/h burst=0 key=$arg_who name=who;
                             error_page 404 = /next?next=$arg_next; proxy_intercept_errors on;
                             proxy_pass http://127.0.0.1:{e.port}/missing; }}
        location = /next {{ tally_auth main; tally_rate 6r/h burst=0 key=$arg_next name=who;
                             proxy_pass {up}; }}
        location = /asks {{ tally_auth main; auth_request /asked; proxy_pass {up}; }}
        location = /asked {{ internal; tally_auth main; tally_scope all nobody:has;
                             tally_rate 6r/h burst=0 name=asked; proxy_pass {up}; }}
        location = /priced {{ tally_auth main; tally_rate 10r/h burst=9 cost=$arg_cost;
                              proxy_pass {up}; }}
        location = /keyed {{ tally_auth main; tally_rate 6r/h burst=0 key=$arg_who name=who;
                             proxy_pass {up}; }}
        location = /fixed {{ tally_tenant acme; tally_auth main; proxy_set_header X-Tenant "";
                             proxy_pass http://127.0.0.1:{e.port}/said?t=$tally_tenant; }}
        location = /said {{ return 200 $arg_t; }}
        location = /tenant {{ tally_tenant $arg_t; tally_auth main; proxy_pass {up}; }}
        location = /body {{ tally_tenant acme; tally_signature standard secret=acme/psa;
                            proxy_pass http://127.0.0.1:{e.port}/echo; }}
        location = /failure {{ tally_tenant acme;
                               tally_signature standard secret=acme/psa failure=400;
                               proxy_pass http://127.0.0.1:{e.port}/echo; }}
        location = /echo {{ return 200 "$content_length"; }}
        location = /off {{ tally_auth off; return 200 open; }}
    """, **kw)


@pytest.fixture(scope="module")
def edge():
    import shutil

    from tests.edge.conftest import Edge
    from tests.harness import stack
    e = Edge(stack.scratch("edge"), config=config).start().ready()
    yield e
    found = e.close()
    assert not found, found[:8000]
    shutil.rmtree(e.dir, ignore_errors=True)


def get(edge, client, path, scope="status:read", who=None, method="GET", **kw):
    token = edge.token(scope=scope, client=who or f"c-{uuid.uuid4()}", **kw)
    return client.request(method, path, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.valgrind
def test_identity_goes_on(edge, client):
    answer = get(edge, client, "/api", who="svc-9")
    assert answer.status_code == 200
    assert answer.text == "acme|svc-9"
    assert 'r=' in answer.headers["ratelimit"]
    assert answer.headers["x-correlation-id"]


@pytest.mark.parametrize("method,scope,status", [
    ("GET", "status:read", 200), ("GET", "ops:read", 200), ("GET", "ops:write", 403),
    ("POST", "ops:write approve", 200), ("POST", "ops:write", 403), ("DELETE", "", 200)])
def test_scope_by_method(edge, client, method, scope, status):
    assert get(edge, client, "/api", scope=scope, method=method).status_code == status


@pytest.mark.valgrind
def test_limited(edge, client):
    who = f"c-{uuid.uuid4()}"
    assert [get(edge, client, "/api", who=who).status_code for _ in range(6)] == \
        [200] * 5 + [429]
    doc = assert_problem(get(edge, client, "/api", who=who), 429, "rate_limited")
    assert doc["violated-policies"] == ["api"]


def test_denied_requests_are_not_charged(edge, client):
    who = f"c-{uuid.uuid4()}"
    rates = len(list(edge.admin.scan_iter("tg:*rate*")))
    assert get(edge, client, "/forbidden", who=who).status_code == 403
    assert len(list(edge.admin.scan_iter("tg:*rate*"))) == rates


def left(answer, name):
    """What RateLimit says is left of one rate."""
    return int(re.search(rf'"{name}";r=(-?\d+)', answer.headers["ratelimit"])[1])


@pytest.mark.valgrind
def test_error_page_is_charged_once_per_location(edge, client):
    """Both locations have the bucket "err": a request that passes both pays it once, 5 fit."""
    who = f"c-{uuid.uuid4()}"
    answers = [get(edge, client, "/errors", who=who) for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 5 + [429]
    assert [left(a, "err") for a in answers[:5]] == [4, 3, 2, 1, 0]


def test_another_rate_of_the_next_location_is_charged(edge, client):
    """The second location has the first one's bucket, paid, and one of its own, of 2."""
    who = f"c-{uuid.uuid4()}"
    answers = [get(edge, client, "/errors-more", who=who) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert [(left(a, "err"), left(a, "more")) for a in answers[:2]] == [(4, 1), (3, 0)]
    assert answers[2].json()["violated-policies"] == ["more"]
    # the third paid "err" in the first location before "more" refused it: 2 of 5 are left
    assert [get(edge, client, "/errors", who=who).status_code for _ in range(3)] == [200, 200, 429]


def test_another_client_of_the_next_location_is_charged(edge, client):
    """The same name with another key is another bucket."""
    one, two = uuid.uuid4(), uuid.uuid4()
    assert get(edge, client, f"/errors-key?who={one}&next={two}").status_code == 200
    assert get(edge, client, f"/keyed?who={two}").status_code == 429
    assert get(edge, client, f"/keyed?who={one}").status_code == 429


def test_subrequests_are_not_checked(edge, client):
    """As documented: what a checked location asks for with a subrequest passes tally_auth and
    tally_rate unseen, and what only subrequests reach is closed with "internal"."""
    who = f"c-{uuid.uuid4()}"
    assert get(edge, client, "/asks", who=who).status_code == 200
    assert [get(edge, client, "/asks", who=who).status_code for _ in range(2)] == [200, 200]
    assert get(edge, client, "/asked", who=who).status_code == 404
    assert client.get("/asks").status_code == 401


def test_cost(edge, client):
    who = f"c-{uuid.uuid4()}"
    assert get(edge, client, "/priced?cost=6", who=who).status_code == 200
    assert_problem(get(edge, client, "/priced?cost=6", who=who), 429, "rate_limited")
    assert get(edge, client, "/priced?cost=4", who=who).status_code == 200


def test_empty_key_is_not_limited(edge, client):
    assert [get(edge, client, "/keyed").status_code for _ in range(3)] == [200] * 3
    name = uuid.uuid4()
    assert [get(edge, client, f"/keyed?who={name}").status_code for _ in range(2)] == [200, 429]


def test_a_token_of_another_tenant(edge, client):
    assert get(edge, client, "/tenant?t=acme").status_code == 200
    assert_problem(get(edge, client, "/tenant?t=zeta"), 403, "tenant_missing")


def test_a_token_without_a_tenant_cannot_choose_one(edge, client):
    assert_problem(get(edge, client, "/tenant?t=acme", tenant=None), 403, "tenant_missing")
    assert get(edge, client, "/fixed", tenant=None).text == "acme"


def test_signed_and_proxied(edge, client):
    body = edge.event()
    h = sign.webhook_headers(edge.secret, f"m-{uuid.uuid4().hex}", body)
    answer = client.post("/body", content=body, headers=h)
    assert (answer.status_code, answer.text) == (200, str(len(body)))
    bad = sign.webhook_headers(sign.new_secret(), "m-1", body)
    assert_problem(client.post("/body", content=body, headers=bad), 401, "signature_invalid")


def test_failure_of_a_signature_has_the_status_it_was_given(edge, client):
    body = edge.event()
    good = sign.webhook_headers(edge.secret, f"m-{uuid.uuid4().hex}", body)
    assert client.post("/failure", content=body, headers=good).status_code == 200
    bad = sign.webhook_headers(sign.new_secret(), "m-1", body)  # found after the body
    assert_problem(client.post("/failure", content=body, headers=bad), 400, "signature_invalid")
    assert_problem(client.post("/failure", content=body), 400, "signature_invalid")  # before it


def test_auth_off(edge, client):
    assert client.get("/off").text == "open"


# ---- files that change ----

def rewrite(path, text):
    tmp = path.with_suffix(".new")
    tmp.write_text(text)
    tmp.rename(path)


def test_key_rotation(make_edge):
    edge = make_edge()
    new = sign.Issuer(iss=edge.issuer.iss, keys=[sign.Key("ES256", "next")])
    with edge.client() as c:
        assert edge.post(c, token=new.token(scope="events:write")).status_code == 401
        edge.issuer.keys.append(new.keys[0])
        edge.issuer.write(edge.jwks)
        wait_for(lambda: edge.post(c, token=new.token(scope="events:write")).status_code == 202,
                 20, "the new key")
        assert edge.post(c).status_code == 202
        edge.jwks.write_text("{ broken")
        wait_for(lambda: (edge.metric("tallygate_edge_keys_refused_total") or 0) >= 1, 20, "refused")
        assert edge.post(c).status_code == 202  # the old set stays
        edge.issuer.keys = [new.keys[0]]
        edge.issuer.write(edge.jwks)
        old = sign.Issuer(iss=edge.issuer.iss, keys=[sign.Key("ES256", "es")])
        wait_for(lambda: edge.post(c, token=old.token(scope="events:write")).status_code == 401,
                 20, "the old key is gone")


def test_a_removed_key_ends_cached_tokens(make_edge):
    edge = make_edge()
    token = edge.token(key=0)
    with edge.client() as c:
        assert edge.post(c, token=token).status_code == 202
        del edge.issuer.keys[0]
        edge.issuer.write(edge.jwks)
        wait_for(lambda: edge.post(c, token=token).status_code == 401, 20, "refused")


def replace_worker(edge):
    """Ends the worker; the master starts another, which reads its files as they are now."""
    old = edge.nginx.workers()
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: edge.nginx.workers() and edge.nginx.workers() != old, 20 * SLOW, "a worker")


def test_no_keys(make_edge):
    """A worker that starts without key set and secrets: 503 for both, until the files are there."""
    edge = make_edge(allow=("exited on signal 9",))
    secrets = edge.secrets.read_text()
    edge.jwks.unlink()
    edge.secrets.unlink()
    replace_worker(edge)
    with edge.client() as c:
        doc = assert_problem(edge.post(c), 503, "unavailable")
        assert "keys" in doc["detail"]
        doc = assert_problem(edge.hook(c), 503, "unavailable")
        assert "secrets" in doc["detail"]
        edge.issuer.write(edge.jwks)
        rewrite(edge.secrets, secrets)
        wait_for(lambda: edge.post(c).status_code == 202, 20 * SLOW, "the keys")
        wait_for(lambda: edge.hook(c).status_code == 202, 20 * SLOW, "the secrets")


def test_secret_rotation(make_edge):
    edge = make_edge()
    new = sign.new_secret()
    with edge.client() as c:
        assert edge.hook(c, secret=new).status_code == 401
        rewrite(edge.secrets, f"acme psa {edge.secret}\nacme psa {new}\n")
        wait_for(lambda: edge.hook(c, secret=new).status_code == 202, 20, "the new secret")
        assert edge.hook(c).status_code == 202
        rewrite(edge.secrets, f"acme psa {new}\n")
        wait_for(lambda: edge.hook(c).status_code == 401, 20, "the old secret is gone")
        assert edge.hook(c, secret=new).status_code == 202


def test_metrics_from_nginx(edge):
    with edge.client() as c:
        answer = c.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    names = [line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) and names
