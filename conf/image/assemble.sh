#!/usr/bin/env bash
# In the builder stage of the Dockerfile: lays out what the image gets.
#
#   OUT/root      the files, as they lie in the image, without debugging symbols
#   OUT/symbols   the symbols, under the same names
#   OUT/packages  Debian packages that root/ needs to run, one a line, found by dpkg-shlibdeps
#
# usage: conf/image/assemble.sh OUT       from the root of the tree, after make
set -euo pipefail

out=$1
root=$out/root
share=$root/usr/share/tallygate
rm -rf "$out"
mkdir -p "$out/symbols" "$root/usr/bin" "$root/usr/lib/tallygate" "$root/etc/tallygate/keys" "$share"

# $1: what was built; $2: its place in the image
place() {
    local symbols=$out/symbols$2.debug
    mkdir -p "$(dirname "$symbols")"
    objcopy --only-keep-debug "$1" "$symbols"
    install -m "$3" "$1" "$root$2"
    strip --strip-unneeded "$root$2"
    objcopy --add-gnu-debuglink="$symbols" "$root$2"
}
place build/tallygate /usr/bin/tallygate 755
place build/ngx_http_tally_module.so /usr/lib/tallygate/ngx_http_tally_module.so 644

cp -r lua_rules conf "$share/"
rm -rf "$share/conf/image" "$share/conf/nginx.conf" "$share/conf/tallygate.yaml"
find "$share" -name '*.py' -delete
install -m 755 conf/image/entrypoint.sh "$root/usr/lib/tallygate/entrypoint"
install -m 755 conf/image/new-secrets.sh "$root/usr/lib/tallygate/new-secrets"
install -D -m 644 LICENSE "$root/usr/share/doc/tallygate/copyright"

# The shipped configuration with the image's places; where one has no place, there is no image.
for name in nginx.conf tallygate.yaml; do
    sed -E -f conf/image/places.sed "conf/$name" >"$root/etc/tallygate/$name"
    ln -s "/etc/tallygate/$name" "$share/conf/$name"
done
if grep -nE '(^|[^a-z/])(\.\./)*(var|build)/|[ "](run|log|tmp)/|127\.0\.0\.1:8080' \
    "$root"/etc/tallygate/*.{conf,yaml} | grep -vE '^[^:]*:[0-9]+: *#'; then
    echo "assemble: conf/image/places.sed has no place for the above" >&2
    exit 1
fi
find "$root" -type d -exec chmod 755 {} +
find "$share" "$root/etc" -type f -exec chmod 644 {} +

# dpkg-shlibdeps wants to be in a source package
work=$(mktemp -d)
mkdir "$work/debian"
printf 'Source: tallygate\n\nPackage: tallygate\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info \
    "$root/usr/bin/tallygate" "$root/usr/lib/tallygate/ngx_http_tally_module.so" 2>/dev/null)
rm -rf "$work"
{
    # the module fits the NGINX it was built for
    dpkg-query -W -f '${Package}=${Version}\n' nginx
    # TLS towards ERP and payroll
    echo ca-certificates
    echo "${libraries#shlibs:Depends=}" | tr ',' '\n' | sed -E 's/\|.*//; s/\(.*//; s/ //g'
} | sort -u >"$out/packages"
grep -q '^libc6' "$out/packages" || {
    echo "assemble: the libraries were not found" >&2
    exit 1
}
echo "assemble: ok ($(wc -l <"$out/packages") packages)"
