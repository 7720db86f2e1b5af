#!/usr/bin/env bash
# Installs what is missing, and starts no service: Debian packages (as root, or by sudo; else it prints the
# one line to run) and, for the test suite, one npm package into build/idp. Every package has its reason
# in docs/dependencies.md (a test checks).
#
# usage: deps.sh [--quiet] [GROUP...]
# Groups: build base tryton idp, which are what no named group means; debian13 valkey image bench.
set -euo pipefail
cd "$(dirname "$0")/../.."

# also what the builder stage of the Dockerfile installs
build=(
    gcc g++ make pkg-config dpkg-dev git
    nginx nginx-dev libhiredis-dev libjansson-dev libjose-dev libssl-dev libuv1-dev
    libmicrohttpd-dev libsqlite3-dev liblua5.4-dev libpcre2-dev libyaml-dev libvalijson-dev zlib1g-dev
    libcurl4-openssl-dev ca-certificates
)
base=(
    # run
    redis-server redis-tools
    # test
    libcmocka-dev python3 python3-pytest python3-hypothesis python3-httpx python3-h2 python3-redis
    python3-cryptography hledger curl openssl procps valgrind zsh groff-base
    # lint, bench
    clang clang-format clang-tidy cppcheck lua-check shellcheck wrk libnginx-mod-http-lua lua-cjson
)
# a real ERP with its own database, for the end-to-end tests
tryton=(
    tryton-server tryton-proteus tryton-modules-company tryton-modules-timesheet
    tryton-modules-timesheet-cost tryton-modules-project tryton-modules-project-revenue
    tryton-modules-project-invoice tryton-modules-account tryton-modules-account-invoice
    gunicorn postgresql python3-psycopg2
)
# a real authorization server runs on Node; any node from 18 on will do
idp=(
    nodejs npm
)
# only for `make test-debian13`
debian13=(debootstrap)
# only on Debian 13, and there by `make test-debian13`: 12 has none
valkey=(valkey-server)
# only for `make image` and `make test-image`
image=(buildah podman runc debootstrap python3-yaml binutils)
# only for the rivals of `make bench-pipeline`: headers to build an npm package, unless node brought its own
bench=(libnode-dev python3-yaml)

quiet=
groups=()
for word in "$@"; do
    case $word in
        --quiet) quiet=yes ;;
        build | base | tryton | idp | debian13 | valkey | image | bench) groups+=("$word") ;;
        *) echo "deps: unknown group $word; there are: build base tryton idp debian13 valkey image bench" >&2; exit 2 ;;
    esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build base tryton idp)

node_is_there() {
    command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 18 ]
}

# the authorization server's own npm packages, exactly as its lock file says; again when that changes
npm_install() {
    local from=tests/harness/idp to=build/idp
    [ -e "$to/installed" ] && cmp -s "$from/package-lock.json" "$to/installed" && return 0
    echo "deps: npm ci in $to"
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to/"
    local attempt
    for attempt in 1 2 3; do
        if npm ci --prefix "$to" --omit=dev --ignore-scripts --no-audit --no-fund \
            --loglevel=error >"$to/npm.log" 2>&1; then
            cp "$from/package-lock.json" "$to/installed"
            return 0
        fi
        echo "deps: npm ci, attempt $attempt failed" >&2
    done
    tail -n 20 "$to/npm.log" >&2
    echo "deps: failed, the whole log is $to/npm.log" >&2
    return 1
}

ok() {
    case " ${groups[*]} " in *" idp "*) npm_install || exit 1 ;; esac
    [ -n "$quiet" ] && [ "$1" = "nothing to install" ] || echo "deps: ok ($1)"
    exit 0
}

wanted=()
for group in "${groups[@]}"; do
    case $group in
        build) wanted+=("${build[@]}") ;;
        base) wanted+=("${base[@]}") ;;
        tryton) wanted+=("${tryton[@]}") ;;
        idp) node_is_there || wanted+=("${idp[@]}") ;;
        debian13) wanted+=("${debian13[@]}") ;;
        valkey) wanted+=("${valkey[@]}") ;;
        image) wanted+=("${image[@]}") ;;
        bench)
            node_is_there || wanted+=("${idp[@]}")
            for p in "${bench[@]}"; do
                [ "$p" = libnode-dev ] && [ -e /usr/include/node/node.h ] || wanted+=("$p")
            done
            ;;
    esac
done
missing=()
for p in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || ok "nothing to install"

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
# the tests make PostgreSQL clusters of their own: no main cluster on a machine that had no PostgreSQL
clusters=/etc/postgresql-common/createcluster.d
if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e /usr/share/postgresql-common ]; then
    "${as_root[@]}" mkdir -p "$clusters"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$clusters/tallygate.conf" >/dev/null
fi

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
        ok "${#missing[@]} packages installed"
    fi
    echo "deps: attempt $attempt failed" >&2
done
tail -n 20 "$log" >&2
echo "deps: failed, the whole log is $log" >&2
exit 1
