#!/bin/bash
# Builds each fuzz target of this folder with libFuzzer and the sanitizers and runs it.
#   tests/fuzz/run.sh SECONDS          all targets, SECONDS shared between them
#   tests/fuzz/run.sh SECONDS TARGET   one target, e.g. fuzz_jwt
# Finds are kept in build/fuzz/found/; the corpus grows in build/fuzz/corpus/, seeds are in
# tests/fuzz/corpus/.
set -u
cd "$(dirname "$0")/../.." || exit 1

seconds=${1:-60}
only=${2:-}
out=build/fuzz
cc=${FUZZ_CC:-clang}
flags=(-std=gnu11 -g -O1 -D_GNU_SOURCE -I. -Iorchestrator -Wall -Wextra
    -fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined)

if ! command -v "$cc" >/dev/null; then
    echo "fuzz: failed: $cc is not installed, run make deps"
    exit 1
fi
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "fuzz: failed: the first argument is a number of seconds"
    exit 1
fi

targets=()
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    [ "$name" = fuzz_replay_main ] && continue
    [ -n "$only" ] && [ "$only" != "$name" ] && continue
    targets+=("$name")
done
if [ ${#targets[@]} -eq 0 ]; then
    echo "fuzz: failed: there is no target $only"
    exit 1
fi

# what of orchestrator/ reads bytes from outside and stands alone
connect=(orchestrator/connect/{http_text,address,answer,csv,buf}.c)
mkdir -p "$out/obj" "$out/found"
echo "fuzz: building ${#targets[@]} targets"
for source in common/*.c "${connect[@]}"; do
    "$cc" "${flags[@]}" -fsanitize=fuzzer-no-link -c "$source" \
        -o "$out/obj/$(basename "$source" .c).o" || exit 1
done
each=$((seconds / ${#targets[@]}))
[ "$each" -lt 1 ] && each=1

failed=()
for name in "${targets[@]}"; do
    "$cc" "${flags[@]}" -fsanitize=fuzzer "tests/fuzz/$name.c" "$out"/obj/*.o \
        -o "$out/$name" -ljansson -ljose -lcurl -lcrypto || exit 1
    mkdir -p "$out/corpus/$name"
    seeds=()
    [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
    if "$out/$name" -max_total_time="$each" -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$out/found/$name." "$out/corpus/$name" "${seeds[@]}" \
        >"$out/$name.log" 2>&1; then
        echo "fuzz: $name: $(grep -E '^#.*DONE' "$out/$name.log" | tail -1)"
    else
        echo "fuzz: $name: FOUND something, see $out/$name.log and $out/found/"
        failed+=("$name")
    fi
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "fuzz: failed: ${failed[*]}"
    exit 1
fi
echo "fuzz: ok (${#targets[@]} targets, ${each} s each)"
