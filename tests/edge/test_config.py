"""nginx -t: every wrong value is refused with the directive, the value and what is accepted."""
import pytest

from tests.edge.conftest import default_config
from tests.harness import sign, stack

PUBLISH = "tally_auth main; tally_publish cloudevents;"


class Bare:
    """Files and ports for a configuration that is only tested."""

    def __init__(self):
        self.dir = stack.scratch("conf")
        self.port, self.h2_port = stack.free_port(), stack.free_port()
        self.redis = stack.Redis(self.dir)
        self.issuer = sign.Issuer()
        self.jwks = self.dir / "issuer.jwks"
        self.issuer.write(self.jwks)
        self.secrets = self.dir / "webhooks"
        self.secrets.write_text(f"acme psa {sign.new_secret()}\n")


@pytest.fixture(scope="module")
def bare():
    return Bare()


def check(bare, kind="stock", **kw):
    return stack.Nginx(bare.dir, default_config(bare, **kw), kind, "check").check()


def test_the_default_is_fine(bare):
    status, said = check(bare)
    assert status == 0, said


# (where, text, what the message must name)
WRONG = [
    ("http", "tally_redis;", ["tally_redis"]),
    ("http", "tally_redis name=x;", ["tally_redis"]),
    ("http", "tally_redis http://x name=x;", ["tally_redis", "http://x", "redis://", "unix:"]),
    ("http", "tally_redis rediss://127.0.0.1:1 name=x;", ["rediss"]),
    ("http", "tally_redis redis://127.0.0.1:99999 name=x;", ["99999"]),
    ("http", "tally_redis redis://127.0.0.1:1/x name=x;", ["tally_redis"]),
    ("http", "tally_redis unix:/a unix:/b name=x;", ["tally_redis"]),
    ("http", "tally_redis unix:/a name=x mode=cluster;", ["cluster", "single"]),
    ("http", "tally_redis unix:/a name=x timeout=fast;", ["timeout", "fast"]),
    ("http", "tally_redis unix:/a name=x shards=0;", ["shards"]),
    ("http", "tally_redis unix:/a name=x shards=101;", ["shards", "100"]),
    ("http", "tally_redis unix:/a name=x colour=red;", ["colour"]),
    ("http", "tally_issuer x;", ["tally_issuer"]),
    ("http", "tally_issuer x iss=a audience=b;", ["jwks"]),
    ("http", "tally_issuer x iss=a jwks=/nowhere audience=b;", ["/nowhere"]),
    ("http", "tally_issuer x iss=a jwks={jwks};", ["audience"]),
    ("http", "tally_issuer x iss=a jwks={jwks} audience=b algorithms=HS256;", ["HS256", "RS256"]),
    ("http", "tally_issuer x iss=a jwks={jwks} audience=b algorithms=none;", ["none"]),
    ("http", "tally_issuer x iss=a jwks={jwks} audience=b leeway=-1;", ["leeway"]),
    ("http", "tally_issuer main iss=a jwks={jwks} audience=b;", ["main"]),
    ("http", "tally_issuer x iss=a jwks={broken} audience=b;", ["broken"]),
    ("http", "tally_secrets /nowhere;", ["tally_secrets"]),
    ("http", "tally_zone;", ["tally_zone"]),
    ("http", "tally_zone z 1;", ["tally_zone"]),
    ("location", "tally_auth nobody; tally_publish cloudevents;", ["nobody"]),
    ("location", "tally_auth main; tally_scope; ", ["tally_scope"]),
    ("location", "tally_auth main; tally_scope FETCH all a;", ["FETCH"]),
    ("location", "tally_auth main; tally_scope some a;", ["tally_scope"]),
    ("location", "tally_auth main; tally_scope all;", ["tally_scope"]),
    ("location", "tally_scope all a; return 200;", ["tally_auth"]),
    ("location", 'tally_tenant ""; tally_auth main; return 200;', ["tally_tenant", "1 to 64"]),
    ("location", 'tally_tenant "a b";' + PUBLISH, ["tally_tenant", "a b", "1 to 64"]),
    ("location", f"tally_tenant {'t' * 65};" + PUBLISH, ["tally_tenant", "1 to 64"]),
    ("location", "tally_tenant a; tally_tenant b;" + PUBLISH, ["tally_tenant", "duplicate"]),
    ("location", "tally_signature nonsense secret=x;", ["nonsense", "standard", "github", "off"]),
    ("location", "tally_signature github;", ["secret"]),
    ("location", "tally_signature github secret=x tolerance=5m; tally_publish cloudevents;",
     ["tolerance=5m", "github", "no time"]),
    ("location", "tally_signature github secret=x failure=200; tally_publish cloudevents;",
     ["failure=200", "400"]),
    ("location", "tally_signature github secret=nobody; tally_publish cloudevents;",
     ["nobody", "tally_secret"]),
    ("location", "tally_signature github secret=acme/x; satisfy any; tally_publish cloudevents;",
     ["tally_signature", "satisfy"]),
    ("location", "tally_signature github secret=acme/x; tally_signature off;", ["duplicate"]),
    ("location", "tally_signature standard;", ["secret"]),
    ("location", "tally_signature standard secret=x tolerance=long; tally_publish cloudevents;",
     ["tolerance", "long"]),
    ("location", "tally_signature standard secret=x failure=999; tally_publish cloudevents;",
     ["failure", "999"]),
    ("location", "tally_rate fast;" + PUBLISH, ["tally_rate", "fast", "r/s"]),
    ("location", "tally_rate 0r/s;" + PUBLISH, ["0r/s"]),
    ("location", "tally_rate 1r/s burst=-1;" + PUBLISH, ["burst"]),
    ("location", "tally_rate 1r/s name=a; tally_rate 2r/s name=a;" + PUBLISH, ["a"]),
    ("location", "tally_rate 1r/s dry=1;" + PUBLISH, ["dry"]),
    ("location", "tally_idempotency maybe;" + PUBLISH, ["maybe", "required", "optional"]),
    ("location", "tally_idempotency required ttl=x;" + PUBLISH, ["ttl"]),
    ("location", "tally_auth main; tally_idempotency required; proxy_pass http://127.0.0.1:1;",
     ["tally_idempotency", "tally_publish"]),
    ("location", "tally_auth main; tally_publish;", ["tally_publish"]),
    ("location", "tally_auth main; tally_publish kafka;", ["kafka", "cloudevents"]),
    ("location", "tally_auth main; tally_publish type=a;", ["source"]),
    ("location", "tally_auth main; tally_publish cloudevents ack=maybe;", ["ack", "maybe", "aof"]),
    ("location", "tally_publish cloudevents;", ["tally_auth", "tally_signature"]),
    ("location", "client_max_body_size 1m; client_body_buffer_size 16k;" + PUBLISH,
     ["client_body_buffer_size"]),
    ("location", "client_max_body_size 100m; client_body_buffer_size 100m;" + PUBLISH,
     ["client_max_body_size"]),
    ("location", "tally_failure publish=allow;" + PUBLISH, ["publish"]),
    ("location", "tally_failure rate=local;" + PUBLISH, ["local", "deny", "allow"]),
    ("location", "tally_failure colour=deny;" + PUBLISH, ["colour"]),
    ("location", "tally_allow colours=x;" + PUBLISH, ["colours"]),
]


