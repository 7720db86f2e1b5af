"""Redis is full: what is new is refused as `backlog`, what is known is answered, and the orchestrator
empties the stream all the same, also one that starts only then: it is what makes room again."""
from tests.harness.stack import wait_for


def refused(answer):
    assert answer.status_code == 503, answer.text
    body = answer.json()
    assert body["code"] == "backlog" and "memory" in body["detail"], body
    assert int(answer.headers["Retry-After"]) >= 1
    return True


def test_a_full_redis_is_emptied(make_firm):
    firm = make_firm(edit_nginx=lambda c: c.replace("tally_rate 200r/s burst=400 name=validate;",
                                                    "tally_rate 200r/s burst=400 name=validate;\n"
                                                    "            tally_failure rate=deny;"))
    admin = firm.redis.client()
    with firm.client() as c:
        firm.settled(c, firm.hook(c, firm.entry(1)).json()["id"])
        assert firm.orchestrator.stop() == 0
        waiting = [firm.hook(c, firm.entry(n)).json()["id"] for n in (2, 3)]
        admin.config_set("maxmemory", "1mb")
        assert refused(firm.hook(c, firm.entry(4)))
        assert refused(firm.send(c, firm.entry(5)))
        assert refused(firm.validate(c, firm.entry(6)))
        again = firm.hook(c, firm.entry(3))
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
        assert any('code="backlog"} ' in x and not x.endswith(" 0") for x in metrics(firm))

        firm.nginx.reload()  # workers that meet a full Redis when they connect
        wait_for(lambda: firm.hook(c, firm.entry(3)).status_code == 202, 20, "the replay again")
        assert refused(firm.hook(c, firm.entry(4)))

        firm.orchestrator.start()
        for event in waiting:
            assert firm.settled(c, event)["stage"] == "posted"
        admin.config_set("maxmemory", "1gb")
        assert firm.hook(c, firm.entry(4)).status_code == 202


def metrics(firm):
    with firm.client() as c:
        return c.get("/metrics/edge").text.splitlines()
