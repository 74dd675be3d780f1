#!/bin/sh
# Instructions per call of the wire room's hot code, of the choice of a candidate and of translations, counted
# by callgrind: the difference of two runs, so that start-up does not count. Repeats to the instruction; needs
# valgrind.
set -eu
cd "$(dirname "$0")/.."
binary() {
    cargo bench -q --bench "$1" --no-run --message-format=json |
        sed -n "s/.*\"executable\":\"\([^\"]*\/$1-[^\"]*\)\".*/\1/p" | tail -n 1
}

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$1" --count "$2" "$3" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# The difference between 300 and 100 of them.
each() {
    program=$(binary "$1")
    shift
    for case; do
        few=$(count "$program" "$case" 100)
        many=$(count "$program" "$case" 300)
        printf '%-28s %9d\n' "$case" $(((many - few) / 200))
    done
}

each wire envelope/1000 envelope/100000 envelope-escapes/1000 envelope-escapes/100000 envelope-agent/500000 \
    envelope-tokens/1000000 splice/1000 \
    scan/1 scan/16 scan-committed/1 scan-committed/16 scan-named-committed/1
each plan plan/1 plan/3 plan-adaptive/3
for pair in "messages>chat" "responses>chat" "gemini>chat" "chat>messages" "responses>messages" "gemini>messages" \
    "chat>responses" "messages>responses" "gemini>responses"; do
    each translate "event/$pair" "escapes/$pair"
    case $pair in
        gemini*) ;;
        *) each translate "request/$pair" "first-request/$pair" ;;
    esac
done
