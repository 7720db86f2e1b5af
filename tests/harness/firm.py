"""The whole product for one tenant, `acme`, in a directory of its own: Redis, the orchestrator, NGINX
with the shipped configuration (paths and port replaced), and what a sender needs.

Used by flow, fault and soak tests and by bench. Counting is done on the destination's files.
"""
import csv
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

import httpx

from tests.harness import jira, sign, stack

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
import week  # noqa: E402

YAML = """\
redis:   {{ url: "unix:{redis}", user: orchestrator, password_file: {secrets}/redis-orchestrator }}
journal: {{ path: {d}/journal.db{checkpoints} }}
api:     {{ listen: "unix:{sock}", threads: 2 }}
rules:   {{ path: {rules}, approval: off }}
schemas: {root}/conf/schemas
catalogue: {root}/conf/catalogue.yaml
tenants:
  - id: acme
    hold_timeout: 0
    sources:
      psa: {{ decoder: canonical, uri: "urn:acme:psa", clients: [ "hook:psa", svc-psa, trial-app ] }}
      jira: {{ decoder: jira, uri: "urn:acme:jira", project_map: {d}/jira.yaml }}
      hr:   {{ decoder: canonical, uri: "urn:acme:hr" }}
    ownership: {root}/conf/ownership.yaml
    master:   {d}/master.json
    calendar: {d}/calendar.yaml
    destinations:
      erp:     {{ {erp} }}
      payroll: {{ connector: file, path: {d}/out/payroll }}
"""


