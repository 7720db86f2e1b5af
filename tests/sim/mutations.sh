#!/usr/bin/env bash
# Proves that the simulator's judge can see: each mutation breaks one rule of the shell (never of the
# product), and must be caught; the unbroken shell must pass the very same seeds.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

sim=${1:-build/sim}
runs=${2:-30000}
failed=0

if ! out=$(TG_SIM_MUTATION=0 "$sim" 1 "$runs"); then
    echo "$out" | tail -n 2
    echo "mutations: failed, the unbroken shell does not pass"
    exit 1
fi
caught=0
while read -r number what; do
    out=$(TG_SIM_MUTATION=$number "$sim" 1 "$runs")
    status=$?
    if [ $status -eq 1 ] && found=$(grep -m 1 '^sim: seed' <<<"$out"); then
        echo "caught $number ($what): ${found#sim: }"
        caught=$((caught + 1))
    else
        echo "NOT CAUGHT $number ($what): exit status $status"
        failed=1
    fi
done < <("$sim" mutations)
if [ $failed -ne 0 ] || [ $caught -eq 0 ]; then
    echo "mutations: failed"
    exit 1
fi
echo "mutations: ok, all $caught caught within $runs runs"
