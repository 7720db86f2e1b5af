#!/usr/bin/python3
"""The whole suite: builds, runs every layer two at a time, ends with `N passed, N failed`.

A job is a command; its result is counted from JUnit XML (pytest), TAP (cmocka) or its exit status.
Logs are under build/test-logs; the log of a failed job is printed.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build/test-logs"
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-x", "--maxfail=20", "-p", "no:cacheprovider"]


def sh(name, command, timeout=1200, env=None):
    """Runs one command with its own log; returns (status, log text, seconds)."""
    log = LOGS / f"{name}.log"
    began = time.monotonic()
    with open(log, "wb") as out:
        try:
            status = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL, timeout=timeout,
                                    env={**os.environ, **(env or {})}).returncode
        except subprocess.TimeoutExpired:
            out.write(f"\n{name}: not done within {timeout} s\n".encode())
            status = 124
    return status, log.read_text(errors="replace"), time.monotonic() - began


def count_tap(text):
    return (len(re.findall(r"^ok \d+", text, re.M)), len(re.findall(r"^not ok \d+", text, re.M)))


def count_junit(path):
    passed = failed = 0
    for suite in ET.parse(path).getroot().iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        failed += bad
        passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
    return passed, failed


def unit(variant):
    """Every cmocka program of one build, each counted by its TAP."""
    folder = ROOT / ("build/unit" if variant == "plain" else "build/asan/unit")
    passed = failed = 0
    texts = []
    programs = sorted(p for p in folder.glob("test_*") if p.is_file() and not p.suffix)
    if not programs:
        return 0, 1, f"no unit tests in {folder}"
    for program in programs:
        name = f"unit-{variant}-{program.name}"
        status, text, _ = sh(name, [str(program)], 300, {
            "CMOCKA_MESSAGE_OUTPUT": "TAP", "UBSAN_OPTIONS": "print_stacktrace=1",
            "ASAN_OPTIONS": "detect_leaks=1"})
        ok, bad = count_tap(text)
        if status != 0 and bad == 0:
            bad = 1
        if ok + bad == 0:
            bad = 1
        passed, failed = passed + ok, failed + bad
        if bad:
            texts.append(f"== {program.name} (exit {status})\n{text[-4000:]}")
    return passed, failed, "\n".join(texts)


def pytest(name, paths, env=None, timeout=1500):
    xml = LOGS / f"{name}.xml"
    xml.unlink(missing_ok=True)
    status, text, _ = sh(name, PYTEST + [f"--junitxml={xml}"] + paths, timeout, env)
    if not xml.exists():
        return 0, 1, text[-6000:]
    ok, bad = count_junit(xml)
    if status != 0 and bad == 0:
        bad = 1
    return ok, bad, text[-8000:] if bad else ""


def command(name, argv, timeout=1200, env=None):
    status, text, _ = sh(name, argv, timeout, env)
    return (1, 0, "") if status == 0 else (0, 1, f"exit {status}\n{text[-6000:]}")


def layers(fast):
    """(name, function). Order: the long ones first, so that two cores end together."""
    jobs = [
        ("fault", lambda: pytest("fault", ["tests/fault"])),
        ("flow", lambda: pytest("flow", ["tests/flow"])),
        ("edge", lambda: pytest("edge", ["tests/edge"])),
        ("edge-asan", lambda: pytest("edge-asan", ["tests/edge"], {"TG_EDGE": "asan"})),
        ("edge-valgrind", lambda: pytest("edge-valgrind", ["tests/edge", "-m", "valgrind"],
                                         {"TG_EDGE": "valgrind"})),
        ("flow-asan", lambda: pytest(
            "flow-asan", ["tests/flow", "--ignore=tests/flow/test_demo.py", "--ignore=tests/flow/test_tryton.py",
                          "--ignore=tests/flow/test_tryton_harness.py"],
            {"TG_ORCHESTRATOR": "asan"})),
        ("contract", lambda: pytest("contract", ["tests/contract"])),
        ("unit-asan", lambda: unit("asan")),
        ("unit", lambda: unit("plain")),
        ("sim", lambda: command("sim", ["build/sim", "1", "10000"])),
        ("sim-asan", lambda: command("sim-asan", ["build/asan/sim", "500000", "300"])),
        ("sim-mutations", lambda: command("sim-mutations", ["tests/sim/mutations.sh"])),
        ("fuzz-corpora", lambda: command("fuzz-corpora", ["tests/fuzz/replay.sh"])),
        ("rules", lambda: command("rules", ["build/tallygate", "rules", "test", "lua_rules"])),
        ("lint", lambda: command("lint", ["tests/lint/lint.sh"])),
    ]
    if shutil.which("valkey-server"):  # Debian 13 has it: the same contract, another server
        jobs.insert(1, ("valkey", lambda: pytest(
            "valkey", ["tests/edge", "tests/contract/test_admit.py", "tests/contract/test_inv_redis.py",
                       "tests/contract/test_intake.py", "tests/fault"],
            {"TG_TEST_REDIS": "valkey-server"})))
    if fast:
        keep = {"unit", "contract", "sim", "rules", "edge", "flow"}
        jobs = [j for j in jobs if j[0] in keep]
    return jobs


def build(fast):
    steps = [("build", ["make", "-s", "-j2", "build", "unit-bins", "build/sim"])]
    if not fast:
        steps += [("build-asan", ["make", "-s", "-j2", "asan"]),
                  ("build-nginx-asan", ["tests/harness/nginx_asan.sh"])]
    for name, argv in steps:
        print(f"test: {name} ...", flush=True)
        status, text, seconds = sh(name, argv)
        if status != 0:
            print(text[-8000:])
            print(f"test: {name} failed after {seconds:.0f} s")
            return False
        print(f"test: {name} ok ({seconds:.0f} s)", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="no sanitizers, no faults, no lint")
    parser.add_argument("--only", help="comma separated layers")
    args = parser.parse_args()
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    began = time.monotonic()
    if not build(args.fast):
        print("0 passed, 1 failed")
        return 1
    jobs = layers(args.fast)
    if args.only:
        jobs = [j for j in jobs if j[0] in args.only.split(",")]
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="tg") as scratch:
        os.environ["TG_TEST_DIR"] = scratch
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running = {}
            for name, job in jobs:
                running[pool.submit(timed, job)] = name
            for future in concurrent.futures.as_completed(running):
                ok, bad, text, seconds = future.result()
                passed, failed = passed + ok, failed + bad
                print(f"test: {running[future]}: {ok} passed, {bad} failed ({seconds:.0f} s)",
                      flush=True)
                if bad:
                    print(text, flush=True)
    print(f"test: {time.monotonic() - began:.0f} s in all")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def timed(job):
    began = time.monotonic()
    ok, bad, text = job()
    return ok, bad, text, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
