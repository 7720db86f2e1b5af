"""The newcomer's documents say what the tree says: TOUR, INVARIANTS, THREATS, dependencies, README.

Every check is a function of texts that gives a list of findings, so that it can be tried on a broken
copy: each has a test that it finds nothing here, and one that it does find what is wrong.
"""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import sign, stack
from tests.harness.firm import week

ROOT = Path(__file__).resolve().parents[2]
NAMED = ["README.md", "CONTRIBUTING.md", "docs/TOUR.md", "docs/INVARIANTS.md", "docs/THREATS.md",
         "docs/dependencies.md"]
MADE = ("build/", "var/")  # by make and at run time
FILE_ENDINGS = "c cc h lua md py sh json yaml in conf supp"


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def tree():
    """Files of the project, also those not yet committed; what is ignored does not count."""
    listed = subprocess.run(["/usr/bin/python3", "tests/lint/tracked.py", "*"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\n")
    return {path for path in listed if path and (ROOT / path).exists()}


FILES = tree()
FOLDERS = {str(parent) for path in FILES for parent in Path(path).parents}


# ---- the posting table ----

def edges_of_source(life_c, life_h):
    names = dict(re.findall(r'X\((\w+), \d+, "(\w+)", \w+\)', life_h))
    events = dict(re.findall(r'X\((\w+), "(\w+)"\)', life_h))
    edges = re.findall(r"^    EDGE\((\w+), (\w+), (\w+)\),$", life_c, re.M)
    return sorted((names[s], events[e], names[t]) for s, e, t in edges)


def section(text, title):
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.S | re.M)
    assert found, f"no section `{title}`"
    return found.group(1)


def cells(line):
    return [c.strip() for c in line.strip().strip("|").split("|")]


def edges_of_docs(text):
    rows = [cells(line) for line in section(text, "Postings").splitlines()
            if line.startswith("| `")]
    return sorted(tuple(c.strip("`") for c in row[:3]) for row in rows)


def test_the_posting_table_is_the_one_in_the_code():
    source = edges_of_source(read("orchestrator/core/life.c"), read("orchestrator/core/life.h"))
    assert len(source) >= 20
    assert edges_of_docs(read("docs/INVARIANTS.md")) == source


def test_a_changed_posting_table_is_noticed():
    life_c, life_h = read("orchestrator/core/life.c"), read("orchestrator/core/life.h")
    docs = edges_of_docs(read("docs/INVARIANTS.md"))
    less = life_c.replace("    EDGE(SENT, ANSWER_UNCLEAR, IN_DOUBT),\n", "")
    other = life_c.replace("EDGE(SENT, ANSWER_UNCLEAR, IN_DOUBT)", "EDGE(SENT, ANSWER_UNCLEAR, RETRY)")
    assert less != life_c != other
    assert edges_of_source(less, life_h) != docs
    assert edges_of_source(other, life_h) != docs


@pytest.mark.parametrize("title,function,enum", [
    ("Events", "tg_event_state_name", "TG_EVENT_"),
    ("Object versions", "tg_version_state_name", "TG_VERSION_"),
    ("Exceptions", "tg_exception_state_name", "TG_EXCEPTION_")])
def test_the_other_life_cycles_name_every_state_and_number(title, function, enum):
    body = re.search(rf"^const char \*{function}.*?^}}", read("orchestrator/core/life.c"),
                     re.S | re.M).group(0)
    words = re.findall(r'"(\w+)"', body)
    numbers = re.findall(rf"^    {enum}(\w+) = (\d+)", read("orchestrator/core/life.h"), re.M)
    assert [(name.lower(), n) for name, n in numbers] == [(w, str(i)) for i, w in enumerate(words)]
    rows = [cells(line) for line in section(read("docs/INVARIANTS.md"), title).splitlines()
            if line.startswith("| `")]
    assert [(row[0].strip("`"), row[1]) for row in rows] == [(w, n) for w, (_, n) in
                                                             zip(words, numbers)]
    for row in rows:  # what comes next is a state too
        assert set(re.findall(r"`(\w+)`", row[3])) <= set(words)


# ---- invariants and their tests ----

TEST = re.compile(r"`(tests/[\w./]+)::(\w+)`")


def is_test(path, name):
    """A pytest function, a cmocka function in a table of tests, or a mutation of the simulator."""
    if path not in FILES:
        return False
    text = read(path)
    if path.endswith(".py"):
        return re.search(rf"^def {name}\(", text, re.M) is not None
    if path == "tests/sim/sim.h":
        return f"    X({name}, " in text
    defined = re.search(rf"^static void {name}\(void \*\*", text, re.M)
    return defined is not None and len(re.findall(rf"\b{name}\b", text)) >= 2


def invariants(text):
    """[(number, its text)] in the order of the document."""
    return [(int(m.group(1)), m.group(0)) for m in
            re.finditer(r"^\*\*I(\d+)\. .*?(?=^\*\*I\d+\. |^## |\Z)", text, re.S | re.M)]


def faults_of_invariants(text):
    found = [f"{path}::{name} does not exist" for path, name in TEST.findall(text)
             if not is_test(path, name)]
    numbers = [n for n, _ in invariants(text)]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append("the numbers are not 1, 2, 3 ...")
    for n, body in invariants(text):
        for word in ("Why: ", "Kept: ", "Tests: "):
            if f"\n{word}" not in body:
                found.append(f"I{n} lacks {word}")
        if not TEST.search(body.split("Tests: ")[-1]):
            found.append(f"I{n} has no test")
    for row in section(text, "Redis 7.0 traps").splitlines():
        if row.startswith("| ") and not row.startswith("| trap") and not TEST.search(row):
            found.append(f"a trap has no test: {row[:60]}")
    return found


def test_every_invariant_has_tests_that_exist():
    text = read("docs/INVARIANTS.md")
    assert len(invariants(text)) >= 50
    assert faults_of_invariants(text) == []


@pytest.mark.parametrize("old,new", [
    ("test_publish.py::test_one_round_trip", "test_publish.py::test_one_round_trip_more"),
    ("tests/unit/test_core_life.c::every_pair", "tests/unit/test_core_lives.c::every_pair"),
    ("sim.h::SEND_EARLY", "sim.h::SEND_LATE"), ("**I7. ", "**I8. "), ("\nKept: ", "\nHeld: "),
    ("Tests: `tests/flow/test_spine.py::test_validate_and_posting_agree`.", "Tests: none yet.")])
def test_a_broken_invariant_is_noticed(old, new):
    text = read("docs/INVARIANTS.md")
    assert old in text
    assert faults_of_invariants(text.replace(old, new, 1))


# ---- paths and functions ----

def paths_in(text):
    """Everything in backticks or links that is meant as a file or folder of this project."""
    words = set(re.findall(r"`([^`\s]+)`", text))
    words |= {w.split("#")[0] for w in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in w}
    for fenced in re.findall(r"```\w*\n.*?```", text, re.S):
        words -= set(re.findall(r"`([^`\s]+)`", fenced))
    tops = {path.split("/")[0] for path in FILES if "/" in path}
    for word in words:
        word = re.split(r"::|:(?=\w+$)", word)[0]
        if word.startswith(MADE) or not re.fullmatch(r"[\w./*\-]+", word):
            continue
        if word.split("/")[0] in tops and "/" in word or \
                re.search(rf"\.({FILE_ENDINGS.replace(' ', '|')})$", word) or word in tops:
            yield word


def faults_of_paths(document, text):
    base = Path(document).parent
    found = []
    for word in sorted(set(paths_in(text))):
        seen = [str(p).rstrip("/") for p in (Path(word), base / word)]
        if any(s in FILES or s in FOLDERS for s in seen):
            continue
        if "*" in word and any(Path(path).match(word) for path in FILES):
            continue
        if "/" not in word and any(Path(path).name == word for path in FILES):
            continue
        found.append(f"{document}: {word} does not exist")
    return found


# destinations' files and the journal are made at run time; the sender of a rule names its own files
RUNTIME = {"labor-2026-11.csv", "payroll-2026-W47.csv", "ledger.journal"}


@pytest.mark.parametrize("document", NAMED)
def test_every_path_exists(document):
    text = read(document)
    assert [f for f in faults_of_paths(document, text)
            if not any(name in f for name in RUNTIME)] == []


@pytest.mark.parametrize("wrong", ["`orchestrator/core/lives.c`", "[x](docs/TOURS.md)",
                                   "`tests/unit/no_*.c`", "`nowhere.lua`",
                                   "`tests/gone/test_x.py::test_y`"])
def test_a_wrong_path_is_noticed(wrong):
    assert faults_of_paths("README.md", f"see {wrong} for more")
    assert not faults_of_paths("README.md", "see `common/str.h`, `tests/unit/test_*.c`, `tests/sim/`")


def faults_of_functions(text):
    found = []
    for path, name in re.findall(r"`([\w./]+\.(?:c|h|lua)):(\w+)`", text):
        if path not in FILES or not re.search(rf"\b{name}\([^;]*?\)\s*\n?\{{", read(path)):
            found.append(f"{path}:{name}")
    return found


def test_every_function_of_the_tour_is_where_it_says():
    text = read("docs/TOUR.md")
    assert len(re.findall(r"`[\w./]+\.c:\w+`", text)) >= 40
    assert faults_of_functions(text) == []
    assert faults_of_functions("`orchestrator/core/life.c:tg_posting_previous`")
    assert faults_of_functions("`orchestrator/core/engine.c:tg_decide`")


def test_every_struct_of_the_tour_is_in_its_file():
    rows = [cells(line) for line in section(read("docs/TOUR.md"), "Structs first").splitlines()
            if line.startswith("| `")]
    assert len(rows) >= 15
    for row in rows:
        text = read(row[1].strip("`"))
        for name in re.findall(r"`(\w+)`", row[0]):
            plain = name.removesuffix("_t")
            assert re.search(rf"^struct {name} \{{|^}} {name};|^struct {plain}_s \{{", text, re.M), name


def test_the_ranks_of_the_tour_are_those_of_the_check():
    source = read("tests/lint/layers.py")
    ranks = {name: int(n) for name, n in
             re.findall(r'"(\w+)": (\d+)', re.search(r"RANK = \{.*?\}", source, re.S).group(0))}
    rows = [cells(line) for line in section(read("docs/TOUR.md"), "Folders and ranks").splitlines()]
    documented = {Path(row[1].strip("`")).name: int(row[0]) for row in rows
                  if len(row) == 3 and row[0].isdigit()}
    assert documented == ranks
    folders = {Path(p).parts[1] for p in FILES if p.startswith("orchestrator/")}
    assert folders | {"common"} == set(ranks)


# ---- packages, make, limits ----

def packages_of_script(text):
    """Every group of the script: NAME=( lines ) or NAME=(words)."""
    bodies = re.findall(r"^[a-z0-9]+=\(\n(.*?)^\)", text, re.S | re.M) + \
        re.findall(r"^[a-z0-9]+=\((\S.*)\)$", text, re.M)
    return {word for body in bodies for line in body.splitlines() for word in line.split("#")[0].split()}


def packages_of_docs(text):
    return {name for line in text.splitlines() if line.startswith("| `")
            for name in re.findall(r"`([^`]+)`", cells(line)[0]) if not line.startswith("| npm:")}


def test_every_package_has_its_reason_and_no_other():
    script, docs = read("tests/harness/deps.sh"), read("docs/dependencies.md")
    packages = packages_of_script(script)
    assert len(packages) >= 30
    assert packages_of_docs(docs) == packages
    assert packages_of_script(script.replace(" wrk", " wrk left-pad")) != packages
    assert packages_of_docs(docs.replace("| `zlib1g-dev` |", "| zlib1g-dev |")) != packages


def targets_named(text):
    return set(re.findall(r"`make ([a-z0-9-]+)", text)) | \
        {word for line in re.findall(r"^    make ([a-z0-9 -]+?)(?:\s{2,}.*|\s[A-Z_]+=.*)?$", text, re.M)
         for word in line.split()}


def targets_of_makefile(text):
    return set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", text, re.M))


@pytest.mark.parametrize("document", NAMED + ["CHANGELOG.md"])
def test_every_make_target_exists(document):
    have = targets_of_makefile(read("Makefile"))
    assert {"demo", "test", "build", "help"} <= have
    assert targets_named(read(document)) <= have


def test_make_targets_are_found():
    assert {"demo", "test", "run", "help"} <= targets_named(read("README.md"))
    assert {"deps", "build", "test-fast", "lint", "format"} <= targets_named(read("CONTRIBUTING.md"))
    assert targets_named("`make all` and\n    make deploy   # x\n") == {"all", "deploy"}


def documents():
    return [p for p in sorted(FILES) if p.endswith(".md") and (p.startswith("docs/") or "/" not in p)]


def capitals(text):
    """(limits, environment variables): an assignment or a known word makes it the latter."""
    names = set(re.findall(r"\bTG_[A-Z][A-Z0-9_]+\b", text))
    environment = {n for n in names if re.match(r"TG_(EDGE|FAULT|SIM|ORCHESTRATOR|TEST|KEEP)", n)}
    return names - environment, environment


def test_every_limit_named_in_the_documents_exists():
    have = set(re.findall(r"^#define (TG_\w+)", read("common/limits.h"), re.M))
    seen = set()
    for document in documents():
        limits, _ = capitals(read(document))
        assert limits <= have, document
        seen |= limits
    assert {"TG_INTAKE_BATCH_MAX", "TG_STOP_DEADLINE_MS", "TG_CONTRACT_VERSION"} <= seen
    assert not capitals("at most `TG_HOPES_MAX`")[0] <= have


def test_environment_names_of_the_documents_are_read_somewhere():
    code = "".join(read(p) for p in FILES if p.endswith((".py", ".c", ".sh")) and "test_docs" not in p)
    for document in documents():
        for name in capitals(read(document))[1]:
            assert f'"{name}"' in code, f"{document}: {name}"


# ---- NGINX examples ----

def directives_of_module():
    text = read("ngx_module/ngx_http_tally_module.c")
    return set(re.findall(r'ngx_string\("(tally_\w+)"\),', text))


def directives_used(text):
    return set(re.findall(r"^\s*(tally_\w+)\s", text, re.M))


def nginx_example():
    return re.search(r"```nginx\n(.*?)```", read("README.md"), re.S).group(1)


def test_every_directive_of_the_examples_exists():
    have = directives_of_module()
    assert len(have) >= 15
    for text in (nginx_example(), read("conf/nginx.conf")):
        assert len(directives_used(text)) >= 8
        assert directives_used(text) <= have
    assert not directives_used("    tally_magic on;\n") <= have
    named = set(re.findall(r"`(tally_\w+)", "".join(map(read, NAMED + ["CHANGELOG.md"]))))
    assert named <= have


@pytest.fixture
def example():
    """README's example with its paths replaced by a scratch directory, as a function of the text."""
    directory = stack.scratch("readme")
    sign.Issuer(keys=[sign.Key("ES256", "k1")]).write(directory / "idp.jwks")
    (directory / "webhooks").write_text(f"acme psa {sign.new_secret()}\n")
    for name in ("idp.jwks", "webhooks", "redis-edge"):
        path = directory / name
        if not path.exists():
            path.write_text("a-password\n")
        path.chmod(0o600)

    def check(text):
        text = text.replace("load_module modules/ngx_http_tally_module.so;\n", "", 1)
        text = text.replace("/etc/tallygate/", f"{directory}/")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{stack.free_port()}")
        assert "/etc/" not in text and "load_module" not in text
        return stack.Nginx(directory, text).check()
    yield check
    shutil.rmtree(directory, ignore_errors=True)


def test_the_example_of_the_readme_is_a_valid_configuration(example):
    status, said = example(nginx_example())
    assert status == 0, said
    assert "successful" in said


def test_a_broken_example_is_noticed(example):
    text = nginx_example()
    assert "tally_publish cloudevents;" in text
    status, said = example(text.replace("tally_publish cloudevents;", "tally_publish clouds;"))
    assert status != 0 and "tally_publish" in said


def test_the_example_is_as_long_as_the_readme_says():
    """Twenty lines of configuration, closing braces aside."""
    assert "## nginx.conf in twenty lines" in read("README.md")
    lines = [line for line in nginx_example().splitlines() if line.strip(" }")]
    assert len(lines) <= 20


# ---- figures ----

def test_the_figures_of_the_readme_are_those_of_the_week():
    text = read("README.md")
    sends = week.plan(week.entries())
    assert f"{len(sends)} requests" in text
    assert f"{len(week.entries())} entries" in text
    assert week.PEOPLE == 40 and "a firm of forty" in text
    assert f"Project {week.CLOSED_PROJECT} is closed" in text
