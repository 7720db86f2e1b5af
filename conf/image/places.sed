# conf/nginx.conf and conf/tallygate.yaml are written for a checkout; these are the places in an image.
# assemble.sh fails when something relative is left.
1s|.*|# From conf/ of the source tree, with the places of the image: docs/reference/deploy.md|
2,3{/^#/d}
s|\.\./build/ngx_http_tally_module.so|/usr/lib/tallygate/ngx_http_tally_module.so|
s|^pid run/nginx.pid;|pid /tmp/nginx.pid;|
s|log/nginx.error.log|/dev/stderr|
s|log/access.log|/dev/stdout|
s|_temp_path tmp/|_temp_path /tmp/|
s|(\.\./)?var/run/|/run/tallygate/|g
s|(\.\./)?var/secrets/|/run/secrets/|g
s|(\.\./)?var/keys/|/etc/tallygate/keys/|g
s|(\.\./)?var/lib/|/var/lib/tallygate/|g
s|(\.\./)?var/out/|/var/lib/tallygate/out/|g
s|(\.\./)?var/checkpoints|/var/lib/tallygate/checkpoints|g
s|listen 127\.0\.0\.1:8080;|listen 8080;|
