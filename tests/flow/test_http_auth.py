"""Who we say we are at a REST destination: a real authorization server, mutual TLS, keys; and addresses."""
import base64
import json
import ssl
import subprocess
import uuid

import pytest

from tests.harness import stack
from tests.harness.idp import Idp, decoded
from tests.harness.rest import Rest

UPSERT = {"path": "/labor/{key}", "method": "PUT", "dedupe": "unique"}


def erp(url, **more):
    keys = {"connector": "http-json", "url": url, "allow": ["127.0.0.1"], "options": UPSERT,
            "concurrency": 8, "timeout": "5s"} | more
    return json.dumps(keys)[1:-1]


def send(firm):
    with firm.client() as c:
        answer = firm.hook(c, firm.entry(uuid.uuid4().int % 900000 + 100000))
        assert answer.status_code == 202
        return answer.json()["id"]


def state(firm, event, seconds=40):
    with firm.client() as c:
        (obj,) = firm.settled(c, event, seconds)["objects"]
    return next(p for p in obj["postings"] if p["destination"] == "erp")["state"]


def secret(tmp_path, text, name="secret"):
    path = tmp_path / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def idp():
    i = Idp().start()
    yield i
    i.stop()


class Guarded(Rest):
    """Takes what `allowed(headers)` says."""

    def __init__(self, allowed, **kw):
        self.allowed = allowed
        super().__init__(**kw)

    def may_pass(self, headers):
        return self.allowed(headers)


def test_client_credentials_at_a_real_authorization_server(make_firm, tmp_path, idp):
    used = []

    def allowed(headers):
        token = headers.get("authorization", "").removeprefix("Bearer ")
        claims = decoded(token.split(".")[1]) if token.count(".") == 2 else {}
        used.append(token)
        return claims.get("iss") == idp.issuer and claims.get("client_id") == "psa"

    client = next(c for c in idp.clients if c["id"] == "psa")
    with Guarded(allowed) as rest:
        firm = make_firm(erp=erp(rest.url, auth="oauth2", token_url=idp.token_url, client_id="psa",
                                 client_secret_file=secret(tmp_path, client["secret"]),
                                 scope="events:write", token_params={"resource": idp.RS256}))
        events = [send(firm) for _ in range(6)]
        assert [state(firm, e) for e in events] == ["posted"] * 6
        assert idp.count("/token") == 1
        assert len(set(used)) == 1 and rest.count("PUT") == 6
        assert client["secret"] not in firm.orchestrator.process.text()
        assert used[0] not in firm.orchestrator.process.text()


def test_a_short_token_is_renewed(make_firm, tmp_path, idp):
    idp.change(ttl=2)
    client = next(c for c in idp.clients if c["id"] == "psa")
    with Guarded(lambda h: "bearer" in h.get("authorization", "").lower()) as rest:
        firm = make_firm(erp=erp(rest.url, auth="oauth2", token_url=idp.token_url, client_id="psa",
                                 client_secret_file=secret(tmp_path, client["secret"]),
                                 scope="events:write", token_params={"resource": idp.RS256}))
        assert state(firm, send(firm)) == "posted"

        def renewed():
            assert state(firm, send(firm)) == "posted"
            return idp.count("/token") >= 3
        stack.wait_for(renewed, 40, "a third token")


def test_a_wrong_client_secret_waits_and_is_mended_without_a_restart(make_firm, tmp_path, idp):
    client = next(c for c in idp.clients if c["id"] == "psa")
    path = secret(tmp_path, "not-the-secret-at-all")
    with Rest() as rest:
        firm = make_firm(erp=erp(rest.url, auth="oauth2", token_url=idp.token_url, client_id="psa",
                                 client_secret_file=path, token_params={"resource": idp.RS256}))
        event = send(firm)
        stack.wait_for(lambda: "invalid_client" in firm.orchestrator.process.text(), 30, "told in the log")
        assert firm.exceptions() == []
        assert rest.requests == []
        secret(tmp_path, client["secret"])
        assert state(firm, event, 60) == "posted"
        assert "not-the-secret-at-all" not in firm.orchestrator.process.text()


@pytest.mark.parametrize("keys,header", [
    ({"auth": "basic", "user": "gateway"}, ("authorization", "Basic " + base64.b64encode(b"gateway:w0rd-one").decode())),
    ({"auth": "bearer"}, ("authorization", "Bearer w0rd-one")),
    ({"auth": "api_key", "api_key_header": "X-Api-Key"}, ("x-api-key", "w0rd-one"))],
    ids=["basic", "bearer", "api_key"])
