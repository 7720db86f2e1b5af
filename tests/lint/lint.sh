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
mapfile -t tests < <(tracked 'tests/unit/*.c' 'tests/sim/*.c' 'tests/fuzz/*.c')
mapfile -t cxx < <(tracked 'orchestrator/*.cc')
mapfile -t module < <(tracked 'ngx_module/*.c')
mapfile -t scripts < <(tracked '*.sh' .ci/run)

clang_warnings() {
    local flags
    mapfile -t flags < <(pkg-config --cflags jansson libuv libmicrohttpd sqlite3 lua5.4 hiredis libcurl |
        tr ' ' '\n' | grep -v '^$')
    printf '%s\n' "${sources[@]}" "${tests[@]}" | xargs -P 2 -n 8 clang -std=gnu11 -fsyntax-only \
        -Wall -Wextra -Wshadow -Wvla -Wconversion -Wstrict-prototypes -Werror -D_GNU_SOURCE \
        -I. -Iorchestrator -Ibuild/gen -Itests/unit -Itests/sim -Itests/fuzz "${flags[@]}" || return 1
    clang++ -std=c++17 -fsyntax-only -Wall -Wextra -Wshadow -Werror -I. -Iorchestrator \
        -Ibuild/gen "${flags[@]}" "${cxx[@]}"
}

# the module with both compilers; NGINX's flags alone are milder than ours
module_warnings() {
    local flags compiler
    read -r -a flags < <(make -s print-ngx-flags)
    for compiler in gcc clang; do
        printf '%s\n' "${module[@]}" | xargs -P 2 -n 8 "$compiler" -fsyntax-only -Werror \
            "${flags[@]}" || return 1
    done
}

# $1: checks to take away; the rest: files
tidy() {
    local checks=$1 out status
    shift
    [ -f compile_commands.json ] || make -s compile_commands.json || return 1
    out=$(printf '%s\n' "$@" | xargs -P 2 -n 6 clang-tidy -p . --quiet --checks="$checks" \
        --warnings-as-errors='*' 2>&1)
    status=$?
    [ $status -eq 0 ] || echo "$out" | grep -E 'error|warning:' | head -n 40
    return $status
}

# the form is that of Debian 12's clang-format; others would have a few places otherwise
form_of=14
if [[ $(clang-format --version) =~ version\ $form_of\. ]]; then
    run format clang-format --dry-run -Werror "${ours[@]}"
else
    echo "  lint format: skipped: $(clang-format --version), the form is that of version $form_of"
fi
run clang-warnings clang_warnings
run cppcheck cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability \
    --inline-suppr --suppress=missingIncludeSystem --suppress=checkersReport \
    --suppress=unknownMacro --suppress=normalCheckLevelMaxBranches -j 2 -I . -I orchestrator common orchestrator \
    ngx_module
run module-warnings module_warnings
run clang-tidy tidy '' "${sources[@]}"
# handlers of NGINX have parameters they need not use; its style has no parentheses in such macros
run module-tidy tidy '-misc-unused-parameters,-bugprone-macro-parentheses' "${module[@]}"
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
