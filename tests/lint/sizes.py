"""Length of files and functions, width of lines, banned functions. Exit status 1 with findings."""
import re
import sys

from tracked import tracked

FILE_MAX, FUNCTION_MAX = 800, 75
WIDTH = {"ngx_module/": 80}
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca|system|popen)\s*\(")
HEAD = re.compile(r"^[A-Za-z_].*\(")


def functions(lines):
    """(first line, length) of each function: a `{` in column 0 to its `}` in column 0."""
    start = None
    for n, line in enumerate(lines, 1):
        if line.startswith("{") and start is None:
            start = n
        elif line.startswith("}") and start is not None:
            if line.rstrip() == "}":
                yield start, n - start + 1
            start = None


def main():
    findings = []
    for path in tracked("*.c", "*.h", "*.cc", "*.lua", "*.py", "*.sh"):
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        if len(lines) > FILE_MAX:
            findings.append(f"{path}: {len(lines)} lines, at most {FILE_MAX}")
        if not path.endswith((".c", ".h", ".cc")):
            continue
        width = next((w for p, w in WIDTH.items() if path.startswith(p)), 100)
        for n, line in enumerate(lines, 1):
            if len(line) > width:
                findings.append(f"{path}:{n}: {len(line)} columns, at most {width}")
            if BANNED.search(line) and not line.lstrip().startswith("*"):
                findings.append(f"{path}:{n}: banned function: {line.strip()}")
        for start, length in functions(lines):
            if length > FUNCTION_MAX and not path.startswith("tests/"):
                findings.append(f"{path}:{start}: function of {length} lines, at most {FUNCTION_MAX}")
    print("\n".join(findings))
    return 1 if findings else 0


sys.exit(main())
