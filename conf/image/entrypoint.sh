#!/bin/sh
# The image's entrypoint: one role a container.
#
#   edge                       NGINX with the module
#   orchestrator               tallygate serve
#   health                     the health check of the role that runs here
#   tallygate COMMAND ...      any command, e.g. tallygate check
#   new-secrets DIR            secrets for a first try
#
# TALLYGATE_NGINX_CONF, TALLYGATE_CONF: other configuration files than those in /etc/tallygate.
# TALLYGATE_EDGE_HEALTH: where the edge is asked for its health, default 127.0.0.1:8080.
set -eu

nginx_conf=${TALLYGATE_NGINX_CONF:-/etc/tallygate/nginx.conf}
conf=${TALLYGATE_CONF:-/etc/tallygate/tallygate.yaml}
edge_health=${TALLYGATE_EDGE_HEALTH:-127.0.0.1:8080}
role_file=/tmp/tallygate.role

fail() {
    echo "tallygate: $*" >&2
    exit 78
}

# $1: a folder; $2: what for; $3: what to do
writable() {
    if ! (: >"$1/.write-test" && rm -f "$1/.write-test") 2>/dev/null; then
        fail "$1 cannot be written by user $(id -u), it is for $2; $3"
    fi
}

readable() {
    [ -r "$1" ] || fail "$1 is not there or cannot be read by user $(id -u); mount the configuration there"
}

start() {
    writable /tmp "temporary files" "mount a tmpfs there"
    writable /run/tallygate "the sockets that the roles share" \
        "mount a volume there, owned by user $(id -u), in every role"
    echo "$1" >"$role_file"
}

role=${1:-}
[ $# -eq 0 ] || shift
case $role in
    edge)
        readable "$nginx_conf"
        start edge
        exec nginx -e stderr -c "$nginx_conf" -g 'daemon off;' "$@"
        ;;
    orchestrator)
        readable "$conf"
        start orchestrator
        writable /var/lib/tallygate "the journal" "mount a volume there, owned by user $(id -u)"
        exec tallygate serve -c "$conf" "$@"
        ;;
    health)
        case $(cat "$role_file" 2>/dev/null) in
            edge) exec tallygate health --at "$edge_health" --path /metrics/edge "$@" ;;
            orchestrator) exec tallygate health -c "$conf" "$@" ;;
            *) fail "no role runs here" ;;
        esac
        ;;
    tallygate) exec tallygate "$@" ;;
    new-secrets) exec /usr/lib/tallygate/new-secrets "$@" ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        [ -n "$role" ] || fail "say which role"
        fail "there is no role $role"
        ;;
esac
