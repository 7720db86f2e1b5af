"""What must have become of the week: worked out from the requests and the master data alone, in order, by
rules of its own. Nothing here reads what the product counts or says.
"""
import collections
from dataclasses import dataclass, field
from decimal import Decimal

import acme
import week

LABOR = ("entry", "version", "date", "period", "worker", "project", "task", "legal_entity", "cost_center",
         "labor_category", "hours", "cost_rate", "amount", "currency")
HOURS = ("entry", "version", "date", "pay_period", "worker", "pay_code", "hours")


@dataclass
class Line:
    """What one version of an entry owes, to the ERP and to payroll; `back`: it is taken back again."""
    entry: str
    version: str
    entity: str
    labor: dict
    payroll: dict
    hours: Decimal
    amount: Decimal
    back: bool = False


@dataclass
class Expected:
    sent: int = 0
    answers: dict = field(default_factory=dict)     # (status, code, replayed) -> count
    entries: int = 0                                # distinct ones that were accepted
    duplicates: int = 0                             # events the journal must know as duplicates
    held: list = field(default_factory=list)        # entries that waited for master data, and came
    waiting: dict = field(default_factory=dict)     # code -> entries, sorted
    lines: list = field(default_factory=list)       # Line, in the order they are owed
    corrected: int = 0                              # versions after a posting: taken back, booked anew
    unposted: int = 0                               # versions that were replaced before they were posted
    superseded: int = 0                             # versions that came after their correction
    withdrawn: int = 0

    def of(self, entity):
        return [line for line in self.lines if line.entity == entity]

    def hours(self, entity):
        return sum((line.hours for line in self.of(entity) if not line.back), Decimal(0))

    def amount(self, entity):
        return sum((line.amount for line in self.of(entity) if not line.back), Decimal(0))


# ---- who is who, on a day ----

class Staff:
    """The master data file and what HR has sent so far."""

    def __init__(self):
        self.rows = {w["id"]: [("", 0, w)] for w in acme.master()["workers"]}  # (from, version, row)

    def change(self, data):
        self.rows.setdefault(data["id"], []).append((data["effective_from"], data["version"], data))

    def known(self, worker):
        return worker in self.rows

    def on(self, worker, day, name):
        """Of the words about an attribute that are in force on the day, the latest."""
        words = [(first, version, row[name]) for first, version, row in self.rows[worker]
                 if name in row and first <= day]
        return max(words, key=lambda w: w[:2])[2]

    def employed(self, worker, day):
        words = [(version, row["employment"]) for _, version, row in self.rows[worker]
                 if "employment" in row]
        return any(s["from"] <= day <= (s["to"] or "9999") for s in max(words, key=lambda w: w[0])[1])


def span_of(rows, entity, day):
    """Of periods or pay cycles (id, from, to, state or cut-off, entity): the entity's own, else the
    common one."""
    fits = [r for r in rows if r[1] <= day <= r[2] and r[4] in (entity, None)]
    return max(fits, key=lambda r: r[4] is not None)


def project_open(project, day):
    row = next(p for p in acme.master()["projects"] if p["id"] == project)
    return any(s["from"] <= day <= (s["to"] or "9999") and s["state"] == "open" for s in row["states"])


def verdict(e, staff):
    """held, a code, or "" for what is posted."""
    if not staff.known(e.worker):
        return "held"
    if not staff.employed(e.worker, e.date):
        return "worker_inactive"
    if not project_open(e.project, e.date):
        return "project_closed"
    entity = staff.on(e.worker, e.date, "legal_entity")
    return "" if span_of(acme.PERIODS, entity, e.date)[3] == "open" else "period_closed"


def line_of(e, staff):
    entity, category, center, pay_code = (staff.on(e.worker, e.date, name) for name in (
        "legal_entity", "labor_category", "cost_center", "pay_code"))
    rate = Decimal(acme.RATES[entity][category])
    hours, version = f"{e.hours:.2f}", str(e.version)
    amount = (e.hours * rate).quantize(Decimal("0.01"), "ROUND_HALF_UP")
    labor = dict(zip(LABOR, (e.id, version, e.date, span_of(acme.PERIODS, entity, e.date)[0], e.worker,
                             e.project, e.task, entity, center, category, hours, f"{rate:.2f}",
                             f"{amount:.2f}", acme.CURRENCY[entity])))
    cycle = span_of(acme.PAY_CYCLES, entity, e.date)[0]
    payroll = dict(zip(HOURS, (e.id, version, e.date, cycle, e.worker, pay_code, hours)))
    return Line(e.id, version, entity, labor, payroll, e.hours, amount)


# ---- the week, request by request ----

class Account:
    """What is known of one entry: its latest version and what came of that."""

    def __init__(self):
        self.version, self.state, self.line, self.entry = 0, "", None, None


class Replay:
    def __init__(self, x):
        self.x, self.staff, self.paused = x, Staff(), False
        self.accounts = collections.defaultdict(Account)

    def act(self, what):
        if what in ("pause", "resume"):
            self.paused = what == "pause"
        if what == "resume":
            for a in self.accounts.values():
                if a.state == "planned":
                    a.state = "posted"
                    self.x.lines.append(a.line)

    def take_hr(self, data):
        self.staff.change(data)
        for a in self.accounts.values():
            if a.state == "held" and verdict(a.entry, self.staff) != "held":
                self.x.held.append(a.entry.id)
                self.judge(a, a.entry)

    def judge(self, a, e):
        a.state = verdict(e, self.staff) or ("planned" if self.paused else "posted")
        a.line = line_of(e, self.staff) if a.state in ("planned", "posted") else None
        if a.state == "posted":
            self.x.lines.append(a.line)

    def take_entry(self, e, withdrawn):
        a = self.accounts[e.id]
        if e.version <= a.version:
            self.x.superseded += 1
            return
        if a.state == "posted":
            a.line.back = True
            self.x.corrected += not withdrawn
        elif a.state == "planned":
            self.x.unposted += 1
        a.version, a.entry, a.line = e.version, e, None
        if withdrawn:
            a.state = "withdrawn"
            self.x.withdrawn += 1
        else:
            self.judge(a, e)


def expected(sends):
    x = Expected(sent=len(sends))
    replay, seen = Replay(x), set()
    x.answers = dict(collections.Counter((s.status, s.code, s.replayed) for s in sends))
    for step in sorted({s.step for s in sends} | set(week.BEFORE)):
        for what in week.BEFORE.get(step, []):
            replay.act(what)
        for s in (s for s in sends if s.step == step and s.status == 202 and not s.replayed):
            identity = (s.way if s.way != "bearer" else s.client, s.event_id)
            if identity in seen:
                x.duplicates += 1
                continue
            seen.add(identity)
            if s.entry is None:
                replay.take_hr(s.data)
            else:
                replay.take_entry(s.entry, s.type == week.WITHDRAWN)
    for entry, a in sorted(replay.accounts.items()):
        if a.state not in ("posted", "planned", "withdrawn"):
            x.waiting.setdefault(a.state, []).append(entry)
    x.entries, x.held = len(replay.accounts), sorted(x.held)
    return x
