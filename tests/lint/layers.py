"""Includes point to lower folders only. The ranks are drawn in docs/TOUR.md."""
import re
import sys

from tracked import tracked

RANK = {"common": 0, "core": 1, "master": 2, "journal": 2, "connect": 2, "rules": 3, "alert": 3, "intake": 4,
        "dispatch": 4, "api": 5, "cmd": 6}
SAME_RANK = {("intake", "dispatch")}  # intake cancels what dispatch holds
INCLUDE = re.compile(r'^#include "([a-z_]+)/')


def folder(path):
    parts = path.split("/")
    return "common" if parts[0] == "common" else parts[1]


def main():
    listed = tracked("common/*", "orchestrator/*")
    findings = []
    for path in (p for p in listed if p.endswith((".c", ".h", ".cc"))):
        here = folder(path)
        with open(path, encoding="utf-8") as f:
            for n, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                there = m.group(1) if m else None
                if there is None or there == here:
                    continue
                if there not in RANK:
                    findings.append(f"{path}:{n}: unknown folder {there}")
                elif RANK[there] >= RANK[here] and (here, there) not in SAME_RANK:
                    findings.append(f"{path}:{n}: {here} must not include {there}")
    print("\n".join(findings))
    return 1 if findings else 0


sys.exit(main())
