#!/bin/sh
# Instructions per call of the wire room's hot code, counted by callgrind: the difference of two runs, so that start-up
# does not count. Repeats to the instruction; needs valgrind.
set -eu
cd "$(dirname "$0")/.."
binary=$(cargo bench -q --bench wire --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/wire-[^"]*\)".*/\1/p' | tail -n 1)

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" --count "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

for case in envelope/1000 envelope/100000 envelope-escapes/1000 envelope-escapes/100000 splice/1000 \
    scan/1 scan/16 scan-committed/1 scan-committed/16 scan-named-committed/1; do
    few=$(count "$case" 100)
    many=$(count "$case" 300)
    printf '%-28s %9d\n' "$case" $(((many - few) / 200))
done
