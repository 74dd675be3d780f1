#!/usr/bin/env bash
# Runs a command beside a PostgreSQL of its own: tests/postgres.sh cargo test --lib database The cluster lives
# in a temporary folder, listens on a free port of loopback, and ends with the command. Its URL is in
# THALWEG_TEST_POSTGRES. Wants PostgreSQL's programs (apt-get install postgresql); started by root it runs as
# `postgres`. A streaming standby of it has its URL in THALWEG_TEST_STANDBY. With PgBouncer installed, one is
# in front of it, with its URL in THALWEG_TEST_PGBOUNCER.
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
    [ ! -e "$folder/pgbouncer.pid" ] || kill "$(cat "$folder/pgbouncer.pid")" 2>/dev/null || true
    as "$bin/pg_ctl" -D "$folder/standby" -m immediate stop >/dev/null 2>&1 || true
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
# Its standby, which follows by streaming.
as "$bin/pg_basebackup" -h 127.0.0.1 -p "$port" -U thalweg -D "$folder/standby" -R -X stream -c fast
for _ in 1 2 3 4 5; do
    standby=$(shuf -i 20000-60000 -n 1)
    if as "$bin/pg_ctl" -D "$folder/standby" -l "$folder/standby/log" -w \
        -o "-p $standby -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c max_connections=200 -c fsync=off" \
        start >/dev/null; then
        export THALWEG_TEST_STANDBY="postgres://thalweg@127.0.0.1:$standby/postgres"
        break
    fi
done
cd "$OLDPWD"
export THALWEG_TEST_POSTGRES="postgres://thalweg@127.0.0.1:$port/postgres"

# PgBouncer in front of it, where it is installed: in transaction mode, with few connections to the server.
pgbouncer=$(PATH=$PATH:/usr/sbin command -v pgbouncer || true)
if [ -n "$pgbouncer" ]; then
    pooler=$(shuf -i 20000-60000 -n 1)
    cat >"$folder/pgbouncer.ini" <<INI
[databases]
* = host=127.0.0.1 port=$port user=thalweg
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooler
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
logfile = $folder/pgbouncer.log
pidfile = $folder/pgbouncer.pid
INI
    chmod a+r "$folder/pgbouncer.ini"
    as "$pgbouncer" -q -d "$folder/pgbouncer.ini" || true
    for _ in $(seq 50); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$pooler") 2>/dev/null; then
            export THALWEG_TEST_PGBOUNCER="postgres://thalweg@127.0.0.1:$pooler/postgres"
            break
        fi
        sleep 0.1
    done
    [ -n "${THALWEG_TEST_PGBOUNCER:-}" ] || { echo "PgBouncer does not start" >&2; exit 1; }
fi
"$@"
