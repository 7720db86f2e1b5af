"""The orchestrator alone with its Redis: no NGINX, entries by XADD, as the edge would write them.

Counting is done on the destination's files and on the journal, read by SQL.
"""
import csv
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from decimal import Decimal

import redis as redis_py

from tests.harness import stack

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
import week  # noqa: E402

YAML = """\
redis:   {{ url: "unix:{redis}", user: orchestrator, password_file: {secrets}/redis-orchestrator }}
journal: {{ path: {d}/journal.db }}
api:     {{ listen: "unix:{sock}", threads: 1 }}
rules:   {{ path: {d}/rules, approval: off }}
schemas: {root}/conf/schemas
catalogue: {root}/conf/catalogue.yaml
tenants:
  - id: acme
    hold_timeout: {hold_timeout}
    sources:
      psa: {{ decoder: canonical, uri: "urn:acme:psa", clients: [ "hook:psa" ] }}
    master:   {d}/master.json
    calendar: {d}/calendar.yaml
    destinations:
      erp:     {{ connector: file, path: {d}/out/erp }}
      payroll: {{ connector: file, path: {d}/out/payroll }}
"""
GROUP, CONSUMER = "orchestrator", "orchestrator-1"


def shard_of(tenant, count=16):
    h = 0xCBF29CE484222325
    for byte in tenant.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h % count


STREAM = f"tg:{{s{shard_of('acme'):02}}}:events"


class Sidecar:
    def __init__(self, hold_timeout="0"):
        self.dir = stack.scratch("intake")
        self.redis = stack.Redis(self.dir)
        sock = str(self.dir / "api.sock")
        (self.dir / "master.json").write_text(json.dumps(week.master()))
        (self.dir / "calendar.yaml").write_text(week.CALENDAR)
        shutil.copytree(stack.ROOT / "lua_rules", self.dir / "rules")
        config = self.dir / "tallygate.yaml"
        config.write_text(YAML.format(redis=self.redis.sock, secrets=self.redis.secrets, d=self.dir,
                                      sock=sock, root=stack.ROOT,
                                      hold_timeout=hold_timeout))
        self.orchestrator = stack.Orchestrator(self.dir, config, sock,
                                               os.environ.get("TG_ORCHESTRATOR") == "asan")

    def admin(self):
        return redis_py.Redis(unix_socket_path=self.redis.sock, username="admin",
                              password=self.redis.passwords["admin"])

    def entry(self, n, **kw):
        return {"id": f"TE-{n:06}", "version": 1, "worker": f"W-{n % 39 + 1:03}",
                "project": f"P-{101 + n % 11}", "task": f"T-{n % 3 + 1}", "date": "2026-11-16",
                "hours": "1.25", "approved_by": "W-001",
                "approved_at": "2026-11-20T17:00:00Z"} | kw

    def fields(self, n, event_id=None, **entry):
        data = self.entry(n, **entry)
        event_id = event_id or f"evt-{n}-{data['version']}"
        body = json.dumps({"specversion": "1.0", "id": event_id, "source": "urn:acme:psa",
                           "type": week.TYPE, "data": data})
        return {"id": event_id, "type": week.TYPE, "source": "urn:acme:psa", "subject": "",
                "tenant": "acme", "client": "hook:psa", "time": "",
                "received_at": str(int(time.time() * 1000)), "dataschema": "", "key": "",
                "correlation_id": "", "traceparent": "",
                "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
                "content_type": "application/cloudevents+json", "body": body}

    def withdraw(self, n, version):
        """The event that entry n is no more."""
        data = {"id": f"TE-{n:06}", "version": version, "withdrawn_by": "W-001",
                "withdrawn_at": "2026-11-21T08:00:00Z", "reason": "booked twice"}
        event = {"specversion": "1.0", "id": f"gone-{n}-{version}", "source": "urn:acme:psa",
                 "type": "com.tallygate.time_entry.withdrawn.v1", "data": data}
        body = json.dumps(event)
        return self.admin().xadd(STREAM, self.fields(n) | {
            "id": event["id"], "type": event["type"], "body": body,
            "body_sha256": hashlib.sha256(body.encode()).hexdigest()})

    def add(self, n, event_id=None, **entry):
        return self.admin().xadd(STREAM, self.fields(n, event_id, **entry))

    def add_raw(self, **fields):
        return self.admin().xadd(STREAM, fields)

    def sql(self, query, *args):
        db = sqlite3.connect(f"file:{self.dir}/journal.db?mode=ro", uri=True)
        try:
            return db.execute(query, args).fetchall()
        finally:
            db.close()

    def rows(self, where="erp/labor"):
        out = []
        for path in sorted(self.dir.glob(f"out/{where}-*.csv")):
            with open(path, newline="", encoding="utf-8") as f:
                out += list(csv.DictReader(f))
        return out

    def posted(self, where="erp/labor"):
        return [row["entry"] for row in self.rows(where)]

    def net(self, n, where="erp/labor"):
        """Hours of an entry, line by line and in sum; a reversal is a negative line that names a key."""
        out, keys = [], {}
        for row in self.rows(where):
            assert row["key"] not in keys
            keys[row["key"]] = Decimal(row["hours"])
            if row["reverses"]:
                assert keys[row["reverses"]] == -Decimal(row["hours"])
            if row["entry"] == f"TE-{n:06}":
                out.append(Decimal(row["hours"]))
        return out, sum(out)

    def settled(self, seconds=20):
        """Every posting is over, and so is the stream."""
        self.quiet(seconds)
        stack.wait_for(lambda: self.sql("select count(*) from postings where state not in "
                                        "(6, 8, 10)") == [(0,)], seconds, "all postings over")

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def pending(self):
        return self.admin().xpending(STREAM, GROUP)["pending"]

    def quiet(self, seconds=20):
        """Everything in the stream is delivered and acknowledged."""
        def done():
            try:
                group = self.admin().xinfo_groups(STREAM)[0]
            except (redis_py.exceptions.ResponseError, IndexError):
                return False
            return group["lag"] == 0 and group["pending"] == 0
        stack.wait_for(done, seconds, "stream read and acknowledged")

    def wait_posted(self, *numbers):
        want = {f"TE-{n:06}" for n in numbers}
        stack.wait_for(lambda: want <= set(self.posted()) and
                       want <= set(self.posted("payroll/payroll")), 20, f"{want} posted")

    def state_of(self, stream_id):
        rows = self.sql("select e.state, o.state, x.code, x.owner from events e "
                        "left join objects o on o.event = e.id "
                        "left join exceptions x on x.event = e.id and x.state in (0, 1) "
                        "where e.event_id like ?", f"%-{stream_id.decode()}")
        assert len(rows) == 1, rows
        return rows[0]

    def reload(self, word="are in force"):
        """SIGHUP, and what the log says of it."""
        before = len([m for m in self.messages() if word in m])
        self.orchestrator.process.send(signal.SIGHUP)
        stack.wait_for(lambda: len([m for m in self.messages() if word in m]) > before, 30, word)

    def write_master(self, edit=None):
        master = week.master()
        if edit:
            edit(master)
        (self.dir / "master.json").write_text(json.dumps(master))

    def messages(self, level=None):
        lines = [json.loads(line) for line in self.orchestrator.process.text().splitlines()
                 if line.startswith("{")]
        return [x["msg"] for x in lines if level in (None, x["level"])]
