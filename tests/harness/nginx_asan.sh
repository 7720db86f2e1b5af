#!/usr/bin/env bash
# Builds NGINX from Debian's source package with our module inside and both sanitizers on, into
# build/nginx-asan/nginx. NGX_DEBUG_PALLOC=1 makes every pool allocation a malloc: without it
# AddressSanitizer is blind to pools. UBSan covers our files; NGINX's own trip over alignment.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/build/nginx-asan
log=$work/build.log
mkdir -p "$work"

stamp=$(cat "$root"/ngx_module/*.[ch] "$root"/ngx_module/config "$root"/common/*.[ch] \
    "$root"/build/gen/*.h "$0" | sha256sum | cut -c1-64)
if [ -x "$work/nginx" ] && [ "$(cat "$work/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

fetch() {
    # a package list of its own, so that the machine's sources stay as they are
    local apt=$work/apt
    rm -rf "$apt"
    mkdir -p "$apt/parts" "$apt/lists/partial" "$work/src"
    local f
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -e "$f" ] || continue
        grep -q '/debian' "$f" || continue
        sed 's/^Types:.*/Types: deb-src/' "$f" >"$apt/parts/$(basename "$f")"
    done
    if [ -e /etc/apt/sources.list ]; then
        sed -n 's/^deb \(.*debian.*\)/deb-src \1/p' /etc/apt/sources.list >"$apt/parts/main.list"
    fi
    local o=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts"
        -o "Dir::State::Lists=$apt/lists" -o APT::Sandbox::User=root)
    apt-get "${o[@]}" update -q
    local version
    version=$(dpkg-query -W -f '${Version}' nginx)
    cd "$work/src"
    # Only upstream's tarball is used; apt has checked it against the signed index. A mirror in the
    # middle of an update may not have the other files of the newest version yet.
    apt-get "${o[@]}" source -q --download-only "nginx=$version" ||
        apt-get "${o[@]}" source -q --download-only nginx ||
        echo "nginx-asan: not every file of the source package could be had"
    tar xf nginx_*.orig.tar.gz
}

said() {
    tail -n 30 "$log" >&2
    echo "nginx-asan: build failed, the whole log is $log" >&2
}
trap said ERR
set -E

{
    ls -d "$work"/src/nginx-*/ >/dev/null 2>&1 || fetch
    cd "$work"/src/nginx-*/
    [ -x configure ] || ln -sf auto/configure configure
    flags="-O1 -g -fsanitize=address -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 -DNGX_HAVE_ADDRESS_SANITIZER=1"
    ./configure --prefix="$work" --builddir="$work/obj" --with-debug --with-http_v2_module \
        --with-http_realip_module --with-http_auth_request_module --with-threads --with-compat \
        --without-http_gzip_module --without-http_uwsgi_module --without-http_scgi_module \
        --without-http_fastcgi_module --without-http_memcached_module \
        --with-cc-opt="$flags" --with-ld-opt="-fsanitize=address,undefined" \
        --add-module="$root/ngx_module"
    # our own objects get UBSan too: the rules whose target is under addon/
    awk '/^[^\t].*:/ { ours = ($0 ~ /\/addon\//) }
         ours { sub(/\$\(CC\) -c/, "$(CC) -fsanitize=undefined -fno-sanitize-recover=undefined -c") }
         { print }' "$work/obj/Makefile" >"$work/obj/Makefile.ubsan"
    mv "$work/obj/Makefile.ubsan" "$work/obj/Makefile"
    make -f "$work/obj/Makefile" -j2 binary
} >"$log" 2>&1
trap - ERR
cp "$work/obj/nginx" "$work/nginx"
echo "$stamp" >"$work/stamp"
echo "  asan $work/nginx"
