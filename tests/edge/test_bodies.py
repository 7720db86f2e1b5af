"""Bodies as the network brings them: chunked, pipelined, too large, cut short, slow."""
import collections
import json
import signal
import socket
import uuid

import h2.connection
import h2.events
import httpx
import pytest

from tests.edge.conftest import SLOW, assert_problem, curl, default_config
from tests.harness import h2wire
from tests.harness.stack import wait_for


def connect(edge):
    return socket.create_connection(("127.0.0.1", edge.port), timeout=20 * SLOW)


def head(edge, extra, path="/v1/events", key=None):
    return (f"POST {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {edge.token()}\r\n"
            f"Content-Type: application/cloudevents+json\r\n"
            f"Idempotency-Key: {key or uuid.uuid4()}\r\n{extra}\r\n").encode()


def read_answer(f):
    """(status, headers, body) of one HTTP/1.1 answer from a buffered reader."""
    line = f.readline()
    if not line:
        return None
    headers = {}
    while (h := f.readline().strip()):
        name, value = h.decode().split(":", 1)
        headers[name.lower()] = value.strip()
    body = f.read(int(headers.get("content-length", 0)))
    return int(line.split()[1]), headers, body


@pytest.mark.valgrind
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked(edge, size):
    body = edge.event(data={"text": "x" * 3000})
    with connect(edge) as s:
        s.sendall(head(edge, "Transfer-Encoding: chunked\r\n"))
        for i in range(0, len(body), size):
            piece = body[i:i + size]
            s.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        s.sendall(b"0\r\n\r\n")
        status, _, answer = read_answer(s.makefile("rb"))
    assert status == 202
    event = json.loads(answer)["id"]
    stored = {f"s{n:02}-{i}": f for n, i, f in edge.redis.entries()}[event]
    assert stored["body"] == body


