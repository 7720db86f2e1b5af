"""What arrived, read from the destinations themselves, and whether it is what the input implies (expect.py):
line by line and field by field, then in sums for each legal entity in its currency, then in the ledger as
hledger reads it. Nothing here reads the product's counters. tests/flow/test_demo.py breaks each input and
sees it noticed.
"""
import collections
import json
from dataclasses import dataclass
from decimal import Decimal

import acme
import erps


@dataclass
class Arrived:
    """Everything the judge looks at."""
    answers: list       # (Send, (status, code, replayed, event id))
    book: erps.Book     # of the ERPs
    payroll: list       # rows of the payroll files
    totals: dict        # pay period -> the control totals beside its file
    exceptions: list    # open ones: code, owner, subject
    held: list          # entries that were held before HR's last word
    duplicates: int


def read(out, answers, book, exceptions, held, duplicates):
    """out: the folder of the file destinations."""
    totals = {p.name.removeprefix("payroll-").removesuffix(".totals.json"): json.loads(p.read_text())
              for p in sorted(out.glob("payroll/*.totals.json"))}
    return Arrived(answers, book, erps.rows(out, "payroll/payroll-*.csv"), totals, exceptions, held,
                   duplicates)


# ---- lines ----

def expected_rows(lines, part):
    """{(entry, version, is it taken back): fields}; what was taken back is there twice, the second time
    negative."""
    want = {}
    for line in lines:
        fields = getattr(line, part)
        want[line.entry, line.version, False] = fields
        if line.back:
            negative = {k: f"-{fields[k]}" for k in ("hours", "amount") if k in fields}
            want[line.entry, line.version, True] = fields | negative
    return want


def said(ident):
    """An entry's version, and whether it is the line that takes it back, in words."""
    entry, version, *back = ident
    return f"{entry} version {version}{' taken back' if any(back) else ''}"


def compare_rows(name, got, want):
    """Each expected row once, with every field as expected; nothing else; what takes something back names
    the key of that."""
    def ident(row):
        return row["entry"], row["version"], bool(row["reverses"])

    wrong, seen = [], collections.Counter(ident(r) for r in got)
    wrong += [f"{name}: {said(i)} is there {n} times" for i, n in seen.items() if n > 1]
    wrong += [f"{name}: {said(i)} is missing" for i in want if i not in seen]
    keys = {ident(r): r["key"] for r in got}
    for row in got:
        i = ident(row)
        if i not in want:
            wrong.append(f"{name}: {said(i)} must not be there")
            continue
        wrong += [f"{name}: {said(i)}: {k} is {row.get(k)}, the input implies {v}"
                  for k, v in want[i].items() if row.get(k) != v]
        if row["reverses"] and row["reverses"] != keys.get((row["entry"], row["version"], False)):
            wrong.append(f"{name}: {said(i)} by key {row['reverses']}, which is not its original's")
    return wrong + repeated(name, got)


def compare_lines(name, got, lines):
    """An ERP that keeps one line for each posting, with no time on it once it was taken back (Tryton)."""
    same = ("date", "worker", "project", "task", "legal_entity", "currency", "cost_rate")
    want = {(x.entry, x.version): {k: x.labor[k] for k in same}
            | {"seconds": 0 if x.back else int(x.hours * 3600)} for x in lines}
    seen = collections.Counter((r["entry"], r["version"]) for r in got)
    wrong = [f"{name}: {said(i)} is there {n} times" for i, n in seen.items() if n > 1]
    wrong += [f"{name}: {said(i)} is missing" for i in want if i not in seen]
    for row in got:
        i = row["entry"], row["version"]
        if i not in want:
            wrong.append(f"{name}: {said(i)} must not be there")
        else:
            wrong += [f"{name}: {said(i)}: {k} is {row[k]}, the input implies {v}"
                      for k, v in want[i].items() if row[k] != v]
    return wrong + repeated(name, got)


