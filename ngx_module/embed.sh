#!/bin/sh
# Writes NAME.lua as the C array tg_NAME_lua, so that a program carries the script inside.
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

name="tg_$(basename "$1" .lua)_lua"
mkdir -p "$(dirname "$2")"
{
    echo "/* Made from $(basename "$1") by embed.sh; do not edit. */"
    echo
    echo "static const unsigned char ${name}[] = {"
    od -An -v -tu1 "$1" | awk '{
        line = "   "
        for (i = 1; i <= NF; i++) {
            line = line " " $i ","
        }
        print line
    }'
    echo "};"
    echo
    echo "static const unsigned long ${name}_len = sizeof($name);"
} >"$2.tmp"
mv "$2.tmp" "$2"
