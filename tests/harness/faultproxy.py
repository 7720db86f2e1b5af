"""A proxy on loopback that breaks what passes between us and a destination, on purpose and countably.

    with FaultProxy(("127.0.0.1", 8000), seed=7) as proxy:
        proxy.rule("cut_after", times=1, match=lambda r: b"line.create" in r.content)
        ... the client uses proxy.url ...
        assert proxy.counts["cut_after"] == 1

HTTP/1.1 with keep-alive, content lengths and chunks both ways (TLS is not spoken). A client's connection
has one connection to the server; when one side ends between two requests, so does the other. The proxy
never sends a request twice by itself. Rules are asked in their order; the first that applies decides
(FAULTS says what each does). Chances come from one generator with the given seed; which request draws
which number depends on the order of arrival, so with several connections a seed does not repeat a run
exactly: `seen` is the record of what was done. kind="tcp" passes bytes of any protocol; there only
cut_all, hang and refuse work.
"""
import collections
import contextlib
import ctypes
import random
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from tests.harness.wire import Closed, Head, Reader

SEEN_MAX = 100_000
SERVER_TIMEOUT_S = 120
LIBC = ctypes.CDLL(None, use_errno=True)

FAULTS = {
    "pass": "nothing is done (an exception to the rules after it)",
    "cut_before": "the request is read and not passed on, the connection ends without an answer",
    "cut_request": "a `part` of the request's bytes is passed on, then both connections end",
    "cut_after": "the request is passed on and answered; the client hears nothing, its connection ends",
    "cut_head": "as cut_after, but a `part` of the answer's head arrives",
    "cut_body": "as cut_after, but head and a `part` of the answer's body arrive",
    "half_close": "as cut_after, but only our sending side is shut (side='client'); or the server's"
                  " connection is shut for sending after the request and the answer passed (side='server')",
    "delay": "`seconds` before the request is passed on (where='request') or the answer (where='answer')",
    "hold": "as delay, until the rule's release(): a request is passed on then, its client gone or not",
    "error_before": "not passed on; the client is answered `status` (503)",
    "error_after": "passed on and answered; the client is answered `status` (500) instead",
    "throttle": "not passed on; 429 with Retry-After: `retry_after` (seconds or an HTTP date)",
    "trickle": "the answer comes in pieces of `size` bytes, `seconds` apart",
    "garbage": "passed on and answered; the client gets `data` instead, which is no HTTP",
    "repeat": "passed on twice, as a careless intermediary does; the second answer is passed",
}


@dataclass
class Seen:
    """One request: what it was, what was done to it, what the server said (None: was not asked)."""
    method: str
    target: str
    headers: dict
    content: bytes
    connection: int
    fault: str = "pass"
    status: int | None = None
    raw: bytes = field(default=b"", repr=False)


class Rule:
    """When (`match`, after `skip` matches, at most `times`, with `probability`) and what (`fault`)."""

    def __init__(self, fault, match=None, times=None, probability=1.0, skip=0, **options):
        if fault not in FAULTS:
            raise ValueError(f"no fault {fault!r}; there are: {', '.join(FAULTS)}")
        unknown = set(options) - {"reset", "part", "side", "seconds", "where", "status", "retry_after",
                                  "size", "data"}
        if unknown:
            raise ValueError(f"no option {sorted(unknown)}")
        self.fault, self.match, self.times = fault, match, times
        self.probability, self.skip, self.options = probability, skip, options
        self.hits = 0
        self.released = threading.Event()

    def release(self):
        self.released.set()

    def applies(self, seen, rng):
        if self.times is not None and self.hits >= self.times:
            return False
        if self.match is not None and not self.match(seen):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.probability < 1 and rng.random() >= self.probability:
            return False
        self.hits += 1
        return True


PASS = Rule("pass")


