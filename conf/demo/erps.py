"""The ERPs of the demo, each with its own book, and what their books say.

Default: a folder of CSV files with a ledger for one legal entity, a small REST service for the other.
`ERP=tryton`: a real Tryton for both. What goes over a network goes through a line that answers 500 once
instead of passing a posting on, and once drops the connection after the ERP has taken one.
"""
import csv
import json
import os
import re
import secrets
import subprocess
from dataclasses import dataclass
from decimal import Decimal

import acme
from tests.harness.faultproxy import FaultProxy
from tests.harness.rest import Rest

FAULTS = {"error_before": "answered 500 instead of taking a posting",
          "cut_after": "took a posting and dropped the connection"}
SKIPPED = 25  # postings that pass before the faults begin


def faulty(port, is_posting):
    """The line to an ERP on loopback: one fault after the other."""
    line = FaultProxy(("127.0.0.1", port), seed=1)
    line.rule("error_before", match=is_posting, times=1, skip=SKIPPED, status=500)
    line.rule("cut_after", match=is_posting, times=1, skip=2 * SKIPPED)
    return line.start()


def secret_file(path, text):
    """For its owner alone, from the first byte."""
    with open(path, "w", encoding="ascii", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(text)


# ---- CSV files and REST ----

def rows(out, pattern):
    found = []
    for path in sorted(out.glob(pattern)):
        with open(path, newline="", encoding="utf-8") as f:
            found += list(csv.DictReader(f))
    return found


def hledger(path, *args):
    done = subprocess.run(["hledger", "-f", str(path), *args], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"hledger {' '.join(args)}: {done.stderr}")
    return done.stdout


def ledger(path):
    """Balances of every account; `check` has hledger refuse a journal that does not balance."""
    hledger(path, "check")
    text = hledger(path, "balance", "--flat", "-O", "csv", "--layout", "bare", "-N")
    return {(account, commodity): Decimal(amount)
            for account, commodity, amount in list(csv.reader(text.splitlines()))[1:]
            if Decimal(amount) != 0}


def rest_row(key, body):
    """A line of the REST service as a row of the CSV file would be: taken back is negative."""
    row = {"reverses": ""} | {k: str(v) for k, v in body.items()} | {"key": key}
    if row["reverses"]:
        for name in ("hours", "amount"):
            row[name] = f"-{row[name]}"
    return row


class Books:
    """A ledger of files, and a REST service that is taken for the other legal entity's ERP."""
    pausable = ["erp", f"erp.{acme.UK}", "payroll"]
    names = {acme.DE: "ERP files", acme.UK: "ERP by REST"}
    processes = ()

    def __init__(self, var):
        self.out, self.secrets = var / "out", var / "secrets"
        self.token = secrets.token_urlsafe(24)
        self.rest = Rest(credentials={"authorization": f"Bearer {self.token}"})
        self.line = faulty(self.rest.port, lambda r: r.method == "POST")

    def start(self):
        secret_file(self.secrets / "erp-uk", self.token + "\n")

    def destinations(self):
        """For tallygate.yaml."""
        options = {"path": "/labor", "dedupe": "idempotency", "ttl": "86400", "reverse": "post",
                   "lookup_path": "/labor?key={key}", "lookup_list": "items"}
        return {"erp": {"connector": "file", "path": "var/out/erp"},
                f"erp.{acme.UK}": {
                    "connector": "http-json", "url": self.line.url, "allow": ["127.0.0.1"],
                    "auth": "bearer", "token_file": "var/secrets/erp-uk", "timeout": "5s",
                    "options": options}}

    def book(self):
        """What each legal entity's ERP holds: rows, and the ledger of the files."""
        with self.rest.lock:
            lines = list(self.rest.lines.values())
        return Book(rows={acme.DE: rows(self.out, "erp/labor-*.csv"),
                          acme.UK: [rest_row(key, body) for key, body in lines]},
                    ledger=ledger(self.out / "erp/ledger.journal"), faults=dict(self.line.counts))

    def stop(self):
        self.line.stop()
        self.rest.stop()


# ---- Tryton ----

COSTS = """
select c.code, cur.code, l.uuid, l.cost_price
from timesheet_line l join company_company cc on cc.id = l.company
join party_party c on c.id = cc.party join currency_currency cur on cur.id = cc.currency
"""


def is_create(request):
    return b"timesheet.line.create" in request.content


class Real:
    """Tryton on PostgreSQL, with a company for each legal entity."""
    pausable = ["erp", "payroll"]
    names = dict.fromkeys(acme.CURRENCY, "Tryton")

    def __init__(self, var):
        from tests.harness.tryton import Tryton  # needs packages that the default demo does not
        self.erp = Tryton(var / "tryton", logs=var / "log")
        self.line = None

    def start(self):
        self.erp.start()
        self.line = faulty(self.erp.port, is_create)

    def destinations(self):
        url = self.erp.url.replace(f":{self.erp.port}/", f":{self.line.port}/")
        return {"erp": {"connector": "tryton", "url": url, "user": self.erp.user,
                        "password_file": str(self.erp.password_file), "auth": "session",
                        "allow": ["127.0.0.1"], "timeout": "10s", "concurrency": 8}}

    @property
    def processes(self):
        database = self.erp.postgres
        return ("Tryton", self.erp.server), ("PostgreSQL", database and database.process)

    def book(self):
        """What Tryton's own database holds, with the cost price that it gave each line."""
        costs = {uuid: (currency, price)
                 for _, currency, uuid, price in self.erp.postgres.sql(COSTS)}
        found = {entity: [] for entity in acme.CURRENCY}
        for line in self.erp.book():
            entry, version = re.fullmatch(r"(\S+) v(\d+)", line.description or "? v0").groups()
            currency, price = costs[line.uuid]
            project, _, task = line.work.partition("\\")
            found.setdefault(line.company, []).append({
                "entry": entry, "version": version, "date": line.date, "worker": line.employee,
                "project": project, "task": task, "legal_entity": line.company,
                "seconds": line.seconds, "currency": currency, "cost_rate": f"{price:.2f}",
                "key": line.uuid})
        return Book(rows=found, ledger=None, faults=dict(self.line.counts))

    def stop(self):
        if self.line:
            self.line.stop()
        self.erp.stop()


@dataclass
class Book:
    rows: dict          # legal entity -> its lines
    ledger: dict | None     # (account, commodity) -> sum; None: this ERP has none
    faults: dict        # what its line did -> how often


ERPS = {"": Books, "tryton": Real}


def as_yaml(destinations, indent):
    """JSON is YAML."""
    return "".join(f"{' ' * indent}{name}: {json.dumps(d)}\n" for name, d in destinations.items())