def test_secrets_from_files(make_firm, tmp_path, keys, header):
    path = secret(tmp_path, "w0rd-one")
    name = {"basic": "password_file", "bearer": "token_file", "api_key": "api_key_file"}[keys["auth"]]
    with Rest(credentials={header[0]: header[1]}) as rest:
        firm = make_firm(erp=erp(rest.url, **keys, **{name: path}))
        assert state(firm, send(firm)) == "posted"
        assert rest.count("PUT") == 1
        secret(tmp_path, "wrong-one")  # rotated on our side only: refused, nothing is lost
        event = send(firm)
        stack.wait_for(lambda: rest.count("PUT") >= 2, 30, "refused")
        secret(tmp_path, "w0rd-one")
        assert state(firm, event, 60) == "posted"
        assert sorted(rest.executed.values()) == [1, 1]


# ---- TLS ----

def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def certificate(d, name, ca, subject, san=None):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", d / f"{name}.key",
            "-out", d / f"{name}.csr", "-subj", f"/CN={subject}")
    (d / f"{name}.ext").write_text(f"subjectAltName={san}\n" if san else "basicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", d / f"{name}.csr", "-CA", d / f"{ca}.pem", "-CAkey", d / f"{ca}.key",
            "-CAcreateserial", "-days", 2, "-extfile", d / f"{name}.ext", "-out", d / f"{name}.pem")


@pytest.fixture
def pki(tmp_path):
    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
                "-keyout", tmp_path / f"{ca}.key", "-out", tmp_path / f"{ca}.pem", "-subj", f"/CN={ca}")
    certificate(tmp_path, "server", "ca", "erp", "IP:127.0.0.1")
    certificate(tmp_path, "named", "ca", "erp", "DNS:erp.example")
    certificate(tmp_path, "client", "ca", "tallygate")
    certificate(tmp_path, "stranger", "other", "stranger")
    return tmp_path


def server_context(pki, cert="server", mutual=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{cert}.pem", pki / f"{cert}.key")
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "ca.pem")
    return context


def test_mutual_tls(make_firm, pki):
    with Rest(ssl_context=server_context(pki, mutual=True)) as rest:
        firm = make_firm(erp=erp(rest.url, tls={"ca_file": str(pki / "ca.pem"),
                                                "cert_file": str(pki / "client.pem"),
                                                "key_file": str(pki / "client.key")}))
        assert state(firm, send(firm)) == "posted"
        assert rest.peers == {"tallygate"}


@pytest.mark.parametrize("server,ca,client", [("server", "other", None), ("named", "ca", None),
                                              ("server", "ca", "stranger")],
                         ids=["unknown authority", "another name", "our certificate is not known"])
def test_tls_that_does_not_fit_sends_nothing(make_firm, pki, server, ca, client):
    tls = {"ca_file": str(pki / f"{ca}.pem")}
    if client:
        tls |= {"cert_file": str(pki / f"{client}.pem"), "key_file": str(pki / f"{client}.key")}
    with Rest(ssl_context=server_context(pki, server, mutual=client is not None)) as rest:
        firm = make_firm(erp=erp(rest.url, tls=tls))
        send(firm)
        stack.wait_for(lambda: attempts(firm), 30, "an attempt")
        assert rest.requests == []
        assert firm.exceptions() == []


def attempts(firm):
    for line in firm.orchestrator.get("/metrics")[2].decode().splitlines():
        if line.startswith("tallygate_postings_sent_total"):
            return float(line.rsplit(" ", 1)[1]) > 1
    return False


# ---- addresses ----

def test_no_redirect_reaches_another_address(make_firm):
    with Rest() as rest, Rest() as elsewhere:
        rest.answers.append((307, {"Location": f"{elsewhere.url}/labor/x"}, None))
        firm = make_firm(erp=erp(rest.url))
        assert state(firm, send(firm)) == "exception"
        assert elsewhere.requests == []
        assert "no redirect is followed" in json.dumps(firm.exceptions())


def test_an_address_that_is_not_allowed_is_refused_at_the_start(make_firm):
    with Rest() as rest:
        firm = make_firm(start=False, erp=erp(rest.url, allow=["10.0.0.0/8"]))
        firm.redis.start()
        firm.orchestrator.start(ready=False)
        firm.orchestrator.process.popen.wait(30)
        said = firm.orchestrator.process.text()
        assert "127.0.0.1 is loopback" in said and "`allow`" in said
        assert rest.requests == []
        firm.orchestrator.process.popen = None  # it ended by itself, as it should
        firm.redis.stop()
        firm.redis.process.popen = None


def test_a_name_that_leads_to_loopback_is_refused_when_it_is_connected_to(make_firm):
    with Rest() as rest:
        firm = make_firm(erp=erp(f"http://localhost:{rest.port}", allow=["10.0.0.0/8"]))
        send(firm)
        stack.wait_for(lambda: attempts(firm), 30, "an attempt")
        assert rest.requests == []
        assert firm.exceptions() == []
