"""`make test-image`: the images as compose.yaml runs them, and what is in them.

Redis, edge and orchestrator run as containers: no root, read-only root file system, no capability. A
sender's signed webhooks go in at the edge; what the orchestrator posted is read from its volume.
"""
import csv
import http.client
import json
import os
import re
import stat
import subprocess
import sys
import threading

import pytest

from tests.harness import sign, stack
from tests.image import pod as pods

sys.path.insert(0, str(stack.ROOT / "conf/demo"))
import week  # noqa: E402

ENTRIES = 120
SECRETS = re.compile(rb"PRIVATE KEY-----\s[A-Za-z0-9+/=\s]{40}|whsec_[A-Za-z0-9+/]{32}")
USER = 10001


def entry(n):
    return {"id": f"TE-{n:06}", "version": 1, "worker": f"W-{n % 39 + 1:03}",
            "project": f"P-{101 + n % 11}", "task": f"T-{n % 3 + 1}", "date": "2026-11-16",
            "hours": "1.25", "approved_by": "W-001", "approved_at": "2026-11-20T17:00:00Z"}


class Firm(pods.Pod):
    """The pod, and a sender that may use it."""

    def __init__(self, state):
        state.chmod(0o777)  # for the image's user; the secrets' own folder is closed again by new-secrets
        made = pods.podman("run", "--rm", "--network", "none", "--no-healthcheck", "--ulimit",
                           "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--user", "0:0",
                           "-v", f"{state}:/out", pods.image(), "new-secrets", "/out")
        assert made.stdout.strip().splitlines()[-1] == "new-secrets: ok (/out)"
        super().__init__(state)
        self.secret = (state / "secrets/webhooks").read_text().split()[2]

    def send(self, n, connection=None):
        """One signed webhook; (status, body)."""
        c = connection or self.http()
        body = sign.cloudevent(f"evt-{n}", entry(n))
        headers = sign.webhook_headers(self.secret, f"msg-{n}", body)
        headers["Content-Type"] = "application/cloudevents+json"
        c.request("POST", "/hooks/acme/psa", body, headers)
        answer = c.getresponse()
        return answer.status, answer.read()

    def http(self):
        c = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
        c.sock = self.connect("edge", 8080)
        return c

    def get(self, path):
        c = self.http()
        c.request("GET", path)
        answer = c.getresponse()
        return answer.status, answer.read().decode()

    def posted(self, where):
        out = []
        for path in sorted((self.volume("journal") / "out").glob(where)):
            with open(path, newline="", encoding="utf-8") as f:
                out += [row["entry"] for row in csv.DictReader(f)]
        return out

    def accepted(self, n):
        """Sends until it is accepted, as a sender does: the key of a message stays the same."""
        def done():
            try:
                status, body = self.send(n)
            except (OSError, http.client.HTTPException):
                return False
            assert status in (202, 409, 502, 503), body
            return status == 202
        stack.wait_for(done, 60, f"TE-{n:06} accepted")

    def wait_posted(self, numbers):
        want = {f"TE-{n:06}" for n in numbers}
        for where in ("erp/labor-*.csv", "payroll/payroll-*.csv"):
            stack.wait_for(lambda: want <= set(self.posted(where)), 60, f"{len(want)} in {where}")

    def assert_once(self, numbers):
        want = sorted(f"TE-{n:06}" for n in numbers)
        assert sorted(self.posted("erp/labor-*.csv")) == want
        assert sorted(self.posted("payroll/payroll-*.csv")) == want


@pytest.fixture(scope="module")
def firm(tmp_path_factory):
    f = Firm(tmp_path_factory.mktemp("state"))
    try:
        for service in ("redis", "orchestrator", "edge"):
            f.start(service)
        yield f
    finally:
        f.remove()


# ---- the running whole ----

def test_every_process_is_without_root_rights(firm):
    for service in firm.services:
        pids = [firm.pid(service)] + stack.children(firm.pid(service))
        assert service != "edge" or len(pids) == 3
        for pid in pids:
            status = dict(line.split(":\t", 1) for line in
                          open(f"/proc/{pid}/status", encoding="ascii").read().splitlines()
                          if ":\t" in line)
            assert status["Uid"].split() == [str(USER)] * 4, service
            assert status["Gid"].split() == [str(USER)] * 4, service
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[name], 16) == 0, (service, name)
            assert status["NoNewPrivs"] == "1"
            assert status["Seccomp"] == "2", "runc's own filter"


