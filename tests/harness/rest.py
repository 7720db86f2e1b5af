"""A small REST destination on loopback that keeps a book: what a test compares with the journal.

    POST   /labor            201 {"id"}: one line; with an Idempotency-Key known: the first answer again
    PUT    /labor/KEY        200 or 201: the line of that key
    GET    /labor/KEY        200 or 404
    GET    /labor?key=KEY    200 {"items": [...]}
    DELETE /labor/KEY        204 or 404
    POST   /token            OAuth client credentials, when `tokens` says so

`executed` counts every execution, `lines` is the book. dedupe=False: a repeated POST makes a second line,
which is what a destination without protection does. Answers can be replaced one by one with `answers`.
"""
import base64
import collections
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Rest:
    def __init__(self, dedupe=True, credentials=None, tokens=None, ssl_context=None):
        """credentials: {header: value} that must come. tokens: {client_id: secret} for /token."""
        self.dedupe, self.credentials, self.tokens = dedupe, credentials, tokens
        self.lock = threading.Lock()
        self.lines = {}                       # line id -> (key, body)
        self.executed = collections.Counter() # key -> how often it was carried out
        self.answers = collections.deque()    # (status, headers, document) instead of the real answer
        self.requests = []                    # (method, target, headers, body)
        self.came = []                        # wall clock of each of them
        self.busy = self.busiest = 0          # how many at once: now, and at most
        self.pause_s = 0                      # how long each is worked on
        self.valid_tokens, self.token_life = set(), 3600
        self.peers = set()                    # subjects of client certificates
        self.server = Server(("127.0.0.1", 0), handler(self))
        if ssl_context:
            self.server.socket = ssl_context.wrap_socket(self.server.socket, server_side=True)
        self.tls = ssl_context is not None
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- what the tests ask ----

    def keys(self):
        """Every key in the book; twice if it is there twice."""
        with self.lock:
            return [key for key, _ in self.lines.values()]

    def bodies(self):
        with self.lock:
            return [body for _, body in self.lines.values()]

    def count(self, method, path=""):
        with self.lock:
            return sum(1 for m, t, _, _ in self.requests if m == method and t.startswith(path))

    # ---- what the handler asks ----

    def find(self, key):
        return next((i for i, (k, _) in self.lines.items() if k == key), None)

    def post(self, key, body):
        with self.lock:
            there = self.find(key)
            if there is not None and self.dedupe:
                return 201, {"id": there, "key": key}
            self.executed[key] += 1
            line = len(self.lines) + 1
            self.lines[line] = (key, body)
            return 201, {"id": line, "key": key}

    def put(self, key, body):
        with self.lock:
            there = self.find(key)
            self.executed[key] += 1
            line = there or len(self.lines) + 1
            self.lines[line] = (key, body)
            return (200 if there else 201), {"id": line, "key": key}

    def get(self, key):
        with self.lock:
            there = self.find(key)
            return (200, {"id": there, "key": key}) if there else (404, {"message": "no such line"})

    def search(self, key):
        with self.lock:
            return 200, {"items": [{"id": i, "key": k} for i, (k, _) in self.lines.items() if k == key]}

    def delete(self, key):
        with self.lock:
            there = self.find(key)
            if there is None:
                return 404, {"message": "no such line"}
            del self.lines[there]
            return 204, None

    def token(self, authorization, form):
        kind, _, value = (authorization or "").partition(" ")
        client, secret = form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
        if kind == "Basic":
            client, _, secret = base64.b64decode(value).decode().partition(":")
        if form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type"}
        if self.tokens.get(unquote(client)) != unquote(secret):
            return 401, {"error": "invalid_client", "error_description": "no such client, or secret"}
        token = secrets.token_urlsafe(24)
        with self.lock:
            self.valid_tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.token_life}

    def may_pass(self, headers):
        if self.tokens is not None:
            kind, _, token = headers.get("authorization", "").partition(" ")
            with self.lock:
                return kind == "Bearer" and token in self.valid_tokens
        return all(headers.get(k.lower()) == v for k, v in (self.credentials or {}).items())


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that hangs up is what these tests are about."""


def handler(rest):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def answer(self, status, document=None, headers=None):
            data = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            if document is not None:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def act(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {k.lower(): v for k, v in self.headers.items()}
            if rest.tls:
                subject = self.connection.getpeercert() or {}
                names = [v for rdn in subject.get("subject", ()) for k, v in rdn if k == "commonName"]
                with rest.lock:
                    rest.peers.update(names)
            with rest.lock:
                rest.requests.append((self.command, self.path, headers, body))
                rest.came.append(time.time())
                rest.busy += 1
                rest.busiest = max(rest.busiest, rest.busy)
                canned = rest.answers.popleft() if rest.answers else None
            time.sleep(rest.pause_s)
            with rest.lock:
                rest.busy -= 1
            if canned:
                status, more, document = canned
                return self.answer(status, document, more)
            parts = urlsplit(self.path)
            path = parts.path.strip("/").split("/")
            if path == ["token"] and rest.tokens is not None:
                return self.answer(*rest.token(headers.get("authorization"), parse_qs(body.decode())))
            if not rest.may_pass(headers):
                return self.answer(401, {"message": "who are you?"})
            return self.answer(*self.labor(path, parts.query, headers, body))

        def labor(self, path, query, headers, body):
            document = json.loads(body) if body else {}
            if path[0] != "labor":
                return 404, {"message": "no such path"}
            if self.command == "POST":
                return rest.post(headers.get("idempotency-key", document.get("external_id")), document)
            if self.command == "PUT":
                return rest.put(path[1], document)
            if self.command == "DELETE":
                return rest.delete(path[1])
            if len(path) > 1:
                return rest.get(path[1])
            return rest.search(parse_qs(query)["key"][0])

        do_GET = do_POST = do_PUT = do_DELETE = act

    return Handler
