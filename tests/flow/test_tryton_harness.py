"""The Tryton harness itself, and the facts of docs/reference/tryton.md that the connector relies on."""
import http.client
import json
import os
from pathlib import Path

import pytest

from tests.harness import tryton
from tests.harness.faultproxy import FaultProxy
from tests.harness.stack import wait_for
from tests.harness.tryton import Rpc, RpcError, Tryton

DAY = "2026-11-16"


@pytest.fixture(scope="module")
def running():
    erp = Tryton().start()
    yield erp
    erp.stop()


@pytest.fixture
def erp(running):
    """The shared instance, with no lines."""
    running.postgres.sql("delete from timesheet_line; delete from account_invoice_line;"
                         " delete from account_invoice; delete from ir_session")
    return running


@pytest.fixture
def gateway(erp):
    return erp.rpc()


def post(rpc, uuid, seconds=3600, work="P-101\\T-1", employee="W-001", company="ACME-DE", date=DAY):
    return rpc.line(company, employee, work, date, seconds, uuid, f"entry of {uuid}")


def rewrite(rpc, line, seconds, company=1):
    return rpc.call("model.timesheet.line.write", [line],
                    {"duration": {"__class__": "timedelta", "seconds": seconds}}, {"company": company})


def refused(call, *args, **kw):
    with pytest.raises(RpcError) as e:
        call(*args, **kw)
    return e.value


# ---- what is in it ----

def test_companies_currencies_and_employees_are_those_of_the_file(erp):
    rows = erp.postgres.sql("select p.code, c.code from company_company o join party_party p on p.id ="
                            " o.party join currency_currency c on c.id = o.currency order by 1")
    wanted = sorted((e["id"], e["currency"]) for e in erp.master["legal_entities"])
    assert rows == wanted and len({c for _, c in wanted}) >= 2
    people = dict(erp.postgres.sql(
        "select p.code, e.end_date::text from company_employee e join party_party p on p.id = e.party"))
    assert people == {w["id"]: w["employment"][-1]["to"] for w in erp.master["workers"]}
    assert {"W-001", "W-040", "X-LEFT"} <= set(people) and people["X-LEFT"] == "2026-10-31"


def test_every_assigned_worker_can_be_posted_for_in_the_own_company(erp, gateway):
    """One line for each worker who is employed, on a project that is open."""
    ids = {}
    for w in erp.master["workers"]:
        if w["employment"][-1]["to"] is None and w["employment"][0]["from"] < DAY:
            project = next(a["project"] for a in erp.master["assignments"] if a["worker"] == w["id"])
            ids[w["id"]] = post(gateway, f"of-{w['id']}", 900, f"{project}\\T-1", w["id"],
                                w["legal_entity"])
    assert len(ids) >= 40
    assert {line.employee: line.company for line in erp.book()} == \
        {w["id"]: w["legal_entity"] for w in erp.master["workers"] if w["id"] in ids}


def test_the_book_says_what_was_posted(erp, gateway):
    post(gateway, "b-1", 5400)
    post(gateway, "b-2", 1, employee="X-UK", company="ACME-UK", work="X-900\\T-1")
    one, two = erp.book()
    assert (one.uuid, one.employee, one.company, one.work, one.date, one.seconds, one.description,
            one.invoice_line) == ("b-1", "W-001", "ACME-DE", "P-101\\T-1", DAY, 5400, "entry of b-1", None)
    assert (two.company, two.employee, two.seconds) == ("ACME-UK", "X-UK", 1)
    assert erp.by_uuid()["b-2"] == two


# ---- what a test does to it ----

def test_reset_gives_the_master_data_alone(erp, gateway):
    post(gateway, "r-1")
    erp.reset()
    assert erp.book() == []
    gateway.connection.close()
    with pytest.raises(http.client.HTTPException, match="401"):
        gateway.call("model.timesheet.line.search", [], 0, None, None, {})
    post(erp.rpc(), "r-1")
    assert [line.uuid for line in erp.book()] == ["r-1"]