def test_the_root_file_system_cannot_be_written(firm):
    for service in firm.services:
        for path in ("/x", "/etc/x", "/usr/share/tallygate/x", "/var/x", "/run/x"):
            done = firm.exec(service, "sh", "-c", f": > {path}", check=False)
            assert done.returncode != 0 and re.search("Read-only|Permission", done.stderr), path
        assert firm.exec(service, "sh", "-c", ": > /tmp/x && rm /tmp/x").returncode == 0
        # nothing that was written may be run
        done = firm.exec(service, "sh", "-c", "cp /bin/true /tmp/t && /tmp/t", check=False)
        assert done.returncode != 0 and "Permission denied" in done.stderr


def test_webhooks_are_posted_once(firm):
    with_one = firm.http()
    for n in range(20):
        assert firm.send(n, with_one)[0] == 202
    firm.wait_posted(range(20))
    for n in range(20):  # the same message again is the same answer
        assert firm.send(n, with_one)[0] == 202
    forged = sign.webhook_headers(sign.new_secret(), "msg-x", b"{}")
    with_one.request("POST", "/hooks/acme/psa", b"{}", forged)
    assert with_one.getresponse().status == 401
    firm.assert_once(range(20))


def test_a_killed_orchestrator_goes_on_where_it_was(firm):
    """SIGKILL while the sender is at work; another container on the same volume."""
    for round_ in range(3):
        first = 20 + round_ * ENTRIES
        sender = threading.Thread(target=lambda: [firm.accepted(n) for n in range(first, first + ENTRIES)])
        sender.start()
        stack.wait_for(lambda: len(firm.posted("erp/labor-*.csv")) > first + 10, 60, "some posted")
        firm.kill("orchestrator")
        firm.again("orchestrator")
        sender.join(120)
        assert not sender.is_alive()
    numbers = range(20 + 3 * ENTRIES)
    firm.wait_posted(numbers)
    firm.assert_once(numbers)
    checked = firm.exec("orchestrator", "tallygate", "check", "--journal", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert firm.exec("orchestrator", "tallygate", "audit", "verify").stdout.strip().splitlines()[-1] \
        .startswith("audit: ok (")


def test_a_killed_redis_and_edge_lose_nothing_accepted(firm):
    before = 20 + 3 * ENTRIES
    for n in range(before, before + 20):
        firm.accepted(n)
    firm.kill("redis")
    firm.kill("edge")
    firm.again("redis")
    firm.again("edge")
    for n in range(before, before + 40):  # the first half is a repetition
        firm.accepted(n)
    firm.wait_posted(range(before + 40))
    firm.assert_once(range(before + 40))


def test_health_and_metrics(firm):
    assert firm.get("/readyz")[0] == 200
    assert "tallygate_edge_" in firm.get("/metrics/edge")[1]
    firm.kill("redis")
    stack.wait_for(lambda: firm.get("/readyz")[0] == 503, 30, "not ready without Redis")
    assert not firm.healthy("orchestrator")
    assert firm.healthy("edge"), "the edge answers, with 503 where it needs Redis"
    firm.again("redis")
    stack.wait_for(lambda: firm.get("/readyz")[0] == 200, 30, "ready again")
    assert firm.healthy("orchestrator")


def test_what_is_logged_is_on_standard_output_and_holds_no_secret(firm):
    edge = firm.logs("edge")
    said = [json.loads(line) for line in edge.splitlines() if line.startswith("{")]
    assert any(x["uri"] == "/hooks/acme/psa" and x["status"] == 202 for x in said)
    assert '"unit":"serve"' in firm.logs("orchestrator")
    for service in firm.services:
        for name in ("redis-edge", "redis-orchestrator"):
            assert (firm.state / "secrets" / name).read_text().strip() not in firm.logs(service)
        assert firm.secret not in firm.logs(service)


def test_the_stop_signal_ends_each_role_gracefully(firm):
    assert firm.stop("edge") == 0
    assert firm.stop("orchestrator") == 0
    assert '"msg":"stopped"' in firm.logs("orchestrator")
    assert firm.stop("redis") == 0
    for service in ("redis", "orchestrator", "edge"):
        firm.again(service)


# ---- what is missing is said ----

def run_wrongly(*args, name="tallygate"):
    done = pods.podman("run", "--rm", "--network", "none", "--no-healthcheck", "--ulimit",
                       "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--read-only",
                       "--read-only-tmpfs=false", "--cap-drop", "ALL", *args, check=False)
    return done.returncode, done.stderr


TMP = ("--tmpfs", "/tmp:rw,mode=1777")


@pytest.mark.parametrize("image,args,status,words", [
    ("tallygate", [], 78, "say which role"),
    ("tallygate", ["master"], 78, "no role master"),
    ("tallygate", ["edge"], 78, "/tmp cannot be written by user 10001"),
    ("tallygate", ["health"], 78, "no role runs here"),
    ("tallygate", ["orchestrator"], 78, "/tmp cannot be written by user 10001"),
    ("tallygate-redis", ["serve"], 78, "/tmp cannot be written by user 10001"),
    ("tallygate-redis", ["sit"], 78, "say serve or health"),
    ("tallygate", ["tallygate", "--nothing"], 2, "no command")])
def test_a_wrong_start_says_what_to_do(image, args, status, words):
    code, said = run_wrongly(pods.image(image), *args)
    assert (code, words in said) == (status, True), said


@pytest.mark.parametrize("image,role,hidden,words", [
    ("tallygate", "edge", "/etc/tallygate", "mount the configuration there"),
    ("tallygate", "edge", "/run/secrets", "/run/secrets/redis-edge"),
    ("tallygate", "orchestrator", "/etc/tallygate", "mount the configuration there"),
    ("tallygate-redis", "serve", "/run/secrets", "mount the secret there")])
def test_a_missing_file_is_named(image, role, hidden, words):
    code, said = run_wrongly(*TMP, "--tmpfs", f"{hidden}:notmpcopyup", "-v", "/run/tallygate",
                             "-v", "/data", pods.image(image), role)
    assert code != 0 and words in said, said


# ---- what is in the images ----

@pytest.fixture(scope="module", params=["tallygate", "tallygate-redis"])
def root(request):
    yield pods.mounted(request.param)
    pods.unmounted(request.param)


def files(root):
    """Every file and link; a device or pipe has no place in an image."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            kind = os.lstat(path).st_mode
            assert stat.S_ISREG(kind) or stat.S_ISLNK(kind), path
            yield path


def test_no_tool_for_building_or_fetching(root):
    names = {os.path.basename(f) for f in files(root)}
    for tool in ("gcc", "cc", "c++", "g++", "ld", "as", "make", "clang", "git", "python3", "curl", "wget",
                 "gdb", "strace"):
        assert tool not in names, tool
    assert not [f for f in files(root) if re.search(r"\.(a|o|pc)$", f)]


def test_no_secret_no_leftover_no_build_path(root):
    for path in files(root):
        if os.path.islink(path):
            continue
        name = path[len(str(root)):]
        assert "canary" not in name, ".dockerignore let it through"
        if name.startswith(("/usr/share/ca-certificates/", "/etc/ssl/", "/usr/share/doc/")):
            continue
        with open(path, "rb") as f:
            data = f.read()
        if data.startswith(b"\x7fELF") and "tallygate" not in name:
            continue  # libgnutls has the keys of its self-test
        assert not SECRETS.search(data), name
        if "tallygate" in name:
            for built in (b"/src/orchestrator", b"/src/ngx_module", b"/src/common", b"/src/build", b"/tmp/w/"):
                assert built not in data, (name, built)
    assert not list((root / "run/secrets").iterdir())
    assert not list((root / "var/lib/apt/lists").iterdir())
    assert not (root / "src").exists() and not (root / "out").exists()


def test_nothing_is_set_uid_for_us_and_nothing_of_ours_can_be_changed(root):
    for path in files(root):
        if "tallygate" in path[len(str(root)):]:
            st = os.lstat(path)
            assert st.st_uid == 0 and (os.path.islink(path) or not st.st_mode & 0o022), path


def test_the_configuration_in_the_image_is_the_shipped_one(firm):
    """The places differ and nothing else: as many lines with directives in the same order."""
    def words(text):
        return [line.split()[0] for line in text.splitlines()
                if line.strip() and not line.lstrip().startswith("#")]
    for name in ("nginx.conf", "tallygate.yaml"):
        shipped = (stack.ROOT / "conf" / name).read_text()
        there = firm.exec("edge", "cat", f"/etc/tallygate/{name}").stdout
        assert words(there) == words(shipped)


def test_labels_user_and_stop_signal():
    inspected = json.loads(pods.podman("inspect", pods.image()).stdout)[0]
    config, labels = inspected["Config"], inspected["Labels"]
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGQUIT")
    assert labels["org.opencontainers.image.version"] == pods.version()
    assert re.fullmatch(r"[0-9a-f]{12}(-changed)?|unknown", labels["org.opencontainers.image.revision"])
    assert config["Entrypoint"] == ["/usr/lib/tallygate/entrypoint"]
    assert inspected["Healthcheck"]["Test"] == ["CMD", "/usr/lib/tallygate/entrypoint", "health"]


def test_the_symbols_are_apart():
    root = pods.mounted("tallygate")
    sections = subprocess.run(["readelf", "-S", "-W", root / "usr/bin/tallygate"], text=True,
                              capture_output=True, check=True).stdout
    pods.unmounted("tallygate")
    assert ".gnu_debuglink" in sections and ".debug_info" not in sections
    assert ".note.gnu.build-id" in sections
