"""Prints compile_commands.json: arguments are the C command, the C++ command, the command for the NGINX
module, and the sources."""
import json
import os
import sys

cc, cxx, ngx, *sources = sys.argv[1:]


def command(source):
    if source.startswith("ngx_module/"):
        return ngx
    return cxx if source.endswith(".cc") else cc


print(json.dumps([{"directory": os.getcwd(), "file": s, "command": f"{command(s)} -c {s}"}
                  for s in sources], indent=1))
