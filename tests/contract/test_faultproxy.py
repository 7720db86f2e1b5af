"""The fault proxy does what its table says, and counts it: judged by a small server's own book."""
import contextlib
import http.client
import http.server
import json
import socket
import threading
import time

import pytest

from tests.harness import faultproxy
from tests.harness.faultproxy import FaultProxy
from tests.harness.stack import wait_for


class Shop(http.server.ThreadingHTTPServer):
    """Takes POSTs and writes each down; answers with the number of what it holds."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, chunked=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.chunked, self.posted, self.connections = chunked, [], set()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def handle_error(self, request, client_address):
        pass  # a client that went away is what these tests are about


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def _body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            n = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(n)
            if len(body) < n:
                raise ConnectionError("half a request")
            return body
        body = b""
        while (size := int(self.rfile.readline(), 16)) > 0:
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_POST(self):
        self.server.posted.append(self._body())
        self.server.connections.add(self.client_address)
        self._answer(json.dumps({"held": len(self.server.posted)}).encode())

    def do_GET(self):
        self._answer(b"hello " * 1000)

    def _answer(self, body):
        self.send_response(200)
        if self.path == "/last":
            self.send_header("Connection", "close")
        if self.server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 7):
                part = body[at:at + 7]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


@pytest.fixture(params=[False, True], ids=["length", "chunked"])
def shop(request):
    s = Shop(request.param)
    yield s
    s.shutdown()
    s.server_close()


@pytest.fixture
def proxy(shop):
    with FaultProxy(shop.server_address, seed=3) as p:
        yield p


@pytest.fixture
def client(proxy):
    c = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    yield c
    c.close()


def post(client, body=b"x", path="/", chunked=False):
    if chunked:
        client.request("POST", path, iter([body[:1], body[1:]]), {"Transfer-Encoding": "chunked"},
                       encode_chunked=True)
    else:
        client.request("POST", path, body)
    answer = client.getresponse()
    return answer.status, answer.read()


def fails(client, body=b"x"):
    """The kind of failure the client saw, on a connection of its own."""
    client.close()
    with pytest.raises((OSError, http.client.HTTPException)) as e:
        post(client, body)
    client.close()
    return e.value


def test_without_rules_it_is_not_there(shop, proxy, client):
    for n in range(1, 21):
        assert post(client, b"%d" % n, chunked=n % 2 == 0) == (200, b'{"held": %d}' % n)
    client.request("GET", "/")
    assert client.getresponse().read() == b"hello " * 1000
    client.request("HEAD", "/")
    assert client.getresponse().status == 501  # the shop's own answer
    assert shop.posted == [b"%d" % n for n in range(1, 21)]
    assert len(shop.connections) == 1 and proxy.counts["connections"] == 1
    assert proxy.counts["requests"] == proxy.counts["pass"] == 22
    assert [s.content for s in proxy.seen if s.method == "POST"] == shop.posted


def test_cut_before_the_server_hears_nothing(shop, proxy, client):
    proxy.rule("cut_before", times=1)
    assert isinstance(fails(client), http.client.RemoteDisconnected)
    assert shop.posted == [] and proxy.counts["cut_before"] == 1
    assert post(client)[0] == 200 and len(shop.posted) == 1


@pytest.mark.parametrize("reset,error", [(False, http.client.RemoteDisconnected),
                                         (True, ConnectionResetError)])
def test_cut_after_the_server_acts_and_the_client_hears_nothing(shop, proxy, client, reset, error):
    proxy.rule("cut_after", times=2, reset=reset)
    for _ in range(2):
        assert type(fails(client)) is error
    assert len(shop.posted) == 2
    assert [(s.fault, s.status) for s in proxy.seen] == [("cut_after", 200)] * 2


def test_cut_request_the_server_gets_a_part(shop, proxy, client):
    proxy.rule("cut_request", part=0.7, times=1)
    fails(client, b"y" * 1000)
    assert post(client)[0] == 200
    assert shop.posted == [b"x"]


def test_cut_head_and_body(shop, proxy, client):
    proxy.rule("cut_head", times=1)
    proxy.rule("cut_body", times=1)
    with socket.create_connection(("127.0.0.1", proxy.port)) as s:
        s.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
        with s.makefile("rb") as f:
            got = f.read()
    assert got.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\n\r\n" not in got
    client.request("POST", "/", b"x")
    answer = client.getresponse()
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    assert len(shop.posted) == 2


def test_half_close(shop, proxy, client):
    proxy.rule("half_close", times=1)
    proxy.rule("half_close", times=1, side="server")
    assert isinstance(fails(client), http.client.RemoteDisconnected)
    assert post(client)[0] == 200  # the server answers one that has said all it will say
    assert len(shop.posted) == 2
    assert proxy.counts["half_close"] == 2


def test_error_after_and_before(shop, proxy, client):
    proxy.rule("error_after", times=1)
    proxy.rule("error_before", times=1, retry_after=7, data=b"busy")
    assert post(client)[0] == 500
    assert len(shop.posted) == 1
    client.request("POST", "/", b"x")
    answer = client.getresponse()
    assert (answer.status, answer.headers["Retry-After"], answer.read()) == (503, "7", b"busy")
    assert post(client)[1] == b'{"held": 2}'  # on the same connection
    assert proxy.counts["connections"] == 1


@pytest.mark.parametrize("value", [3, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_throttle(shop, proxy, client, value):
    proxy.rule("throttle", times=1, retry_after=value)
    client.request("POST", "/", b"x")
    answer = client.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (429, str(value))
    answer.read()
    assert shop.posted == []


def test_trickle_arrives_whole_and_in_pieces(proxy, client):
    proxy.rule("trickle", times=1, size=40, seconds=0.001)
    assert post(client) == (200, b'{"held": 1}')
    assert proxy.counts["trickle"] == 1


def test_garbage(shop, proxy, client):
    proxy.rule("garbage", times=1)
    assert isinstance(fails(client), http.client.BadStatusLine)
    assert len(shop.posted) == 1


def test_repeat(shop, proxy, client):
    proxy.rule("repeat", times=1)
    assert post(client) == (200, b'{"held": 2}')
    assert shop.posted == [b"x", b"x"]


def test_delay(shop, proxy, client):
    for where in ("request", "answer"):
        proxy.clear()
        proxy.rule("delay", seconds=0.2, where=where)
        began = time.monotonic()
        assert post(client)[0] == 200
        assert time.monotonic() - began >= 0.2


def test_a_held_request_lands_after_its_client_gave_up(shop, proxy, client):
    rule = proxy.rule("hold", times=1)
    client.timeout = 0.1
    assert isinstance(fails(client), TimeoutError)
    client.timeout = 10
    assert post(client, b"second")[0] == 200
    assert shop.posted == [b"second"]
    rule.release()
    wait_for(lambda: shop.posted == [b"second", b"x"], 10, "the late request")
    wait_for(lambda: proxy.counts["hung_up"] == 1, 10, "counted")


def test_a_held_answer(shop, proxy, client):
    rule = proxy.rule("hold", where="answer")
    done = []
    waiter = threading.Thread(target=lambda: done.append(post(client)))
    waiter.start()
    wait_for(lambda: shop.posted == [b"x"], 10, "the server has it")
    assert not done
    rule.release()
    waiter.join(10)
    assert done == [(200, b'{"held": 1}')]


def test_rules_are_asked_in_order_by_match_skip_times(shop, proxy, client):
    proxy.rule("throttle", match=lambda r: r.content == b"b", skip=1, times=1)
    proxy.rule("pass", match=lambda r: r.target == "/ok")
    proxy.rule("error_before", match=lambda r: r.content == b"c")
    said = [post(client, body, path)[0] for body, path in
            [(b"a", "/"), (b"b", "/"), (b"b", "/"), (b"b", "/"), (b"c", "/"), (b"c", "/ok")]]
    assert said == [200, 200, 429, 200, 503, 200]
    proxy.clear()
    assert post(client, b"c")[0] == 200


def test_chances_repeat_with_the_seed(shop):
    runs = []
    for seed in (5, 5, 6):
        with FaultProxy(shop.server_address, seed=seed) as p:
            p.rule("error_before", probability=0.5)
            c = http.client.HTTPConnection("127.0.0.1", p.port, timeout=10)
            runs.append([post(c)[0] for _ in range(40)])
            c.close()
    assert runs[0] == runs[1] != runs[2]
    assert 5 < runs[0].count(503) < 35


def test_a_server_that_is_down_or_closes(shop, proxy, client):
    assert post(client)[0] == 200
    assert post(client, path="/last")[0] == 200  # Connection: close is passed on, and kept to
    assert post(client)[0] == 200
    assert proxy.counts["connections"] == 2
    with FaultProxy(("127.0.0.1", shop.server_address[1])) as other:
        other.server = ("127.0.0.1", proxy._bind(0).getsockname()[1])
        c = http.client.HTTPConnection("127.0.0.1", other.port, timeout=10)
        assert isinstance(fails(c), (ConnectionError, http.client.RemoteDisconnected))
        assert other.counts["server_refused"] == 1


def test_refuse_and_accept(shop, proxy, client):
    assert post(client)[0] == 200
    proxy.refuse()
    assert post(client)[0] == 200  # what is open stays open
    for _ in range(3):
        assert isinstance(fails(client), ConnectionRefusedError)
    proxy.accept()
    assert post(client)[0] == 200


@pytest.mark.parametrize("reset", [False, True])
def test_cut_all(proxy, client, reset):
    assert post(client)[0] == 200
    rule = proxy.rule("hold", where="answer", times=1)
    seen = []

    def held():
        try:
            post(client)
        except (OSError, http.client.HTTPException) as e:
            seen.append(e)
    waiter = threading.Thread(target=held)
    waiter.start()
    wait_for(lambda: rule.hits == 1, 10, "held")
    proxy.cut_all(reset=reset)
    waiter.join(10)
    assert type(seen[0]) is (ConnectionResetError if reset else http.client.RemoteDisconnected)
    rule.release()
    client.close()
    assert post(client)[0] == 200


def test_cut_all_ends_idle_connections_too(proxy, client):
    assert post(client)[0] == 200
    proxy.cut_all()
    assert client.sock.recv(1) == b""


def test_hang(shop, proxy, client):
    assert post(client)[0] == 200
    proxy.hang()
    client.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        post(client)
    client.close()
    proxy.go()
    assert post(client)[0] == 200


def test_many_connections_at_once(shop, proxy):
    proxy.rule("cut_after", probability=0.2)
    got = []

    def work():
        c = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        for _ in range(25):
            try:
                got.append(post(c)[0])
            except (OSError, http.client.HTTPException):
                got.append(None)
                c.close()
        c.close()
    threads = [threading.Thread(target=work) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(got) == 300 == len(shop.posted) == proxy.counts["requests"]
    assert got.count(None) == proxy.counts["cut_after"] > 20
    assert got.count(200) == proxy.counts["pass"]


def test_nothing_is_left_after_stop(shop):
    before = threading.active_count()
    proxy = FaultProxy(shop.server_address).start()
    held = proxy.rule("hold", times=1)
    one = socket.create_connection(("127.0.0.1", proxy.port))
    one.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
    two = socket.create_connection(("127.0.0.1", proxy.port))
    wait_for(lambda: held.hits == 1 and proxy.counts["connections"] == 2, 10, "both are there")
    proxy.stop()
    assert shop.posted == []  # what was held is not let go by stopping
    wait_for(lambda: threading.active_count() <= before, 10, "threads")
    for s in (one, two):
        assert s.recv(1) == b""
        s.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))


def test_continue_is_answered_and_not_passed_on(shop, proxy):
    with socket.create_connection(("127.0.0.1", proxy.port)) as s:
        s.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"ab")
        assert s.recv(100).startswith(b"HTTP/1.1 200")
    assert shop.posted == [b"ab"]


def test_bad_rules_are_refused():
    with pytest.raises(ValueError, match="no fault 'cut'; there are: pass, cut_before"):
        faultproxy.Rule("cut")
    with pytest.raises(ValueError, match="no option"):
        faultproxy.Rule("cut_after", second=1)


def test_any_protocol():
    """kind="tcp": bytes pass both ways, half-closing too; cutting and hanging work."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo():
        for _ in range(2):
            with listener.accept()[0] as s, contextlib.suppress(ConnectionError):
                while data := s.recv(100):
                    s.sendall(data.upper())
                s.sendall(b"bye")
    threading.Thread(target=echo, daemon=True).start()
    with listener, FaultProxy(listener.getsockname(), kind="tcp") as p:
        with socket.create_connection(("127.0.0.1", p.port)) as s:
            s.sendall(b"abc")
            assert s.recv(10) == b"ABC"
            s.shutdown(socket.SHUT_WR)
            assert s.recv(10) == b"bye"
            assert s.recv(10) == b""
        with socket.create_connection(("127.0.0.1", p.port)) as s:
            s.sendall(b"abc")
            assert s.recv(10) == b"ABC"
            p.cut_all(reset=True)
            with pytest.raises(ConnectionResetError):
                s.recv(10)
