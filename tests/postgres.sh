#!/usr/bin/env bash
# Runs a command beside a PostgreSQL of its own: tests/postgres.sh cargo test --lib database The cluster lives
# in a temporary folder, listens on a free port of loopback, and ends with the command. Its URL is in
# THALWEG_TEST_POSTGRES. Wants PostgreSQL's programs (apt-get install postgresql); started by root it runs as
# `postgres`.
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || echo /nowhere/initdb)")
if [ ! -x "$bin/initdb" ]; then
    echo "no PostgreSQL here (initdb): its tests will be left out" >&2
    exec "$@"
fi

folder=$(mktemp -d)
as() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$folder"
    as() { runuser -u postgres -- "$@"; }
fi

stop() {
    as "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT

cd "$folder"
as "$bin/initdb" -D "$folder/data" -U thalweg -A trust >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
for _ in 1 2 3 4 5; do
    port=$(shuf -i 20000-60000 -n 1)
    # Nothing of it needs to outlive a crash of the machine.
    if as "$bin/pg_ctl" -D "$folder/data" -l "$folder/data/log" -w \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c max_connections=200 ${POSTGRES_OPTIONS:--c fsync=off}" \
        start >/dev/null; then
        break
    fi
done
cd "$OLDPWD"
export THALWEG_TEST_POSTGRES="postgres://thalweg@127.0.0.1:$port/postgres"
"$@"
