#!/usr/bin/python3
"""docs/reference/cli.md as the man page tallygate.1: `docs/man.py VERSION > tallygate.1`.

cli.md is compared with the command table by a test, so the page says what the binary knows. Understood
are headings, paragraphs, code blocks, tables of two columns, and the inline marks ` ** and links.
"""
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "reference/cli.md"


def escaped(text):
    """Text for roff: no character of it is a request, and hyphens stay what they are."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + text if text.startswith(".") else text


def inline(text):
    """`code` and **bold** are bold; a link is its text."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    out = []
    for part in re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text):
        if part.startswith("`"):
            out.append("\\fB" + escaped(part[1:-1]) + "\\fP")
        elif part.startswith("**"):
            out.append("\\fB" + escaped(part[2:-2]) + "\\fP")
        else:
            out.append(escaped(part))
    joined = "".join(out)
    return "\\&" + joined if joined.startswith((".", "'")) else joined


def blocks(text):
    """(kind, lines): code, table, heading, item or paragraph."""
    lines, i = text.splitlines(), 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("```"):
            end = next(k for k in range(i + 1, len(lines)) if lines[k].startswith("```"))
            yield "code", lines[i + 1:end]
            i = end + 1
        elif line.startswith("|"):
            end = i
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            yield "table", lines[i:end]
            i = end
        elif line.startswith("#"):
            yield "heading", [line]
            i += 1
        elif line.strip() == "":
            i += 1
        else:
            end = i + 1
            while end < len(lines) and lines[end].strip() and not re.match(r"[#|]|```|- ", lines[end]):
                end += 1
            yield ("item" if line.startswith("- ") else "paragraph"), lines[i:end]
            i = end


def rows_of(lines):
    rows = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [r for r in rows[1:] if not set("".join(r)) <= set("- ")]


def page(version):
    out = [f'.TH TALLYGATE 1 "" "tallygate {version}" "User Commands"', ".SH NAME",
           "tallygate \\- posts approved business events to ERP and payroll exactly once",
           ".SH SYNOPSIS", "\\fBtallygate\\fP \\fICOMMAND\\fP [arguments]", ".SH DESCRIPTION"]
    for kind, lines in blocks(SOURCE.read_text(encoding="utf-8")):
        if kind == "heading":
            level, title = re.match(r"(#+) (.+)", lines[0]).groups()
            if len(level) > 1:
                out.append((".SH " if len(level) == 2 else ".SS ") + escaped(title).upper()
                           if len(level) == 2 else ".SS " + escaped(title))
        elif kind == "code":
            out += [".PP", ".nf", ".RS"] + [escaped(line) or "\\&" for line in lines] + [".RE", ".fi"]
        elif kind == "table":
            for row in rows_of(lines):
                out += [".TP", inline(row[0]), inline("; ".join(row[1:]))]
        elif kind == "item":
            out += [".IP \\(bu 2", inline(" ".join(line.strip() for line in lines)[2:])]
        else:
            out += [".PP", inline(" ".join(line.strip() for line in lines))]
    out += [".SH FILES", ".TP", "\\fIconf/tallygate.yaml\\fP", "the configuration, unless \\fB\\-c\\fP names another",
            ".SH SEE ALSO", "docs/operating.md, docs/reference/ and docs/runbooks/ of the installation"]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: docs/man.py VERSION")
    sys.stdout.write(page(sys.argv[1]))
