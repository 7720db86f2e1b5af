"""Those who are told: a webhook receiver and an SMTP server, on loopback, with real sockets.

Both remember what came and answer as told. The mail server speaks enough of RFC 5321 for a real
client: EHLO, STARTTLS, AUTH PLAIN and LOGIN, MAIL, RCPT, DATA with dot-stuffing, RSET, QUIT.
"""
import base64
import datetime
import email
import email.policy
import http.server
import ipaddress
import json
import socket
import socketserver
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class _Threading(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Receiver:
    """POSTs of CloudEvents. status: what is answered, a number or a function of the request's
    number."""

    def __init__(self):
        self.requests, self.status, self.lock = [], 204, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    n = len(outer.requests)
                    outer.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = outer.status(n) if callable(outer.status) else outer.status
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass
        self.server = _Threading(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks/tallygate"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def events(self):
        with self.lock:
            return [json.loads(body) for _, body in self.requests]

    def notices(self, kind=None):
        """(kind, notice, thing) of each, in order."""
        return [(e["data"]["kind"], e["data"]["notice"], e["data"]["thing"]) for e in self.events()
                if kind in (None, e["data"]["kind"])]


class MailServer:
    """tls: None, or (certificate, key) files for STARTTLS. users: name -> password, or None.
    refuse: recipients that get 550. hang: accepts and never speaks."""

    def __init__(self, tls=None, users=None, refuse=(), hang=False):
        self.mails, self.commands, self.lock = [], [], threading.Lock()
        self.tls, self.users, self.refuse, self.hang = tls, users, set(refuse), hang
        self.down = False
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                outer._session(self)
        self.server = _Threading(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"smtp://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def texts(self):
        with self.lock:
            return [m["message"].get_content() for m in self.mails]

    # ---- one connection ----

    def _session(self, h):
        if self.hang:
            try:
                h.connection.settimeout(60)
                h.connection.recv(1)
            except OSError:
                pass
            return
        s = {"sock": h.connection, "in": h.rfile, "tls": False, "user": None}
        if self.down:
            return
        self._say(s, "220 test ready")
        mail = {}
        try:
            while True:
                line = s["in"].readline()
                if not line:
                    return
                line = line.decode("utf-8", "replace").rstrip("\r\n")
                with self.lock:
                    self.commands.append((line.split(" ")[0].upper(), s["tls"]))
                if self._command(s, mail, line):
                    return
        except (OSError, ssl.SSLError):
            return

    def _say(self, s, *lines):
        for i, text in enumerate(lines):
            sep = "-" if i + 1 < len(lines) else " "
            out = text if len(lines) == 1 else text[:3] + sep + text[4:]
            s["sock"].sendall(out.encode() + b"\r\n")

    def _command(self, s, mail, line):
        word = line.split(" ")[0].upper()
        if word == "EHLO":
            lines = ["250 test"]
            if self.tls and not s["tls"]:
                lines.append("250 STARTTLS")
            if self.users:
                lines.append("250 AUTH PLAIN LOGIN")
            self._say(s, *lines, "250 8BITMIME")
        elif word == "STARTTLS" and self.tls:
            self._say(s, "220 go")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            s["sock"] = context.wrap_socket(s["sock"], server_side=True)
            s["in"] = s["sock"].makefile("rb")
            s["tls"] = True
        elif word == "AUTH":
            self._auth(s, line)
        elif word == "MAIL":
            if self.users and s["user"] is None:
                self._say(s, "530 log in first")
            else:
                mail.clear()
                mail.update(sender=line, to=[])
                self._say(s, "250 ok")
        elif word == "RCPT":
            address = line[line.index("<") + 1:line.index(">")]
            if address in self.refuse:
                self._say(s, "550 no such user")
            else:
                mail["to"].append(address)
                self._say(s, "250 ok")
        elif word == "DATA":
            self._data(s, mail)
        elif word == "QUIT":
            self._say(s, "221 bye")
            return True
        elif word in ("RSET", "NOOP"):
            self._say(s, "250 ok")
        else:
            self._say(s, "502 not here")
        return False

    def _auth(self, s, line):
        words = line.split(" ")
        if words[1].upper() == "PLAIN":
            if len(words) > 2:
                text = words[2]
            else:
                self._say(s, "334 ")
                text = s["in"].readline().decode().strip()
            _, user, password = base64.b64decode(text).decode().split("\0")
        else:
            self._say(s, "334 " + base64.b64encode(b"Username:").decode())
            user = base64.b64decode(s["in"].readline()).decode()
            self._say(s, "334 " + base64.b64encode(b"Password:").decode())
            password = base64.b64decode(s["in"].readline()).decode()
        if self.users and self.users.get(user) == password:
            s["user"] = user
            self._say(s, "235 welcome")
        else:
            self._say(s, "535 wrong")

    def _data(self, s, mail):
        if not mail.get("to"):
            self._say(s, "554 no recipients")
            return
        self._say(s, "354 go on")
        raw = b""
        while True:
            line = s["in"].readline()
            if not line:
                return
            if line == b".\r\n":
                break
            raw += line[1:] if line.startswith(b"..") else line
        message = email.message_from_bytes(raw, policy=email.policy.default)
        with self.lock:
            self.mails.append({"to": list(mail["to"]), "message": message, "raw": raw,
                               "tls": s["tls"], "user": s["user"]})
        self._say(s, "250 taken")


def certificate(directory, name="127.0.0.1"):
    """A self-signed certificate for loopback: (certificate, key) files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]),
                critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256()))
    paths = directory / "mail.crt", directory / "mail.key"
    paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM,
                                           serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return paths


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
