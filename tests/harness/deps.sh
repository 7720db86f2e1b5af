#!/usr/bin/env bash
# Installs the Debian packages that are missing, and starts no service. As root, or by sudo; else it
# prints the one line to run. Every package has its reason in docs/dependencies.md (a test checks).
set -euo pipefail

packages=(
    # build
    gcc g++ make pkg-config dpkg-dev git
    nginx nginx-dev libhiredis-dev libjansson-dev libjose-dev libssl-dev libuv1-dev
    libmicrohttpd-dev libsqlite3-dev liblua5.4-dev libpcre2-dev libyaml-dev libvalijson-dev zlib1g-dev
    # run
    redis-server redis-tools
    # test
    libcmocka-dev python3 python3-pytest python3-hypothesis python3-httpx python3-h2 python3-redis
    python3-cryptography hledger curl openssl procps valgrind
    # lint, bench
    clang clang-format clang-tidy cppcheck lua-check shellcheck wrk libnginx-mod-http-lua lua-cjson
)
quiet=${1:-}

missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
    [ "$quiet" = --quiet ] || echo "deps: ok (nothing to install)"
    exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "deps: these packages are missing; as root, run:"
        echo "  apt-get install --no-install-recommends ${missing[*]}"
        exit 1
    fi
fi

# policy-rc.d with 101 keeps the packages of nginx and redis from starting their services
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    made_policy=yes
fi
cleanup() { [ -z "$made_policy" ] || "${as_root[@]}" rm -f "$policy"; }
trap cleanup EXIT

echo "deps: installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
install_missing() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends "${missing[@]}" >"$log" 2>&1
}
for attempt in 1 2 3; do
    "${as_root[@]}" apt-get update -q >"$log" 2>&1 ||
        echo "deps: apt-get update failed; trying with the lists that are there" >&2
    if install_missing; then
        rm -f "$log"
        echo "deps: ok (${#missing[@]} packages installed)"
        exit 0
    fi
    echo "deps: attempt $attempt failed" >&2
done
tail -n 20 "$log" >&2
echo "deps: failed, the whole log is $log" >&2
exit 1
