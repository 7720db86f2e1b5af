#!/usr/bin/env bash
# Builds the images of the Dockerfile with buildah, in a storage of their own: this machine's engines and
# images are left alone. As root.
#
# usage: image.sh DIRECTORY            DIRECTORY: storage and logs (build/image)
# IMAGE_BASE=NAME      the base image, pulled from its registry; without it a Debian 13 made by debootstrap
# IMAGE_ARCHIVE=FILE   also writes the images into this file, for `docker load` or `podman load`
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
me=image
# shellcheck source=tests/harness/debian.sh
. "$here/tests/harness/debian.sh"

[ $# -eq 1 ] || fail "usage: image.sh DIRECTORY"
[ "$(id -u)" = 0 ] || fail "needs root, for debootstrap and mounts; with an engine at hand: docker build -t tallygate ."
"$here/tests/harness/deps.sh" --quiet image
mkdir -p "$1"
dir=$(cd "$1" && pwd)
exec 9>"$dir/lock"
flock -n 9 || fail "another build uses $dir"

cat >"$dir/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$dir/storage"
runroot = "$dir/run"
END
export CONTAINERS_STORAGE_CONF=$dir/storage.conf

version=$(sed -n 's/^#define TG_VERSION "\(.*\)"$/\1/p' "$here/orchestrator/cmd/cmd.h")
revision=$(git -C "$here" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
if [ -n "$(git -C "$here" status --porcelain 2>/dev/null)" ]; then
    revision=$revision-changed
fi

# The slim variant leaves out what nobody reads in a container; the copyright files stay.
slim() {
    mkdir -p "$1/etc/dpkg/dpkg.cfg.d"
    printf 'path-exclude /usr/share/%s/*\n' doc info locale man >"$1/etc/dpkg/dpkg.cfg.d/slim"
    echo 'path-include /usr/share/doc/*/copyright' >>"$1/etc/dpkg/dpkg.cfg.d/slim"
    find "$1/dev" -mindepth 1 -delete # an engine has its own
    find "$1/usr/share/doc" -mindepth 1 -not -type d -not -name copyright -delete
    rm -rf "$1"/usr/share/{info,locale,man}/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*
}

base=${IMAGE_BASE:-}
if [ -z "$base" ]; then
    base=localhost/debian-trixie:debootstrap
    if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
        debian13_make "$dir/base"
        slim "$dir/base"
        container=$(buildah from scratch)
        tar -C "$dir/base" --numeric-owner -cf "$dir/base.tar" .
        buildah add -q "$container" "$dir/base.tar" / >/dev/null
        buildah config --cmd bash "$container"
        buildah commit -q --rm "$container" "$base" >/dev/null
        rm -rf "$dir/base" "$dir/base.tar"
    fi
fi

# What git sees is the context, and two files that .dockerignore has to keep out (the test looks for them):
# in the tree itself, engines would walk through build/.
context=$dir/context
rm -rf "$context"
mkdir -p "$context"
(cd "$here" && /usr/bin/python3 tests/lint/tracked.py '*' | tar -cf - -T -) | tar -xf - -C "$context"
mkdir -p "$context/var/secrets" "$context/conf/secrets"
echo "not for an image" | tee "$context/var/secrets/canary" >"$context/conf/secrets/canary"

# $1: target; $2: image
build() {
    echo "$me: building $2 (log: $dir/$1.log)"
    buildah bud --isolation chroot --format docker --layers --build-arg "BASE=$base" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --target "$1" -t "$2" \
        -f "$context/Dockerfile" "$context" >"$dir/$1.log" 2>&1 || {
        tail -n 30 "$dir/$1.log" >&2
        fail "the build of $2 failed, the whole log is $dir/$1.log"
    }
}
build tallygate "localhost/tallygate:$version"
build redis "localhost/tallygate-redis:$version"
rm -rf "$context"

size() {
    buildah inspect --type image --format '{{.FromImageID}}' "$1" >/dev/null
    buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' | awk -v name="$1" '$1 == name { print $2 $3 }'
}
if [ -n "${IMAGE_ARCHIVE:-}" ]; then
    rm -f "$IMAGE_ARCHIVE"
    buildah push -q "localhost/tallygate:$version" "docker-archive:$IMAGE_ARCHIVE:tallygate:$version"
fi
echo "$me: ok (localhost/tallygate:$version $(size "localhost/tallygate:$version")," \
    "localhost/tallygate-redis:$version $(size "localhost/tallygate-redis:$version"), of which base" \
    "$(size "$base"); storage: $dir/storage.conf)"
