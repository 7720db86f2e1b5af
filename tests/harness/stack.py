"""Starts and ends the real processes: Redis, NGINX with the module, the orchestrator.

Every process belongs to one Stack in one directory; only pids started here are ended. Unix sockets
inside, TCP on loopback with a free port where HTTP needs it. Nothing waits by sleeping for luck:
wait_for() polls a condition until a deadline.
"""
import atexit
import concurrent.futures
import hashlib
import http.client
import os
import random
import secrets as pysecrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis as redis_py

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "build/ngx_http_tally_module.so"
BINARY = ROOT / "build/tallygate"
ASAN_BINARY = ROOT / "build/asan/tallygate"
ASAN_NGINX = ROOT / "build/nginx-asan/nginx"


def wait_for(condition, seconds=10.0, what="condition"):
    """Returns the first true value of condition(); raises after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


PORTS = (10000, 32000)  # below the kernel's own range: a client's port cannot take one in between


def free_port() -> int:
    for _ in range(1000):
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError(f"no free port in {PORTS}")


def can_connect(address) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(1)
        try:
            s.connect(address)
            return True
        except OSError:
            return False


# The kernel's death signal comes when the thread that started a child ends, not the process: one thread that
# lives as long as this process starts them all.
_STARTER = concurrent.futures.ThreadPoolExecutor(1, "starter")
# What setpriv asks for comes too late when this process is gone already: then nothing is started.
_UNLESS_ORPHANED = '[ "$PPID" = "$1" ] && shift && exec "$@"'


class Process:
    """One child with its log; ended by pid, at exit if a test forgets, and by the kernel when this process
    is killed. orphaned: the signal it gets then; one with children of its own must be able to end them."""

    def __init__(self, name, argv, log, env=None, cwd=None, user=None, orphaned="KILL"):
        self.name, self.argv, self.log = name, [str(a) for a in argv], Path(log)
        self.orphaned = orphaned
        self.env, self.cwd = {**os.environ, **(env or {})}, cwd
        self.user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.popen = None
        atexit.register(self.kill)

    def start(self):
        argv = ["setpriv", "--pdeathsig", self.orphaned, "sh", "-c", _UNLESS_ORPHANED, "sh",
                str(os.getpid()), *self.argv]
        with open(self.log, "ab") as out:
            self.popen = _STARTER.submit(subprocess.Popen, argv, stdout=out, stderr=out,
                                         env=self.env, cwd=self.cwd, stdin=subprocess.DEVNULL,
                                         start_new_session=True, **self.user).result()
        return self

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def send(self, sig):
        if self.alive():
            os.kill(self.popen.pid, sig)

    def stop(self, sig=signal.SIGTERM, seconds=30):
        """Ends it and returns its exit status."""
        if self.popen is None:
            return None
        self.send(sig)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired as e:
            self.kill()
            raise TimeoutError(f"{self.name} did not stop in {seconds} s; log {self.log}") from e

    def kill(self):
        if self.popen is not None and self.popen.poll() is None:
            os.kill(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Redis:
    """redis-server from conf/redis.conf and the ACL file, on a unix socket."""

    def __init__(self, directory: Path, tcp=False, durable=True, extra=(), secrets_dir=None):
        self.dir = Path(directory)
        self.data = self.dir / "redis"
        self.data.mkdir(parents=True, exist_ok=True)
        self.sock = str(self.dir / "redis.sock")
        self.port = free_port() if tcp else 0
        self.secrets = Path(secrets_dir or self.dir / "secrets")
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        self.passwords = {}
        acl = (ROOT / "conf/redis.acl.in").read_text()
        for user in ("edge", "orchestrator", "admin"):
            word = pysecrets.token_hex(16)
            self.passwords[user] = word
            path = self.secrets / f"redis-{user}"
            path.write_text(word + "\n")
            path.chmod(0o600)
            acl = acl.replace(f"@{user.upper()}_SHA256@", hashlib.sha256(word.encode()).hexdigest())
        if "user admin " not in acl:  # for the tests themselves: MONITOR, FLUSHALL, XLEN
            digest = hashlib.sha256(self.passwords["admin"].encode()).hexdigest()
            acl += f"user admin on #{digest} ~* &* +@all\n"
        (self.dir / "redis.acl").write_text(acl)
        server = os.environ.get("TG_TEST_REDIS", "redis-server")  # or valkey-server
        argv = [server, ROOT / "conf/redis.conf", "--port", self.port,
                "--bind", "127.0.0.1", "--unixsocket", self.sock, "--unixsocketperm", "700",
                "--dir", self.data, "--aclfile", self.dir / "redis.acl", "--daemonize", "no",
                "--logfile", "", "--pidfile", ""]
        if not durable:
            argv += ["--appendfsync", "everysec"]
        self.process = Process("redis", argv + list(extra), self.dir / "redis.log")

    def start(self):
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        self.process.start()
        wait_for(self._answers, 15, "redis up")
        return self

    def _answers(self):
        if not self.process.alive():
            raise RuntimeError(f"redis ended: {self.process.text()[-2000:]}")
        try:
            return self.client().ping()
        except (redis_py.ConnectionError, redis_py.BusyLoadingError):
            return False

    def client(self, user="admin"):
        return redis_py.Redis(unix_socket_path=self.sock, username=user,
                              password=self.passwords[user])

    def url(self, tcp=False):
        return f"redis://127.0.0.1:{self.port}/0" if tcp else f"unix:{self.sock}"

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.stop()

    # what the tests count

    def entries(self, shards=16):
        """Every stream entry: (shard, id, {field: bytes})."""
        out = []
        r = self.client()
        for s in range(shards):
            for entry_id, fields in r.xrange(f"tg:{{s{s:02}}}:events"):
                out.append((s, entry_id.decode(), {k.decode(): v for k, v in fields.items()}))
        return out

    def added(self, shards=16) -> int:
        """Entries ever added, whatever was trimmed since."""
        total, r = 0, self.client()
        for s in range(shards):
            key = f"tg:{{s{s:02}}}:events"
            if r.exists(key):
                total += r.xinfo_stream(key)["entries-added"]
        return total


class Nginx:
    """NGINX with the module. kind: stock, asan (own build) or valgrind (stock under memcheck)."""

    def __init__(self, directory: Path, config: str, kind="stock", name="nginx"):
        self.dir, self.kind, self.name = Path(directory), kind, name
        self.conf = self.dir / f"{name}.conf"
        self.pid_file = self.dir / f"{name}.pid"
        self.error_log = self.dir / f"{name}.error.log"
        self.access_log = self.dir / f"{name}.access.log"
        self.write(config)
        self.process = Process(name, self._argv() + ["-g", "daemon off;"],
                               self.dir / f"{name}.out.log", env=self._env(), orphaned="TERM")

    def write(self, config: str):
        load = "" if self.kind == "asan" else f"load_module {MODULE};\n"
        user = "user root;\n" if os.geteuid() == 0 else ""
        temp = "".join(f"    {d}_temp_path {self.dir}/tmp-{d};\n"
                       for d in (("client_body", "proxy") if self.kind == "asan" else
                                 ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")))
        head = (f"{load}{user}pid {self.pid_file};\nerror_log {self.error_log} info;\n")
        self.conf.write_text(head + config.replace("http {", "http {\n" + temp, 1))

    def _argv(self):
        binary = ASAN_NGINX if self.kind == "asan" else shutil.which("nginx", path="/usr/sbin:/usr/bin")
        argv = [binary, "-p", self.dir, "-c", self.conf]
        if self.kind == "valgrind":
            supp = ROOT / "tests/harness/nginx.supp"
            argv = ["valgrind", "-q", "--trace-children=yes", "--leak-check=full",
                    "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite", "--error-exitcode=99",
                    f"--suppressions={supp}", f"--log-file={self.dir}/valgrind.%p.log"] + argv
        return argv

    def _env(self):
        return {"ASAN_OPTIONS": f"detect_leaks=1:log_path={self.dir}/asan:exitcode=98",
                "LSAN_OPTIONS": f"suppressions={ROOT}/tests/harness/lsan.supp:print_suppressions=0",
                "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={self.dir}/ubsan"}

    def check(self):
        """nginx -t: (exit status, what it said)."""
        done = subprocess.run([str(a) for a in self._argv()] + ["-t"], capture_output=True,
                              text=True, env={**os.environ, **self._env()}, timeout=60)
        said = done.stdout + done.stderr
        if self.error_log.exists():
            said += self.error_log.read_text(errors="replace")
        return done.returncode, said

    def start(self, ports=()):
        self.process.start()
        seconds = 60 if self.kind == "valgrind" else 15

        def up():
            if not self.process.alive():
                log = self.error_log.read_text(errors="replace") if self.error_log.exists() else ""
                raise RuntimeError(f"nginx ended: {self.process.text()[-2000:]} {log[-2000:]}")
            return all(can_connect(("127.0.0.1", p)) for p in ports) and self.workers()
        wait_for(up, seconds, "nginx up")
        return self

    def workers(self):
        """Pids of the workers that are not shutting down."""
        out = []
        for pid in children(self.process.pid):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"worker process" in title and b"shutting down" not in title:
                out.append(pid)
            elif self.kind == "valgrind" and b"worker process" not in title:
                out.append(pid)
        return sorted(out)

    def reload(self):
        before = set(self.workers())
        self.process.send(signal.SIGHUP)
        wait_for(lambda: (w := set(self.workers())) and not (w & before), 60, "nginx reloaded")

    def quit(self, seconds=60):
        return self.process.stop(signal.SIGQUIT, seconds)

    def stop(self):
        return self.process.stop(signal.SIGTERM)

    def log(self) -> str:
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def findings(self) -> str:
        """What sanitizers or valgrind found, and alerts in the log; empty when clean."""
        out = [p.read_text(errors="replace") for pattern in ("asan.*", "ubsan.*", "valgrind.*.log")
               for p in sorted(self.dir.glob(pattern)) if p.stat().st_size]
        out += [line for line in self.log().splitlines()
                if "[alert]" in line or "[emerg]" in line or "exited on signal" in line]
        return "\n".join(out)


class Orchestrator:
    """tallygate serve with one configuration file."""

    def __init__(self, directory: Path, config: Path, sock: str, asan=False, cwd=ROOT, env=None):
        self.dir, self.config, self.sock = Path(directory), Path(config), sock
        self.asan, self.cwd, self.extra_env = asan, cwd, env or {}
        self.binary = ASAN_BINARY if asan else BINARY
        self.process = None
        self.starts = 0

    def _env(self):
        return {"ASAN_OPTIONS": "detect_leaks=1:exitcode=98:log_path=" + str(self.dir / "asan-serve"),
                "UBSAN_OPTIONS": "print_stacktrace=1", **self.extra_env}

    def start(self, ready=True):
        self.starts += 1
        self.process = Process("orchestrator", [self.binary, "serve", "-c", self.config],
                               self.dir / "orchestrator.log", env=self._env(), cwd=self.cwd).start()
        if ready:
            wait_for(self.ready, 30, "orchestrator ready")
        return self

    def ready(self):
        if not self.process.alive():
            raise RuntimeError(f"orchestrator ended: {self.process.text()[-3000:]}")
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path, headers=None):
        return unix_request(self.sock, "GET", path, headers=headers)

    def run(self, *args, **kw):
        """A subcommand, e.g. run("check", "-c", conf)."""
        return subprocess.run([str(self.binary), *[str(a) for a in args]], capture_output=True,
                              text=True, cwd=self.cwd, env={**os.environ, **self._env()},
                              timeout=kw.get("timeout", 120))

    def kill(self):
        if self.process:
            self.process.kill()

    def stop(self):
        return self.process.stop(signal.SIGTERM, 40) if self.process else None

    def findings(self) -> str:
        return "\n".join(p.read_text(errors="replace")
                         for p in sorted(self.dir.glob("asan-serve*")) if p.stat().st_size)


def children(pid) -> list:
    try:
        return [int(c) for t in Path(f"/proc/{pid}/task").iterdir()
                for c in (t / "children").read_text().split()]
    except OSError:
        return []


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def unix_request(sock, method, path, body=None, headers=None):
    """(status, headers, body) over a unix socket."""
    c = UnixConnection(sock)
    try:
        c.request(method, path, body=body, headers=headers or {})
        r = c.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
    finally:
        c.close()


def scratch(name) -> Path:
    """A short directory of this run (unix socket paths are limited to 107 bytes)."""
    base = Path(os.environ.get("TG_TEST_DIR") or tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix=f"tg-{name}-", dir=base))
