"""A real ERP: Debian's Tryton on PostgreSQL, both on loopback, thrown away afterwards.

    erp = Tryton(directory).start()      # about 2 s, once a template has been made (about 30 s)
    erp.url, erp.user, erp.password_file # for a destination with `connector: tryton`
    erp.book()                           # what Tryton's own database holds
    erp.reset()                          # as after start(), in a second or two
    erp.stop()

The template is a PostgreSQL data directory under build/, made once for each state of the master data, of
tryton_bootstrap.py and of the packages; an instance is a copy of it. Master data: conf/demo/master.json,
those who are hired in the demo's week (conf/demo/acme.py), and tryton_extra.json (see there: people who
left, a closed task).
docs/reference/tryton.md says how the destination behaves.

usage: python3 -m tests.harness.tryton [MASTER_JSON]    starts one, prints where it is, stops it at ^C
"""
import atexit
import base64
import datetime as dt
import fcntl
import hashlib
import http.client
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tests.harness import stack

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
import acme  # noqa: E402

MEMORY = Path("/dev/shm")
MEMORY_MIN = 1 << 30
HERE = Path(__file__).resolve().parent
BUILD = stack.ROOT / "build"
DATABASE, CLEAN = "erp", "clean"
MODULES = ["project_invoice", "timesheet_cost"]
PYTHON = "/usr/bin/python3"  # Debian's: another python has no trytond
# no fsync: only the machine's crash could lose what was committed; PostgreSQL's own (see restart_database)
# does not. jit makes initialising four times as long.
POSTGRES = {"listen_addresses": "127.0.0.1", "jit": "off", "fsync": "off", "full_page_writes": "off",
            "shared_buffers": "64MB", "wal_level": "minimal", "max_wal_senders": "0",
            "autovacuum_naptime": "1s", "dynamic_shared_memory_type": "mmap",
            "min_wal_size": "2MB", "max_wal_size": "8MB"}
CONFIG = """\
[web]
listen = 127.0.0.1:{port}
[database]
uri = postgresql://tryton@127.0.0.1:{pgport}/
[session]
timeout = 86400
max_attempt = 1000
max_attempt_ip_network = 100000
[password]
entropy = 0
# workers tell each other of changed caches at once (LISTEN/NOTIFY), not within five minutes
[cache]
clean_timeout = 0
"""
BOOK = """
select l.uuid, p.code, c.code, coalesce(top.name || '\\', '') || coalesce(pw.name, w.name), l.date,
       l.duration, l.description, l.invoice_line, l.create_date, l.write_date
from timesheet_line l
join company_employee e on e.id = l.employee join party_party p on p.id = e.party
join company_company cc on cc.id = l.company join party_party c on c.id = cc.party
join timesheet_work w on w.id = l.work
left join project_work pw on w.origin = 'project.work,' || pw.id
left join project_work top on top.id = pw.parent
order by l.id
"""


@dataclass
class Line:
    """A timesheet line, as Tryton's database has it."""
    uuid: str | None
    employee: str       # code of the employee's party
    company: str        # code of the company's party
    work: str           # PROJECT\\TASK
    date: str
    seconds: int
    description: str | None
    invoice_line: int | None
    created: dt.datetime
    written: dt.datetime | None


def merged(master: dict) -> dict:
    """The master data file with the rows of tryton_extra.json that it does not have itself."""
    extra = json.loads((HERE / "tryton_extra.json").read_text(encoding="utf-8"))
    out = dict(master)
    for name, rows in extra.items():
        old = master.get(name, [])
        ids = {r["id"] for r in old if isinstance(r, dict) and "id" in r}
        out[name] = old + [r for r in rows if r not in old
                           and not (isinstance(r, dict) and r.get("id") in ids)]
    return out


def open_the_way(path: Path):
    """PostgreSQL does not run as root: its user must be able to pass to the directory."""
    ours = {Path(tempfile.gettempdir()).resolve(), MEMORY}
    for p in [path.resolve(), *path.resolve().parents]:
        mode = p.stat().st_mode
        if mode & 0o001:
            continue
        if not ours & set(p.parents):
            raise RuntimeError(f"{p}: user postgres may not pass (mode {mode & 0o777:o}); choose another"
                               " directory with TG_TEST_DIR, or: chmod o+x that directory")
        p.chmod(mode & 0o777 | 0o011)


