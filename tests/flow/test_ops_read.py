"""Reading under /v1/ops through the edge: whose it is, page by page while the journal grows, and what is refused."""
import json
import sqlite3
import threading
from urllib.parse import quote

import pytest

from tests.harness import stack
from tests.harness.firm import Firm

MANY = 1200
BURST = 50  # entries of one batch
LISTS = {"exceptions": "exceptions", "postings": "postings", "audit": "audit",
         "reconciliation": "reconciliation"}

ZETA = """\
  - id: zeta
    sources: {{ psa: {{ decoder: canonical, uri: "urn:zeta:psa", clients: [ svc-zeta ] }} }}
    master:   {d}/master.json
    calendar: {d}/calendar.yaml
    destinations: {{ erp: {{ connector: file, path: {d}/out/zeta }}, payroll: {{ connector: file, path: {d}/out/zetapay }} }}
"""


def more_room(conf):
    """The rates of people's calls are not what is tested here."""
    return conf.replace("tally_rate 20r/s burst=40 name=ops", "tally_rate 2000r/s burst=4000 name=ops") \
        .replace("tally_rate 500r/s burst=1000 name=tenant", "tally_rate 5000r/s burst=10000 name=tenant")


@pytest.fixture(scope="module")
def firm():
    f = Firm("opsread", edit_nginx=more_room)
    f.yaml.write_text(f.yaml.read_text() + ZETA.format(d=f.dir))
    f.start()
    yield f
    found = f.stop()
    f.remove()
    assert not found


def get(firm, client, path, scope="ops:read", tenant="acme", **params):
    token = firm.token(scope, client="ops-anna", tenant=tenant)
    query = "&".join(f"{k}={quote(str(v), safe='')}" for k, v in params.items())
    return client.get(f"/v1/ops/{path}{'?' + query if query else ''}",
                      headers={"Authorization": f"Bearer {token}"})


def pages(firm, client, name, between=None, **params):
    """All rows of a list, and in how many pages."""
    rows, cursor, count = [], None, 0
    while True:
        more = {"cursor": cursor} if cursor else {}
        answer = get(firm, client, name, **params, **more)
        assert answer.status_code == 200, answer.text
        rows += answer.json()[LISTS[name]]
        count += 1
        cursor = answer.json()["next"]
        if cursor is None:
            return rows, count
        if between:
            between(count)


def send(firm, client, numbers, **data):
    return [firm.send(client, firm.entry(n, **data)).json()["id"] for n in numbers]


def journal(firm, sql, *args):
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    try:
        return db.execute(sql, args).fetchall()
    finally:
        db.close()


@pytest.fixture(scope="module")
def filled(firm):
    """MANY good entries, 40 whose worker nobody knows, all settled."""
    with firm.client() as c:
        send(firm, c, range(MANY))
        bad = send(firm, c, range(5000, 5040), worker="W-nobody")
        stack.wait_for(lambda: journal(firm, "SELECT count(*) FROM postings WHERE state = 6")
                       == [(2 * MANY,)], 120, "all are posted")
        stack.wait_for(lambda: len(pages(firm, c, "exceptions", limit=500)[0]) == 40, 20, "exceptions")
    return bad


def test_postings_come_once_each_while_more_come_in(firm, filled):
    stop, sent = threading.Event(), []

    def go_on():
        with firm.client() as mine:
            n = 10_000
            while not stop.is_set() and n < 10_400:
                assert firm.send(mine, firm.entry(n)).status_code == 202
                sent.append(n)
                n += 1
    thread = threading.Thread(target=go_on)
    with firm.client() as c:
        thread.start()
        try:
            rows, count = pages(firm, c, "postings", limit=37)
        finally:
            stop.set()
            thread.join()
        keys = [r["key"] for r in rows]
        assert len(keys) == len(set(keys)) and count > 2 * MANY // 37
        old = {r["key"] for r in rows if int(r["subject"][3:9]) < 5000}
        assert len(old) == 2 * MANY, "what was there at the beginning is there"
        assert sent, "entries came in meanwhile"
        events = journal(firm, "SELECT count(*) FROM events WHERE state = 1")[0][0]
        assert events >= MANY
    stack.wait_for(lambda: journal(firm, "SELECT count(*) FROM postings WHERE state <> 6") == [(0,)], 60,
                   "the new ones are posted")


