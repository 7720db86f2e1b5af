"""One week of approved time at the firm `acme` (acme.py), from a fixed seed: the entries, and every request
that a PSA, Jira and HR would send, with the answer it must have. expect.py works out from these what must
have become of them.
"""
import datetime
import random
from dataclasses import dataclass, field, replace
from decimal import Decimal

import acme
from acme import CLOSED_DAY, CLOSED_PROJECT, PEOPLE, PROJECTS, master  # noqa: F401 (tests use it)
from tests.harness import jira

CALENDAR = acme.calendar()
TENANT, SOURCE, TYPE = "acme", "urn:acme:psa", "com.tallygate.time_entry.approved.v1"
WITHDRAWN, CHANGED = "com.tallygate.time_entry.withdrawn.v1", "com.tallygate.worker.changed.v1"
DAYS = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20"]
FRIDAY = datetime.datetime(2026, 11, 20, 17, tzinfo=datetime.timezone.utc)

# What happens one after the other; the requests of one step go out at the same time. The burst needs a
# step for each request.
HR, HR_OVERTAKEN, WEEK, TROUBLE, BURST, AFTER_BURST = 1, 2, 3, 4, 100, 200
HIRED, CORRECTED, OVERTAKEN, EARLY, EARLY_CORRECTED, END = 300, 310, 320, 330, 340, 400
# settle: of what was sent nothing moves; released: nor is anything held; note: what is held now; seen: it is
# in the journal; pause, resume: all destinations, by hand
BEFORE = {HR_OVERTAKEN: ["settle"], WEEK: ["settle"], HIRED: ["settle", "note"], CORRECTED: ["released"],
          OVERTAKEN: ["released"], EARLY: ["released", "pause"], EARLY_CORRECTED: ["seen"],
          END: ["seen", "resume", "released"]}


