"""docs/reference/rules.md and .luacheckrc name what the sandbox really gives, no more, no less."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "orchestrator/rules"
LIBRARIES = {"math", "string", "table", "re", "decimal"}


def read(path):
    return path.read_text(encoding="utf-8")


def arrays(file, name):
    """First strings of the items of `name[] = {...}`, in C."""
    body = re.search(re.escape(name) + r"\[\] = \{(.*?)\};", read(RULES / file), re.S).group(1)
    return set(re.findall(r'\{"(\w+)"', body) or re.findall(r'"(\w+)"', body))


def sandbox():
    globals_ = arrays("sandbox.c", "functions") | LIBRARIES | {"null"}
    members = {
        "math": arrays("sandbox.c", "kept"),
        "string": arrays("text.c", "ours") | arrays("text.c", "kept"),
        "table": set(re.findall(r'\{"(\w+)", (?:original|sort)\}', read(RULES / "tables.c")))
        | {"concat"},
        "re": arrays("re.c", "functions"),
        "decimal": arrays("decimal_lua.c", "functions"),
    }
    return globals_, members


def global_rows():
    text = read(ROOT / "docs/reference/rules.md").split("## Globals")[1].split("### decimal")[0]
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield re.findall(r"`(\w+)`", cells[0]), re.findall(r"`(\w+)`", cells[1])


def test_the_libraries_are_the_sandbox():
    opened = re.search(r"libraries\[\] = \{(.*?)\};", read(RULES / "sandbox.c"), re.S).group(1)
    assert set(re.findall(r'\{"(\w+)"', opened)) == LIBRARIES


def test_reference_names_every_global():
    globals_, members = sandbox()
    named = [name for names, _ in global_rows() for name in names]
    assert sorted(named) == sorted(globals_)
    for names, words in global_rows():
        if names[0] in members:
            assert set(words) == members[names[0]], names


def test_reference_names_every_method():
    text = read(ROOT / "docs/reference/rules.md")
    assert set(re.findall(r"`d:(\w+)\(", text)) == arrays("decimal_lua.c", "methods")
    assert set(re.findall(r"`master:(\w+)\(", text)) == arrays("master_lua.c", "methods")


def test_luacheck_knows_the_same():
    globals_, members = sandbox()
    text = read(ROOT / ".luacheckrc").split('files["lua_rules/redis"]')[0]
    block = re.search(r"read_globals = \{(.*)\n  \},", text, re.S).group(1)
    fields = dict(re.findall(r"(\w+) = \{fields = \{(.*?)\}\}", block, re.S))
    plain = set(re.findall(r'"(\w+)"', re.sub(r"fields = \{.*?\}", "", block, flags=re.S)))
    assert plain | set(fields) == globals_
    for name, words in fields.items():
        assert set(re.findall(r'"(\w+)"', words)) == members[name], name


def test_limits_are_true():
    limits = read(ROOT / "common/limits.h").replace("\\\n", " ")
    said = read(ROOT / "docs/reference/rules.md").split("## Limits")[1]

    def value(name):
        expression = re.search(rf"#define {name}\s+(\([^)]*\)|\S+)", limits).group(1)
        result = 1
        for factor in expression.strip("()").split("*"):
            result *= int(factor)
        return result

    assert f"{value('TG_LUA_INSTRUCTIONS_MAX'):,} instructions" in said
    assert f"{value('TG_LUA_MEMORY_MAX_BYTES') >> 20} MB, " in said
    assert f"{value('TG_LUA_CPU_MAX_MS') // 1000} s of CPU" in said
    assert f"table: {value('TG_LUA_BLOCK_MAX_BYTES') >> 20} MB" in said
    assert f"rep`: {value('TG_LUA_STRING_MAX_BYTES') >> 20} MB" in said
    assert f"{value('TG_EVENT_JSON_DEPTH_MAX')} levels" in said
    assert f"{value('TG_LUA_JSON_NODES_MAX'):,} values" in said
    assert f"patterns of {value('TG_RE_PATTERN_MAX_BYTES') >> 10} KB" in said
    assert f"texts of {value('TG_RE_SUBJECT_MAX_BYTES') >> 10} KB" in said


def test_reference_names_every_option_of_http_json():
    script = read(ROOT / "lua_rules/connectors/http-json.lua")
    listed = re.search(r"OPTIONS = \{(.*?)\}", script, re.S).group(1)
    options = set(re.findall(r'"(\w+)"', listed))
    assert len(options) > 15
    table = read(ROOT / "docs/reference/connectors.md").split("## http-json")[1].split("\n## ")[0]
    named = {name for line in table.splitlines() if line.startswith("| `")
             for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert named == options | {"header.NAME"}


def test_every_connector_of_the_bundle_is_documented():
    text = read(ROOT / "docs/reference/connectors.md")
    for path in (ROOT / "lua_rules/connectors").glob("*.lua"):
        assert f"| `{path.stem}` |" in text, path.name
