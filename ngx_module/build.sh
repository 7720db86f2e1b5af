#!/usr/bin/env bash
# Builds the dynamic module against Debian's nginx-dev, out of tree (nothing is written to
# /usr/share/nginx). Usage: ngx_module/build.sh OUTPUT.so
set -euo pipefail

out=$1
root=$(cd "$(dirname "$0")/.." && pwd)
src=${NGINX_SRC:-/usr/share/nginx/src}
builddir=$root/build/ngx
log=$root/build/ngx-configure.log

[ -f "$src/conf_flags" ] || {
    echo "module: $src/conf_flags is missing; install nginx-dev (make deps)" >&2
    exit 1
}
mkdir -p "$builddir"
echo "  ngx  configure"
NGX_CONF_FLAGS=()
# shellcheck source=/dev/null
. "$src/conf_flags"
cd "$src"
./configure "${NGX_CONF_FLAGS[@]}" \
    --with-cc-opt="$(dpkg-buildflags --get CFLAGS) -fPIC $(dpkg-buildflags --get CPPFLAGS)" \
    --with-ld-opt="$(dpkg-buildflags --get LDFLAGS) -fPIC" \
    --builddir="$builddir" --add-dynamic-module="$root/ngx_module" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    exit 1
}
echo "  ngx  make"
make -s -f "$builddir/Makefile" -j2 modules >"$log" 2>&1 || {
    grep -E 'error|warning' "$log" | head -n 40 >&2 || tail -n 40 "$log" >&2
    exit 1
}
cd "$root"
# renamed into place: a worker that runs has the old file mapped, and would crash if it were written over
cp "$builddir/ngx_http_tally_module.so" "$out.new"
extra=$(nm -D --defined-only "$out.new" | awk '{print $3}' |
    grep -vE '^(ngx_modules|ngx_module_names|ngx_module_order)$' || true)
if [ -n "$extra" ]; then
    echo "module: exports more than it may: $extra" >&2
    rm -f "$out.new"
    exit 1
fi
mv -f "$out.new" "$out"
echo "  ngx  $out"
