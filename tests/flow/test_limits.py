"""What keeps postings back, end to end: a 4xx is no outage, an outage or a wait uses up nothing and asks nobody,
a Retry-After is obeyed by all who share the account, never early, and outlives kill -9."""
import json
import sqlite3
import time

from tests.flow.test_http_json import UPSERT, breaker, erp, posting, send, settle
from tests.harness import stack
from tests.harness.faultproxy import FaultProxy
from tests.harness.rest import Rest

ATTEMPTS_MAX = 12  # TG_RETRY_ATTEMPTS_MAX
REJECTED = (422, {}, {"error": {"message": "no such project here"}})


def sql(firm, query):
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def at_erp(firm, column):
    return [value for (value,) in sql(firm, f"SELECT {column} FROM postings p JOIN destinations d "
                                            "ON d.id = p.destination WHERE d.name = 'acme/erp'")]


def destinations(firm):
    done = firm.orchestrator.run("destinations", "list", "--json", "-c", firm.yaml)
    assert done.returncode == 0, done.stderr
    return {d["destination"]: d for d in json.loads(done.stdout)["destinations"]}


def two_of_one_account(make_firm, url, **more):
    """erp and payroll at one system, under one account; its limits are said at erp."""
    firm = make_firm(start=False, erp=erp(url, UPSERT, account="shared", **more))
    text = firm.yaml.read_text()
    line = next(part for part in text.splitlines() if "payroll:" in part)
    payroll = {"connector": "http-json", "url": url, "allow": ["127.0.0.1"], "timeout": "5s",
               "options": UPSERT, "account": "shared"}
    firm.yaml.write_text(text.replace(line, f"      payroll: {json.dumps(payroll)}"))
    return firm.start()


def test_a_4xx_never_opens_the_breaker(make_firm):
    """More refusals in a row than the failures that would open it; what comes next is posted at once."""
    with Rest() as rest:
        rest.answers.extend([REJECTED] * 12)
        firm = make_firm(erp=erp(rest.url, UPSERT, concurrency=1))
        events = [send(firm)[1] for _ in range(15)]

        def all_asked():
            assert breaker(firm) == 0
            return rest.count("PUT") >= 15
        stack.wait_for(all_asked, 30, "every posting was sent")
        states = [posting(settle(firm, e))["state"] for e in events]
        assert sorted(states) == ["exception"] * 12 + ["posted"] * 3
        assert [e["code"] for e in firm.exceptions()] == ["destination_rejected"] * 12
        assert rest.count("PUT") == 15, "and none of them twice"
        assert destinations(firm)["erp"]["breaker"] == "closed"


def test_an_open_breaker_uses_up_nothing_and_asks_nobody(make_firm):
    with Rest() as rest, FaultProxy(("127.0.0.1", rest.port)) as proxy:
        proxy.refuse()
        firm = make_firm(erp=erp(proxy.url, UPSERT))
        events = [send(firm)[1] for _ in range(8)]
        stack.wait_for(lambda: breaker(firm) == 2, 30, "it opens")

        def downs():
            return sql(firm, "SELECT count(*) FROM attempts WHERE outcome = 'down'")[0][0]
        before = downs()
        stack.wait_for(lambda: downs() > before, 60, "a probe found it down and opened it again")
        stack.wait_for(lambda: breaker(firm) == 2, 30, "it is open again")
        assert set(at_erp(firm, "p.attempt")) == {0}
        assert firm.exceptions() == []
        shown = destinations(firm)["erp"]
        assert (shown["breaker"], shown["open"], shown["in_flight"]) == ("open", 8, 0)
        assert rest.requests == []
        proxy.accept()
        for event in events:
            assert posting(settle(firm, event, 90))["state"] == "posted"
        assert set(at_erp(firm, "p.attempt")) == {1}
        assert sorted(rest.executed.values()) == [1] * 8
        assert firm.exceptions() == []


def test_more_waits_than_attempts(make_firm):
    """A destination that says 429 more often than a posting may be tried."""
    times = ATTEMPTS_MAX + 2
    with Rest() as rest:
        rest.answers.extend([(429, {"Retry-After": "1"}, None)] * times)
        firm = make_firm(erp=erp(rest.url, UPSERT))
        _, event = send(firm)
        assert posting(settle(firm, event, 90))["state"] == "posted"
        assert at_erp(firm, "p.attempt") == [1]
        assert firm.exceptions() == []
        assert all(b - a >= 0.999 for a, b in zip(rest.came, rest.came[1:])), "none came early"
        assert len(rest.came) == times + 1


def test_a_wait_is_the_accounts_and_outlives_kill_9(make_firm):
    with Rest() as rest:
        rest.answers.append((429, {"Retry-After": "6"}, None))
        firm = two_of_one_account(make_firm, rest.url, concurrency=1)
        events = [send(firm)[1] for _ in range(4)]
        stack.wait_for(lambda: sql(firm, "SELECT until_ms FROM throttles"), 20, "it is on disk")
        until = sql(firm, "SELECT max(until_ms) FROM throttles")[0][0] / 1000
        firm.orchestrator.kill()
        firm.orchestrator.start()
        firm.edge_ready()
        shown = destinations(firm)
        assert shown["erp"]["asked_to_wait_until"] == shown["payroll"]["asked_to_wait_until"] is not None
        assert shown["erp"]["account"] == shown["payroll"]["account"] == "shared"
        events += [send(firm)[1] for _ in range(2)]
        for event in events:
            with firm.client() as c:
                assert firm.settled(c, event, 60)["stage"] == "posted"
        assert len([t for t in rest.came if t < until]) == 1, "the one that was told to wait"
        assert until - rest.came[0] >= 5.999, "times are in milliseconds"
        assert rest.count("PUT") == 13
        assert firm.exceptions() == []


def test_an_account_is_one_limit_for_all_of_it(make_firm):
    """Slots and rate are shared; both destinations get on all the time."""
    with Rest() as rest:
        rest.pause_s = 0.05
        firm = two_of_one_account(make_firm, rest.url, concurrency=2, rate="20/s")
        events = [send(firm)[1] for _ in range(20)]
        for event in events:
            with firm.client() as c:
                assert firm.settled(c, event, 60)["stage"] == "posted"
        assert rest.busiest <= 2
        assert rest.count("PUT") == 40
        spread = sorted(rest.came)
        assert spread[-1] - spread[0] >= (40 - 2) / 20 * 0.99, "20 a second, two at once"
        bodies = [json.loads(body) for _, _, _, body in rest.requests]
        first_half = ["pay_code" in b for b in bodies[:20]]
        assert 5 <= sum(first_half) <= 15, "by turns"
