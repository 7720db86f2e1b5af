#!/usr/bin/env bash
# Runs a command in Debian 13, by default .ci/run: what is missing is installed, the whole suite runs, also
# against Valkey, the last line is `N passed, N failed`. The system is a chroot made by debootstrap; it and
# what was built in it are kept for the next time. Of this machine it sees a copy of the tree, /proc of its
# own, six devices, its name servers and the roots it trusts. Mounts and processes live in namespaces of
# their own, so that nothing of them is left however this ends.
#
# usage: debian13.sh DIRECTORY [COMMAND [ARGUMENT...]]    DIRECTORY: where the system is kept
# Environment variables whose names start with TG_ are handed on.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
me=test-debian13
roots=/etc/ssl/of-the-host.crt
# shellcheck source=tests/harness/debian.sh
. "$here/tests/harness/debian.sh"

# The tree as git sees it, not yet committed files too, over what was copied last time. Whatever is new
# or differs gets the present time, so that make in there sees it, older versions too.
copy_tree() {
    local new=$system/src.new old=$system/src name
    rm -rf "$new"
    mkdir -p "$new" "$old"
    (cd "$here" && /usr/bin/python3 tests/lint/tracked.py '*' | tar -cf - -T -) | tar -xmf - -C "$new"
    while IFS= read -r -d '' name; do
        if cmp -s "$new/$name" "$old/$name"; then
            touch -r "$old/$name" "$new/$name"
        fi
    done < <(cd "$new" && find . -type f -print0)
    [ ! -e "$old/build" ] || mv "$old/build" "$new/build"
    rm -rf "$old"
    mv "$new" "$old"
}

# In its own mount and process namespaces; process 1 there.
inside() {
    local system=$1 device
    shift
    mount -t proc proc "$system/proc"
    mount -t tmpfs -o mode=755 tmpfs "$system/dev"
    mkdir "$system/dev/shm" "$system/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$system/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$system/dev/pts"
    for device in null zero full random urandom tty; do
        : >"$system/dev/$device"
        mount --bind "/dev/$device" "$system/dev/$device"
    done
    ln -s pts/ptmx "$system/dev/ptmx"
    ln -s /proc/self/fd "$system/dev/fd"
    ln -s /proc/self/fd/0 "$system/dev/stdin"
    ln -s /proc/self/fd/1 "$system/dev/stdout"
    ln -s /proc/self/fd/2 "$system/dev/stderr"
    local environment=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI=true) name
    # npm's registry may be one that this machine alone trusts
    if [ -e "$system$roots" ]; then
        environment+=("npm_config_cafile=$roots")
    fi
    if [ -n "${npm_registry:-}" ]; then
        environment+=("npm_config_registry=$npm_registry")
    fi
    for name in "${!TG_@}"; do
        [ "$name" = TG_TEST_DIR ] || environment+=("$name=${!name}")
    done
    # process 1 ignores what it has no handler for; the command must not be process 1
    chroot "$system" env -i "${environment[@]}" sh -c 'cd /src && "$@"' sh "$@" </dev/null
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
    exit
fi

[ $# -ge 1 ] || fail "usage: debian13.sh DIRECTORY [COMMAND...]"
[ "$(id -u)" = 0 ] || fail "needs root, for debootstrap, chroot and mounts; run: sudo make test-debian13"
"$here/tests/harness/deps.sh" --quiet debian13
mkdir -p "$1"
kept=$(cd "$1" && pwd)
system=$kept/$debian13_suite
shift
[ $# -gt 0 ] || set -- sh -c "tests/harness/deps.sh valkey && bash .ci/run"

exec 9>"$kept/lock"
flock -n 9 || fail "another run uses $kept; wait for it, or give another directory: DEBIAN13=DIRECTORY"
[ -d "$system" ] || debian13_make "$system"
cp /etc/resolv.conf "$system/etc/resolv.conf"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    mkdir -p "$system$(dirname "$roots")"
    cp /etc/ssl/certs/ca-certificates.crt "$system$roots"
fi
npm_registry=$(npm config get registry 2>/dev/null || true)
export npm_registry
find "$system/tmp" -mindepth 1 -delete
copy_tree

# With --kill-child everything in there ends with unshare, and the kernel takes the mounts away.
child=
end() {
    trap '' INT TERM HUP
    [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
    wait 2>/dev/null || true
    echo "$me: ended by a signal; nothing is left mounted" >&2
    exit 130
}
trap end INT TERM HUP
unshare --mount --pid --fork --kill-child --propagation private \
    "$here/tests/harness/debian13.sh" --inside "$system" "$@" 9>&- &
child=$!
status=0
wait "$child" || status=$?
exit "$status"
