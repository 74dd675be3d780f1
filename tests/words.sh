#!/usr/bin/env bash
# Counts words in the comments of src/ (lines that begin with //, /// or //!): "what", and the pronouns who,
# whom, whose, nobody, somebody and told together, each per thousand words. Wanted: under 1 each.
#
#   tests/words.sh [--rooms] [--lines] [--limits] [FOLDER]
#
# --rooms   a line per folder below FOLDER too     --lines   also prints the comments that hold such a word
# --limits  fails when a figure of all comments is 1 or more
set -euo pipefail

rooms=0 lines=0 limits=0 folder=$(dirname "$0")/../src
for argument in "$@"; do
    case $argument in
    --rooms) rooms=1 ;;
    --lines) lines=1 ;;
    --limits) limits=1 ;;
    -*) echo "unknown: $argument" >&2 && exit 2 ;;
    *) folder=$argument ;;
    esac
done
cd "$folder"

find . -name '*.rs' | sed 's|^\./||' | LC_ALL=C sort | tr '\n' '\0' | xargs -0 awk -v rooms="$rooms" -v lines="$lines" -v limits="$limits" '
    FNR == 1 { room = FILENAME; sub(/\/.*/, "", room); sub(/\.rs$/, "", room); if (!(room in words)) order[++count] = room; words[room] += 0 }
    /^[ \t]*\/\// {
        text = tolower($0)
        gsub(/[^a-z0-9_]+/, " ", text)
        amount = split(text, each, " ")
        bad = 0
        for (i = 1; i <= amount; i++) {
            words[room]++
            if (each[i] == "what") { whats[room]++; bad = 1 }
            if (each[i] ~ /^(who|whom|whose|nobody|somebody|told)$/) { pronouns[room]++; bad = 1 }
        }
        if (bad && lines) { shown = $0; sub(/^[ \t]+/, "", shown); printf "%s:%d: %s\n", FILENAME, FNR, shown }
    }
    function row(name, words, whats, pronouns) {
        printf "%-12s %8d %8.1f %8.1f\n", name, words, words ? 1000 * whats / words : 0, words ? 1000 * pronouns / words : 0
    }
    END {
        printf "%-12s %8s %8s %8s   per thousand words of comment\n", "", "words", "what", "who ..."
        for (i = 1; i <= count; i++) {
            room = order[i]
            if (rooms) row(room, words[room], whats[room], pronouns[room])
            all += words[room]; what += whats[room]; who += pronouns[room]
        }
        row("all", all, what, who)
        if (limits && (1000 * what >= all || 1000 * who >= all)) { print "too many"; exit 1 }
    }'
