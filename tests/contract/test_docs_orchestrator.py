"""docs/reference of the orchestrator says what the program says: commands, keys, metrics, API."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "build/tallygate"
REFERENCE = ROOT / "docs/reference"


def read(path):
    return path.read_text(encoding="utf-8")


def run(*args):
    return subprocess.run([str(BINARY), *args], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)


def section(text, title):
    """From `## title` to the next heading of that level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert found, f"no section `{title}`"
    return found.group(1)


def commands_of_help():
    done = run("--help")
    assert done.returncode == 0
    listed = done.stdout.split("commands:")[1].split("\n\n")[0]
    return dict(re.findall(r"^  (\w+) +(.+)$", listed, re.M))


def usage_of(command):
    """The usage lines of --help, each without its lead, white space as one blank."""
    text = run(command, "--help").stdout.split("\n\n")[0]
    text = re.sub(r"^(usage:|      ) tallygate ", "@", text, flags=re.M)
    return [" ".join(u.split()) for u in text.split("@") if u.strip()]


def test_every_command_is_in_the_table():
    commands = commands_of_help()
    assert len(commands) >= 6
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", read(REFERENCE / "cli.md"), re.M))
    assert rows == commands


@pytest.mark.parametrize("command", sorted(commands_of_help()))
def test_usage_is_as_printed(command):
    block = re.search(r"```\n(.*?)```", section(read(REFERENCE / "cli.md"), command), re.S).group(1)
    documented = [" ".join(u.split()) for u in block.split("tallygate ") if u.strip()]
    assert documented == usage_of(command)


def test_every_configuration_key_is_documented():
    done = run("check", "--keys")
    assert done.returncode == 0
    printed = [line for line in done.stdout.splitlines() if line.startswith("| `")]
    assert len(printed) > 30
    text = section(read(REFERENCE / "configuration.md"), "Every key")
    assert [line for line in text.splitlines() if line.startswith("| `")] == printed


def metrics_of_source():
    text = read(ROOT / "orchestrator/core/metrics.h").replace("\\\n", " ")
    found = {}
    for kind, name, labels, text_ in re.findall(
            r'X\(\w+, "(\w+)", "(\w+)", "((?:[^"\\]|\\.)*)",\s*"([^"]*)"\)', text):
        entry = found.setdefault(name, (kind, [], text_))
        if labels:
            entry[1].append(labels.replace('\\"', '"'))
    return found


def test_every_metric_is_documented():
    metrics = metrics_of_source()
    assert len(metrics) > 10
    text = section(read(REFERENCE / "metrics.md"), "The orchestrator")
    rows = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            name, kind, labels, meaning, _ = [c.strip() for c in line.strip("|").split("|")]
            rows[name.strip("`")] = (kind, re.findall(r"`([^`]+)`", labels), meaning)
    assert rows == metrics


def test_every_route_is_documented():
    source = read(ROOT / "orchestrator/api/api.c")
    routes = re.findall(r'^    \{"(/[^"]*)", (ALLOW_\w+), \w+, (true|false),\s+'
                        r'(?:true|false), (NULL|"[^"]*")\}', source, re.M)
    assert len(routes) >= 5
    api = read(REFERENCE / "api.md")
    for path, allow, prefix, suffix in routes:
        method = "POST" if allow == "ALLOW_POST" else "GET"
        rest = ("{id}" if prefix == "true" else "") + suffix.replace("NULL", "").strip('"')
        assert f"| `{method} {path}{rest}` |" in api


def test_every_stage_and_status_is_documented():
    source = read(ROOT / "orchestrator/core/life.c")
    api = section(read(REFERENCE / "api.md"), "GET /v1/events/{id}")
    business = re.search(r"tg_business_state_name.*?^}", source, re.S | re.M).group(0)
    events = re.search(r"tg_event_state_name.*?^}", source, re.S | re.M).group(0)
    words = set(re.findall(r'"(\w+)"', business + events)) - {"unknown"}
    assert {"posted", "in_stream", "duplicate"} <= words
    assert not {w for w in words if f"`{w}`" not in api}


def test_limits_in_the_api_text_are_the_real_ones():
    limits = read(ROOT / "common/limits.h")
    assert "#define TG_VALIDATE_ARRAY_MAX 500" in limits
    assert "#define TG_API_BODY_MAX_BYTES (1024 * 1024)" in limits
    assert "#define TG_EVENT_JSON_DEPTH_MAX 32" in limits
    assert "#define TG_API_REDIS_TIMEOUT_MS 200" in limits
    assert "#define TG_API_OBJECTS_MAX 100" in limits
    assert "#define TG_API_STOP_MS 5000" in limits


def test_error_codes_of_the_api_text_exist():
    problems = set(re.findall(r'X\(\w+, "(\w+)"', read(ROOT / "common/problem.h")))
    rows = re.findall(r"^\| .+ \| (\d{3}) \| `(\w+)` \|$", read(REFERENCE / "api.md"), re.M)
    assert rows
    assert {code for _, code in rows} <= problems


def test_the_shipped_configuration_is_the_one_documented():
    assert "[conf/tallygate.yaml](../../conf/tallygate.yaml)" in read(REFERENCE / "configuration.md")
    done = run("check", "-c", "conf/tallygate.yaml")
    assert "ok: configuration conf/tallygate.yaml" in done.stdout
