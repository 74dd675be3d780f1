#!/usr/bin/env bash
# Everything that is tested, in one command: style, lints, unit, integration and architecture tests, real
# clients, a short fuzz of every target. Installs what is missing (on a bare Debian, with Rust of rustup there
# already) into the system when it is root and into .cache/ otherwise; asks nothing; stops at the first
# failure. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz_seconds=${FUZZ_SECONDS:-12}
cache=$PWD/.cache
counts=$cache/counts
mkdir -p "$cache"
: >"$counts"

say() { printf '+ %s\n' "$*"; }
run() { say "$@" && "$@"; }

# Adds up the lines "… N passed, N failed" and cargo's "N passed; N failed" of what a command prints.
counted() {
    say "$@"
    "$@" 2>&1 | tee >(grep -oE '[0-9]+ passed[;,] [0-9]+ failed' >>"$counts")
}

total() {
    local status=$?
    if [ -n "${gateway:-}" ]; then kill "$gateway" 2>/dev/null || true; fi
    # The counters behind the pipes may still be writing.
    sleep 0.2
    awk -v status="$status" '
        { passed += $1; failed += $3 }
        END {
            # A step without counts that failed is one failure.
            if (status != 0 && failed == 0) failed = 1
            printf "%d passed, %d failed\n", passed, failed
        }' "$counts"
    exit "$status"
}
trap total EXIT

has() { command -v "$1" >/dev/null 2>&1; }

