"""One week of approved time at the firm `acme`, from a fixed seed: master data, calendar, entries,
and every request a PSA would send, with the answer and the effect it must have.

What must come out is worked out here from the input alone; demo.py compares it with what the ERP
ledger, the payroll file and the exception list say. Nothing here reads the product's counters.
"""
import random
from dataclasses import dataclass, field
from decimal import Decimal

TENANT, SOURCE, TYPE = "acme", "urn:acme:psa", "com.tallygate.time_entry.approved.v1"
DAYS = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20"]
PEOPLE, PROJECTS = 40, 12
RATES = {"junior": "55.00", "senior": "85.00", "principal": "120.00"}
LEFT, CLOSED_PROJECT, CLOSED_DAY = "W-040", "P-112", "2026-10-30"


@dataclass
class Entry:
    """One approved time entry, and why it will wait for a person (None: it is posted)."""
    id: str
    worker: str
    project: str
    task: str
    date: str
    hours: Decimal
    waits: str | None = None
    shape: int = 0  # 0 decimal hours, 1 minutes, 2 ISO 8601 duration, 3 HH:MM

    def data(self):
        out = {"id": self.id, "version": 1, "worker": self.worker, "project": self.project,
               "task": self.task, "date": self.date, "approved_by": "W-001",
               "approved_at": "2026-11-20T17:00:00Z"}
        minutes = int(self.hours * 60)
        h, m = divmod(minutes, 60)
        if self.shape == 0:
            out["hours"] = f"{self.hours:.2f}"
        elif self.shape == 1:
            out["minutes"] = minutes
        elif self.shape == 2:
            out["duration"] = f"PT{h}H{m}M" if m else f"PT{h}H"
        else:
            out["duration"] = f"{h}:{m:02}"
        return out


@dataclass
class Send:
    """One request: how it goes out, what must come back. Steps run one after the other, the sends
    of one step at the same time."""
    step: int
    way: str                # hook, bearer
    entry: Entry
    key: str                # webhook id or idempotency key
    event_id: str
    status: int             # of the answer
    code: str = ""          # problem code
    replayed: bool = False
    client: str = "svc-psa"
    scope: str = "events:write"
    type: str = TYPE
    spoil: str = ""         # signature
    note: str = ""
    data: dict = field(default_factory=dict)


def master():
    categories = list(RATES)
    rng = random.Random(11)
    workers, assignments = [], []
    for i in range(1, PEOPLE + 1):
        wid = f"W-{i:03}"
        employment = {"from": "2024-01-01", "to": "2026-10-31" if wid == LEFT else None}
        workers.append({"id": wid, "name": f"Worker {i}", "legal_entity": "ACME-DE",
                        "cost_center": f"CC-{100 * rng.randint(1, 3)}",
                        "labor_category": categories[i % 3], "pay_code": "REG",
                        "employment": [employment], "aliases": {"psa": f"u-{i}"}})
        assignments += [{"worker": wid, "project": f"P-{100 + p}", "from": "2026-01-01", "to": None}
                        for p in range(1, PROJECTS + 1)]
    projects = []
    for p in range(1, PROJECTS + 1):
        pid = f"P-{100 + p}"
        states = [{"from": "2026-01-01", "to": None, "state": "open"}]
        if pid == CLOSED_PROJECT:
            states = [{"from": "2026-01-01", "to": "2026-10-31", "state": "open"},
                      {"from": "2026-11-01", "to": None, "state": "closed"}]
        tasks = [{"id": f"T-{t}", "name": f"Task {t}", "billable": True,
                  "states": [{"from": "2026-01-01", "to": None, "state": "open"}]}
                 for t in range(1, 4)]
        projects.append({"id": pid, "name": f"Project {p}", "client": f"C-{(p - 1) // 3 + 1}",
                         "legal_entity": "ACME-DE", "states": states, "tasks": tasks,
                         "aliases": {}})
    return {"version": "2026-11-16", "workers": workers, "projects": projects,
            "assignments": assignments,
            "labor_categories": [{"id": c, "name": c.capitalize(), "billable": True,
                                  "cost_rate": r, "currency": "EUR"} for c, r in RATES.items()],
            "cost_centers": [{"id": f"CC-{n}", "legal_entity": "ACME-DE"} for n in (100, 200, 300)],
            "legal_entities": [{"id": "ACME-DE", "currency": "EUR"}]}


CALENDAR = """\
# Accounting periods and pay cycles of acme.
periods:
  - { id: "2026-10", from: 2026-10-01, to: 2026-10-31, state: closed }
  - { id: "2026-11", from: 2026-11-01, to: 2026-11-30, state: open }
pay_cycles:
  - { id: "2026-W44", from: 2026-10-26, to: 2026-11-01, cutoff: "2026-11-03T12:00:00Z" }
  - { id: "2026-W47", from: 2026-11-16, to: 2026-11-22, cutoff: "2026-11-24T12:00:00Z" }
"""


def entries(seed=2026):
    """600 entries: three a day and person, quarters of an hour."""
    rng = random.Random(seed)
    out = []
    for worker in range(1, PEOPLE + 1):
        for day in DAYS:
            for _ in range(3):
                n = len(out) + 1
                wid = f"W-{worker:03}"
                out.append(Entry(f"TE-{n:06}", wid, f"P-{100 + rng.randint(1, PROJECTS - 1)}",
                                 f"T-{rng.randint(1, 3)}", day,
                                 Decimal(rng.randint(4, 14)) / 4,
                                 "worker_inactive" if wid == LEFT else None, n % 4))
    # a worker who left sends one entry, not fifteen: the rest of that week goes to a colleague
    left = [e for e in out if e.worker == LEFT]
    for e in left[1:]:
        e.worker, e.waits = "W-039", None
    out[30].project, out[30].waits = CLOSED_PROJECT, "project_closed"
    out[60].date, out[60].waits = CLOSED_DAY, "period_closed"
    return out


