"""The authorization server that other tests use: real tokens, checked by a second implementation."""
import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.harness.idp import Idp, Refused, decoded
from tests.harness.stack import ROOT, wait_for


@pytest.fixture(scope="module")
def idp():
    server = Idp().start()
    yield server
    server.stop()


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def verified(token, jwks):
    """Claims of a token whose signature is that of a key of the set."""
    head, body, mac = token.split(".")
    key, = [k for k in jwks["keys"] if k["kid"] == decoded(head)["kid"]]
    signature = base64.urlsafe_b64decode(mac + "==")
    signed = f"{head}.{body}".encode()
    if key["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]),
                                               ec.SECP256R1()).public_key()
        r, s = (int.from_bytes(signature[i:i + 32], "big") for i in (0, 32))
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    return decoded(body)


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_jwt_by_resource_indicator(idp, alg):
    said = idp.grant(scope="events:write status:read", resource=getattr(idp, alg))
    assert said["token_type"] == "Bearer" and said["expires_in"] == 600
    assert set(said["scope"].split()) == {"events:write", "status:read"}
    token = said["access_token"]
    head = decoded(token.split(".")[0])
    assert (head["alg"], head["typ"]) == (alg, "at+jwt")
    claims = verified(token, idp.jwks())
    assert claims["exp"] - claims["iat"] == 600
    assert {k: claims[k] for k in ("iss", "aud", "client_id", "sub", "tenant", "scope")} == {
        "iss": idp.issuer, "aud": "tallygate", "client_id": "psa", "sub": "psa", "tenant": "acme",
        "scope": said["scope"]}
    spoiled = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    with pytest.raises(InvalidSignature):
        verified(spoiled, idp.jwks())


@pytest.mark.parametrize("resource", [Idp.OPAQUE, None])
def test_an_opaque_token_is_introspected_and_revoked(idp, resource):
    token = idp.token(scope="status:read", resource=resource)
    assert "." not in token
    said = idp.introspect(token)
    assert said["active"] is True
    assert (said["client_id"], said["scope"], said["tenant"]) == ("psa", "status:read", "acme")
    assert said.get("aud") == ("tallygate" if resource else None)
    idp.revoke(token)
    assert idp.introspect(token) == {"active": False}
    assert idp.introspect("nonsense") == {"active": False}


def test_keys_rotate_and_retire(idp):
    old = idp.token()
    kids = idp.rotate()
    assert len(kids) == 4
    new = idp.token()
    assert decoded(new.split(".")[0])["kid"] == kids[0] != decoded(old.split(".")[0])["kid"]
    jwks = idp.jwks()
    assert not any("d" in key for key in jwks["keys"])  # public halves only
    assert verified(old, jwks) and verified(new, jwks)
    assert idp.retire() == kids[:2]
    assert verified(new, idp.jwks())
    with pytest.raises(ValueError):
        verified(old, idp.jwks())


def test_opaque_tokens_outlive_a_rotation(idp):
    token = idp.token(resource=idp.OPAQUE)
    idp.rotate()
    assert idp.introspect(token)["active"]


def test_lifetime_is_an_option(idp):
    idp.change(ttl=1)
    try:
        said = idp.grant(resource=idp.OPAQUE)
        assert said["expires_in"] == 1
        wait_for(lambda: not idp.introspect(said["access_token"])["active"], 20, "expired")
    finally:
        idp.change(ttl=600)


def test_what_is_refused(idp):
    with pytest.raises(Refused, match="invalid_client"):
        idp.grant(secret="wrong")
    with pytest.raises(Refused, match="invalid_target"):
        idp.grant(resource="https://api.example/other")
    assert idp.grant(scope="events:write unheard:of")["scope"] == "events:write"  # dropped, not refused
    assert idp.introspect(idp.token()) == {"active": False}  # a JWT is verified, not introspected


def test_a_clients_secret_can_change_while_it_runs(idp):
    before = idp.clients
    changed = [c | {"secret": "another-secret-of-it"} if c["id"] == "psa" else c for c in before]
    try:
        idp.change(clients=changed)
        assert idp.token()
        with pytest.raises(Refused, match="invalid_client"):
            idp.grant(secret=before[0]["secret"])
    finally:
        idp.change(clients=before)


def test_discovery_names_the_endpoints_and_requests_are_counted(idp):
    said = idp.discovery()
    assert {said["issuer"], said["token_endpoint"], said["jwks_uri"], said["introspection_endpoint"],
            said["revocation_endpoint"]} == {idp.issuer, idp.token_url, idp.jwks_url,
                                             idp.introspection_url, idp.revocation_url}
    before = idp.count("/token")
    idp.token()
    assert idp.count("/token") == before + 1


def test_control_needs_its_word(idp):
    with pytest.raises(Refused):
        idp._ask("POST", "/control", json.dumps({"rotate": True}), {"X-Control": "guess"})


def test_the_lock_file_pins_and_names_no_registry():
    folder = ROOT / "tests/harness/idp"
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert len(packages) > 20
    for name, p in packages.items():
        assert p["integrity"].startswith("sha512-") and p["version"] and "resolved" not in p, name
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
