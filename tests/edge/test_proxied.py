"""Proxied locations: the rate is charged once, after access checks, and shows in the answer."""
import uuid

import pytest

from tests.edge.conftest import assert_problem, default_config
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


def test_error_page_is_charged_once_per_location(edge, client):
    who = f"c-{uuid.uuid4()}"
    answers = [get(edge, client, "/errors", who=who).status_code for _ in range(5)]
    assert answers[0] in (200, 404)
    assert 500 not in answers


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
