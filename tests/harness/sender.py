"""A sender that does what a good PSA does: signs, sends, and sends again with the same key until it is
told 202. Several threads, each with its own connection. Used by fault tests and soak."""
import http.client
import itertools
import threading
import time

from tests.harness import sign


class Sender:
    """Sends entries first..first+count-1 of a firm. accepted maps entry id -> event id."""

    def __init__(self, firm, first, count, threads=8, again=0.1):
        self.firm, self.again = firm, again
        self.numbers = iter(range(first, first + count))
        self.lock = threading.Lock()
        self.accepted, self.statuses, self.wrong = {}, {}, []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._work) for _ in range(threads)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def join(self, seconds):
        deadline = time.monotonic() + seconds
        for t in self.threads:
            t.join(max(0.1, deadline - time.monotonic()))
        alive = [t for t in self.threads if t.is_alive()]
        self.stopped.set()
        for t in alive:
            t.join(30)
        return not alive

    def _next(self):
        with self.lock:
            return next(self.numbers, None)

    def _work(self):
        connection = None
        while not self.stopped.is_set() and (n := self._next()) is not None:
            data = self.firm.entry(n)
            body = sign.cloudevent(f"evt-{n}", data)
            for attempt in itertools.count():
                if self.stopped.is_set():
                    break
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection("127.0.0.1", self.firm.port,
                                                                timeout=10)
                    h = sign.webhook_headers(self.firm.secret, f"msg-{n}", body)
                    h["Content-Type"] = "application/cloudevents+json"
                    connection.request("POST", "/hooks/acme/psa", body, h)
                    answer = connection.getresponse()
                    text = answer.read()
                    self._note(data["id"], answer, text)
                    if answer.status == 202 and (attempt or n % 10 >= self.again * 10):
                        break  # one in ten is delivered twice in any case
                except (OSError, http.client.HTTPException):
                    if connection is not None:
                        connection.close()
                    connection = None
                    self.stopped.wait(0.02)
                    continue
                if answer.status not in (202, 429, 503):
                    break
                if answer.status == 429:
                    self.stopped.wait(int(answer.headers["Retry-After"]))

    def _note(self, entry, answer, text):
        with self.lock:
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            if answer.status == 202:
                event = answer.headers["Location"].rsplit("/", 1)[1]
                if self.accepted.setdefault(entry, event) != event:
                    self.wrong.append(f"{entry}: {self.accepted[entry]} and {event}")
            elif answer.status not in (429, 503):
                self.wrong.append(f"{entry}: {answer.status} {text[:200]}")