def test_a_killed_worker_is_replaced(erp):
    before = wait_for(lambda: len(erp.workers()) == 2 and erp.workers(), 20, "two workers")
    killed = erp.kill_worker()
    assert killed in before
    wait_for(lambda: len(erp.workers()) == 2 and killed not in erp.workers(), 20, "another worker")
    post(erp.rpc(), "k-1")
    assert len(erp.book()) == 1


@pytest.mark.parametrize("crash", [False, True])
def test_a_database_restart_is_survived(erp, gateway, crash):
    """The first calls after it fail (each worker has dead connections); what was stored is there."""
    post(gateway, "d-1")
    erp.restart_database(crash)
    said = set()

    def again():
        try:
            return gateway.ids("timesheet.line", ["uuid", "=", "d-1"])
        except RpcError as e:
            said.add(e.kind)
            return None
    assert wait_for(again, 20, "Tryton is back")
    assert not said & {"UserError", "UserWarning", "ConcurrencyException"}
    assert [line.uuid for line in erp.book()] == ["d-1"]


def test_an_expired_session_is_401_and_a_new_one_works(erp, gateway):
    post(gateway, "s-1")
    erp.expire_sessions()
    with pytest.raises(http.client.HTTPException, match="401"):
        post(gateway, "s-2")
    post(erp.rpc(), "s-2")
    assert len(erp.book()) == 2


def test_a_stopped_server_refuses_and_comes_back(erp):
    erp.stop_server()
    with pytest.raises(ConnectionRefusedError):
        erp.rpc()
    erp.start_server()
    post(erp.rpc(), "u-1")


def test_two_at_once_and_nothing_left(erp, tmp_path):
    other = Tryton(tmp_path / "other").start()
    try:
        pids = [other.server.pid, other.postgres.process.pid, *other.workers()]
        home = other.home
        post(other.rpc(), "o-1")
        assert erp.book() == [] and len(other.book()) == 1
        assert (other.password_file.stat().st_mode & 0o777) == 0o600
    finally:
        other.stop()
        other.stop()
    assert not home.exists() and not other.dir.exists()
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 20, "all processes ended")


def test_what_a_killed_run_left_is_taken_away():
    if not os.access(tryton.MEMORY, os.W_OK):
        pytest.skip("no memory file system here")
    gone = Path(tryton.MEMORY / "tg-erp.999999999.left")
    kept = Path(tryton.MEMORY / f"tg-erp.{os.getppid()}.kept")
    for path in (gone, kept):
        (path / "pg").mkdir(parents=True)
    try:
        tryton.data_home().rmdir()
        assert not gone.exists() and kept.exists()
    finally:
        (kept / "pg").rmdir()
        kept.rmdir()


def test_extra_rows_are_added_once():
    master = tryton.acme.whole_master()
    both = tryton.merged(master)
    assert both == tryton.merged(both)
    for name in ("workers", "projects", "legal_entities"):
        ids = [r["id"] for r in both[name]]
        assert len(ids) == len(set(ids))
        assert set(ids) >= {r["id"] for r in master[name]}


# ---- how the destination behaves: docs/reference/tryton.md ----

def test_the_uuid_is_unique(erp, gateway):
    post(gateway, "q-1")
    e = refused(post, gateway, "q-1", 60)
    assert e.kind == "UserError" and "UUID" in e.details[0][0]
    assert [line.seconds for line in erp.book()] == [3600]


@pytest.mark.parametrize("change,field", [
    ({"employee": "X-LEFT"}, "end_date"), ({"employee": "X-NEXT"}, "start_date"),
    ({"work": "X-900\\T-CLOSED"}, "timesheet_end_date"), ({"seconds": -60}, None)])
def test_what_is_refused_for_good(erp, gateway, change, field):
    e = refused(post, gateway, "e-1", **change)
    assert e.kind == "UserError"
    text, _, domain = e.details[0]
    # negative hours: a sentence in one version, a domain in a later one
    assert field in json.dumps(domain) if field else "positive" in text or "duration" in json.dumps(domain)
    assert erp.book() == []


def test_a_batch_is_all_or_nothing(erp, gateway):
    good, context = gateway.line("ACME-DE", "W-001", "P-101\\T-1", DAY, 60, "g-1", create=False)
    bad = good | {"uuid": "g-2", "duration": {"__class__": "timedelta", "seconds": -1}}
    assert refused(gateway.call, "model.timesheet.line.create", [good, bad], context).kind == "UserError"
    assert erp.book() == []


