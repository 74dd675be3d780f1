#!/usr/bin/env bash
# The parts of deploy/compose.yaml on one machine, without containers: replicas behind HAProxy, PostgreSQL and
# two Redis, from Debian's packages:
#
#   apt-get install haproxy postgresql redis-server
#   API_KEY=sk-choose-one OPENAI_API_KEY=sk-… deploy/cluster.sh
#   deploy/cluster.sh COMMAND ARGUMENT…
#
# With a command everything ends with it. It finds the balancer in THALWEG_URL, the replicas in REPLICAS ("URL
# PID" each), the keys in API_KEY and THALWEG_ADMIN_KEY, the rest in REDIS_LIMITS_URL, REDIS_CACHE_URL,
# DATABASE_URL and, as process ids, REDIS_LIMITS_PID and REDIS_CACHE_PID; CONFIG is the replicas' copy of
# deploy/config.json, which they read again when it changes. THALWEG names the program, if it is not
# target/release/thalweg; COUNT is the number of replicas, 2 without it; with DATABASE_URL set, no PostgreSQL
# is started. Everything is in a temporary folder and listens on loopback or a socket there.
set -euo pipefail
cd "$(dirname "$0")/.."
# HAProxy is there on Debian.
PATH=$PATH:/usr/sbin:/sbin

program=$(realpath "${THALWEG:-target/release/thalweg}")
export API_KEY=${API_KEY:-sk-local} THALWEG_ADMIN_KEY=${THALWEG_ADMIN_KEY:-sk-local-admin}
folder=$(mktemp -d)
chmod a+x "$folder"
pids=()
postgres=
stop() {
    local status=$?
    trap '' INT TERM
    # In reverse order: the command, the balancer, the replicas, and what they use.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    [ -z "$postgres" ] || as "$postgres/pg_ctl" -D "$folder/postgres/data" -m immediate stop >/dev/null || true
    [ "$status" -eq 0 ] || tail -n 20 "$folder"/{replica,balancer}*.log >&2 || true
    rm -rf "$folder"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Tries a command for ten seconds.
until_good() {
    for _ in $(seq 100); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "does not start: $*" >&2
    return 1
}

as() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    as() { runuser -u postgres -- "$@"; }
fi
if [ -z "${DATABASE_URL:-}" ]; then
    bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
    mkdir "$folder/postgres"
    [ "$(id -u)" -ne 0 ] || chown postgres "$folder/postgres"
    (
        cd "$folder/postgres"
        as "$bin/initdb" -D "$folder/postgres/data" -U thalweg -A trust >"$folder/initdb.log"
        as "$bin/pg_ctl" -D "$folder/postgres/data" -l "$folder/postgres/log" -w start >/dev/null \
            -o "-c listen_addresses= -c unix_socket_directories=$folder/postgres -c max_connections=200 ${POSTGRES_OPTIONS:-}"
    )
    postgres=$bin
    export DATABASE_URL="postgres://thalweg@localhost/postgres?host=$folder/postgres"
fi

redis() {
    local name=$1
    shift
    redis-server --port 0 --unixsocket "$folder/$name.sock" --unixsocketperm 700 --save "" --dir "$folder" "$@" >"$folder/$name.log" 2>&1 &
    pids+=($!)
    until_good redis-cli -s "$folder/$name.sock" ping
}
redis limits --maxmemory 64mb --maxmemory-policy noeviction
export REDIS_LIMITS_PID=$! REDIS_LIMITS_URL="unix://$folder/limits.sock"
redis cache --maxmemory 256mb --maxmemory-policy allkeys-lru
export REDIS_CACHE_PID=$! REDIS_CACHE_URL="unix://$folder/cache.sock"

export CONFIG=$folder/config.json
cp deploy/config.json "$CONFIG"
REPLICAS=
addresses=()
for replica in $(seq "${COUNT:-2}"); do
    mkdir "$folder/state-$replica"
    # The port is the kernel's choice, and stands in the first line that a replica prints.
    THALWEG_HOST=127.0.0.1 THALWEG_PORT=0 THALWEG_LOG_FORMAT=json STATE_DIRECTORY=$folder/state-$replica \
        "$program" serve --config "$CONFIG" >"$folder/replica-$replica.log" 2>&1 &
    pids+=($!)
    until_good grep -q '"url":"http' "$folder/replica-$replica.log"
    address=$(grep -oE '"url":"http://[^/"]+' "$folder/replica-$replica.log" | head -1 | cut -d/ -f3)
    addresses+=("${address/localhost/127.0.0.1}")
    REPLICAS+="http://${addresses[-1]} ${pids[-1]}"$'\n'
done
export REPLICAS
# Its last section is the replicas; they are as many as there are here.
{
    grep -v '^ *server replica-' deploy/haproxy.cfg
    printf '    server %s %s\n' $(for replica in "${!addresses[@]}"; do echo "replica-$((replica + 1)) ${addresses[replica]}"; done)
} >"$folder/haproxy.cfg"

ready() { kill -0 "${pids[-1]}" && curl --silent --fail --output /dev/null "$THALWEG_URL/readyz"; }
for attempt in 1 2 3; do
    export FRONTEND=127.0.0.1:$(shuf -i 20000-60000 -n 1)
    export THALWEG_URL=http://$FRONTEND
    haproxy -db -f "$folder/haproxy.cfg" >"$folder/balancer.log" 2>&1 &
    pids+=($!)
    # The port may be taken.
    if until_good ready; then break; fi
    [ "$attempt" -lt 3 ]
done

if [ $# -gt 0 ]; then
    # Beside the shell, which acts on a signal only while it waits for no command of its own.
    "$@" <&0 &
    pids+=($!)
    wait $!
else
    trap 'exit 0' INT TERM
    echo "$THALWEG_URL/v1 with the key $API_KEY; Ctrl-C ends it"
    wait
fi
