"""HTTP/1.1 messages as bytes, for the fault proxy: read whole, kept exactly as they came.

A message is its head (to the blank line) and its raw body: chunk framing stays as it is, so that what is
passed on is what was received. Nothing here decides anything.
"""
import re
import socket

MESSAGE_MAX = 16 << 20
HEAD_MAX = 64 << 10


class Closed(Exception):
    """The other side ended; `clean`: between two messages, nothing of a next one had come."""

    def __init__(self, clean):
        super().__init__("closed between messages" if clean else "closed in the middle of a message")
        self.clean = clean


class Head:
    """The first line and the headers of a message; names in lower case, the last one wins."""

    def __init__(self, raw: bytes):
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0]
        self.fields = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.fields[name.strip().lower()] = value.strip()

    def without(self, name: str) -> bytes:
        return re.sub(rb"(?im)^" + name.encode() + rb":[^\r]*\r\n", b"", self.raw)

    @property
    def length(self):
        value = self.fields.get("content-length")
        return int(value) if value is not None else None

    @property
    def chunked(self):
        return self.fields.get("transfer-encoding", "").lower().endswith("chunked")

    @property
    def closes(self):
        words = self.fields.get("connection", "").lower()
        return "close" in words or (self.first.endswith("HTTP/1.0") or
                                    self.first.startswith("HTTP/1.0")) and "keep-alive" not in words


class Reader:
    """Reads messages off a socket; what came too early stays here for the next one."""

    def __init__(self, sock: socket.socket):
        self.sock, self.buffer = sock, bytearray()

    def _more(self, clean=False):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(clean and not self.buffer)
        self.buffer += data
        if len(self.buffer) > MESSAGE_MAX:
            raise ValueError(f"a message of more than {MESSAGE_MAX} bytes")

    def head(self) -> Head:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > HEAD_MAX:
                raise ValueError(f"a head of more than {HEAD_MAX} bytes")
            self._more(clean=True)
        raw = bytes(self.buffer[:end + 4])
        del self.buffer[:end + 4]
        return Head(raw)

    def take(self, n) -> bytes:
        while len(self.buffer) < n:
            self._more()
        raw = bytes(self.buffer[:n])
        del self.buffer[:n]
        return raw

    def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        return self.take(end + 2)

    def chunks(self):
        """(raw with framing, content) of a chunked body, trailers included."""
        raw, content = bytearray(), bytearray()
        while True:
            size_line = self.line()
            raw += size_line
            size = int(size_line.split(b";")[0].strip(), 16)
            if size == 0:
                break
            part = self.take(size + 2)
            raw += part
            content += part[:-2]
            if len(raw) > MESSAGE_MAX:
                raise ValueError(f"a body of more than {MESSAGE_MAX} bytes")
        while (trailer := self.line()) != b"\r\n":
            raw += trailer
        return bytes(raw + b"\r\n"), bytes(content)

    def to_the_end(self) -> bytes:
        try:
            while True:
                self._more()
        except Closed:
            raw = bytes(self.buffer)
            self.buffer.clear()
            return raw

    def request_body(self, head: Head):
        """(raw, content)."""
        if head.chunked:
            return self.chunks()
        raw = self.take(head.length or 0)
        return raw, raw

    def answer(self, method: str):
        """(head, raw body, whether the connection can be used again); 1xx answers are left out."""
        while True:
            head = self.head()
            status = int(head.first.split(" ")[1])
            if status >= 200:
                break
        if method == "HEAD" or status in (204, 304):
            return head, b"", not head.closes
        if head.chunked:
            return head, self.chunks()[0], not head.closes
        if head.length is not None:
            return head, self.take(head.length), not head.closes
        return head, self.to_the_end(), False
