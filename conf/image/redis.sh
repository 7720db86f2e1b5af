#!/bin/sh
# The redis image's entrypoint. The users' passwords are read from /run/secrets/redis-edge and
# /run/secrets/redis-orchestrator, one line each; Redis gets their SHA-256.
#
#   serve [REDIS OPTIONS]      e.g. serve --maxmemory 4gb
#   health                     does it answer, and is what it keeps loaded
set -eu

conf=/usr/share/tallygate/conf
acl=/tmp/redis.acl
sock=/run/tallygate/redis.sock

fail() {
    echo "redis: $*" >&2
    exit 78
}

# $1: user; the first line of its secret, as tallygate reads it
secret() {
    file=/run/secrets/redis-$1
    [ -r "$file" ] || fail "$file is not there or cannot be read by user $(id -u); mount the secret there"
    word=$(head -n 1 "$file" | tr -d '\r\n')
    [ -n "$word" ] || fail "$file is empty"
    printf %s "$word"
}

# $1: user
digest() {
    word=$(secret "$1")
    printf %s "$word" | sha256sum | cut -c 1-64
}

case ${1:-} in
    serve)
        shift
        for folder in /tmp /run/tallygate /data; do
            if ! (: >"$folder/.write-test" && rm -f "$folder/.write-test") 2>/dev/null; then
                fail "$folder cannot be written by user $(id -u); mount a volume there that this user owns (/tmp: a tmpfs)"
            fi
        done
        edge=$(digest edge)
        orchestrator=$(digest orchestrator)
        umask 077
        sed -e "s/@EDGE_SHA256@/$edge/" -e "s/@ORCHESTRATOR_SHA256@/$orchestrator/" \
            "$conf/redis.acl.in" >"$acl"
        exec redis-server "$conf/redis.conf" --dir /data --unixsocket "$sock" --aclfile "$acl" "$@"
        ;;
    health)
        REDISCLI_AUTH=$(secret edge)
        export REDISCLI_AUTH
        answer=$(redis-cli -s "$sock" --user edge PING 2>&1) || true
        [ "$answer" = PONG ] || fail "$sock: $answer"
        echo "redis: ok"
        ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        fail "say serve or health"
        ;;
esac
