"""What arrived, read from the destinations themselves, and whether it is what the input implies: entry
by entry and field by field, then in sums, then in the ledger as hledger reads it. Nothing here reads
the product's counters. tests/flow/test_demo.py breaks each input and sees it noticed."""
import collections
import csv
import json
import subprocess
from dataclasses import dataclass
from decimal import Decimal


@dataclass
class Arrived:
    """Everything the judge looks at."""
    answers: list       # (Send, (status, code, replayed, event id))
    labor: list         # rows of the ERP labor files
    payroll: list       # rows of the payroll files
    totals: list        # control totals beside the payroll files
    ledger: dict        # (account, commodity) -> sum
    exceptions: list    # open ones: code, owner, subject
    duplicates: int


def read(out, answers, exceptions, duplicates):
    """Reads the output folder of the file destinations."""
    return Arrived(answers, rows(out, "erp/labor-*.csv"), rows(out, "payroll/payroll-*.csv"),
                   [json.loads(p.read_text()) for p in sorted(out.glob("payroll/*.totals.json"))],
                   ledger(out / "erp/ledger.journal"), exceptions, duplicates)


def rows(out, pattern):
    found = []
    for path in sorted(out.glob(pattern)):
        with open(path, newline="", encoding="utf-8") as f:
            found += list(csv.DictReader(f))
    return found


def hledger(path, *args):
    done = subprocess.run(["hledger", "-f", str(path), *args], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"demo: hledger {' '.join(args)}: {done.stderr}")
    return done.stdout


def ledger(path):
    """Balances of every account; `check` has hledger refuse a journal that does not balance."""
    hledger(path, "check")
    text = hledger(path, "balance", "--flat", "-O", "csv", "--layout", "bare", "-N")
    return {(account, commodity): Decimal(amount)
            for account, commodity, amount in list(csv.reader(text.splitlines()))[1:]}


def expected_ledger(labor):
    """The accounts that the expected labor lines add up to."""
    sums = collections.defaultdict(Decimal)
    for line in labor.values():
        hours, amount = Decimal(line["hours"]), Decimal(line["amount"])
        sums[f"wip:{line['project']}:{line['task']}", "h"] += hours
        sums[f"labor:{line['worker']}", "h"] -= hours
        sums[f"cost:{line['project']}", "EUR"] += amount
        sums[f"absorbed:{line['cost_center']}", "EUR"] -= amount
    return dict(sums)


def compare_rows(name, got, want):
    """Each expected line once, with every field as expected; nothing else."""
    wrong, seen = [], collections.Counter(r["entry"] for r in got)
    wrong += [f"{name}: {e} is there {n} times" for e, n in seen.items() if n > 1]
    wrong += [f"{name}: {e} is missing" for e in want if e not in seen]
    for row in got:
        line = want.get(row["entry"])
        if line is None:
            wrong.append(f"{name}: {row['entry']} must not be there")
        else:
            wrong += [f"{name}: {row['entry']}: {k} is {row.get(k)}, the input implies {v}"
                      for k, v in line.items() if row.get(k) != v]
    keys = collections.Counter(r["key"] for r in got)
    return wrong + [f"{name}: key {k} is there {n} times" for k, n in keys.items() if n > 1]


def judge(a, x):
    """Every difference between what arrived and what the input implies (week.Expected)."""
    wrong = []

    def must(what, got, want):
        if got != want:
            wrong.append(f"{what}: {got}, the input implies {want}")

    for s, r in a.answers:
        if r[:3] != (s.status, s.code, s.replayed):
            wrong.append(f"{s.way} {s.key} ({s.note or 'an entry'}): answered {r[:3]}, "
                         f"not {(s.status, s.code, s.replayed)}")
    must("answers", dict(collections.Counter(r[:3] for _, r in a.answers)), x.answers)
    wrong += compare_rows("ERP labor file", a.labor, x.labor)
    wrong += compare_rows("payroll file", a.payroll, x.payroll)
    must("ledger accounts", a.ledger, expected_ledger(x.labor))
    must("ledger hours", sum((v for (n, c), v in a.ledger.items() if n.startswith("wip:")
                              and c == "h"), Decimal(0)), x.hours_posted)
    must("ledger cost", sum((v for (n, c), v in a.ledger.items() if n.startswith("cost:")),
                            Decimal(0)), x.amount)
    must("payroll hours", hours(a.payroll), x.hours_posted)
    must("payroll control totals, hours", sum((Decimal(t["hours"]) for t in a.totals), Decimal(0)),
         x.hours_posted)
    must("payroll control totals, lines", sum(t["lines"] for t in a.totals), x.posted)
    waiting = collections.defaultdict(list)
    for e in a.exceptions:
        waiting[e["code"]].append(e["subject"].split("@")[0])
    must("waiting", {k: sorted(v) for k, v in waiting.items()}, x.waiting)
    must("duplicates", a.duplicates, x.duplicates)
    return wrong


def hours(lines):
    return sum((Decimal(r["hours"]) for r in lines), Decimal(0))


def table(a, x):
    """The report a person reads."""
    answers = collections.Counter(r[:3] for _, r in a.answers)
    owners = {e["code"]: e["owner"] for e in a.exceptions}
    lines = [("requests sent", len(a.answers), ""),
             ("  accepted (202)", sum(n for k, n in answers.items() if k[0] == 202 and not k[2]), ""),
             ("  the first answer again", sum(n for k, n in answers.items() if k[2]), "")]
    lines += [(f"  refused {status} {code}", n, "")
              for (status, code, _), n in sorted(answers.items()) if status != 202]
    lines += [("entries accepted, each once", x.entries, ""), ("  posted to ERP", len(a.labor), ""),
              ("  posted to payroll", len(a.payroll), ""),
              ("  same event sent again, not posted", a.duplicates, "")]
    counts = collections.Counter(e["code"] for e in a.exceptions)
    lines += [(f"  waiting: {code}", n, f"   for {owners[code]}")
              for code, n in sorted(counts.items())]
    text = "".join(f"{what:36}{n:>8}{who}\n" for what, n, who in lines)
    ledger_hours = sum((v for (n, c), v in a.ledger.items() if n.startswith("wip:") and c == "h"),
                       Decimal(0))
    head = "hours of what was posted"
    return (f"\n{text}\n{head:28}{'source':>12}{'ERP ledger':>14}{'payroll':>12}\n"
            f"{'':28}{x.hours_posted:>12}{ledger_hours:>14}{hours(a.payroll):>12}\n")