def test_exceptions_come_once_each_while_more_come_in(firm, filled):
    with firm.client() as c:
        new = iter(range(5100, 5200))

        def one_more(page):
            if page <= 20:
                send(firm, c, [next(new)], worker="W-nobody")
        rows, _ = pages(firm, c, "exceptions", one_more, limit=3)
        ids = [r["id"] for r in rows]
        assert ids == sorted(set(ids)), "the oldest first, once each"
        assert {f"TE-{n:06}@1" for n in range(5000, 5040)} <= {r["subject"] for r in rows}


def test_an_exception_as_its_owner_sees_it(firm, filled):
    with firm.client() as c:
        rows, _ = pages(firm, c, "exceptions", subject="TE-005003", limit=5)
        assert len(rows) == 1
        row = rows[0]
        assert (row["code"], row["owner"], row["state"]) == ("worker_unknown", "master-data", "open")
        assert row["subject"] == "TE-005003@1" and row["event"] == filled[3]
        assert row["runbook"] == "docs/runbooks/worker_unknown.md" and row["title"]
        assert row["detail"]["message"] and row["assignee"] is None
        assert get(firm, c, f"exceptions/{row['id']}").json() == row
        assert pages(firm, c, "exceptions", subject=filled[3])[0] == rows
        done = firm.orchestrator.run("exceptions", "show", str(row["id"]), "--json", "-c", firm.yaml)
        assert json.loads(done.stdout) == row, "the command says the same"
        for params, n in (({"code": "period_closed"}, 0), ({"owner": "master-data", "limit": 500}, 40),
                          ({"state": "all", "code": "worker_unknown", "limit": 500}, 40),
                          ({"state": "discarded"}, 0), ({"assignee": "ops-anna"}, 0),
                          ({"until": "2020-01-01T00:00:00Z"}, 0),
                          ({"since": "2020-01-01T00:00:00+00:00", "limit": 500}, 40)):
            found = pages(firm, c, "exceptions", **params)[0]
            assert len(found) >= n if n else found == [], params


def test_a_posting_with_its_way(firm, filled):
    with firm.client() as c:
        rows, _ = pages(firm, c, "postings", subject="TE-000007@1", limit=1)
        assert {r["destination"] for r in rows} == {"erp", "payroll"} and len(rows) == 2
        assert pages(firm, c, "postings", subject="time_entry/TE-000007")[0] == rows
        assert pages(firm, c, "postings", subject="TE-000007@2")[0] == []
        labor = next(r for r in rows if r["destination"] == "erp")
        assert labor["state"] == "posted" and labor["quantity"] == "1.25"
        one = get(firm, c, f"postings/{labor['key']}").json()
        assert {k: one[k] for k in labor} == labor
        assert [a["outcome"] for a in one["attempts"]][-1] == "posted"
        assert one["generations"] == [{k: labor[k] for k in ("key", "generation", "state", "ref")}]
        assert one["reversed_by"] == [] and one["exceptions"] == []
        story = firm.status(c, one["event"]).json()
        assert labor["key"] in [p["key"] for o in story["objects"] for p in o["postings"]]
        only = pages(firm, c, "postings", destination="payroll", state="posted", limit=500)[0]
        assert {r["destination"] for r in only} == {"payroll"}
        assert pages(firm, c, "postings", destination="nope")[0] == []
        assert pages(firm, c, "postings", state="open")[0] == []


def test_a_correction_links_both_ways(firm, filled):
    with firm.client() as c:
        firm.settled(c, firm.send(c, firm.entry(9000)).json()["id"])
        firm.settled(c, firm.send(c, firm.entry(9000, version=2, hours="2.00")).json()["id"])

        def reversed_one():
            rows = pages(firm, c, "postings", subject="TE-009000@1", destination="erp")[0]
            return rows if {r["state"] for r in rows} == {"reversed", "posted"} else None
        rows = stack.wait_for(reversed_one, 30, "the reversal is posted")
        old = next(r for r in rows if r["state"] == "reversed")
        new = next(r for r in rows if r["state"] == "posted")
        assert new["reverses"] == old["key"] and new["quantity"] == "-1.25"
        assert [r["key"] for r in get(firm, c, f"postings/{old['key']}").json()["reversed_by"]] == [new["key"]]
        assert get(firm, c, f"postings/{new['key']}").json()["reverses"] == old["key"]


