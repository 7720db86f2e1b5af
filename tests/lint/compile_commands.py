"""Prints compile_commands.json: arguments are the C command, the C++ command, and the sources."""
import json
import os
import sys

cc, cxx, *sources = sys.argv[1:]
print(json.dumps([
    {"directory": os.getcwd(), "file": s,
     "command": f"{cxx if s.endswith('.cc') else cc} -c {s}"} for s in sources], indent=1))
