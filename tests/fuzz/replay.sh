#!/usr/bin/env bash
# Every kept input through every fuzz target, under the sanitizers, without libFuzzer: what was found
# once stays fixed. The last line is the result.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=build/fuzz-replay
mkdir -p "$out"
flags=(-std=gnu11 -g -O1 -D_GNU_SOURCE -DTG_FUZZ_REPLAY -I. -Iorchestrator -Itests/fuzz -Wall -Wextra
    -fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined)
connect=(orchestrator/connect/{http_text,address,answer,csv,buf}.c)
for source in common/*.c "${connect[@]}" tests/fuzz/fuzz_replay_main.c; do
    object=$out/$(basename "$source" .c).o
    [ "$object" -nt "$source" ] || gcc "${flags[@]}" -c -o "$object" "$source"
done
mapfile -t objects < <(find "$out" -name '*.o' | sort)

targets=0 inputs=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    [ "$name" != fuzz_replay_main ] || continue
    gcc "${flags[@]}" -o "$out/$name" "$source" "${objects[@]}" -ljansson -ljose -lcurl -lcrypto
    mapfile -t files < <(find "tests/fuzz/corpus/${name#fuzz_}" "tests/fuzz/corpus/$name" \
        -type f 2>/dev/null | sort)
    if [ ${#files[@]} -eq 0 ]; then
        echo "fuzz-replay: failed: $name has no corpus"
        exit 1
    fi
    "$out/$name" "${files[@]}" >/dev/null
    targets=$((targets + 1)) inputs=$((inputs + ${#files[@]}))
done
echo "fuzz-replay: ok ($targets targets, $inputs inputs)"