def test_the_audit_is_the_chain(firm, filled):
    with firm.client() as c:
        rows, count = pages(firm, c, "audit", limit=500)
        seqs = [r["seq"] for r in rows]
        assert seqs == sorted(set(seqs), reverse=True) and count > 3
        chain = {seq: bytes(h).hex() for seq, h in journal(firm, "SELECT seq, hash FROM audit")}
        assert all(chain[r["seq"]] == r["hash"] for r in rows)
        done = firm.orchestrator.run("audit", "verify", "--json", "-c", firm.yaml)
        assert json.loads(done.stdout)["intact"], done.stdout
        about = pages(firm, c, "audit", subject=filled[0])[0]
        assert "exception.opened" in [r["action"] for r in pages(firm, c, "audit", action="exception")[0]]
        assert all(r["subject"] == filled[0] or r["subject"].startswith("event ") for r in about)
        token = firm.token("ops:write", client="ops-anna")
        c.post("/v1/ops/destinations/erp/pause", json={"reason": "'; DROP TABLE audit; --"},
               headers={"Authorization": f"Bearer {token}"})
        c.post("/v1/ops/destinations/erp/resume", headers={"Authorization": f"Bearer {token}"})
        mine = pages(firm, c, "audit", actor="ops-anna", limit=1)[0]
        assert [r["action"] for r in mine[:2]] == ["destination.resumed", "destination.paused"]
        assert mine[1]["detail"]["reason"] == "'; DROP TABLE audit; --"


def test_the_totals_are_the_postings(firm, filled):
    with firm.client() as c:
        rows, _ = pages(firm, c, "reconciliation", limit=1)
        assert {r["destination"] for r in rows} == {"erp", "payroll"}
        assert all(r["equal"] is True and r["control_total"] == r["postings"] for r in rows)
        count = journal(firm, "SELECT count(*) FROM postings WHERE state IN (6, 10)")[0][0]
        assert sum(r["postings"]["count"] for r in rows) == count
        some = pages(firm, c, "reconciliation", destination="erp", period=rows[0]["period"])[0]
        assert [r["destination"] for r in some] == ["erp"] * len(some) and some
        done = firm.orchestrator.run("reconcile", "--json", "-c", firm.yaml)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["reconciliation"] == [
            {**r, "destination": "acme/" + r["destination"]} for r in rows], "the command says the same"
        # a copy, and a hand in it
        copy = firm.path("altered.db")
        assert firm.orchestrator.run("backup", "--to", copy, "-c", firm.yaml).returncode == 0
        db = sqlite3.connect(copy)
        db.execute("UPDATE control_totals SET count = count + 1 WHERE destination = 0")
        db.commit()
        db.close()
        other = firm.path("altered.yaml")
        other.write_text(firm.yaml.read_text().replace("journal.db", "altered.db"))
        done = firm.orchestrator.run("reconcile", "-c", other)
        assert done.returncode == 1 and "reconcile: DIFFERENT" in done.stdout, done.stdout + done.stderr
        done = firm.orchestrator.run("reconcile", "--tenant", "acme", "--destination", "erp", "-c", firm.yaml)
        assert done.returncode == 0 and f"reconcile: ok ({len([r for r in rows if r['destination'] == 'erp'])} totals" \
            in done.stdout, done.stdout
        assert firm.orchestrator.run("reconcile", "--tenant", "nope", "-c", firm.yaml).returncode == 1
        assert firm.orchestrator.run("reconcile", "more").returncode == 2


def test_the_summary(firm, filled):
    with firm.client() as c:
        token = firm.token("ops:write", client="ops-anna")
        head = {"Authorization": f"Bearer {token}"}
        c.post("/v1/ops/destinations/erp/pause", json={"reason": "month end"}, headers=head)
        send(firm, c, range(20_000, 20_005))

        def waiting():
            by_name = {d["destination"]: d for d in get(firm, c, "summary").json()["destinations"]}
            return by_name if by_name["erp"]["states"].get("ready", {}).get("count") == 5 else None
        found = stack.wait_for(waiting, 30, "five wait")
        assert found["erp"]["paused"]["by"] == "ops-anna" and found["payroll"]["paused"] is None
        assert found["erp"]["states"]["ready"]["oldest_at"]
        rows = pages(firm, c, "postings", state="open", destination="erp")[0]
        assert [r["subject"] for r in rows] == [f"TE-{n:06}@1" for n in range(20_000, 20_005)]
        s = get(firm, c, "summary").json()
        assert s["exceptions"]["groups"][0]["code"] == "worker_unknown" and s["exceptions"]["open"] >= 40
        assert s["held_versions"] == {"count": 0, "oldest_at": None, "more": False}
        assert s["alarms"] == [] and s["restored"] is None and s["stream"]["connected"] is True
        c.post("/v1/ops/destinations/erp/resume", headers=head)
        stack.wait_for(lambda: not pages(firm, c, "postings", state="open")[0], 30, "they go")