class FaultProxy:
    def __init__(self, server, seed=0, kind="http", port=0):
        """server: (host, port) or the path of a unix socket; port 0: a free one."""
        self.server, self.kind = server, kind
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.rules = []
        self.counts = collections.Counter()
        self.seen = collections.deque(maxlen=SEEN_MAX)
        self.going = threading.Event()
        self.going.set()
        self.refusing, self.ended = threading.Event(), threading.Event()
        self.connections = {}      # number -> its two sockets
        self.threads = []
        self.number = 0
        self.listener = self._bind(port)
        self.port = self.listener.getsockname()[1]
        self.wake, self.waker = socket.socketpair()
        self.acceptor = None

    # ---- what a test does ----

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.listener.listen(128)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()
        return self

    def stop(self):
        self.ended.set()
        self.going.set()
        self.waker.send(b"x")
        if self.acceptor:
            self.acceptor.join(10)
        self.listener.close()
        self.cut_all()
        for t in self.threads:
            t.join(10)
        self.wake.close()
        self.waker.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def rule(self, fault, **kw) -> Rule:
        """Adds a rule after the others. Keywords: match, times, probability, skip and the fault's own."""
        made = Rule(fault, **kw)
        with self.lock:
            self.rules.append(made)
        return made

    def clear(self):
        """No rules any more; what is held is let go."""
        with self.lock:
            gone, self.rules = self.rules, []
        for r in gone:
            r.release()

    def cut_all(self, reset=False):
        """Ends every open connection, now."""
        with self.lock:
            pairs = list(self.connections.values())
            self.counts["cut_all"] += 1
        for pair in pairs:
            for sock in pair:
                if sock is not None:
                    end(sock, reset)

    def hang(self):
        """Nothing passes in either direction, connections stay and new ones are taken."""
        self.going.clear()

    def go(self):
        self.going.set()

    def refuse(self):
        """New connections are refused; the port stays ours. Open ones are left alone (see cut_all)."""
        self.refusing.set()
        self.waker.send(b"x")
        self.listener.shutdown(socket.SHUT_RDWR)  # it stays bound and listens no more

    def accept(self):
        self.listener.listen(128)
        self.refusing.clear()
        self.waker.send(b"x")

    # ---- listening ----

    @staticmethod
    def _bind(port):
        """Bound by number: a port that the kernel chose would be lost by refuse()."""
        with socket.socket() as finder, contextlib.ExitStack() as stack:
            finder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            finder.bind(("127.0.0.1", port))
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(finder.getsockname())
            stack.pop_all()
            return sock

    def _accept(self):
        while not self.ended.is_set():
            awaited = [self.wake] if self.refusing.is_set() else [self.wake, self.listener]
            ready, _, _ = select.select(awaited, [], [])
            if self.wake in ready:
                self.wake.recv(4096)
                continue
            try:
                client, _ = self.listener.accept()
            except OSError:  # it went away again, or we refuse from now on
                continue
            with self.lock:
                self.number += 1
                number = self.number
                self.connections[number] = [client, None]
                self.counts["connections"] += 1
            thread = threading.Thread(target=self._connection, args=(number, client), daemon=True)
            self.threads = [t for t in self.threads if t.is_alive()] + [thread]
            thread.start()

    # ---- one connection ----

    def _connection(self, number, client):
        client.settimeout(SERVER_TIMEOUT_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one = Connection(self, number, client)
        try:
            one.pump() if self.kind == "tcp" else one.serve()
        except Closed as e:
            if not e.clean:
                self._count("closed_midway")
        except (OSError, ValueError):
            self._count("broken")
        finally:
            one.close()
            with self.lock:
                self.connections.pop(number, None)

    def _count(self, what):
        with self.lock:
            self.counts[what] += 1

    def _choose(self, seen) -> Rule:
        with self.lock:
            chosen = next((r for r in self.rules if r.applies(seen, self.rng)), PASS)
            seen.fault = chosen.fault
            self.seen.append(seen)
            self.counts["requests"] += 1
            self.counts[chosen.fault] += 1
        return chosen


class Ended(Exception):
    """This connection is over, as the rule wanted."""


class Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy, number, client):
        self.proxy, self.number, self.client = proxy, number, client
        self.reader = Reader(client)
        self.server = self.answers = None

    def close(self):
        for sock in (self.client, self.server):
            if sock is not None:
                sock.close()

    def serve(self):
        try:
            while not self.proxy.ended.is_set():
                self._wait_for_request()
                head = self.reader.head()
                if "100-continue" in head.fields.get("expect", "").lower():
                    self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    head = Head(head.without("expect"))
                raw, content = self.reader.request_body(head)
                method, target, _ = head.first.split(" ", 2)
                seen = Seen(method, target, head.fields, content, self.number, raw=head.raw + raw)
                rule = self.proxy._choose(seen)
                self.proxy.going.wait()
                self._act(rule, seen)
                if head.closes:
                    return
        except Ended:
            pass

    def _wait_for_request(self):
        """Returns when the client said something; ends when the server closed meanwhile."""
        while not self.reader.buffer:
            both = [s for s in (self.client, self.server) if s is not None]
            ready, _, _ = select.select(both, [], [])
            if self.client in ready:
                return
            self.proxy._count("closed_by_server")
            raise Ended

    # ---- what is done to one request ----

    def _act(self, rule, seen):
        fault, o = rule.fault, rule.options
        if fault == "cut_before":
            self._cut(rule)
        elif fault == "cut_request":
            self._connect()
            self.server.sendall(seen.raw[:int(len(seen.raw) * o.get("part", 0.5))])
            self._cut(rule)
        elif fault in ("error_before", "throttle"):
            self._say(*refusal(fault, o))
        else:
            if o.get("where", "request") == "request":
                self._wait(rule)
            head, body, again = self._exchange(seen, rule)
            self._answer(rule, head, body, again)

    def _exchange(self, seen, rule):
        if rule.fault == "repeat":
            self._exchange_once(seen, rule)
        return self._exchange_once(seen, rule)

    def _exchange_once(self, seen, rule):
        self._connect()
        self.server.sendall(seen.raw)
        if rule.fault == "half_close" and rule.options.get("side") == "server":
            self.server.shutdown(socket.SHUT_WR)
        head, body, again = self.answers.answer(seen.method)
        seen.status = int(head.first.split(" ")[1])
        if not again:
            self._forget_server()
        return head, body, again

    def _answer(self, rule, head, body, again):
        fault, o = rule.fault, rule.options
        self.proxy.going.wait()
        if o.get("where") == "answer":
            self._wait(rule)
        if fault == "cut_after":
            self._cut(rule)
        elif fault == "cut_head":
            self.client.sendall(head.raw[:max(1, int(len(head.raw) * o.get("part", 0.5)))])
            self._cut(rule)
        elif fault == "cut_body":
            self.client.sendall(head.raw + body[:int(len(body) * o.get("part", 0.5))])
            self._cut(rule)
        elif fault == "half_close" and o.get("side", "client") == "client":
            self.client.shutdown(socket.SHUT_WR)
            self._until_client_ends()
            raise Ended
        elif fault == "error_after":
            self._say(*refusal(fault, o))
        elif fault == "garbage":
            self.client.sendall(o.get("data", b"\x00\xfe\xffthis is no HTTP\r\n\r\n"))
            self._cut(rule)
        elif fault == "trickle":
            self._trickle(head.raw + body, o)
        else:
            self.client.sendall(head.raw + body)
        if not again and fault != "error_after":
            raise Ended

    def _connect(self):
        if self.server is not None:
            return
        address = self.proxy.server
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        sock.settimeout(SERVER_TIMEOUT_S)
        with self.proxy.lock:
            pair = self.proxy.connections.get(self.number)
            if pair is not None:
                pair[1] = sock
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            self.proxy._count("server_refused")
            end(self.client, reset=True)
            raise Ended from None
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server, self.answers = sock, Reader(sock)

    def _forget_server(self):
        self.server.close()
        self.server = self.answers = None

    def _say(self, status, headers, body):
        head = f"HTTP/1.1 {status} Fault\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.client.sendall(head.encode("latin-1") + b"\r\n" + body)

    def _trickle(self, data, o):
        size, seconds = o.get("size", 1), o.get("seconds", 0.01)
        for at in range(0, len(data), size):
            self.client.sendall(data[at:at + size])
            if self.proxy.ended.wait(seconds):
                raise Ended

    def _wait(self, rule):
        """delay and hold. Who stops the proxy meanwhile does not want what was held."""
        if rule.fault == "delay":
            self.proxy.ended.wait(rule.options.get("seconds", 0.1))
        elif rule.fault == "hold":
            while not rule.released.wait(0.05) and not self.proxy.ended.is_set():
                pass
        else:
            return
        if self.proxy.ended.is_set():
            raise Ended
        if self._client_gone():
            self.proxy._count("hung_up")

    def _client_gone(self):
        ready, _, _ = select.select([self.client], [], [], 0)
        if not ready:
            return False
        try:
            return not self.client.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _until_client_ends(self):
        deadline = time.monotonic() + SERVER_TIMEOUT_S
        while not self.proxy.ended.is_set() and time.monotonic() < deadline:
            ready, _, _ = select.select([self.client], [], [], 0.05)
            if ready and not self.client.recv(65536):
                return

    def _cut(self, rule):
        end(self.client, rule.options.get("reset", False))
        raise Ended

    # ---- any protocol ----

    def pump(self):
        try:
            self._connect()
        except Ended:
            return
        other = {self.client: self.server, self.server: self.client}
        open_ends = set(other)
        while open_ends and not self.proxy.ended.is_set():
            ready, _, _ = select.select(list(open_ends), [], [])
            for sock in ready:
                data = sock.recv(65536)
                self.proxy.going.wait()
                if data:
                    other[sock].sendall(data)
                else:
                    open_ends.discard(sock)
                    other[sock].shutdown(socket.SHUT_WR)


def refusal(fault, o):
    """(status, headers, body) of an answer that the proxy makes itself."""
    if fault == "throttle":
        return 429, {"Retry-After": o.get("retry_after", 1), "Content-Type": "text/plain"}, b"slow down"
    status = o.get("status", 503 if fault == "error_before" else 500)
    headers = {"Content-Type": "text/html"}
    if "retry_after" in o:
        headers["Retry-After"] = o["retry_after"]
    return status, headers, o.get("data", b"<html><p>Internal Server Error</p></html>")


def end(sock, reset):
    """Ends a connection for both directions; with reset the peer sees ECONNRESET, not an end of file.

    Connecting to "nothing" (AF_UNSPEC) resets at once, whatever thread waits on the socket; closing it
    would wait for that thread.
    """
    try:
        if reset and sock.family == socket.AF_INET:
            LIBC.connect(sock.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16)
        else:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