def data_home() -> Path:
    """A new directory for a cluster: in memory where there is room (a copy of some 4,000 files takes
    0.4 s there, 4 s on a disk), else a scratch directory. What killed runs left there is taken away."""
    for old in MEMORY.glob("tg-erp.*"):
        owner, cluster = old.name.split(".")[1], old / "pg/postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            pids = [owner] + ([cluster.read_text().split()[0]] if cluster.exists() else [])
            if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
                shutil.rmtree(old, ignore_errors=True)
    with suppress(OSError):
        room = os.statvfs(MEMORY)
        if room.f_bavail * room.f_frsize >= MEMORY_MIN:
            return Path(tempfile.mkdtemp(prefix=f"tg-erp.{os.getpid()}.", dir=MEMORY))
    return stack.scratch("erp")


class Postgres:
    """A cluster of our own in `data`, reached at 127.0.0.1:port without a password."""

    def __init__(self, data: Path, log: Path):
        bins = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
        if not bins:
            raise RuntimeError("no PostgreSQL under /usr/lib/postgresql; run: tests/harness/deps.sh tryton")
        self.bin, self.data = bins[-1].parent, data
        self.port = stack.free_port()
        self.user = "postgres" if os.geteuid() == 0 else None
        options = POSTGRES | {"port": self.port, "unix_socket_directories": ""}
        argv = [self.bin / "postgres", "-D", data]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        self.process = stack.Process("postgres", argv, log, user=self.user, cwd="/", orphaned="QUIT")

    def init(self):
        self.data.mkdir(mode=0o700)
        kw = {}
        if self.user:
            open_the_way(self.data.parent)
            entry = pwd.getpwnam(self.user)
            os.chown(self.data, entry.pw_uid, entry.pw_gid)
            kw = {"user": self.user, "group": self.user, "extra_groups": []}
        run([self.bin / "initdb", "-D", self.data, "-U", "tryton", "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"], **kw)

    def start(self):
        if self.user:
            open_the_way(self.data.parent)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.process.start()
        stack.wait_for(self._answers, 60, "PostgreSQL up")

    def _answers(self):
        if not self.process.alive():
            raise RuntimeError(f"PostgreSQL ended: {self.process.text()[-2000:]}")
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, crash=False):
        """Ends sessions and stops; crash: at once, recovery follows at the next start."""
        return self.process.stop(signal.SIGQUIT if crash else signal.SIGINT, 60)

    def connect(self, database=DATABASE):
        c = psycopg2.connect(host="127.0.0.1", port=self.port, user="tryton", dbname=database,
                             connect_timeout=10)
        c.autocommit = True
        return c

    def sql(self, text, args=None, database=DATABASE):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, args)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def run(argv, **kw):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, **{"timeout": 300} | kw)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout


# ---- the template ----

@contextmanager
def locked(shared=False):
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "tryton.lock", "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def fingerprint(master: dict) -> str:
    """Of everything that the template is made from."""
    packages = subprocess.run(["dpkg-query", "-W", "tryton-*", "postgresql-*"], capture_output=True,
                              text=True, check=False).stdout
    sha = hashlib.sha256(packages.encode())
    sha.update(json.dumps(master, sort_keys=True).encode())
    for name in ("tryton_bootstrap.py", "tryton.py"):
        sha.update((HERE / name).read_bytes())
    return sha.hexdigest()[:16]