PATHS = ["summary", "kpis", "exceptions", "exceptions/1", "postings", "postings/" + "0" * 32, "audit", "reconciliation"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_without_the_scope(firm, filled, path):
    with firm.client() as c:
        for scope in ("ops:write", "status:read", "events:write", "ops:reader"):
            answer = get(firm, c, path, scope=scope)
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_insufficient"), scope
        assert c.get(f"/v1/ops/{path}").status_code == 401
        refused = c.post(f"/v1/ops/{path}", headers={
            "Authorization": "Bearer " + firm.token("ops:read ops:write", client="ops-anna")})
        assert refused.status_code in (400, 405), refused.text


def test_another_tenant_sees_nothing(firm, filled):
    with firm.client() as c:
        id_ = get(firm, c, "exceptions").json()["exceptions"][0]["id"]
        key = get(firm, c, "postings").json()["postings"][0]["key"]
        cursors = {name: get(firm, c, name, limit=1).json()["next"] for name in LISTS}
        for path in (f"exceptions/{id_}", f"postings/{key}"):
            assert get(firm, c, path).status_code == 200
            answer = get(firm, c, path, tenant="zeta")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        for name in LISTS:
            assert pages(firm, c, name, tenant="zeta")[0] == [], name
            assert get(firm, c, name, tenant="zeta", cursor=cursors[name]).json()["code"] == "cursor_invalid"
        for params in ({"subject": "TE-000007"}, {"state": "posted"}, {"destination": "erp"}):
            assert pages(firm, c, "postings", tenant="zeta", **params)[0] == []
        assert pages(firm, c, "exceptions", tenant="zeta", state="all", subject=filled[0])[0] == []
        assert pages(firm, c, "audit", tenant="zeta", subject=filled[0])[0] == []
        s = get(firm, c, "summary", tenant="zeta").json()
        assert s["exceptions"] == {"open": 0, "oldest_at": None, "more": False, "groups": []}
        assert [d["states"] for d in s["destinations"]] == [{}, {}]
        seen = c.post("/v1/ops/replays", json={"filter": {"ids": [id_]}}, headers={
            "Authorization": "Bearer " + firm.token("ops:write", client="ops-zoe", tenant="zeta")})
        assert seen.json()["count"] == 0
        for path in PATHS:  # one that is not configured has no data
            answer = get(firm, c, path, tenant="omega")
            assert (answer.status_code, answer.json()["code"]) == (403, "tenant_missing")


@pytest.mark.parametrize("path,params,code", [
    ("exceptions", {"stat": "open"}, "query_invalid"),
    ("exceptions", {"state": "closed"}, "query_invalid"),
    ("exceptions", {"state": ""}, "query_invalid"),
    ("exceptions", {"limit": "501"}, "query_invalid"),
    ("exceptions", {"limit": "-1"}, "query_invalid"),
    ("exceptions", {"limit": "9" * 40}, "query_invalid"),
    ("exceptions", {"since": "today"}, "query_invalid"),
    ("exceptions", {"code": "a\nb"}, "query_invalid"),
    ("exceptions", {"code": "x" * 256}, "query_invalid"),
    ("exceptions", {"cursor": "abc"}, "cursor_invalid"),
    ("exceptions", {"cursor": "A" * 3000}, "cursor_invalid"),
    ("exceptions", {"cursor": "../../etc/passwd"}, "cursor_invalid"),
    ("exceptions", {"cursor": "\0"}, "cursor_invalid"),
    ("postings", {"state": "posted' OR '1'='1"}, "query_invalid"),
    ("postings", {"subject": ""}, "query_invalid"),
    ("audit", {"tenant_": "zeta"}, "query_invalid"),
    ("reconciliation", {"since": "2026-01-01T00:00:00Z"}, "query_invalid"),
    ("summary", {"since": "2026-01-01T00:00:00Z"}, "query_invalid"),
    ("exceptions/1", {"x": "y"}, "query_invalid"),
    ("kpis", {"since": "2026-01-01T00:00:00Z"}, "query_invalid"),
    ("kpis", {"from": "yesterday"}, "query_invalid"),
    ("kpis", {"from": "2026-02-30"}, "query_invalid"),
    ("kpis", {"from": "2026-11-02", "to": "2026-11-02"}, "query_invalid"),
    ("kpis", {"from": "2026-11-03", "to": "2026-11-02"}, "query_invalid"),
    ("kpis", {"from": "2026-08-01", "to": "2026-11-02"}, "query_invalid"),
    ("kpis", {"from": "2020-01-01"}, "query_invalid"),
    ("kpis", {"to": ""}, "query_invalid"),
])
def test_refused(firm, filled, path, params, code):
    with firm.client() as c:
        answer = get(firm, c, path, **params)
        assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]