class Firm:
    def __init__(self, name="flow", asan=None, workers=2, edit_nginx=None, rules=None,
                 checkpoints=False, erp=None):
        """erp: the destination as YAML, without braces; None: the file connector."""
        self.dir = stack.scratch(name)
        self.asan = os.environ.get("TG_ORCHESTRATOR") == "asan" if asan is None else asan
        self.redis = stack.Redis(self.dir)
        self.sock = str(self.dir / "api.sock")
        self.port = stack.free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.secret, self.jira_secret = sign.new_secret(), sign.new_text_secret()
        self.hr_secret = sign.new_secret()
        self.issuer = sign.Issuer(iss="https://idp.demo.example", keys=[sign.Key("ES256", "k1")])
        (self.dir / "keys").mkdir()
        self.issuer.write(self.dir / "keys/demo.jwks")
        (self.redis.secrets / "webhooks").write_text(f"acme psa {self.secret}\n"
                                                     f"acme jira {self.jira_secret}\n"
                                                     f"acme hr {self.hr_secret}\n")
        self.master = week.master()
        self.write_master()
        self.write_project_map({"10101": ("P-101", "T-1"), "10102": ("P-102", "T-2")})
        (self.dir / "calendar.yaml").write_text(week.CALENDAR)
        self.yaml = self.dir / "tallygate.yaml"
        self.rules = rules or stack.ROOT / "lua_rules"
        extra = ""
        if checkpoints:
            extra = f", checkpoints: {{ dir: {self.dir}/checkpoints, key: {self.dir}/keys/audit.pem }}"
        self.yaml.write_text(YAML.format(redis=self.redis.sock, secrets=self.redis.secrets,
                                         d=self.dir, sock=self.sock, root=stack.ROOT,
                                         rules=self.rules, checkpoints=extra,
                                         erp=erp or f"connector: file, path: {self.dir}/out/erp"))
        self.orchestrator = stack.Orchestrator(self.dir, self.yaml, self.sock, self.asan)
        self.nginx = self._nginx(workers, edit_nginx)

    def _nginx(self, workers, edit):
        conf = (stack.ROOT / "conf/nginx.conf").read_text()
        start = conf.index("worker_processes")
        conf = conf[start:]
        for line in ("pid run/nginx.pid;\n", "error_log log/nginx.error.log notice;\n",
                     "    client_body_temp_path tmp/body;\n", "    proxy_temp_path tmp/proxy;\n",
                     "    fastcgi_temp_path tmp/fastcgi;\n", "    uwsgi_temp_path tmp/uwsgi;\n",
                     "    scgi_temp_path tmp/scgi;\n"):
            if line not in conf:
                raise AssertionError(f"conf/nginx.conf no longer has: {line}")
            conf = conf.replace(line, "")
        conf = (conf.replace("worker_processes 2", f"worker_processes {workers}")
                .replace("log/access.log", f"{self.dir}/access.log")
                .replace("unix:var/run/redis.sock", f"unix:{self.redis.sock}")
                .replace("../var/secrets/", f"{self.redis.secrets}/")
                .replace("../var/keys/", f"{self.dir}/keys/")
                .replace("unix:var/run/orchestrator.sock", f"unix:{self.sock}")
                .replace("127.0.0.1:8080", f"127.0.0.1:{self.port}"))
        return stack.Nginx(self.dir, edit(conf) if edit else conf)

    def write_master(self):
        (self.dir / "master.json").write_text(json.dumps(self.master))

    def write_project_map(self, issues):
        rows = "".join(f'  - {{ key: "{key}", project: {project}, task: {task} }}\n'
                       for key, (project, task) in issues.items())
        (self.dir / "jira.yaml").write_text("issues:\n" + rows)

    def start(self):
        self.redis.start()
        self.orchestrator.start()
        self.nginx.start([self.port])
        self.edge_ready()
        return self

    def edge_ready(self):
        """The edge answers with Redis behind it: a validate call passes its rate check."""
        def up():
            try:
                with self.client() as c:
                    return self.status(c, "s00-1-0").status_code == 404
            except httpx.HTTPError:
                return False
        stack.wait_for(up, 30, "edge and API")

    def stop(self):
        """Ends everything in order; returns what the sanitizers found."""
        if self.nginx.process.alive():
            self.nginx.quit()
        status = self.orchestrator.stop()
        self.redis.stop()
        found = self.nginx.findings() + self.orchestrator.findings()
        if status not in (0, None):
            found += f"\norchestrator ended with status {status}: " \
                     f"{self.orchestrator.process.text()[-2000:]}"
        return found

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- a sender ----

    def client(self, **kw):
        return httpx.Client(base_url=self.base, timeout=30, trust_env=False, **kw)

    def token(self, scope, client="svc-psa", tenant="acme", **kw):
        return self.issuer.token(scope=scope, client=client, tenant=tenant,
                                 header={"typ": "at+jwt"}, **kw)

    def entry(self, n, **kw):
        """Data of a valid time entry with a number of its own."""
        return {"id": f"TE-{n:06}", "version": 1, "worker": f"W-{n % 39 + 1:03}",
                "project": f"P-{101 + n % 11}", "task": f"T-{n % 3 + 1}", "date": "2026-11-16",
                "hours": "1.25", "approved_by": "W-001",
                "approved_at": "2026-11-20T17:00:00Z"} | kw

    def hook(self, client, data, event_id=None, msg_id=None, source="psa", **attrs):
        event_id = event_id or f"evt-{data['id']}-{data.get('version', 1)}"
        body = sign.cloudevent(event_id, data, source=f"urn:acme:{source}", **attrs)
        secret = {"psa": self.secret, "hr": self.hr_secret}[source]
        headers = sign.webhook_headers(secret, msg_id or f"msg-{event_id}", body)
        headers["Content-Type"] = "application/cloudevents+json"
        return client.post(f"/hooks/acme/{source}", content=body, headers=headers)

    def hr(self, client, worker, version, day, **attributes):
        """A worker's change, as HR sends one."""
        return self.hook(client, {"id": worker, "version": version, "effective_from": day,
                                  "changed_at": "2026-11-20T17:00:00Z", **attributes}, source="hr",
                         type_="com.tallygate.worker.changed.v1")

    def jira(self, client, event, **kw):
        """event: what tests.harness.jira.worklog makes."""
        return jira.post(client, "/hooks/acme/jira", self.jira_secret, event, **kw)

    def send(self, client, data, key=None, event_id=None, scope="events:write", **attrs):
        body = sign.cloudevent(event_id or f"evt-{data['id']}-{data.get('version', 1)}", data,
                               **attrs)
        return client.post("/v1/events", content=body, headers={
            "Content-Type": "application/cloudevents+json",
            "Authorization": "Bearer " + self.token(scope),
            "Idempotency-Key": key or str(uuid.uuid4())})

    def status(self, client, event_id, tenant="acme"):
        token = self.token("status:read", client="svc-status", tenant=tenant)
        return client.get(f"/v1/events/{event_id}", headers={"Authorization": f"Bearer {token}"})

    def settled(self, client, event_id, seconds=20):
        """The event's story once nothing of it is on its way."""
        def done():
            answer = self.status(client, event_id)
            if answer.status_code != 200:
                return None
            story = answer.json()
            if story["status"] == "in_stream" or story.get("stage") == "in_stream":
                return None
            states = [p["state"] for o in story["objects"] for p in o["postings"]]
            over = ("posted", "exception", "cancelled", "reversed")
            return story if all(s in over for s in states) else None
        return stack.wait_for(done, seconds, f"{event_id} settled")

    def validate(self, client, body, scope="validate", **kw):
        return client.post("/v1/time-entries/validate", json=body, headers={
            "Authorization": "Bearer " + self.token(scope)}, **kw)

    # ---- the destinations, read as files ----

    def rows(self, pattern):
        out = []
        for path in sorted(self.dir.glob(f"out/{pattern}")):
            with open(path, newline="", encoding="utf-8") as f:
                out += list(csv.DictReader(f))
        return out

    def labor(self):
        return self.rows("erp/labor-*.csv")

    def payroll(self):
        return self.rows("payroll/payroll-*.csv")

    def exceptions(self):
        done = self.orchestrator.run("exceptions", "list", "-c", self.yaml, "--json")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        return rows["exceptions"] if isinstance(rows, dict) else rows

    def path(self, name) -> Path:
        return self.dir / name