# Debian packages for commands that are missing.
packages() {
    local missing=()
    has curl || missing+=(curl)
    # cargo, pip and npm check certificates by these.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    has cc || missing+=(gcc libc6-dev)
    has c++ || missing+=(g++)
    has python3 && python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    has node || missing+=(nodejs)
    has npm || missing+=(npm)
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || has initdb || missing+=(postgresql)
    has redis-server || missing+=(redis-server)
    has pgbouncer || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
    has haproxy || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
    has ip || [ -x /usr/sbin/ip ] || missing+=(iproute2)
    has chromium || missing+=(chromium)
    has buildah || missing+=(buildah)
    has strip || missing+=(binutils)
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing: ${missing[*]} (install them, or run this as root)" >&2
        return 1
    fi
    run apt-get update -qq
    DEBIAN_FRONTEND=noninteractive run apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

clients() {
    [ -x "$cache/venv/bin/python" ] || run python3 -m venv "$cache/venv"
    run "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/real_clients/requirements.txt
    mkdir -p "$cache/node"
    cp tests/real_clients/package.json "$cache/node/"
    run npm install --prefix "$cache/node" --silent --no-audit --no-fund --no-package-lock
}

# Out of Debian's package, which would start a server if it were installed.
fetch_promtool() {
    THALWEG_PROMTOOL=$(command -v promtool || true)
    if [ -z "$THALWEG_PROMTOOL" ]; then
        THALWEG_PROMTOOL=$cache/prometheus/usr/bin/promtool
        if [ ! -x "$THALWEG_PROMTOOL" ]; then
            cd "$cache"
            run apt-get download -qq prometheus || { run apt-get update -qq; run apt-get download -qq prometheus; }
            dpkg -x prometheus_*.deb prometheus
            cd - >/dev/null
        fi
    fi
    export THALWEG_PROMTOOL
}

# A gateway with the demo provider, on a port that the kernel picks.
gateway() {
    export THALWEG_KEY=sk-tests-of-real-clients THALWEG_ADMIN_KEY=sk-tests-of-an-operator
    printf '{"host": "127.0.0.1", "port": 0, "tokens": ["tests|%s"], "batch": {"enabled": true}, "watch": false}' "$THALWEG_KEY" >"$cache/clients.json"
    say target/debug/thalweg serve --config "$cache/clients.json"
    # No provider may be found on this machine: the demo is what the clients expect.
    env -i PATH="$PATH" OLLAMA_HOST=127.0.0.1:1 THALWEG_ADMIN_KEY="$THALWEG_ADMIN_KEY" target/debug/thalweg serve --config "$cache/clients.json" \
        >"$cache/gateway.log" 2>&1 &
    gateway=$!
    for _ in $(seq 100); do
        THALWEG_URL=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$cache/gateway.log" | head -1 || true)
        if [ -n "$THALWEG_URL" ] && curl --silent --fail --output /dev/null "$THALWEG_URL/livez"; then
            export THALWEG_URL
            return
        fi
        sleep 0.1
    done
    cat "$cache/gateway.log" >&2
    return 1
}

fuzz() {
    [ -d fuzz ] || return 0
    if ! cargo fuzz --version >/dev/null 2>&1; then
        export PATH="$cache/cargo/bin:$PATH"
        has cargo-fuzz || run cargo install cargo-fuzz --locked --root "$cache/cargo"
    fi
    # All targets in one build. Without a sanitizer stable Rust will do, and the crate forbids the faults that
    # one would find.
    run cargo fuzz build -s none
    local target
    for target in $(cargo fuzz list); do
        mkdir -p "fuzz/corpus/$target"
        local seeds=()
        [ ! -d "fuzz/seeds/$target" ] || seeds=("fuzz/seeds/$target")
        # An input that takes 20 s is a finding, too.
        run cargo fuzz run -s none "$target" "fuzz/corpus/$target" "${seeds[@]}" -- \
            -max_total_time="$fuzz_seconds" -timeout=20 -print_final_stats=1 -verbosity=0
        echo "fuzz $target: 1 passed, 0 failed" | tee >(grep -oE '[0-9]+ passed, [0-9]+ failed' >>"$counts")
    done
}

has cargo || { echo "no cargo here: install Rust from https://rustup.rs" >&2; exit 1; }
packages
# A minimal toolchain of rustup has neither.
cargo fmt --version >/dev/null 2>&1 || run rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || run rustup component add clippy
run cargo fmt --all --check
run cargo clippy --all-targets --locked -- -D warnings
# The architecture tests among them check the import law, the documents' paths, and the width of prose and
# comments (110 columns); tests/words.sh counts pronouns in comments.
counted tests/postgres.sh cargo test --locked
run cargo build --locked

clients
fetch_promtool
gateway
counted tests/real_clients/curl_client.sh
counted "$cache/venv/bin/python" tests/real_clients/openai_client.py
counted "$cache/venv/bin/python" tests/real_clients/openai_batches.py
counted "$cache/venv/bin/python" tests/real_clients/httpx_client.py
counted "$cache/venv/bin/python" tests/real_clients/metrics_client.py
counted "$cache/venv/bin/python" tests/real_clients/promtool.py
counted "$cache/venv/bin/python" tests/real_clients/google_client.py
THALWEG_NODE_HOME="$cache/node" counted node tests/real_clients/openai_client.mjs
THALWEG_NODE_HOME="$cache/node" counted node tests/real_clients/google_client.mjs
# The pictures of the pages stay there to be looked at.
THALWEG_NODE_HOME="$cache/node" THALWEG_PICTURES="$cache/pages" THALWEG_CONFIG_FILE="$cache/clients.json" \
    counted node tests/browser/pages.mjs
kill "$gateway"
wait "$gateway" || true
gateway=
counted "$cache/venv/bin/python" tests/real_clients/openai_failover.py
counted "$cache/venv/bin/python" tests/real_clients/openai_keys.py
THALWEG_NODE_HOME="$cache/node" counted "$cache/venv/bin/python" tests/real_clients/translation.py

# Three replicas, HAProxy, PostgreSQL and two Redis, as deploy/ has them.
COUNT=3 THALWEG=target/debug/thalweg counted deploy/cluster.sh "$cache/venv/bin/python" tests/real_clients/cluster.py
# Three replicas at a limit, one killed, one cut off from Redis; "flood.py 10" takes ten minutes.
THALWEG=target/debug/thalweg counted "$cache/venv/bin/python" tests/real_clients/flood.py
# Optimized little, because the image takes any build whose size is near the real one's.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    run cargo build --release --locked --target-dir target/image
counted tests/image.sh target/image/release/thalweg

fuzz