def repeated(name, rows):
    keys = collections.Counter(r["key"] for r in rows)
    return [f"{name}: key {k} is there {n} times" for k, n in keys.items() if n > 1]


# ---- sums ----

def sums_of(rows):
    """(hours, money) of an ERP's lines."""
    hours, money = Decimal(0), Decimal(0)
    for r in rows:
        if "seconds" in r:
            h = Decimal(r["seconds"]) / 3600
            money += (h * Decimal(r["cost_rate"])).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        else:
            h = Decimal(r["hours"])
            money += Decimal(r["amount"])
        hours += h
    return hours, money


def paid(rows, entity, x):
    """Hours of a legal entity's people in the payroll files."""
    pay_periods = {line.payroll["pay_period"] for line in x.of(entity)}
    return sum((Decimal(r["hours"]) for r in rows if r["pay_period"] in pay_periods), Decimal(0))


def expected_ledger(lines):
    """The accounts that lines add up to, in the ledger of the files."""
    sums = collections.defaultdict(Decimal)
    for line in (x for x in lines if not x.back):
        f = line.labor
        sums[f"wip:{f['project']}:{f['task']}", "h"] += line.hours
        sums[f"labor:{f['worker']}", "h"] -= line.hours
        sums[f"cost:{f['project']}", f["currency"]] += line.amount
        sums[f"absorbed:{f['cost_center']}", f["currency"]] -= line.amount
    return {k: v for k, v in sums.items() if v != 0}


def expected_totals(lines):
    """pay period -> (lines, hours) of its file."""
    found = {}
    for line in lines:
        n, hours = found.get(line.payroll["pay_period"], (0, Decimal(0)))
        found[line.payroll["pay_period"]] = (n + 1 + line.back, hours + line.hours * (not line.back))
    return found


# ---- the verdict ----

def answer(a):
    """(status, code, replayed), the last in words."""
    return (*a[:2], "the first answer again" if a[2] else "")


def words(value):
    """A value as a person reads it."""
    if isinstance(value, (tuple, list)):
        return " ".join(str(v) for v in value if v is not False and v != "") or "none"
    return str(value)


def judge(a, x):
    """Every difference between what arrived and what the input implies (expect.Expected)."""
    wrong = []

    def must(what, got, want):
        if isinstance(want, dict):
            for key in sorted(set(got) | set(want), key=str):
                must(f"{what}, {words(key)}", got.get(key, "none"), want.get(key, "none"))
        elif got != want:
            wrong.append(f"{what}: {words(got)}, the input implies {words(want)}")

    for s, r in a.answers:
        if r[:3] != (s.status, s.code, s.replayed):
            wrong.append(f"{s.way} {s.key or s.event_id} ({s.note or 'an entry'}): answered "
                         f"{words(answer(r[:3]))}, not {words(answer((s.status, s.code, s.replayed)))}")
    must("number of answers", dict(collections.Counter(answer(r[:3]) for _, r in a.answers)),
         {answer(k): n for k, n in x.answers.items()})
    must("legal entities in the ERPs", sorted(e for e, rows in a.book.rows.items() if rows),
         sorted(acme.CURRENCY))
    for entity in acme.CURRENCY:
        got, lines = a.book.rows.get(entity, []), x.of(entity)
        if any("seconds" in r for r in got):
            wrong += compare_lines(f"ERP of {entity}", got, lines)
        else:
            wrong += compare_rows(f"ERP of {entity}", got, expected_rows(lines, "labor"))
        hours, money = sums_of(got)
        must(f"hours in the ERP of {entity}", hours, x.hours(entity))
        must(f"{acme.CURRENCY[entity]} in the ERP of {entity}", money, x.amount(entity))
        must(f"hours in the payroll of {entity}", paid(a.payroll, entity, x), x.hours(entity))
    wrong += compare_rows("payroll", a.payroll, expected_rows(x.lines, "payroll"))
    if a.book.ledger is not None:
        must("ledger accounts", a.book.ledger, expected_ledger(x.of(acme.DE)))
    must("lines and hours of the payroll control totals",
         {k: (t["lines"], Decimal(t["hours"])) for k, t in a.totals.items()}, expected_totals(x.lines))
    for fault, what in erps.FAULTS.items():
        must(f"times the ERP {what}", a.book.faults.get(fault, 0), 1)
    waiting = collections.defaultdict(list)
    for e in a.exceptions:
        waiting[e["code"]].append(e["subject"].split("@")[0])
    must("waiting", {k: sorted(v) for k, v in waiting.items()}, x.waiting)
    must("held until HR's event came", a.held, x.held)
    must("duplicates", a.duplicates, x.duplicates)
    return wrong


