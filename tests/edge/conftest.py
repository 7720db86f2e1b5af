"""An edge for tests: NGINX (stock, ASan or valgrind by TG_EDGE), Redis, an issuer, a webhook secret.

`edge` is shared by a module's tests (each uses its own keys and tenants); `make_edge` builds one for
a test that breaks things. At the end of each edge, sanitizer findings and alerts fail the test.
"""
import contextlib
import json
import os
import shutil
import subprocess
import uuid

import httpx
import pytest

from tests.harness import sign, stack

KIND = os.environ.get("TG_EDGE", "stock")
SLOW = 8 if KIND == "valgrind" else 1
TYPE = "com.tallygate.time_entry.approved.v1"


def default_config(e, http="", locations="", server="", workers=1, redis_opts="timeout=250ms"):
    return f"""
worker_processes {workers};
events {{ worker_connections 512; }}
http {{
    access_log {e.dir}/access.log combined;
    log_format facts escape=json '{{"status":$status,"uri":"$uri","tenant":"$tally_tenant",'
        '"client":"$tally_client","subject":"$tally_subject","scope":"$tally_scope",'
        '"decision":"$tally_decision","reason":"$tally_reason","event":"$tally_event_id",'
        '"correlation":"$tally_correlation_id","idempotency":"$tally_idempotency",'
        '"remaining":"$tally_rate_remaining","redis_time":"$tally_redis_time",'
        '"dept":"$tally_claim_dept"}}';
    access_log {e.dir}/facts.log facts;
    client_max_body_size 64k;
    client_body_buffer_size 64k;
    keepalive_requests 100000;
    tally_zone tally 1m;
    tally_redis {e.redis.url()} user=edge password_file={e.redis.secrets}/redis-edge {redis_opts};
    tally_issuer main iss={e.issuer.iss} jwks={e.jwks} audience={e.issuer.audience};
    tally_secrets {e.secrets};
    {http}
    server {{
        listen 127.0.0.1:{e.port};
        listen 127.0.0.1:{e.h2_port} http2;
        {server}
        location ~ ^/hooks/(?<hook_tenant>[^/]+)/(?<hook_source>[^/]+)$ {{
            tally_tenant $hook_tenant;
            tally_signature standard secret=$hook_tenant/$hook_source;
            tally_allow types=com.tallygate.* sources=urn:$hook_tenant:*;
            tally_idempotency required;
            tally_publish cloudevents;
        }}
        location = /v1/events {{
            tally_auth main;
            tally_scope POST all events:write;
            tally_allow types=com.tallygate.* sources=*;
            tally_idempotency required;
            tally_publish cloudevents;
        }}
        location = /optional {{
            tally_auth main;
            tally_idempotency optional;
            tally_publish type=com.acme.raw source=urn:raw media=application/json,text/csv;
        }}
        location = /limited {{
            tally_auth main;
            tally_rate 6r/h burst=2 name=slow;
            tally_rate 100r/s burst=100 name=fast;
            tally_idempotency optional;
            tally_publish cloudevents;
        }}
        location = /metrics {{ tally_metrics; }}
        {locations}
    }}
}}
"""


