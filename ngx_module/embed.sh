#!/bin/sh
# Writes a file as a C array, so that the module carries admit.lua inside.
# Usage: ngx_module/embed.sh INPUT OUTPUT   (OUTPUT is usually build/gen/admit_lua.h)
set -eu

[ $# -eq 2 ] || {
    echo "usage: embed.sh INPUT OUTPUT" >&2
    exit 2
}
[ -s "$1" ] || {
    echo "embed: $1 is missing or empty" >&2
    exit 1
}

mkdir -p "$(dirname "$2")"
{
    echo "/* Made from $(basename "$1") by embed.sh; do not edit. */"
    echo
    echo "static const unsigned char tg_admit_lua[] = {"
    od -An -v -tu1 "$1" | awk '{
        line = "   "
        for (i = 1; i <= NF; i++) {
            line = line " " $i ","
        }
        print line
    }'
    echo "};"
    echo
    echo "static const unsigned long tg_admit_lua_len = sizeof(tg_admit_lua);"
} >"$2.tmp"
mv "$2.tmp" "$2"
