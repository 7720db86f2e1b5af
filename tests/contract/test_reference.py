"""docs/reference says what the source says: directives, variables, problems, metrics."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "ngx_module"
REFERENCE = ROOT / "docs/reference"
CONTEXTS = {"NGX_HTTP_MAIN_CONF": "http", "NGX_HTTP_SRV_CONF": "server",
            "NGX_HTTP_LOC_CONF": "location"}


def read(path):
    return path.read_text(encoding="utf-8")


def joined(path):
    """C text with continued lines and adjacent string literals put together."""
    text = read(path).replace("\\\n", " ")
    return re.sub(r'"\s*\n\s*"', "", text)


def table_rows(text):
    """Cells of every row of every Markdown table; the \\| of a cell stays inside it."""
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"^\|[-| ]+\|$", line):
            yield [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]


def directives_of_source():
    text = read(MODULE / "ngx_http_tally_module.c")
    groups = dict(re.findall(r"#define (NGX_HTTP_TALLY_\w+)\s*\\\n\s*(\S+)", text))
    body = re.search(r"ngx_command_t\s+ngx_http_tally_commands\[\] = \{(.*?)ngx_null_command", text,
                     re.S).group(1)
    found = {}
    for name, flags in re.findall(r'ngx_string\("(\w+)"\),\s*([A-Z0-9_|\s]+?),', body):
        for group, meaning in groups.items():
            flags = flags.replace(group, meaning)
        found[name] = [CONTEXTS[f] for f in CONTEXTS if f in flags.split("|")]
    return found


def parameters_of_source(directive):
    """The NAME= words that the directive's setter knows."""
    for path in sorted(MODULE.glob("ngx_http_tally_conf*.c")):
        text = read(path)
        setter = re.search(rf"^ngx_http_{directive}\(ngx_conf_t.*?^}}", text, re.S | re.M)
        if setter:
            return re.findall(r'ngx_http_tally_param\("(\w+=)"\)', setter.group(0))
    return []


def directives_of_docs():
    text = read(REFERENCE / "directives.md")
    return {m.group(1): m.group(2) for m in
            re.finditer(r"^### (tally_\w+)\n(.*?)(?=^##|\Z)", text, re.S | re.M)}


def test_the_tables_are_found():
    assert len(directives_of_source()) >= 15
    assert len(problems_of_source()) >= 20
    assert len(metrics_of_source()) >= 10
    assert len(variables_of_source()) >= 12


def test_every_directive_is_described_once_and_no_other():
    text = read(REFERENCE / "directives.md")
    names = re.findall(r"^### (\S+)$", text, re.M)
    assert sorted(names) == sorted(directives_of_source())


@pytest.mark.parametrize("name", sorted(directives_of_source()))
def test_a_directive_has_syntax_default_context_and_its_parameters(name):
    section = directives_of_docs()[name]
    rows = {}
    for row in table_rows(section):
        if len(row) == 2:
            rows[row[0]] = rows.get(row[0], "") + " " + row[1]
    for key in ("Syntax", "Default", "Context"):
        assert rows.get(key, "").strip(), f"{name} says nothing of {key}"
    assert f"`{name}" in rows["Syntax"]
    context = re.findall(r"\b(http|server|location)\b", rows["Context"].split(";")[0])
    assert context == directives_of_source()[name]
    shown = rows["Syntax"] + rows.get("", "")
    for parameter in parameters_of_source(name):
        assert parameter in shown, f"{name}: {parameter} is not in its syntax"
    for parameter in re.findall(r"[\[ ](\w+=)", shown):
        if name != "tally_failure":
            assert parameter in parameters_of_source(name), f"{name} does not know {parameter}"


def variables_of_source():
    text = read(MODULE / "ngx_http_tally_vars.c")
    body = re.search(r"ngx_http_tally_vars\[\] = \{(.*?)ngx_http_null_variable", text, re.S).group(1)
    names = re.findall(r'ngx_string\("(\w+)"\)', body)
    return ["$" + n + ("NAME" if n.endswith("_") else "") for n in names]


def test_every_variable_is_described_once_and_no_other():
    rows = [r[0].strip("`") for r in table_rows(read(REFERENCE / "variables.md"))]
    assert sorted(r for r in rows if r.startswith("$")) == sorted(variables_of_source())


def problems_of_source():
    text = joined(ROOT / "common/problem.h")
    return re.findall(r'X\([A-Z_]+,\s*"(\w+)",\s*(\d+),\s*"([^"]*)"\)', text)


def test_every_problem_is_described_once_with_its_status_and_title():
    rows = [tuple([r[0].strip("`"), r[1], r[2]]) for r in table_rows(read(REFERENCE / "problems.md"))
            if len(r) == 4 and r[0].startswith("`")]
    assert rows == problems_of_source()


def metrics_of_source():
    """name -> (help, {label=value}), in the order they are printed."""
    table = re.search(r"#define NGX_HTTP_TALLY_METRIC_TABLE\(X\)(.*?)\n\n",
                      read(MODULE / "ngx_http_tally.h").replace("\\\n", "\n"), re.S).group(1)
    found = {}
    for name, label, text in re.findall(
            r'X\(\w+,\s*"(\w+)",\s*"((?:[^"\\]|\\.)*)",\s*"([^"]*)"\)', table):
        value = re.findall(r'\\"(\w+)\\"', label)
        key = re.findall(r"^(\w+)=", label)
        entry = found.setdefault(name, (text, set()))
        assert entry[0] == text, f"{name} has two help texts"
        entry[1].update(key + value)
    metrics = joined(MODULE / "ngx_http_tally_metrics.c")
    name = re.search(r'name = "(tallygate_\w+)";', metrics).group(1)
    text = re.search(r"ngx_http_tally_metrics_head\(p, last, name,\s*\"([^\"]+)\"\)", metrics).group(1)
    found[name] = (text, {"code"})
    return found


def test_every_metric_is_described_once_with_its_labels():
    rows = {r[0].strip("`"): r for r in table_rows(read(REFERENCE / "directives.md"))
            if r[0].startswith("`tallygate_")}
    source = metrics_of_source()
    assert sorted(rows) == sorted(source)
    for name, (text, labels) in source.items():
        assert rows[name][2] == text
        assert set(re.findall(r"`(\w+)`", rows[name][1])) == labels, name
