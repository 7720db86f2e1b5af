#!/usr/bin/env bash
# Formatting, static analysis, length of files and functions, layering, banned functions.
# Each check prints its findings; the last line is the result.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

failed=0
run() {
    local name=$1
    shift
    local out
    if out=$("$@" 2>&1); then
        echo "  lint $name: ok"
    else
        echo "$out" | head -n 60
        echo "  lint $name: failed"
        failed=1
    fi
}

tracked() { /usr/bin/python3 tests/lint/tracked.py "$@"; }
mapfile -t ours < <(tracked 'common/*.[ch]' 'orchestrator/*.[ch]' 'tests/unit/*.[ch]' \
    'tests/sim/*.[ch]' 'tests/fuzz/*.[ch]')
mapfile -t sources < <(tracked 'common/*.c' 'orchestrator/*.c')
mapfile -t scripts < <(tracked '*.sh' .ci/run)

clang_warnings() {
    local flags
    mapfile -t flags < <(pkg-config --cflags jansson libuv libmicrohttpd sqlite3 lua5.4 hiredis |
        tr ' ' '\n' | grep -v '^$')
    printf '%s\n' "${sources[@]}" | xargs -P 2 -n 8 clang -std=gnu11 -fsyntax-only -Wall -Wextra \
        -Wshadow -Wvla -Wconversion -Wstrict-prototypes -Werror -D_GNU_SOURCE \
        -I. -Iorchestrator -Ibuild/gen "${flags[@]}"
}

tidy() {
    [ -f compile_commands.json ] || make -s compile_commands.json || return 1
    local out status
    out=$(printf '%s\n' "${sources[@]}" | xargs -P 2 -n 6 clang-tidy -p . --quiet \
        --warnings-as-errors='*' 2>&1)
    status=$?
    [ $status -eq 0 ] || echo "$out" | grep -E 'error|warning:' | head -n 40
    return $status
}

run format clang-format --dry-run -Werror "${ours[@]}"
run clang-warnings clang_warnings
run cppcheck cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability \
    --inline-suppr --suppress=missingIncludeSystem --suppress=checkersReport \
    --suppress=unknownMacro -j 2 -I . -I orchestrator common orchestrator
run clang-tidy tidy
run luacheck luacheck -q lua_rules
run shellcheck shellcheck --severity=warning "${scripts[@]}"
run sizes /usr/bin/python3 tests/lint/sizes.py
run layers /usr/bin/python3 tests/lint/layers.py

if [ $failed -eq 0 ]; then
    echo "lint: ok"
else
    echo "lint: failed"
fi
exit $failed
