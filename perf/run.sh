#!/bin/sh
# Measures thalweg against nginx, HAProxy, a bare TCP tunnel and no proxy at all; see docs/PERFORMANCE.md.
#   perf/run.sh [--quick | --smoke] [--workload NAME] [--repeats N]
set -eu
cd "$(dirname "$0")"

missing=""
for tool in nginx haproxy perf; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ] && command -v apt-get >/dev/null; then
    packages=$(echo "$missing" | sed 's/perf/linux-perf/')
    # Without them their rows are left out. Debian starts both as services, which would only be in the way.
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $packages >/dev/null && systemctl stop nginx haproxy 2>/dev/null || true
fi
[ -n "${THALWEG_NO_BUILD:-}" ] || cargo build --release --quiet --workspace
exec python3 -m bench "$@"