# ---- the report ----

def counts(a, x):
    """(what, how many the input implies, how many there are or None, a remark)"""
    in_erp = [r for rows in a.book.rows.values() for r in rows]
    back_in_erp = sum(bool(r.get("reverses")) or r.get("seconds") == 0 for r in in_erp)
    kept = all("seconds" in r for r in in_erp)  # one line for a posting, also when it was taken back
    back_paid = sum(bool(r["reverses"]) for r in a.payroll)
    due, back = sum(not line.back for line in x.lines), sum(line.back for line in x.lines)
    found = [("entries accepted, each once", x.entries, None, ""),
             ("  posted, in the ERP", due, len(in_erp) - back_in_erp * (1 if kept else 2), ""),
             ("  posted, in payroll", due, len(a.payroll) - 2 * back_paid, ""),
             ("  posted before, taken back in the ERP", back, back_in_erp,
              f"   {x.corrected} corrected, {x.withdrawn} withdrawn"),
             ("  posted before, taken back in payroll", back, back_paid, ""),
             ("  held until HR's event came, then posted", len(x.held), len(a.held), ""),
             ("  corrected before they were posted", x.unposted, None, "   the first owes nothing"),
             ("  overtaken by their correction", x.superseded, None, "   the first owes nothing"),
             ("  same event under another name", x.duplicates, a.duplicates, "   owes nothing")]
    waiting = collections.Counter(e["code"] for e in a.exceptions)
    owners = {e["code"]: e["owner"] for e in a.exceptions}
    found += [(f"  waiting: {code}", len(x.waiting.get(code, [])), waiting[code],
               f"   for {owners.get(code, '?')}") for code in sorted(set(x.waiting) | set(waiting))]
    return found + [(f"the ERP {what}, times", 1, a.book.faults.get(fault, 0), "")
                    for fault, what in erps.FAULTS.items()]


def table(a, x, names):
    """What a person reads. names: legal entity -> what its ERP is."""
    answers = collections.Counter(r[:3] for _, r in a.answers)
    keys = sorted(set(answers) | set(x.answers))

    def total(of, which):
        return sum(of.get(k, 0) for k in keys if which(k))

    kinds = [("requests", lambda k: True), ("  accepted (202)", lambda k: k[0] == 202 and not k[2]),
             ("  the first answer again", lambda k: k[2])]
    lines = [(what, total(x.answers, which), total(answers, which), "") for what, which in kinds]
    lines += [(f"  refused {k[0]} {k[1]}", x.answers.get(k, 0), answers[k], "")
              for k in keys if k[0] != 202]
    text = f"\n{'':58}{'implied':>9}{'found':>7}\n"
    for what, implied, found, remark in lines + counts(a, x):
        text += f"{what:58}{implied:>9}{'' if found is None else found:>7}{remark}\n"
    text += f"\n{'':26}{'hours':>9}{'ERP':>10}{'payroll':>10}{'cost':>12}{'ERP':>12}\n"
    for entity, currency in acme.CURRENCY.items():
        hours, money = sums_of(a.book.rows.get(entity, []))
        text += (f"{entity + ', ' + names[entity]:26}{x.hours(entity):>9}{round(hours, 2):>10}"
                 f"{paid(a.payroll, entity, x):>10}{x.amount(entity):>12}{money:>12} {currency}\n")
    return text
