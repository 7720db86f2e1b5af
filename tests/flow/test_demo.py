"""make demo, as its user runs it: reconciled, exit 0, no process left behind; and it can fail."""
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.harness import stack

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
import acme  # noqa: E402
import erps  # noqa: E402
import expect  # noqa: E402
import judge  # noqa: E402
import week  # noqa: E402


def processes():
    """What a demo of this tree would leave behind; other trees and other tests have processes, too."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        args = command_line(path.name)
        try:
            cwd = (path / "cwd").resolve()
        except OSError:
            continue  # ended meanwhile
        if (f"{stack.ROOT}/var/" in args or cwd == stack.ROOT / "var/tryton"
                or (cwd == stack.ROOT and "-p var/ -c conf/nginx.conf" in args)):
            found.append(args)
    return found


def demo(*args):
    done = subprocess.run(["/usr/bin/python3", "conf/demo/demo.py", *args], cwd=stack.ROOT,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo: reconciled" in done.stdout.splitlines()[-1]
    assert not processes()
    return done.stdout


def test_demo_reconciles():
    said = demo()
    assert "ACME-DE, ERP files" in said and "ACME-UK, ERP by REST" in said


def test_demo_reconciles_with_a_real_erp():
    said = demo("--erp=tryton")
    assert "ACME-DE, Tryton" in said and "ACME-UK, Tryton" in said


SPOILED = """
import sys
sys.path.insert(0, "conf/demo")
import demo, erps
book = erps.Books.book

def spoiled(self):
    for pattern, change in (("erp/labor-*.csv", lambda lines: lines[:7] + lines[8:]),
                            ("payroll/payroll-*.csv", lambda lines: lines + lines[5:6])):
        path = sorted(self.out.glob(pattern))[0]
        path.write_text("".join(change(path.read_text().splitlines(True))))
    return book(self)