class Edge:
    def __init__(self, directory, config=default_config, kind=KIND, redis=None, **kw):
        self.dir, self.kind = directory, kind
        self.port, self.h2_port = stack.free_port(), stack.free_port()
        self.redis = redis or stack.Redis(directory).start()
        self.issuer = sign.Issuer(keys=[sign.Key("ES256", "es"), sign.Key("RS256", "rs"),
                                        sign.Key("EdDSA", "ed")])
        self.jwks = directory / "issuer.jwks"
        self.issuer.write(self.jwks)
        self.secret, self.old_secret = sign.new_secret(), sign.new_secret()
        self.secrets = directory / "webhooks"
        self.secrets.write_text(f"# tenant source secret\nacme psa {self.old_secret}\n"
                                f"acme psa {self.secret}\nother psa {sign.new_secret()}\n")
        self.config, self.kw = config, kw
        self.nginx = stack.Nginx(directory, config(self, **kw), kind)
        self.base = f"http://127.0.0.1:{self.port}"
        self.h2_base = f"http://127.0.0.1:{self.h2_port}"
        self.admin = None

    def start(self):
        self.nginx.start([self.port, self.h2_port])
        self.admin = self.redis.client()
        return self

    def client(self, h2=False, **kw):
        return httpx.Client(base_url=self.h2_base if h2 else self.base, http1=not h2, http2=h2,
                            timeout=30 * SLOW, trust_env=False, **kw)

    def token(self, scope="events:write", **kw):
        return self.issuer.token(scope=scope, **kw)

    def ready(self, path="/v1/events"):
        """Waits until an event is accepted: the link's handshake is done."""
        def accepted():
            with self.client() as c:
                return self.post(c, path).status_code == 202
        stack.wait_for(accepted, 20 * SLOW, "the edge accepts")
        return self

    def event(self, **kw):
        kw.setdefault("data", {"n": 1})
        return sign.cloudevent(kw.pop("event_id", str(uuid.uuid4())), kw.pop("data"), **kw)

    def post(self, client, path="/v1/events", body=None, key=None, token=None, headers=None):
        body = self.event() if body is None else body
        h = {"Content-Type": "application/cloudevents+json",
             "Authorization": "Bearer " + (token or self.token())}
        if key is not False:
            h["Idempotency-Key"] = key or str(uuid.uuid4())
        h |= headers or {}
        return client.post(path, content=body, headers={k: v for k, v in h.items()
                                                        if v is not None})

    def hook(self, client, body=None, msg_id=None, secret=None, timestamp=None, tenant="acme",
             source="psa", headers=None):
        body = self.event() if body is None else body
        h = {"Content-Type": "application/cloudevents+json"}
        h |= sign.webhook_headers(secret or self.secret, msg_id or f"msg_{uuid.uuid4().hex}", body,
                                  timestamp)
        h |= headers or {}
        return client.post(f"/hooks/{tenant}/{source}", content=body,
                           headers={k: v for k, v in h.items() if v is not None})

    def facts(self):
        """Parsed lines of the access log with the module's variables."""
        path = self.dir / "facts.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def metric(self, name, labels=""):
        with self.client() as c:
            text = c.get("/metrics").text
        want = name + (f"{{{labels}}}" if labels else "")
        for line in text.splitlines():
            if line.rsplit(" ", 1)[0] == want:
                return int(line.rsplit(" ", 1)[1])
        return None

    @contextlib.contextmanager
    def monitor(self):
        """Yields a list that is filled with the commands Redis saw (MONITOR) meanwhile."""
        seen = []
        r = self.redis.client()
        self.admin.ping()  # connects now: what a client says on connecting is not to be seen
        with r.monitor() as m:
            yield seen
            marker = uuid.uuid4().hex
            self.admin.echo(marker)
            for command in m.listen():
                if marker in command["command"]:
                    break
                if command.get("client_type") != "lua":
                    seen.append(command["command"])

    def close(self):
        """Ends everything; returns findings."""
        status = self.nginx.quit(120 * SLOW) if self.nginx.process.alive() else 0
        self.redis.kill()
        found = self.nginx.findings()
        if status not in (0, None):
            found += f"\nnginx ended with status {status}"
        return found


def assert_problem(answer, status, code):
    """An RFC 9457 answer with our members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    doc = answer.json()
    assert doc["code"] == code
    assert doc["status"] == status
    assert doc["title"] and doc["type"] and doc["detail"]
    assert doc["correlation_id"] == answer.headers["x-correlation-id"]
    return doc


@pytest.fixture
def make_edge():
    made = []

    def make(start=True, ready=True, allow=(), **kw):
        e = Edge(stack.scratch("edge"), **kw)
        e.allow = allow
        made.append(e)
        if start:
            e.start()
            if ready:
                e.ready()
        return e
    yield make
    found = []
    for e in made:
        lines = [line for line in e.close().splitlines() if not any(a in line for a in e.allow)]
        found += lines
    assert not found, "\n".join(found[:80])
    for e in made if not os.environ.get("TG_KEEP") else ():
        shutil.rmtree(e.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def edge():
    e = Edge(stack.scratch("edge")).start().ready()
    yield e
    found = e.close()
    assert not found, found[:8000]
    shutil.rmtree(e.dir, ignore_errors=True)


@pytest.fixture(params=["http1", "http2"])
def client(request, edge):
    with edge.client(h2=request.param == "http2") as c:
        yield c


def curl(*args, **kw):
    return subprocess.run(["curl", "-s", *args], capture_output=True, text=True, timeout=60, **kw)