@pytest.mark.valgrind
def test_pipelined(edge):
    """Five requests in one write, good and refused mixed: five answers in order."""
    good = edge.event()
    requests = b""
    for n in range(5):
        if n == 2:
            requests += (b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello")
        else:
            requests += head(edge, f"Content-Length: {len(good)}\r\n") + good
    with connect(edge) as s:
        s.sendall(requests)
        f = s.makefile("rb")
        assert [read_answer(f)[0] for _ in range(5)] == [202, 202, 401, 202, 202]


def test_expect_100(edge):
    body = edge.event()
    with connect(edge) as s:
        s.sendall(head(edge, f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n"))
        f = s.makefile("rb")
        assert f.readline().startswith(b"HTTP/1.1 100")
        assert f.readline() == b"\r\n"
        s.sendall(body)
        assert read_answer(f)[0] == 202


def test_byte_by_byte(edge):
    body = edge.event()
    data = head(edge, f"Content-Length: {len(body)}\r\n") + body
    with connect(edge) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
        assert read_answer(s.makefile("rb"))[0] == 202


def refused_for_size(edge):
    return edge.metric("tallygate_edge_refused_total", 'code="body_too_large"')


@pytest.mark.parametrize("size", [70_000, 10 << 20])
def test_too_large_by_length(edge, size):
    added, refused = edge.redis.added(), refused_for_size(edge)
    said = curl("-w", "%{http_code}", "--data-binary", "@-", edge.base + "/v1/events",
                input="x" * size).stdout
    assert said.endswith("413"), said[-200:]
    assert json.loads(said[:-3])["code"] == "body_too_large"
    assert edge.redis.added() == added
    assert refused_for_size(edge) == refused + 1


@pytest.mark.parametrize("say_length", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize("size", [70_000, 10 << 20])
def test_too_large_over_http2(edge, size, say_length):
    """The whole answer comes before the stream is reset, whatever of the body is on its way."""
    added, refused = edge.redis.added(), refused_for_size(edge)
    answer = h2wire.post(edge.h2_port, "/v1/events", b" " * size, say_length=say_length, headers={
        "Authorization": f"Bearer {edge.token()}", "Idempotency-Key": str(uuid.uuid4()),
        "Content-Type": "application/cloudevents+json"})
    assert answer.status == 413, vars(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["code"] == "body_too_large" and "65536 bytes" in document["detail"]
    assert edge.redis.added() == added
    assert refused_for_size(edge) == refused + 1


def test_too_large_chunked(edge):
    with connect(edge) as s:
        s.sendall(head(edge, "Transfer-Encoding: chunked\r\n"))
        try:
            for _ in range(20):
                s.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            s.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # it may hang up on us
        answer = read_answer(s.makefile("rb"))
    assert answer is None or answer[0] == 413


def test_ten_megabytes(edge):
    with connect(edge) as s:
        s.sendall(head(edge, f"Content-Length: {10 << 20}\r\n"))
        assert read_answer(s.makefile("rb"))[0] == 413


@pytest.mark.valgrind
def test_cut_short(edge):
    """The client leaves in the middle of the body: nothing is published, the worker lives."""
    workers, added = edge.nginx.workers(), edge.redis.added()
    body = edge.event()
    for part in (0, 10, len(body) - 1):
        with connect(edge) as s:
            s.sendall(head(edge, f"Content-Length: {len(body)}\r\n") + body[:part])
    with edge.client() as c:
        assert edge.post(c).status_code == 202
    assert edge.nginx.workers() == workers
    assert edge.redis.added() == added + 1


def test_bad_chunks(edge):
    added = edge.redis.added()
    with connect(edge) as s:
        s.sendall(head(edge, "Transfer-Encoding: chunked\r\n") + b"zz\r\nhello\r\n")
        assert read_answer(s.makefile("rb"))[0] == 400
    assert edge.redis.added() == added


def test_refused_before_the_body_is_read(edge):
    """No token: the answer comes while the body is still outstanding."""
    with connect(edge) as s:
        s.sendall(b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n")
        status, headers, body = read_answer(s.makefile("rb"))
    assert status == 401
    assert json.loads(body)["code"] == "token_missing"


def test_h2_body_in_many_frames(edge):
    def pieces():
        body = edge.event(data={"text": "y" * 5000})
        for i in range(0, len(body), 100):
            yield body[i:i + 100]
    with edge.client(h2=True) as c:
        answer = c.post("/v1/events", content=pieces(), headers={
            "Authorization": f"Bearer {edge.token()}", "Idempotency-Key": str(uuid.uuid4()),
            "Content-Type": "application/cloudevents+json"})
    assert answer.status_code == 202


def test_head_and_options(edge, client):
    token = edge.token()
    answer = client.head("/v1/events", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 405 and answer.content == b""
    assert_problem(client.options("/v1/events", headers={"Authorization": f"Bearer {token}"}), 405,
                   "method_not_allowed")


def error_pages(secrets, page):
    """A configuration whose answer to 413 is another location, where the server's rate holds."""
    def config(e, **kw):
        text = default_config(e, server=f"""
            tally_rate 100r/s burst=100 key=$remote_addr name=address;
            error_page 413 {page};
            location = /413.html {{ root {e.dir}; }}
            location @again {{ tally_auth main; tally_publish cloudevents; }}
            """, **kw)
        if not secrets:
            begin, end = text.index("location ~ ^/hooks/"), text.index("location = /v1/events")
            text = text[:begin] + text[end:]
            text = "".join(x for x in text.splitlines(True) if "tally_secrets" not in x)
        return text
    return config


def send_chunked(edge, h2, first=b""):
    """A body over the limit that does not say its length; (status, text), or None: it hung up."""
    if h2:
        with edge.client(h2=True) as c:
            try:
                a = c.post("/v1/events", content=iter([first] + [b" " * 4096] * 20), headers={
                    "Authorization": f"Bearer {edge.token()}", "Idempotency-Key": str(uuid.uuid4()),
                    "Content-Type": "application/cloudevents+json"})
            except httpx.RemoteProtocolError:
                return None
        return a.status_code, a.text
    with connect(edge) as s:
        s.sendall(head(edge, "Transfer-Encoding: chunked\r\n"))
        try:
            for piece in [first] * bool(first) + [b" " * 4096] * 20:
                s.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            s.sendall(b"0\r\n\r\n")
            answer = read_answer(s.makefile("rb"))
        except OSError:
            return None  # it may hang up on us
    return answer and (answer[0], answer[2].decode())


@pytest.mark.valgrind
@pytest.mark.parametrize("secrets", [True, False], ids=["secrets", "no-secrets"])
@pytest.mark.parametrize("h2", [False, True], ids=["http1", "http2"])
def test_too_large_and_an_error_page(make_edge, h2, secrets):
    """error_page leads to a location with a rate and no signature: its page, and a whole worker."""
    edge = make_edge(config=error_pages(secrets, "/413.html"))
    (edge.dir / "413.html").write_text("too much")
    workers, added = edge.nginx.workers(), edge.redis.added()
    for _ in range(3):
        answer = send_chunked(edge, h2)
        assert answer in ((413, "too much"), None)

    def shown():
        return [f for f in edge.facts() if f["uri"] == "/413.html"]
    wait_for(lambda: len(shown()) == 3, 10 * SLOW, "three pages in the log")
    assert {(f["status"], f["decision"]) for f in shown()} == {(413, "passed")}
    with edge.client() as c:
        assert edge.post(c).status_code == 202
    assert edge.nginx.workers() == workers
    assert edge.redis.added() == added + 1


@pytest.mark.parametrize("h2", [False, True], ids=["http1", "http2"])
def test_half_a_body_is_not_published(make_edge, h2):
    """error_page leads to a location that publishes: what was read so far is no event."""
    edge = make_edge(config=error_pages(True, "= @again"))
    workers, added = edge.nginx.workers(), edge.redis.added()
    answer = send_chunked(edge, h2, first=edge.event())
    if answer:
        assert answer[0] == 413
        assert json.loads(answer[1])["code"] == "body_too_large"
    with edge.client() as c:
        assert edge.post(c).status_code == 202
    assert edge.nginx.workers() == workers
    assert edge.redis.added() == added + 1


def leave_h1(edge, key, body):
    with connect(edge) as s:
        s.sendall(head(edge, f"Content-Length: {len(body)}\r\n", key=key) + body)
        s.shutdown(socket.SHUT_WR)
        s.recv(1)  # the edge has seen both, and hangs up or answers


def leave_h2(edge, key, body):
    """A stream that is reset after its body was read; the connection goes on."""
    conn = h2.connection.H2Connection()

    def ping(s, name):
        """Returns when the edge has worked on all that was sent before."""
        conn.ping(name)
        s.sendall(conn.data_to_send())
        while not any(isinstance(e, h2.events.PingAckReceived)
                      for e in conn.receive_data(s.recv(65536))):
            s.sendall(conn.data_to_send())

    with socket.create_connection(("127.0.0.1", edge.h2_port), timeout=20 * SLOW) as s:
        conn.initiate_connection()
        conn.send_headers(1, [
            (":method", "POST"), (":path", "/v1/events"), (":scheme", "http"), (":authority", "t"),
            ("authorization", f"Bearer {edge.token()}"), ("idempotency-key", key),
            ("content-type", "application/cloudevents+json")])
        conn.send_data(1, body, end_stream=True)
        ping(s, b"tally-01")
        conn.reset_stream(1)
        ping(s, b"tally-02")


@pytest.mark.valgrind
@pytest.mark.parametrize("leave", [leave_h1, leave_h2], ids=["http1", "http2"])
def test_client_leaves_while_waiting(make_edge, leave):
    """Redis holds its answer and the client leaves: an event that was sent on is there once, never
    twice, and the worker lives."""
    edge = make_edge()
    workers = edge.nginx.workers()
    keys = [f"left-{uuid.uuid4()}" for _ in range(5)]
    edge.redis.process.send(signal.SIGSTOP)
    try:
        for key in keys:
            leave(edge, key, edge.event(event_id=key))
    finally:
        edge.redis.process.send(signal.SIGCONT)

    def accepted():
        with edge.client() as c:
            return edge.post(c).status_code == 202
    wait_for(accepted, 20 * SLOW, "accepts again")
    stored = collections.Counter(f["key"].decode() for _, _, f in edge.redis.entries())
    assert [k for k in keys if stored[k]], "no request reached Redis"
    assert all(stored[k] <= 1 for k in keys), stored
    assert edge.nginx.workers() == workers
