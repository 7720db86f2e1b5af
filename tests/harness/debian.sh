# shellcheck shell=bash
# For scripts that make a Debian 13: sourced by debian13.sh and image.sh, which set `me`, their name in
# messages.
me=${me:?}

debian13_suite=trixie

fail() {
    echo "$me: $*" >&2
    exit 1
}

# The mirror this machine itself uses; $1: its label. Nothing when it uses none.
debian13_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
        awk -v label="$1" '{ uri = $1; sub(/^[^ ]* /, ""); if ($0 == label) { print uri; exit } }'
}

# $1: a directory that is not there yet; a log beside it
debian13_make() {
    local to=$1 main security proxy
    main=$(debian13_mirror Debian)
    security=$(debian13_mirror Debian-Security)
    proxy=$(apt-config shell p Acquire::http::Proxy 2>/dev/null | sed -n "s/^p='\(.*\)'$/\1/p")
    echo "$me: making Debian 13 (debootstrap)"
    rm -rf "$to.new" "$to"
    [ -z "$proxy" ] || export http_proxy=$proxy
    # without a mirror debootstrap takes its own
    debootstrap --variant=minbase "$debian13_suite" "$to.new" ${main:+"$main"} >"$to.log" 2>&1 || {
        tail -n 20 "$to.log" >&2
        fail "debootstrap failed, its whole log is $to.log"
    }
    if [ -n "$main" ]; then
        {
            echo "deb $main $debian13_suite main"
            echo "deb $main $debian13_suite-updates main"
            [ -z "$security" ] || echo "deb $security $debian13_suite-security main"
        } >"$to.new/etc/apt/sources.list"
    fi
    [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$to.new/etc/apt/apt.conf.d/01proxy"
    echo 'APT::Keep-Downloaded-Packages "false";' >"$to.new/etc/apt/apt.conf.d/02keep"
    mv "$to.new" "$to"
}