@dataclass
class Entry:
    """One version of a time entry."""
    id: str
    worker: str
    project: str
    task: str
    date: str
    hours: Decimal
    version: int = 1
    shape: int = 0  # 0 decimal hours, 1 minutes, 2 ISO 8601 duration, 3 HH:MM

    def data(self):
        out = {"id": self.id, "version": self.version, "worker": self.worker,
               "project": self.project, "task": self.task, "date": self.date,
               "approved_by": "W-001", "approved_at": "2026-11-20T17:00:00Z"}
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

    def withdrawal(self):
        return {"id": self.id, "version": self.version, "withdrawn_by": "W-001",
                "withdrawn_at": "2026-11-21T08:00:00Z", "reason": "booked twice"}

    def worklog(self, event):
        """As Jira says it: its own id and its time of change, which are our id and version."""
        zone = datetime.timezone(datetime.timedelta(hours=acme.entity_of(self.worker) == acme.DE))
        started = datetime.datetime.fromisoformat(self.date).replace(hour=9, tzinfo=zone)
        changed = datetime.datetime.fromtimestamp(self.version // 1000, zone)
        updated = changed - datetime.timedelta(hours=1) if event == "deleted" else changed
        return jira.worklog(event, self.id.removeprefix("jira-"), acme.issue(self.project, self.task),
                            acme.account(self.worker), started, int(self.hours * 3600), updated,
                            sent=changed)


@dataclass
class Send:
    """One request: how it goes out, what must come back."""
    step: int
    way: str                # hook, bearer (the PSA); jira; hr
    entry: Entry | None     # None: it is of a worker
    key: str                # webhook id or idempotency key; Jira has none
    event_id: str
    status: int = 202       # of the answer
    code: str = ""          # problem code
    replayed: bool = False
    client: str = "svc-psa"
    scope: str = "events:write"
    type: str = TYPE
    spoil: str = ""         # signature
    note: str = ""
    data: dict = field(default_factory=dict)

    def __post_init__(self):
        self.data = self.data or (self.entry.withdrawal() if self.type == WITHDRAWN
                                  else self.entry.data())

    def of_jira(self):
        return self.way == "jira"


def entries(seed=2026):
    """What was worked: three entries a day and person, quarters of an hour; and the two who are hired."""
    rng = random.Random(seed)
    out = []

    def add(wid, day):
        n = len(out) + 1
        out.append(Entry(f"TE-{n:06}", wid, f"P-{100 + rng.randint(1, PROJECTS - 1)}",
                         f"T-{rng.randint(1, 3)}", day, Decimal(rng.randint(4, 14)) / 4, 1, n % 4))

    for worker in range(1, PEOPLE + 1):
        for day in DAYS:
            for _ in range(3):
                add(f"W-{worker:03}", day)
    # who has left sends one entry, not all: the rest is a colleague's
    for e in [e for e in out if e.worker == acme.LEFT][1:]:
        e.worker = "W-039"
    for e in [e for e in out if e.worker == acme.LEAVER and e.date > acme.LAST_DAY][1:]:
        e.worker = "W-021"
    for e in (out[30], out[33]):
        e.project = CLOSED_PROJECT
    out[60].date = CLOSED_DAY
    for day in DAYS[2:]:
        for wid in (acme.HIRED, acme.HIRED, acme.HIRED_LATE, acme.HIRED_LATE):
            add(wid, day)
    for n, e in enumerate(e for e in out if e.worker in acme.IN_JIRA or in_jira_once(e)):
        e.id, e.version = f"jira-{20001 + n}", jira.millis(FRIDAY) + 1000 * n
    return out


def in_jira_once(e):
    """The late one logs his Thursday in Jira, before anybody knows whose account that is."""
    return e.worker == acme.HIRED_LATE and e.date == DAYS[3]


class Plan:
    """Collects the requests."""

    def __init__(self):
        self.sends = []

    def hook(self, step, e, status=202, **kw):
        known = {"key": f"msg-{e.id}-{e.version}", "event_id": f"evt-{e.id}-{e.version}"}
        self.sends.append(Send(step, "hook", e, status=status, **known | kw))

    def bearer(self, step, e, status=202, **kw):
        known = {"key": f"key-{e.id}-{e.version}", "event_id": f"evt-{e.id}-{e.version}"}
        self.sends.append(Send(step, "bearer", e, status=status, **known | kw))

    def jira(self, step, e, event="created", status=202, **kw):
        type_ = WITHDRAWN if event == "deleted" else TYPE
        self.sends.append(Send(step, "jira", e, "", f"{e.id}@{e.version}", status, type=type_,
                               data=e.worklog(event), **kw))

    def hr(self, step, change, **kw):
        name = f"{change['id']}-{change['version']}"
        self.sends.append(Send(step, "hr", None, f"msg-hr-{name}", f"evt-hr-{name}", type=CHANGED,
                               data=change, **kw))


def plan(all_entries):
    """Every request of the week, in steps."""
    p, changes = Plan(), acme.hr_changes()
    # these come late, and are changed before they are posted
    early = [*all_entries[570:572], next(e for e in all_entries if e.worker == "W-033")]
    late = all_entries[573]         # its correction comes before it
    burst = all_entries[574:600]
    first = [e for e in all_entries if e not in early + burst + [late]]
    worklogs = [e for e in first if e.id.startswith("jira-")]
    psa = [e for e in first if e not in worklogs]

    for what in ("leaves", "moves", "hired"):
        p.hr(HR, changes[what])
    p.hr(HR_OVERTAKEN, changes["moved before"], note="an older change, overtaken by a newer one")
    for n, e in enumerate(psa):
        (p.bearer if n % 3 == 2 else p.hook)(WEEK, e)
    for e in worklogs:
        p.jira(WEEK, e)
    trouble(p, psa, worklogs)
    # a trial client has 10 an hour: of its 26 at once 10 pass and 16 are refused (which: it may choose
    # its order, so they go one after the other), and the PSA delivers those 16 by webhook
    for n, e in enumerate(burst):
        p.bearer(BURST + n, e, 202 if n < 10 else 429, code="" if n < 10 else "rate_limited",
                 client="trial-app", key=f"key-trial-{e.id}", note="a burst over the rate")
    for e in burst[10:]:
        p.hook(AFTER_BURST, e)
    p.hr(HIRED, changes["hired late"], note="a hire that HR sends after the first entry")
    corrections(p, psa, worklogs)
    p.hook(CORRECTED, replace(late, version=2, hours=late.hours + 1), note="overtakes its original")
    p.hook(OVERTAKEN, late, note="an original that its correction overtook")
    for e in early:
        p.hook(EARLY, e)
        p.hook(EARLY_CORRECTED, replace(e, version=2, hours=e.hours + Decimal("0.25")),
               note="a correction before the posting")
    return p.sends


def trouble(p, psa, worklogs):
    """What goes wrong in a real week; each of these has its true entry in another step."""
    hooked = [e for n, e in enumerate(psa) if n % 3 != 2]
    by_token = [e for n, e in enumerate(psa) if n % 3 == 2]
    for e in hooked[:25]:
        p.hook(TROUBLE, e, replayed=True, note="re-delivered by the PSA")
    for e in by_token[:10]:
        p.bearer(TROUBLE, e, replayed=True, note="re-sent after a time-out")
    for e in worklogs[:8]:
        p.jira(TROUBLE, e, replayed=True, note="re-delivered by Jira")
    for e in hooked[25:30]:
        p.hook(TROUBLE, e, key=f"msg-again-{e.id}", note="same event under a new webhook id")
    for e in by_token[20:23]:
        p.bearer(TROUBLE, e, 422, code="idempotency_mismatch", data=e.data() | {"note": "changed"},
                 note="a re-used key with another body")
    for e in hooked[100:104]:
        p.hook(TROUBLE, e, 401, code="signature_invalid", spoil="signature", key=f"msg-forged-{e.id}",
               event_id=f"evt-forged-{e.id}", note="a wrong signature")
    for e in worklogs[10:12]:
        p.jira(TROUBLE, replace(e, version=e.version + 500, hours=Decimal(20)), "updated", 401,
               code="signature_invalid", spoil="signature", note="a wrong signature of Jira")
    for e in hooked[110:113]:
        p.bearer(TROUBLE, e, 403, code="scope_insufficient", scope="status:read",
                 key=f"key-scope-{e.id}", note="a missing scope")
    for e in hooked[120:122]:
        p.hook(TROUBLE, e, 403, code="type_not_allowed", type="com.other.payment.v1", data=e.data(),
               key=f"msg-type-{e.id}", event_id=f"evt-type-{e.id}", note="a type not allowed")


def corrections(p, psa, worklogs):
    """Of what is posted, but for the one that waits for a person until it is corrected."""
    by_entity = {x: [e for e in psa if acme.entity_of(e.worker) == x and e.worker not in
                     (acme.LEFT, acme.LEAVER, acme.HIRED_LATE)] for x in (acme.DE, acme.UK)}
    for some in by_entity.values():
        more, other, twice, gone = some[70], some[71], some[72], some[75]
        p.hook(CORRECTED, replace(more, version=2, hours=more.hours + Decimal("1.5")),
               note="a correction after the posting")
        project = "P-101" if other.project != "P-101" else "P-102"
        p.bearer(CORRECTED, replace(other, version=2, project=project),
                 note="moved to another project after the posting")
        p.hook(CORRECTED, replace(twice, version=2, hours=twice.hours + 1), note="corrected twice")
        p.hook(OVERTAKEN, replace(twice, version=3, hours=twice.hours + 2), note="corrected twice")
        p.hook(CORRECTED, replace(gone, version=2), type=WITHDRAWN, note="withdrawn")
    closed = next(e for e in psa if e.project == CLOSED_PROJECT)
    p.hook(CORRECTED, replace(closed, version=2, project="P-111"), note="what was refused, corrected")
    hour = 3600 * 1000
    for e in (worklogs[0], worklogs[-3]):
        p.jira(CORRECTED, replace(e, version=e.version + hour, hours=e.hours + 1), "updated",
               note="a worklog that is changed")
    gone = worklogs[20]
    p.jira(CORRECTED, replace(gone, version=gone.version + 2 * hour), "deleted",
           note="a worklog that is deleted")
