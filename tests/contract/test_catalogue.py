"""conf/catalogue.yaml against all who use it: rules, C code, runbooks."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWNERS = {"master-data", "finance", "integration"}
SECTIONS = ["## What it means", "## Who", "## See it", "## What to do"]

# Where C hands a code on: the code is the first string literal of the call, or the value set.
C_CALLS = re.compile(
    r"\b(?:violate|open_exception|tg_engine_tell)\(\s*\w+,[^;\"()]*?\"([a-z][a-z_]+)\"")
C_REFUSALS = re.compile(r"\brefuse\(\w+, \"([a-z_]+)\"")
C_VALUES = re.compile(r"(?:\bcode|\bOUTCOME_UNKNOWN\[\]|#define CONFLICT)\s*=?\s*\"([a-z_]+)\"")
LUA_CODES = re.compile(r"\b(?:Report\.add\(report,|refused\()\s*\"([a-z_]+)\"|"
                       r"\bcode\s*=\s*\"([a-z_]+)\"")


def read(path):
    return path.read_text(encoding="utf-8")


def entries():
    block = r"  - code: (\S+)\n    title: (.+)\n    owner: (\S+)\n    runbook: (\S+)\n(?:    hold: true\n)?"
    return re.findall(block, read(ROOT / "conf/catalogue.yaml"))


CODES = {e[0] for e in entries()}


def c_sources():
    return sorted((ROOT / "orchestrator").rglob("*.c"))


def rule_files():
    folders = ("sources", "validate", "route", "lib", "connectors")
    return [f for folder in folders for f in sorted((ROOT / "lua_rules" / folder).glob("*.lua"))]


def codes_of_c():
    found = {}
    for path in c_sources():
        regexes = [C_CALLS, C_VALUES]
        if path.name == "reading.c":  # elsewhere a function of this name refuses other things
            regexes.append(C_REFUSALS)
        for regex in regexes:
            for code in regex.findall(read(path)):
                found.setdefault(code, path.name)
    return found


def codes_of_rules():
    found = {}
    for path in rule_files():
        for pair in LUA_CODES.findall(read(path)):
            found.setdefault(pair[0] or pair[1], path.name)
    return found


def test_the_list_is_read_whole():
    assert len(entries()) == read(ROOT / "conf/catalogue.yaml").count("- code:") >= 25
    assert len(CODES) == len(entries())


@pytest.mark.parametrize("entry", entries(), ids=lambda e: e[0])
def test_entry_has_owner_and_runbook(entry):
    code, title, owner, runbook = entry
    assert owner in OWNERS
    assert runbook == f"docs/runbooks/{code}.md"
    text = read(ROOT / runbook)
    assert text.startswith(f"# {code}\n\n{title}.\n")
    places = [text.find(section) for section in SECTIONS]
    assert -1 not in places and places == sorted(places)
    assert f"Owner: {owner}" in text
    for command in re.findall(r"`tallygate (\w+)", text) + re.findall(r"^tallygate (\w+)", text, re.M):
        assert f'{{"{command}",' in read(ROOT / "orchestrator/cmd/commands.c"), command


def test_no_runbook_without_a_code():
    assert {f.stem for f in (ROOT / "docs/runbooks").glob("*.md")} == CODES


def test_codes_of_rules_are_in_the_catalogue():
    found = codes_of_rules()
    assert len(found) >= 13
    assert set(found) <= CODES, {c: f for c, f in found.items() if c not in CODES}


def test_codes_of_c_are_in_the_catalogue():
    found = codes_of_c()
    assert len(found) >= 9
    assert set(found) <= CODES, {c: f for c, f in found.items() if c not in CODES}


def test_every_code_is_used():
    text = "".join(read(p) for p in c_sources() + rule_files())
    unused = {code for code in CODES if f'"{code}"' not in text}
    assert not unused


def test_every_code_of_the_rules_has_a_fixture():
    fixtures = "".join(read(p) for p in (ROOT / "lua_rules").glob("*/*.fixtures/*.json"))
    missing = {code for code in codes_of_rules() if f'"{code}"' not in fixtures}
    assert not missing