erps.Books.book = spoiled
sys.exit(demo.main())
"""


def test_demo_says_what_is_not_as_the_input_implies():
    done = subprocess.run(["/usr/bin/python3", "-c", SPOILED], cwd=stack.ROOT, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "demo: NOT reconciled" in done.stdout.splitlines()[-1]
    for said in (r"ERP of ACME-DE: TE-\d+ version 1 is missing",
                 r"payroll: TE-\d+ version 1 is there 2 times",
                 r"hours in the payroll of ACME-DE: .*, the input implies"):
        assert re.search(f"^demo: {said}", done.stdout, re.M), done.stdout
    assert not processes()


# ---- how it ends ----

@pytest.fixture
def start(tmp_path):
    """start(arguments) gives a demo and the file of its output; both end with the test."""
    started = []

    def begin(*args):
        log = tmp_path / "demo.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(["/usr/bin/python3", "conf/demo/demo.py", *args], cwd=stack.ROOT,
                                       stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        started.append(process)
        return process, log

    yield begin
    for process in started:
        process.kill()
        process.wait()


def staying(start, *args):
    """A demo that stays up: the process, its log, how many lines the log has."""
    process, log = start("--stay", *args)
    stack.wait_for(lambda: process.poll() is not None or "staying up at" in log.read_text(), 300,
                   "the report")
    assert process.poll() is None, log.read_text()
    lines = log.read_text().splitlines()
    verdict = [n for n, x in enumerate(lines) if x.startswith("demo: reconciled")]
    assert verdict and verdict[0] < next(n for n, x in enumerate(lines) if "staying up at" in x)
    assert (stack.ROOT / "var/secrets/webhooks").stat().st_mode & 0o777 == 0o600
    return process, log, len(lines)


def family(pid):
    """Every process below it."""
    return [p for child in stack.children(pid) for p in [child, *family(child)]]


def is_over(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_staying_up_says_the_verdict_first_and_ends_in_one_line(start, sig):
    process, log, before = staying(start)
    process.send_signal(sig)
    assert process.wait(60) == 0
    (line,) = log.read_text().splitlines()[before:]
    assert line.startswith("demo: ended; the week was reconciled") and line.endswith(f"by {sig.name}")
    assert not processes()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_week_ends_it_in_one_line(start, sig):
    process, log = start()
    stack.wait_for(lambda: "sent 3 of" in log.read_text() or process.poll() is not None, 60, "the week")
    children = family(process.pid)
    process.send_signal(sig)
    assert process.wait(60) == 128 + sig
    assert log.read_text().splitlines()[-1] == f"demo: ended before the week was over, by {sig.name}"
    assert not processes() and all(is_over(p) for p in children)


ENDS = {"Redis": "redis-server", "the orchestrator": "tallygate serve", "NGINX": "nginx: master",
        "Tryton": "gunicorn", "PostgreSQL": "bin/postgres"}


def child(process, name):
    """The one child whose command line has the name."""
    (pid,) = [p for p in stack.children(process.pid) if name in command_line(p)]
    return pid


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""


@pytest.mark.parametrize("said", list(ENDS))
def test_staying_up_names_what_ended(start, said):
    process, log, _ = staying(start, *(["--erp=tryton"] if said in ("Tryton", "PostgreSQL") else []))
    children = family(process.pid)
    os.kill(child(process, ENDS[said]), signal.SIGTERM if said != "PostgreSQL" else signal.SIGQUIT)
    assert process.wait(90) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith(f"demo: {said} ended by itself, see var/log/"), last
    assert "the week was reconciled" in last
    assert (stack.ROOT / last.split("see ")[1].split(";")[0]).exists()
    assert not processes() and all(is_over(p) for p in children)


def test_a_process_that_ends_in_the_week_is_named(start):
    process, log = start()
    stack.wait_for(lambda: "sent 3 of" in log.read_text() or process.poll() is not None, 60, "the week")
    os.kill(child(process, ENDS["the orchestrator"]), signal.SIGKILL)
    assert process.wait(120) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("demo: failed: the orchestrator ended by itself, see var/log/"), last
    assert not processes()


@pytest.mark.parametrize("erp", ["", "tryton"])
def test_a_killed_demo_leaves_nothing(start, erp):
    """kill -9 runs no handler: the kernel ends what it started."""
    process, log = start(f"--erp={erp}")
    stack.wait_for(lambda: "sent 3 of" in log.read_text() or process.poll() is not None, 300, "the week")
    children = family(process.pid)
    for name, part in ENDS.items():
        assert (name in ("Tryton", "PostgreSQL") and not erp) or child(process, part) in children
    process.kill()
    process.wait()
    stack.wait_for(lambda: all(is_over(p) for p in children) and not processes(), 30, "nothing left")


# ---- what it is made from ----

def test_committed_demo_data_is_the_generators():
    for name, make in acme.FILES.items():
        assert (stack.ROOT / "conf/demo" / name).read_text(encoding="utf-8") == make(), \
            f"{name}: conf/demo/acme.py --write makes it anew"


# ---- the judge, with what arrived made from the expectation ----

def as_rows(lines, part):
    """What a file or a REST service would hold, each with a key."""
    found, keys = [], {}
    for n, ((entry, version, back), fields) in enumerate(judge.expected_rows(lines, part).items()):
        key = keys.setdefault((entry, version, back), f"{n:032x}")
        found.append(fields | {"key": key, "reverses": keys[entry, version, False] if back else ""})
    return found


def as_lines(lines):
    """What Tryton would hold."""
    return [{k: x.labor[k] for k in ("entry", "version", "date", "worker", "project", "task",
                                     "legal_entity", "currency", "cost_rate")}
            | {"seconds": 0 if x.back else int(x.hours * 3600), "key": f"{n:032x}"}
            for n, x in enumerate(lines)]


def right(tryton=False):
    """An Arrived that is as the input implies, made without the product."""
    sends = week.plan(week.entries())
    x = expect.expected(sends)
    answers = [(s, (s.status, s.code, s.replayed, "s00-1-0")) for s in sends]
    if tryton:
        book = erps.Book({e: as_lines(x.of(e)) for e in acme.CURRENCY}, None, dict.fromkeys(erps.FAULTS, 1))
    else:
        book = erps.Book({e: as_rows(x.of(e), "labor") for e in acme.CURRENCY},
                         judge.expected_ledger(x.of(acme.DE)), dict.fromkeys(erps.FAULTS, 1))
    totals = {k: {"lines": n, "hours": str(hours)}
              for k, (n, hours) in judge.expected_totals(x.lines).items()}
    waiting = [{"code": c, "owner": "finance", "subject": f"{e}@1"}
               for c, entries in x.waiting.items() for e in entries]
    return judge.Arrived(answers, book, as_rows(x.lines, "payroll"), totals, waiting, list(x.held),
                         x.duplicates), x


@pytest.mark.parametrize("tryton", [False, True], ids=["files and REST", "tryton"])
def test_the_judge_accepts_what_is_right(tryton):
    a, x = right(tryton)
    assert judge.judge(a, x) == []
    assert "ACME-UK" in judge.table(a, x, dict.fromkeys(acme.CURRENCY, "an ERP"))


def labor(a):
    return a.book.rows[acme.DE]


def reversal(rows):
    return next(r for r in rows if r["reverses"])


@pytest.mark.parametrize("spoil", [
    lambda a: labor(a).pop(),
    lambda a: a.payroll.pop(5),
    lambda a: labor(a).append(dict(labor(a)[0])),
    lambda a: a.payroll[7].update(worker="W-002" if a.payroll[7]["worker"] != "W-002" else "W-003"),
    lambda a: labor(a)[9].update(project="P-999"),
    lambda a: labor(a)[9].update(amount="0.01"),
    lambda a: labor(a)[9].update(period="2026-10"),
    lambda a: labor(a)[9].update(cost_center="CC-U10"),
    lambda a: a.book.rows[acme.UK][9].update(currency="EUR"),
    lambda a: a.book.rows[acme.UK].pop(),
    lambda a: labor(a).append(a.book.rows[acme.UK].pop()),
    lambda a: a.payroll[9].update(pay_code="OT"),
    lambda a: labor(a)[1].update(key=labor(a)[0]["key"]),
    lambda a: labor(a).remove(reversal(labor(a))),
    lambda a: reversal(labor(a)).update(reverses=labor(a)[0]["key"]),
    lambda a: reversal(a.payroll).update(hours="0.00"),
    lambda a: a.book.ledger.update({("cost:P-101", "EUR"): 1}),
    lambda a: a.book.ledger.update({("other", "EUR"): 1}),
    lambda a: a.book.ledger.update({("cost:P-101", "GBP"): 1}),
    lambda a: a.totals["2026-W47"].update(lines=1),
    lambda a: a.totals["UK-2026-11"].update(hours="1"),
    lambda a: a.totals.update({"2026-W44": {"lines": 0, "hours": "0"}}),
    lambda a: a.exceptions.pop(),
    lambda a: a.exceptions[0].update(subject="TE-000001@1"),
    lambda a: a.held.pop(),
    lambda a: a.book.faults.update(cut_after=0),
    lambda a: setattr(a, "duplicates", 4),
    lambda a: a.answers.__setitem__(3, (a.answers[3][0], (503, "", False, ""))),
])
def test_the_judge_notices(spoil):
    a, x = right()
    spoil(a)
    assert judge.judge(a, x)


@pytest.mark.parametrize("spoil", [
    lambda rows: rows.pop(),
    lambda rows: rows.append(dict(rows[0], key="other")),
    lambda rows: rows[3].update(seconds=rows[3]["seconds"] + 900),
    lambda rows: next(r for r in rows if r["seconds"] == 0).update(seconds=3600),
    lambda rows: rows[3].update(legal_entity=acme.UK),
    lambda rows: rows[3].update(currency="GBP"),
    lambda rows: rows[3].update(cost_rate="1.00"),
    lambda rows: rows[3].update(version="9"),
    lambda rows: rows[3].update(key=rows[4]["key"]),
])
def test_the_judge_notices_in_tryton(spoil):
    a, x = right(tryton=True)
    spoil(labor(a))
    assert judge.judge(a, x)


def test_swapped_hours_are_noticed():
    a, x = right()
    rows = [r for r in a.payroll if not r["reverses"]]
    i = next(n for n, r in enumerate(rows) if r["hours"] != rows[0]["hours"])
    rows[0]["hours"], rows[i]["hours"] = rows[i]["hours"], rows[0]["hours"]
    assert judge.judge(a, x)


def test_a_second_demo_is_refused():
    import fcntl
    (stack.ROOT / "var").mkdir(exist_ok=True)
    with open(stack.ROOT / "var/demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["/usr/bin/python3", "conf/demo/demo.py"], cwd=stack.ROOT,
                              capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "another demo" in done.stdout


# ---- the expectation ----

def test_the_expectation_notices_a_missing_entry():
    sends = week.plan(week.entries())
    whole = expect.expected(sends)
    lost = expect.expected([s for s in sends if not s.entry or s.entry.id != "TE-000005"])
    assert len(whole.lines) == len(lost.lines) + 1
    assert whole.hours(acme.DE) > lost.hours(acme.DE) and whole.hours(acme.UK) == lost.hours(acme.UK)


def line(x, entry, version=1):
    return next((v for v in x.lines if (v.entry, v.version) == (entry, str(version))), None)


def test_the_expectation_of_hr():
    sends = week.plan(week.entries())
    x, worked = expect.expected(sends), week.entries()
    assert line(x, next(e.id for e in worked if e.worker == acme.HIRED)) is not None
    assert x.waiting["worker_inactive"] == [
        e.id for e in worked if e.worker == acme.LEFT or (e.worker == acme.LEAVER and
                                                          e.date > acme.LAST_DAY)]
    centers = {v.labor["date"] >= acme.MOVED_ON: v.labor["cost_center"] for v in x.lines
               if v.labor["worker"] == acme.MOVER}
    assert centers == {False: acme.at_first(acme.MOVER)["cost_center"],
                       True: acme.hr_changes()["moves"]["cost_center"]}
    without = expect.expected([s for s in sends if s.step != week.HIRED])
    assert without.waiting["held"] == x.held == sorted(e.id for e in worked
                                                       if e.worker == acme.HIRED_LATE)


def test_the_expectation_of_corrections():
    sends = week.plan(week.entries())
    x = expect.expected(sends)
    for s in (s for s in sends if s.note == "a correction after the posting"):
        assert line(x, s.entry.id).back and not line(x, s.entry.id, 2).back
    for s in (s for s in sends if s.note == "a correction before the posting"):
        assert line(x, s.entry.id) is None and not line(x, s.entry.id, 2).back
    for s in (s for s in sends if s.note == "an original that its correction overtook"):
        assert line(x, s.entry.id) is None and not line(x, s.entry.id, 2).back
    for s in (s for s in sends if s.note == "withdrawn"):
        assert line(x, s.entry.id).back and line(x, s.entry.id, 2) is None
    assert (x.corrected, x.unposted, x.superseded, x.withdrawn) == (10, 3, 1, 3)
    assert {acme.entity_of(s.entry.worker) for s in sends if s.note == "withdrawn"} == set(acme.CURRENCY)


def test_money_is_rounded_once_a_line():
    x = expect.expected(week.plan(week.entries()))
    odd = [v for v in x.of(acme.UK) if v.hours * Decimal(v.labor["cost_rate"]) != v.amount]
    assert odd
    assert all(abs(v.hours * Decimal(v.labor["cost_rate"]) - v.amount) <= Decimal("0.005") for v in odd)
