#!/usr/bin/env bash
# Whole runs of `cargo test` side by side, to find tests that depend on the machine's speed. Arguments: the
# number of loops at once, the runs of each, then arguments of `cargo test`: tests/side_by_side.sh 3 10;
# tests/side_by_side.sh 8 1 --test gateway. Prints a line for each run, with the tests that failed, and ends
# with the counts. The output of each run is in .cache/side_by_side. It is not a part of tests/run.sh, because
# it takes an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

loops=${1:?how many loops} runs=${2:?how many runs each}
shift 2
out=$PWD/.cache/side_by_side
rm -rf "$out"
mkdir -p "$out"
cargo test --locked --no-run --quiet "$@"

one_loop() {
    for run in $(seq "$runs"); do
        local log=$out/$1-$run.log began=$SECONDS result=passed
        timeout 2400 cargo test --locked --no-fail-fast "${@:2}" >"$log" 2>&1 || result=failed
        echo "$result" >>"$out/results"
        echo "run $1-$run: $result in $((SECONDS - began)) s $(grep -aoE '^test .* \.\.\. FAILED$' "$log" | tr '\n' ' ')"
    done
}

for loop in $(seq "$loops"); do
    one_loop "$loop" "$@" &
done
wait
echo "$(grep -c passed "$out/results" || true) runs passed, $(grep -c failed "$out/results" || true) failed"
! grep -q failed "$out/results"