@pytest.mark.parametrize("where,text,names", WRONG, ids=[w[1][:70] for w in WRONG])
def test_wrong(bare, where, text, names):
    broken = bare.dir / "broken.jwks"
    broken.write_text('{"keys": []}')
    text = text.replace("{jwks}", str(bare.jwks)).replace("{broken}", str(broken))
    kw = {"http": text} if where == "http" else {"locations": f"location /wrong {{ {text} }}"}
    log = bare.dir / "check.error.log"
    log.unlink(missing_ok=True)
    status, said = check(bare, **kw)
    assert status != 0
    emerg = [line for line in said.splitlines() if "[emerg]" in line]
    assert emerg, said
    for name in names:
        assert name in emerg[0], emerg[0]


@pytest.mark.parametrize("value", ["acme", "A-1_b.c", "t" * 64, "$arg_tenant", "a$arg_tenant"])
def test_a_tenant_that_can_be_one(bare, value):
    status, said = check(bare, locations=f"location /right {{ tally_tenant {value}; {PUBLISH} }}")
    assert status == 0, said


def test_secret_file_errors_name_the_line_not_the_secret(bare):
    path = bare.dir / "bad-secrets"
    path.write_text(f"acme psa {sign.new_secret()}\nacme psa whsec_short\n")
    status, said = check(bare, http=f"tally_secret other {path};")
    assert status != 0 and "whsec_short" not in said
    path.write_text("text:too-short\n")
    status, said = check(bare, http=f"tally_secret other {path};")
    assert status != 0 and "too-short" not in said
    assert "line 1" in said and "text:SECRET" in said


def test_both_schemes_in_one_server(bare):
    status, said = check(bare, locations="""
        location /a { tally_signature github secret=acme/jira failure=400; tally_publish
                      type=a source=b; }
        location /b { tally_signature standard secret=acme/psa; tally_publish cloudevents; }
        location /c { tally_signature github secret=acme/jira; proxy_pass http://127.0.0.1:1; }""")
    assert status == 0, said


def test_metrics_need_a_zone(bare):
    conf = default_config(bare).replace("tally_zone tally 1m;", "")
    status, said = stack.Nginx(bare.dir, conf, "stock", "zone").check()
    assert status != 0 and "tally_zone" in said
