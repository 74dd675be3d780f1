#!/bin/sh
# Instructions per event and per request of every proxy, under callgrind; see docs/PERFORMANCE.md.
#   perf/instructions.sh [--leg NAME] [--keep DIRECTORY]
set -eu
cd "$(dirname "$0")"

command -v valgrind >/dev/null || { echo "perf/instructions.sh needs valgrind" >&2; exit 1; }
[ -n "${THALWEG_NO_BUILD:-}" ] || cargo build --release --quiet --workspace
exec python3 -m bench.instructions "$@"
