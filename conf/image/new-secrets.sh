#!/bin/sh
# Secrets and keys for a first try of compose.yaml, in DIR; nothing that is there is changed.
#
#   DIR/secrets/redis-edge, redis-orchestrator     passwords of the Redis users
#   DIR/secrets/webhooks                           "acme psa whsec_..." and Jira's, the senders' signing secrets
#   DIR/keys/demo.pem, demo.jwks                   a token issuer of one's own
#
# usage: docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/var/compose:/out" tallygate new-secrets /out
#
# The folders can be entered by their owner alone; the files in them can be read by all, because compose
# mounts each as it is into a container whose user is another.
set -eu

[ $# -eq 1 ] || {
    echo "new-secrets: say the folder" >&2
    exit 64
}
dir=$1
umask 022
mkdir -p "$dir/secrets" "$dir/keys"
chmod 700 "$dir/secrets"

random() {
    head -c 32 /dev/urandom | base64
}

# $1: name; $2: text
keep() {
    if [ ! -e "$dir/secrets/$1" ]; then
        printf '%s\n' "$2" >"$dir/secrets/$1.new"
        mv "$dir/secrets/$1.new" "$dir/secrets/$1"
    fi
}
keep redis-edge "$(random)"
keep redis-orchestrator "$(random)"
keep webhooks "acme psa whsec_$(random)
acme jira text:$(random)"
[ -e "$dir/keys/demo.jwks" ] ||
    tallygate token keys --out "$dir/keys" --name demo --alg ES256 --kid demo-1
echo "new-secrets: ok ($dir)"
