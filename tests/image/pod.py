"""The containers of compose.yaml, run by podman and runc from the images that `make image` built.

compose.yaml itself is what is run: each key of a service is turned into what podman calls it, and a key
that has no translation fails. Left out, because this is no engine of a host: restart, logging, build,
depends_on (the tests start in their own order) and ports. Each container has a network of its own with
loopback alone; the tests open their connections inside the edge's.
"""
import ctypes
import json
import os
import resource
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

import yaml

from tests.harness import stack

KEEP = stack.ROOT / "build/image"
CLONE_NEWNET = 0x40000000
IGNORED = {"restart", "logging", "build", "depends_on", "ports", "healthcheck", "stop_grace_period"}
libc = ctypes.CDLL(None, use_errno=True)


def podman(*args, check=True, timeout=120):
    done = subprocess.run(
        ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
         "--tmpdir", str(KEEP / "tmp"), *[str(a) for a in args]],
        env={**os.environ, "CONTAINERS_STORAGE_CONF": str(KEEP / "storage.conf")},
        capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise RuntimeError(f"podman {' '.join(map(str, args[:3]))}: {done.stderr[-3000:]}")
    return done


def version() -> str:
    text = (stack.ROOT / "orchestrator/cmd/cmd.h").read_text()
    return text.split('#define TG_VERSION "')[1].split('"')[0]


def image(name="tallygate") -> str:
    return f"localhost/{name}:{version()}"


def limits(soft, hard):
    """No more than this machine lets a process have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return f"nofile={min(soft, most)}:{min(hard, most)}"


class Pod:
    """The services of compose.yaml under names of their own; `state` is what TALLYGATE_STATE names."""

    def __init__(self, state: Path):
        self.id = "tg" + uuid.uuid4().hex[:8]
        self.state = state
        self.compose = yaml.safe_load((stack.ROOT / "compose.yaml").read_text().replace(
            "${TALLYGATE_STATE:-./var/compose}", str(state)))
        self.services = self.compose["services"]
        self.volumes = {f"{self.id}-{name}" for name in self.compose["volumes"]}

    def name(self, service):
        return f"{self.id}-{service}"

    def _volume(self, text):
        source, rest = text.split(":", 1)
        return f"{self.id}-{source}:{rest}" if source in self.compose["volumes"] else text

    def arguments(self, service):
        """The service as arguments of `podman run`."""
        out, todo = [], dict(self.services[service])
        todo.pop("network_mode", None)  # every container here has loopback alone
        image_name, command = todo.pop("image"), todo.pop("command")
        for key in IGNORED & set(todo):
            del todo[key]
        assert todo.pop("read_only") is True
        out += ["--read-only", "--read-only-tmpfs=false"]
        for cap in todo.pop("cap_drop"):
            out += ["--cap-drop", cap]
        for option in todo.pop("security_opt"):
            out += ["--security-opt", option.split(":")[0]]
        for mount in todo.pop("tmpfs"):
            out += ["--tmpfs", mount]
        for volume in todo.pop("volumes"):
            out += ["-v", self._volume(volume)]
        for secret in todo.pop("secrets"):
            out += ["-v", f"{self.compose['secrets'][secret]['file']}:/run/secrets/{secret}:ro"]
        out += ["--stop-signal", todo.pop("stop_signal"), "--pids-limit", todo.pop("pids_limit")]
        files = todo.pop("ulimits", {}).get("nofile", {"soft": 1024, "hard": 1024})
        out += ["--ulimit", limits(files["soft"], files["hard"]), "--ulimit", "nproc=1024:1024"]
        assert not todo, f"compose.yaml, {service}: no translation for {sorted(todo)}"
        return out + ["--network", "none", "--no-healthcheck", image(image_name), *command]

    def start(self, service):
        podman("run", "-d", "--name", self.name(service), *self.arguments(service))
        stack.wait_for(lambda: self.healthy(service), 60, f"{service} healthy")

    def exec(self, service, *command, check=True):
        return podman("exec", self.name(service), *command, check=check)

    def healthy(self, service):
        if not self.running(service):
            raise RuntimeError(f"{service} ended: {self.logs(service)[-3000:]}")
        test = self.services[service]["healthcheck"]["test"]
        assert test[0] == "CMD"
        return self.exec(service, *test[1:], check=False).returncode == 0

    def inspect(self, service):
        return json.loads(podman("inspect", self.name(service)).stdout)[0]

    def running(self, service):
        return self.inspect(service)["State"]["Running"]

    def pid(self, service):
        return self.inspect(service)["State"]["Pid"]

    def logs(self, service):
        done = podman("logs", self.name(service))
        return done.stdout + done.stderr

    def kill(self, service, sig="KILL"):
        podman("kill", "-s", sig, self.name(service))
        stack.wait_for(lambda: not self.running(service), 60, f"{service} ended")

    def again(self, service):
        """Another container of the same service, as after `up` on the same volumes."""
        podman("rm", self.name(service))
        self.start(service)

    def stop(self, service, seconds=60):
        """Its own stop signal; the exit status."""
        podman("stop", "-t", seconds, self.name(service), timeout=seconds + 30)
        return self.inspect(service)["State"]["ExitCode"]

    def volume(self, name) -> Path:
        return Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}",
                           f"{self.id}-{name}").stdout.strip())

    def remove(self):
        for service in self.services:
            podman("rm", "-f", "-t", "1", self.name(service), check=False)
        for volume in self.volumes:
            podman("volume", "rm", volume, check=False)

    def connect(self, service, port) -> socket.socket:
        """A TCP connection made inside the container's network."""
        with open("/proc/self/ns/net", "rb") as home, open(f"/proc/{self.pid(service)}/ns/net",
                                                           "rb") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.create_connection(("127.0.0.1", port), 30)
            finally:
                if libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns back")


def mounted(name):
    """Where the files of an image are, for looking at; give it back with unmounted()."""
    return Path(podman("image", "mount", image(name)).stdout.strip())


def unmounted(name):
    podman("image", "unmount", image(name), check=False)


def tools():
    return all(shutil.which(t) for t in ("podman", "runc"))