def test_raw_queries(firm, filled):
    """As no well-behaved client writes them."""
    head = {"Authorization": "Bearer " + firm.token("ops:read", client="ops-anna")}
    with firm.client() as c:
        for query, status in (("state=open&state=open", 400), ("tenant=zeta", 400), ("state", 400), ("&&&", 400), ("=", 400),
                              ("&".join(f"p{i}=1" for i in range(40)), 400), ("state=%00", 400),
                              ("state=o%70en", 200), ("st%61te=open", 200), ("limit=%31", 200),
                              ("code=%27%3B%20DROP%20TABLE%20exceptions%3B--", 200),
                              ("code=%25", 200), ("code=_", 200), ("code=*", 200), ("code=%FF%FE", 200),
                              ("since=2026-11-20T17:00:00+01:00", 400), ("limit=1%20", 400), ("limit=%zz", 400)):
            answer = c.get(f"/v1/ops/exceptions?{query}", headers=head)
            assert answer.status_code == status, (query, answer.text)
            if status == 200 and query.startswith("code"):
                assert answer.json()["exceptions"] == []
        for path in ("exceptions/0", "exceptions/999999", "exceptions/-1", "exceptions/x",
                     "exceptions/9999999999999999999999", "postings/" + "g" * 32, "postings/ab",
                     "postings/" + "0" * 32, "postings/%27"):
            answer = c.get(f"/v1/ops/{path}", headers=head)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


def test_a_cursor_is_its_own_lists(firm, filled):
    with firm.client() as c:
        cursor = get(firm, c, "exceptions", limit=1).json()["next"]
        assert get(firm, c, "exceptions", limit=500, cursor=cursor).status_code == 200, "pages may differ in size"
        for name, params in (("audit", {}), ("postings", {}), ("reconciliation", {}),
                             ("exceptions", {"code": "worker_unknown"}), ("exceptions", {"state": "open"})):
            answer = get(firm, c, name, cursor=cursor, **params)
            assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid"), name
        for bad in (cursor[:-1], cursor + "A", cursor.swapcase(), cursor[::-1]):
            assert get(firm, c, "exceptions", cursor=bad).status_code == 400


def test_a_cursor_outlives_a_kill(firm, filled):
    with firm.client() as c:
        first = get(firm, c, "postings", limit=10).json()
        firm.orchestrator.kill()
        firm.orchestrator.start()
        firm.edge_ready()
        second = get(firm, c, "postings", limit=10, cursor=first["next"]).json()
        assert not {r["key"] for r in first["postings"]} & {r["key"] for r in second["postings"]}


def test_lists_answer_while_it_writes(firm, filled):
    """Many readers beside a writer: every answer is whole."""
    failures = []

    def read(name):
        with firm.client() as mine:
            for _ in range(15):
                answer = get(firm, mine, name, limit=200)
                if answer.status_code != 200:
                    failures.append((name, answer.text))
    threads = [threading.Thread(target=read, args=(n,)) for n in ("exceptions", "postings", "audit", "reconciliation")]
    with firm.client() as c:
        for t in threads:
            t.start()
        events = send(firm, c, range(30_000, 30_000 + BURST))
        for t in threads:
            t.join()
        assert not failures
        assert firm.settled(c, events[-1])["stage"] == "posted"
