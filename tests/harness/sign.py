"""What senders do: webhook signatures, keys and tokens. Shared by demo, tests and bench.

Keys are made when they are needed; none is in the tree.
"""
import base64
import hashlib
import hmac
import json
import os
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_secret() -> str:
    """A webhook secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def new_text_secret() -> str:
    """A webhook secret as Jira and GitHub show one: text that is the key itself."""
    return "text:" + base64.b32encode(os.urandom(20)).decode()


def secret_key(secret: str) -> bytes:
    """The key of a secret as a line of tally_secrets has it."""
    if secret.startswith("text:"):
        return secret.removeprefix("text:").encode()
    return base64.b64decode(secret.removeprefix("whsec_"))


def webhook_headers(secret: str, msg_id: str, body: bytes, timestamp: int | None = None) -> dict:
    ts = str(int(time.time()) if timestamp is None else timestamp)
    mac = hmac.new(secret_key(secret), f"{msg_id}.{ts}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": msg_id, "webhook-timestamp": ts,
            "webhook-signature": "v1," + base64.b64encode(mac).decode()}


def hub_headers(secret: str, body: bytes, header: str = "X-Hub-Signature") -> dict:
    """What Jira sends; GitHub has the same under X-Hub-Signature-256."""
    mac = hmac.new(secret_key(secret), body, hashlib.sha256).hexdigest()
    return {header: "sha256=" + mac}


class Key:
    """One signing key of an issuer: RS256, ES256 or EdDSA."""

    def __init__(self, alg: str, kid: str):
        self.alg, self.kid = alg, kid
        if alg == "RS256":
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        elif alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        elif alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            raise ValueError(alg)

    def jwk(self) -> dict:
        out = {"kid": self.kid, "alg": self.alg, "use": "sig"}
        pub = self.private.public_key()
        if self.alg == "RS256":
            n = pub.public_numbers()
            out |= {"kty": "RSA", "n": b64url(n.n.to_bytes((n.n.bit_length() + 7) // 8, "big")),
                    "e": b64url(n.e.to_bytes(3, "big"))}
        elif self.alg == "ES256":
            n = pub.public_numbers()
            out |= {"kty": "EC", "crv": "P-256", "x": b64url(n.x.to_bytes(32, "big")),
                    "y": b64url(n.y.to_bytes(32, "big"))}
        else:
            raw = pub.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            out |= {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw)}
        return out

    def raw_sign(self, data: bytes) -> bytes:
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if self.alg == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(data)

    def token(self, claims: dict, header: dict | None = None) -> str:
        head = {"alg": self.alg, "typ": "JWT", "kid": self.kid} | (header or {})
        signed = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
        return signed + "." + b64url(self.raw_sign(signed.encode()))


class Issuer:
    """An OAuth issuer as far as a resource server sees it: a key set file and tokens."""

    def __init__(self, iss="https://idp.example", audience="tallygate", keys=None):
        self.iss, self.audience = iss, audience
        self.keys = keys or [Key("ES256", "k1")]

    def jwks(self) -> dict:
        return {"keys": [k.jwk() for k in self.keys]}

    def write(self, path):
        tmp = f"{path}.tmp"
        with open(tmp, "w", encoding="ascii") as f:
            json.dump(self.jwks(), f)
        os.rename(tmp, path)

    def token(self, scope="", tenant="acme", client="svc", key=0, ttl=600, header=None, **claims):
        now = int(time.time())
        body = {"iss": self.iss, "aud": self.audience, "sub": client, "client_id": client,
                "iat": now, "exp": now + ttl, "scope": scope, "tenant": tenant, **claims}
        return self.keys[key].token({k: v for k, v in body.items() if v is not None}, header)


def cloudevent(event_id: str, data: dict, type_="com.tallygate.time_entry.approved.v1",
               source="urn:acme:psa", **more) -> bytes:
    return json.dumps({"specversion": "1.0", "id": event_id, "source": source, "type": type_,
                       "datacontenttype": "application/json", **more, "data": data}).encode()
