"""http-json from the webhook to a REST destination, with every process real: once, whatever breaks."""
import collections
import json
import os
import random
import threading
import time
import uuid

import pytest

from tests.harness import stack
from tests.harness.faultproxy import FaultProxy
from tests.harness.rest import Rest

IDEMPOTENT = {"path": "/labor", "dedupe": "idempotency", "ttl": "86400", "lookup_path": "/labor?key={key}",
              "lookup_list": "items"}
UPSERT = {"path": "/labor/{key}", "method": "PUT", "dedupe": "unique"}
LOOKED_UP = {"path": "/labor", "dedupe": "lookup_only", "key_field": "external_id",
             "lookup_path": "/labor/{key}"}


def number():
    return uuid.uuid4().int % 900000 + 100000


def erp(url, options, **more):
    """The destination as the YAML of a firm."""
    keys = {"connector": "http-json", "url": url, "allow": ["127.0.0.1"], "options": options,
            "concurrency": 16, "timeout": "5s"} | more
    return json.dumps(keys)[1:-1]


def posting(story):
    (obj,) = story["objects"]
    return next(p for p in obj["postings"] if p["destination"] == "erp")


def send(firm, **kw):
    with firm.client() as c:
        data = firm.entry(number(), **kw)
        answer = firm.hook(c, data)
        assert answer.status_code == 202
        return data, answer.json()["id"]


def settle(firm, event, seconds=40):
    with firm.client() as c:
        return firm.settled(c, event, seconds)


@pytest.mark.parametrize("options", [IDEMPOTENT, UPSERT, LOOKED_UP],
                         ids=["idempotency", "upsert", "lookup_only"])
def test_a_posting_arrives_once_and_its_reference_comes_back(make_firm, options):
    with Rest() as rest:
        firm = make_firm(erp=erp(rest.url, options))
        data, event = send(firm)
        p = posting(settle(firm, event))
        assert p["state"] == "posted"
        assert p["ref"] == "1"
        assert rest.keys() == [p["key"]]
        (body,) = rest.bodies()
        assert body["entry"] == data["id"]
        assert rest.count("POST") + rest.count("PUT") == 1


def test_an_answer_that_was_lost_is_looked_up_and_not_sent_again(make_firm):
    with Rest(dedupe=False) as rest, FaultProxy(("127.0.0.1", rest.port)) as proxy:
        proxy.rule("cut_after", times=1, match=lambda r: r.method == "POST")
        firm = make_firm(erp=erp(proxy.url, LOOKED_UP))
        _, event = send(firm)
        p = posting(settle(firm, event))
        assert p["state"] == "posted"
        assert proxy.counts["cut_after"] == 1
        assert rest.keys() == [p["key"]]
        assert (rest.count("POST"), rest.count("GET")) == (1, 1)


def test_a_request_that_never_arrived_becomes_a_persons_question_where_a_repeat_is_not_safe(make_firm):
    with Rest(dedupe=False) as rest, FaultProxy(("127.0.0.1", rest.port)) as proxy:
        proxy.rule("cut_before", times=1, match=lambda r: r.method == "POST")
        firm = make_firm(erp=erp(proxy.url, LOOKED_UP))
        _, event = send(firm)
        p = posting(settle(firm, event, 90))
        assert p["state"] == "exception"
        assert rest.keys() == [] and rest.count("POST") == 0
        assert [e["code"] for e in firm.exceptions()] == ["outcome_unknown"]


def test_a_repeat_is_sent_where_the_destination_knows_the_key(make_firm):
    with Rest() as rest, FaultProxy(("127.0.0.1", rest.port)) as proxy:
        proxy.rule("cut_before", times=1, match=lambda r: r.method == "POST")
        firm = make_firm(erp=erp(proxy.url, IDEMPOTENT))
        _, event = send(firm)
        assert posting(settle(firm, event))["state"] == "posted"
        assert sum(rest.executed.values()) == 1


def test_a_throttled_destination_is_left_alone_for_as_long_as_it_says(make_firm):
    with Rest() as rest:
        rest.answers.append((429, {"Retry-After": "3"}, None))
        firm = make_firm(erp=erp(rest.url, UPSERT, concurrency=1))
        began = time.monotonic()
        events = [send(firm)[1] for _ in range(3)]
        for event in events:
            assert posting(settle(firm, event))["state"] == "posted"
        assert time.monotonic() - began >= 3
        assert rest.count("PUT") == 4


def test_a_rejection_opens_an_exception_with_the_destinations_words(make_firm):
    with Rest() as rest:
        rest.answers.append((422, {}, {"error": {"message": "the period is closed"}}))
        firm = make_firm(erp=erp(rest.url, UPSERT))
        _, event = send(firm)
        assert posting(settle(firm, event))["state"] == "exception"
        (row,) = firm.exceptions()
        assert row["code"] == "destination_rejected"
        shown = firm.orchestrator.run("exceptions", "list", "-c", firm.yaml, "--json").stdout
        assert "422: the period is closed" in shown
        assert rest.keys() == []


def test_while_it_is_down_postings_wait_and_nobody_is_asked(make_firm):
    with Rest() as rest, FaultProxy(("127.0.0.1", rest.port)) as proxy:
        proxy.refuse()
        firm = make_firm(erp=erp(proxy.url, UPSERT))
        events = [send(firm)[1] for _ in range(8)]
        stack.wait_for(lambda: breaker(firm) == 2, 30, "breaker open")
        assert firm.exceptions() == []
        proxy.accept()
        for event in events:
            assert posting(settle(firm, event, 60))["state"] == "posted"
        assert sorted(rest.executed.values()) == [1] * 8


def breaker(firm):
    for line in firm.orchestrator.get("/metrics")[2].decode().splitlines():
        if line.startswith("tallygate_destination_breaker") and 'acme/erp"' in line:
            return int(float(line.rsplit(" ", 1)[1]))
    return None


@pytest.mark.parametrize("options", [IDEMPOTENT, UPSERT], ids=["idempotency", "upsert"])
def test_kill_minus_nine_and_a_bad_line_make_no_double_and_no_loss(make_firm, options):
    """SIGKILL of the orchestrator while answers are cut, delayed and turned into 500 after posting."""
    rng = random.Random(int(os.environ.get("TG_FAULT_SEED", "0")) or None)
    count = int(os.environ.get("TG_HTTP_EVENTS", "150"))
    with Rest() as rest, FaultProxy(("127.0.0.1", rest.port), seed=rng.randrange(1 << 30)) as proxy:
        for fault in ("cut_before", "cut_after", "cut_body", "error_after"):
            proxy.rule(fault, probability=0.05)
        proxy.rule("delay", probability=0.2, seconds=0.05)
        firm = make_firm(erp=erp(proxy.url, options))
        events, done = [], threading.Event()

        def sender():
            for _ in range(count):
                events.append(send(firm)[1])
            done.set()

        thread = threading.Thread(target=sender)
        thread.start()
        kills = 0
        while not done.is_set() or kills < 3:
            done.wait(rng.uniform(0.1, 1.0))
            firm.orchestrator.kill()
            kills += 1
            firm.orchestrator.start()
        thread.join()
        proxy.clear()
        states = collections.Counter(posting(settle(firm, e, 120))["state"] for e in events)
        assert states == {"posted": count}
        twice = [k for k, n in collections.Counter(rest.keys()).items() if n != 1]
        assert not twice
        assert len(rest.keys()) == count
        if options is IDEMPOTENT:
            assert set(rest.executed.values()) == {1}