def invoice(erp, project, company=1):
    billing = erp.rpc("billing")
    ids = billing.ids("project.work", ["name", "=", project], ["type", "=", "project"],
                      ["company", "=", company], context={"company": company})
    billing.call("model.project.work.invoice", ids, {"company": company})
    return billing


def invoice_lines(erp):
    return erp.postgres.sql("select i.quantity, c.code from account_invoice_line i"
                            " join account_invoice a on a.id = i.invoice"
                            " join currency_currency c on c.id = a.currency order by i.id")


def test_a_reversed_line_is_worth_nothing_and_keeps_its_uuid(erp, gateway):
    """A reversal writes duration 0. The line goes on an invoice with others, for nothing."""
    post(gateway, "z-1", 5400)
    reversed_line = post(gateway, "z-2", 7200)
    rewrite(gateway, reversed_line, 0)
    rewrite(gateway, reversed_line, 0)  # again: the same
    assert refused(post, gateway, "z-2").kind == "UserError"  # the key is still taken
    invoice(erp, "P-101")
    assert invoice_lines(erp) == [(1.5, "EUR")]
    book = erp.by_uuid()
    assert book["z-1"].invoice_line == book["z-2"].invoice_line is not None
    assert (book["z-1"].seconds, book["z-2"].seconds) == (5400, 0)


def test_reversed_lines_alone_make_no_invoice(erp, gateway):
    rewrite(gateway, post(gateway, "n-1"), 0)
    invoice(erp, "P-101")
    assert invoice_lines(erp) == []
    assert erp.book()[0].invoice_line is None


def test_an_invoiced_line_is_locked_even_at_zero(erp, gateway):
    """So a reversal that may have been done is looked up first: repeating it may be refused."""
    line, zero = post(gateway, "i-1"), post(gateway, "i-2")
    rewrite(gateway, zero, 0)
    billing = invoice(erp, "P-101")
    for one in (line, zero):
        e = refused(rewrite, gateway, one, 0)
        assert e.kind == "UserError" and "invoiced" in e.details[0][0]  # in other words by version
    drafts = billing.ids("account.invoice", context={"company": 1})
    billing.call("model.account.invoice.delete", drafts, {"company": 1})
    rewrite(gateway, line, 0)  # a deleted draft frees its lines
    assert [entry.seconds for entry in erp.book()] == [0, 0]


def test_the_second_company_invoices_in_its_own_currency(erp, gateway):
    post(gateway, "p-1", 1800, employee="X-UK", company="ACME-UK", work="X-900\\T-1")
    invoice(erp, "X-900", 2)
    assert invoice_lines(erp) == [(0.5, "GBP")]


def test_a_worker_of_one_company_cannot_be_posted_in_the_other(erp, gateway):
    values, _ = gateway.line("ACME-UK", "X-UK", "X-900\\T-1", DAY, 60, "w-1", create=False)
    e = refused(gateway.call, "model.timesheet.line.create", [values | {"company": 1}], {"company": 1})
    assert e.kind == "UserError"


def test_an_answer_that_was_lost_and_its_look_up(erp):
    """What the whole product is about: the connection ends, the line is there."""
    with FaultProxy(("127.0.0.1", erp.port)) as proxy:
        rpc = Rpc(proxy.port, tryton.DATABASE).login("gateway", erp.passwords["gateway"])
        values, context = rpc.line("ACME-DE", "W-001", "P-101\\T-1", DAY, 60, "l-1", create=False)
        for fault, stored in (("cut_before", 0), ("cut_after", 1)):
            proxy.rule(fault, times=1, match=lambda r: b"line.create" in r.content)
            with pytest.raises(http.client.RemoteDisconnected):
                rpc.call("model.timesheet.line.create", [values], context)
            rpc.connection.close()
            assert len(rpc.ids("timesheet.line", ["uuid", "=", "l-1"], context=context)) == stored
        assert refused(rpc.call, "model.timesheet.line.create", [values], context).kind == "UserError"
        assert len(erp.book()) == 1
