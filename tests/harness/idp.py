"""A real authorization server: `oidc-provider` on Node, on loopback (tests/harness/idp/server.js).

    idp = Idp().start()
    idp.token_url, idp.jwks_url, idp.introspection_url, idp.revocation_url, idp.issuer
    idp.token("psa", scope="events:write")             # JWT by RS256; resource=idp.ES256 or idp.OPAQUE
    idp.rotate(); idp.retire()                         # new keys; the old ones leave the set
    idp.change(ttl=3)                                  # seconds; clients=[...] replaces the clients
    idp.count("/token")                                # requests so far
    idp.stop()

Tokens carry the claims iss, aud, sub, client_id, scope, iat, exp, jti and the client's tenant; typ is at+jwt.
deps.sh installs it into build/idp; any node from 18 on runs it.
"""
import atexit
import base64
import http.client
import json
import secrets
import shutil
import urllib.parse
from pathlib import Path

from tests.harness import stack

HERE = Path(__file__).resolve().parent / "idp"
MODULES = stack.ROOT / "build/idp"
SCOPES = ["events:write", "validate", "status:read", "time:write", "ops:read", "ops:write", "ops:approve"]


def decoded(part: str) -> dict:
    """Header or claims of a JWT, unverified."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Refused(Exception):
    """An OAuth error answer."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body.get('error')}: {body.get('error_description')}")
        self.status, self.error = status, body.get("error")


class Idp:
    RS256, ES256, OPAQUE = (f"https://api.example/{n}" for n in ("rs256", "es256", "opaque"))

    def __init__(self, clients=None, ttl=600, audience="tallygate"):
        """clients: [{id, secret, scope, tenant, auth}]; default: psa of tenant acme with every scope, and
        resource-server, which introspects. auth: client_secret_basic (default) or client_secret_post."""
        self.dir = stack.scratch("idp")
        self.port = stack.free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.clients = clients or [
            {"id": "psa", "secret": secrets.token_hex(16), "scope": " ".join(SCOPES), "tenant": "acme"},
            {"id": "resource-server", "secret": secrets.token_hex(16), "scope": ""}]
        self.control = secrets.token_hex(16)
        self.options = {"port": self.port, "clients": self.clients, "ttl": ttl, "audience": audience,
                        "scopes": SCOPES, "control": self.control,
                        "resources": {self.RS256: "RS256", self.ES256: "ES256", self.OPAQUE: "opaque"}}
        self.process = None

    token_url = property(lambda self: f"{self.issuer}/token")
    jwks_url = property(lambda self: f"{self.issuer}/jwks")
    introspection_url = property(lambda self: f"{self.issuer}/token/introspection")
    revocation_url = property(lambda self: f"{self.issuer}/token/revocation")

    def start(self):
        if not (MODULES / "node_modules/oidc-provider").exists():
            raise RuntimeError(f"{MODULES} has no oidc-provider; run: tests/harness/deps.sh idp")
        atexit.register(self.stop)
        # node looks for modules beside the file that imports them
        shutil.copy(HERE / "server.js", self.dir / "server.mjs")
        (self.dir / "node_modules").symlink_to(MODULES / "node_modules")
        options = self.dir / "options.json"
        options.touch(mode=0o600)
        options.write_text(json.dumps(self.options))
        self.process = stack.Process("idp", ["node", self.dir / "server.mjs", options],
                                     self.dir / "idp.log", env={"NODE_ENV": "production"}).start()
        stack.wait_for(self._up, 60, "authorization server up")
        return self

    def _up(self):
        if not self.process.alive():
            raise RuntimeError(f"authorization server ended: {self.process.text()[-2000:]}")
        return stack.can_connect(("127.0.0.1", self.port))

    def stop(self):
        atexit.unregister(self.stop)
        if self.process:
            self.process.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def secret(self, client):
        return next(c["secret"] for c in self.clients if c["id"] == client)

    # ---- OAuth ----

    def token(self, client="psa", scope="", resource=RS256, **kw):
        """The access token alone; see grant()."""
        return self.grant(client, scope, resource, **kw)["access_token"]

    def grant(self, client="psa", scope="", resource=RS256, secret=None):
        """The token endpoint's whole answer. resource None: an opaque token without audience."""
        form = {"grant_type": "client_credentials"}
        form |= {"scope": scope} if scope else {}
        form |= {"resource": resource} if resource else {}
        return self._form("/token", form, client, secret)

    def introspect(self, token, client="resource-server"):
        return self._form("/token/introspection", {"token": token}, client)

    def revoke(self, token, client="psa"):
        return self._form("/token/revocation", {"token": token}, client)

    def jwks(self):
        return self._ask("GET", "/jwks")

    def discovery(self):
        return self._ask("GET", "/.well-known/openid-configuration")

    # ---- what a test changes ----

    def rotate(self):
        """New keys sign from now on; the old ones stay in the key set. Gives all key ids, newest first."""
        return self.change(rotate=True)["kids"]

    def retire(self):
        """The old keys leave the key set."""
        return self.change(retire=True)["kids"]

    def change(self, **wish):
        self.clients = wish.get("clients", self.clients)
        return self._ask("POST", "/control", json.dumps(wish), {"X-Control": self.control})

    def count(self, path):
        return self._ask("GET", "/control", None, {"X-Control": self.control})["counts"].get(path, 0)

    # ---- wire ----

    def _form(self, path, form, client, secret=None):
        word = base64.b64encode(f"{client}:{secret or self.secret(client)}".encode()).decode()
        return self._ask("POST", path, urllib.parse.urlencode(form), {
            "Authorization": f"Basic {word}", "Content-Type": "application/x-www-form-urlencoded"})

    def _ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            said = json.loads(text) if text else {}
            if answer.status >= 400:
                raise Refused(answer.status, said)
            return said
        finally:
            connection.close()