def make_template(master: dict, target: Path):
    """Initialises Tryton's modules (most of the time), fills in the master data, keeps a clean copy."""
    work = data_home()
    try:
        words = {u["login"]: secrets.token_hex(12) for u in master["users"]} | {
            "admin": secrets.token_hex(12)}
        users = [u | {"password": words[u["login"]]} for u in master["users"]]
        pg = Postgres(work / "pg", work / "pg.log")
        pg.init()
        pg.start()
        try:
            pg.sql(f"create database {DATABASE} template template0 encoding 'UTF8'", database="postgres")
            config = work / "trytond.conf"
            config.write_text(CONFIG.format(port=0, pgport=pg.port))
            with private(work / "admin") as f:
                f.write(words["admin"] + "\n")
            with private(work / "master.json") as f:
                json.dump(master | {"users": users}, f)
            run(["/usr/bin/trytond-admin", "-c", config, "-d", DATABASE, "-u", *MODULES,
                 "--activate-dependencies", "--email", "admin@example.invalid"],
                env={**os.environ, "TRYTONPASSFILE": str(work / "admin")})
            run([PYTHON, HERE / "tryton_bootstrap.py", config,
                 f"postgresql://tryton@127.0.0.1:{pg.port}/{DATABASE}", work / "master.json"])
            pg.sql("vacuum analyze")
            pg.sql(f"create database {CLEAN} template {DATABASE} strategy file_copy", database="postgres")
        finally:
            pg.stop()
        made = target.with_name(target.name + ".new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        run(["cp", "-a", work / "pg", made / "pg"])
        with private(made / "passwords.json") as f:
            json.dump(words, f)
        for old in BUILD.glob("tryton-*"):
            if old != made:
                shutil.rmtree(old, ignore_errors=True)
        made.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def private(path: Path):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        yield f


def template_into(master: dict, directory: Path) -> dict:
    """Copies the template, made first if need be, to directory/pg; gives the users' passwords."""
    target = BUILD / f"tryton-{fingerprint(master)}"
    while True:
        with locked(shared=True):
            if target.exists():
                run(["cp", "-a", "--reflink=auto", target / "pg", directory / "pg"])
                return json.loads((target / "passwords.json").read_text(encoding="ascii"))
        with locked():
            if not target.exists():
                make_template(master, target)


# ---- an instance ----

class Tryton:
    def __init__(self, directory=None, master=None, workers=2, threads=4, logs=None):
        """directory: for the password and, without `logs`, for logs, taken away by stop(); default: a
        scratch directory. master: as conf/demo/master.json; the default is that and the demo's hires."""
        self.dir = Path(directory) if directory else stack.scratch("erp")
        self.dir.mkdir(exist_ok=True)
        self.logs = Path(logs or self.dir)
        self.home = None
        self.master = merged(master or acme.whole_master())
        self.port = stack.free_port()
        self.user = "gateway"
        self.sizes = ["-w", workers, "--threads", threads]
        self.passwords, self.postgres, self.server = {}, None, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/{DATABASE}/"

    @property
    def password_file(self):
        return self.dir / "gateway"

    def start(self):
        atexit.register(self.stop)
        self.home = data_home()
        self.passwords = template_into(self.master, self.home)
        with private(self.password_file) as f:
            f.write(self.passwords["gateway"] + "\n")
        self.postgres = Postgres(self.home / "pg", self.logs / "postgres.log")
        config = self.dir / "trytond.conf"
        config.write_text(CONFIG.format(port=self.port, pgport=self.postgres.port))
        argv = ["/usr/bin/gunicorn", "-b", f"127.0.0.1:{self.port}", "-k", "gthread", *self.sizes,
                "--keep-alive", "30", "--timeout", "120", "--graceful-timeout", "1",
                "trytond.application:app"]
        self.server = stack.Process(
            "tryton", argv, self.logs / "tryton.log", cwd=self.dir, orphaned="TERM",
            env={"TRYTOND_CONFIG": str(config), "TRYTOND_DATABASE_NAMES": DATABASE})
        self.postgres.start()
        return self.start_server()

    def start_server(self):
        self.server.start()
        stack.wait_for(self._answers, 60, "Tryton up")
        return self

    def stop_server(self):
        return self.server.stop()

    def _answers(self):
        if not self.server.alive():
            raise RuntimeError(f"Tryton ended: {self.server.text()[-2000:]}")
        try:
            return Rpc(self.port, "").call("common.server.version")
        except (OSError, http.client.HTTPException):
            return None

    def stop(self):
        """Ends what start() started and takes the directory away; may be called again."""
        atexit.unregister(self.stop)
        if self.server:
            self.server.stop(signal.SIGINT, 60)
        if self.postgres:
            self.postgres.stop()
        for path in (self.home, self.dir):
            if path:
                shutil.rmtree(path, ignore_errors=True)

    def reset(self):
        """Back to the master data alone; the server is started anew, since it caches."""
        self.server.stop(signal.SIGINT, 60)
        for command in (f"drop database {DATABASE} with (force)",
                        f"create database {DATABASE} template {CLEAN} strategy file_copy"):
            self.postgres.sql(command, database="postgres")
        self.start_server()

    # ---- what tests break ----

    def workers(self):
        """Pids of gunicorn's workers."""
        return sorted(stack.children(self.server.pid))

    def kill_worker(self, index=0):
        """SIGKILL to one worker; gunicorn starts another. Returns the pid."""
        pid = self.workers()[index]
        os.kill(pid, signal.SIGKILL)
        return pid

    def restart_database(self, crash=False):
        self.postgres.stop(crash)
        self.postgres.start()

    def expire_sessions(self):
        """As when every session's time is over."""
        self.postgres.sql("delete from ir_session")

    # ---- what tests ask ----

    def book(self) -> list:
        """Every timesheet line, straight from the database."""
        return [Line(uuid, employee, company, work, date.isoformat(), round(duration.total_seconds()),
                     description, invoice_line, created, written)
                for uuid, employee, company, work, date, duration, description, invoice_line, created,
                written in self.postgres.sql(BOOK)]

    def by_uuid(self) -> dict:
        return {line.uuid: line for line in self.book()}

    def rpc(self, user="gateway"):
        """A logged-in client. A worker whose database went away answers its first call with an error."""
        def logged_in():
            try:
                return Rpc(self.port, DATABASE).login(user, self.passwords[user])
            except RpcError as e:
                if e.kind == "UserError":
                    raise
                return None
        return stack.wait_for(logged_in, 20, "a session")


class RpcError(Exception):
    """What Tryton answers instead of a result: error[0] is the kind, the rest its details."""

    def __init__(self, error):
        super().__init__(json.dumps(error)[:500])
        self.kind, self.details = error[0], error[1:]


class Rpc:
    """Tryton's JSON-RPC, as far as tests need it."""

    def __init__(self, port, database):
        self.port, self.path, self.auth = port, f"/{database}/" if database else "/", None
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def login(self, user, password):
        uid, key = self.call("common.db.login", user, {"password": password}, "en")
        self.auth = "Session " + base64.b64encode(f"{user}:{uid}:{key}".encode()).decode()
        return self

    def call(self, method, *params):
        headers = {"Content-Type": "application/json"}
        if self.auth:
            headers["Authorization"] = self.auth
        self.connection.request("POST", self.path, headers=headers, body=json.dumps(
            {"id": 1, "method": method, "params": params}))
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status} {body[:200]!r}")
        said = json.loads(body)
        if "error" in said:
            raise RpcError(said["error"])
        return said["result"]

    def ids(self, model, *domain, context=None):
        return self.call(f"model.{model}.search", list(domain), 0, None, None, context or {})

    def line(self, company, employee, work, date, seconds, uuid, description="", create=True):
        """The values of a line by codes (work: PROJECT\\TASK), created unless told otherwise."""
        context = {"company": self.ids("company.company", ["party.code", "=", company])[0]}
        y, m, d = (int(x) for x in date.split("-"))
        values = {
            "company": context["company"],
            "employee": self.ids("company.employee", ["party.code", "=", employee], context=context)[0],
            "work": self.ids("timesheet.work", ["origin.rec_name", "=", work, "project.work"],
                             ["company", "=", context["company"]], context=context)[0],
            "date": {"__class__": "date", "year": y, "month": m, "day": d},
            "duration": {"__class__": "timedelta", "seconds": seconds},
            "description": description, "uuid": uuid}
        if not create:
            return values, context
        return self.call("model.timesheet.line.create", [values], context)[0]


def main():
    master = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")) if len(sys.argv) > 1 else None
    began = time.monotonic()
    erp = Tryton(master=master).start()
    print(f"Tryton: {erp.url} (user {erp.user}, password in {erp.password_file}), PostgreSQL on port"
          f" {erp.postgres.port}, after {time.monotonic() - began:.1f} s; ^C ends it", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        erp.stop()


if __name__ == "__main__":
    main()