def plan(all_entries):
    """Every request of the week, in steps."""
    sends = []
    burst, rest = all_entries[570:], all_entries[:570]

    def hook(step, e, status=202, **kw):
        sends.append(Send(step, "hook", e, f"msg-{e.id}", f"evt-{e.id}", status, **kw))

    def bearer(step, e, status=202, **kw):
        kw.setdefault("key", f"key-{e.id}")
        sends.append(Send(step, "bearer", e, event_id=f"evt-{e.id}", status=status, **kw))

    for n, e in enumerate(rest):
        (bearer if n % 3 == 2 else hook)(1, e)
    # what goes wrong in a real week; each of these has its true entry in step 1 or 3
    for e in [x for x in rest if rest.index(x) % 3 == 0][:25]:
        hook(2, e, replayed=True, note="re-delivered by the PSA")
    for e in [x for x in rest if rest.index(x) % 3 == 2][:10]:
        bearer(2, e, replayed=True, note="re-sent after a time-out")
    for n, e in enumerate([x for x in rest if rest.index(x) % 3 == 1][:5]):
        sends.append(Send(2, "hook", e, f"msg-again-{e.id}", f"evt-{e.id}", 202,
                          note="same event under a new webhook id"))
    for e in [x for x in rest if rest.index(x) % 3 == 2][20:23]:
        changed = e.data() | {"note": "changed"}
        bearer(2, e, 422, code="idempotency_mismatch", data=changed,
               note="a re-used key with another body")
    for e in rest[100:104]:
        sends.append(Send(2, "hook", e, f"msg-forged-{e.id}", f"evt-forged-{e.id}", 401,
                          code="signature_invalid", spoil="signature", note="a wrong signature"))
    for e in rest[110:113]:
        bearer(2, e, 403, code="scope_insufficient", scope="status:read", key=f"key-scope-{e.id}",
               note="a missing scope")
    for e in rest[120:122]:
        sends.append(Send(2, "hook", e, f"msg-type-{e.id}", f"evt-type-{e.id}", 403,
                          code="type_not_allowed", type="com.other.payment.v1",
                          note="a type not allowed"))
    # a trial client has 10 an hour: of its 30 at once 10 pass, 20 are refused (which: it may choose
    # its order, so they go one after the other), and the PSA delivers those 20 by webhook
    for n, e in enumerate(burst):
        bearer(100 + n, e, 202 if n < 10 else 429, code="" if n < 10 else "rate_limited",
               client="trial-app", key=f"key-trial-{e.id}", note="a burst over the rate")
    for e in burst[10:]:
        hook(200, e)
    return sends


@dataclass
class Expected:
    sent: int
    answers: dict       # (status, code, replayed) -> count
    entries: int        # distinct entries that were accepted
    duplicates: int     # events the journal must know as duplicates
    posted: int
    waiting: dict       # code -> entries, sorted
    labor: dict         # entry -> what its line in the ERP file must say
    payroll: dict       # entry -> what its line in the payroll file must say
    hours_source: Decimal   # of the accepted entries, each once
    hours_posted: Decimal
    amount: Decimal


def expected(sends):
    answers, accepted, first_events, duplicates = {}, {}, set(), 0
    for s in sends:
        k = (s.status, s.code, s.replayed)
        answers[k] = answers.get(k, 0) + 1
        if s.status != 202 or s.replayed:
            continue
        accepted[s.entry.id] = s.entry
        identity = (s.way if s.way == "hook" else s.client, s.event_id)
        duplicates += identity in first_events
        first_events.add(identity)
    waiting, posted = {}, []
    for e in sorted(accepted.values(), key=lambda e: e.id):
        if e.waits:
            waiting.setdefault(e.waits, []).append(e.id)
        else:
            posted.append(e)
    labor, payroll = postings(posted)
    return Expected(
        sent=len(sends), answers=answers, entries=len(accepted), duplicates=duplicates,
        posted=len(posted), waiting=waiting, labor=labor, payroll=payroll,
        hours_source=sum((e.hours for e in accepted.values()), Decimal(0)),
        hours_posted=sum((e.hours for e in posted), Decimal(0)),
        amount=sum((Decimal(line["amount"]) for line in labor.values()), Decimal(0)))


def postings(posted):
    """Field by field, the line each entry owes to ERP and to payroll."""
    workers = {w["id"]: w for w in master()["workers"]}
    labor, payroll = {}, {}
    for e in posted:
        w = workers[e.worker]
        rate = Decimal(RATES[w["labor_category"]])
        labor[e.id] = {
            "entry": e.id, "version": "1", "date": e.date, "period": e.date[:7],
            "worker": e.worker, "project": e.project, "task": e.task,
            "legal_entity": w["legal_entity"], "cost_center": w["cost_center"],
            "labor_category": w["labor_category"], "hours": f"{e.hours:.2f}",
            "cost_rate": f"{rate:.2f}", "amount": f"{e.hours * rate:.2f}", "currency": "EUR"}
        payroll[e.id] = {"entry": e.id, "version": "1", "date": e.date, "pay_period": "2026-W47",
                         "worker": e.worker, "pay_code": "REG", "hours": f"{e.hours:.2f}"}
    return labor, payroll
