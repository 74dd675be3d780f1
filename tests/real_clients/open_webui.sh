#!/usr/bin/env bash
# Open WebUI with the lines of docs/CLIENTS.md: it lists the gateway's models, and its chat answers in both
# ways. Not a part of tests/run.sh, because it installs 7 GB from PyPI. Against a running gateway:
#
#   THALWEG_URL=http://localhost:9000 THALWEG_KEY=… MODEL=demo-text tests/real_clients/open_webui.sh
#
# OPEN_WEBUI names a program that is installed already. Ends with "N passed, N failed".
set -euo pipefail

folder=$(mktemp -d) server=
finish() {
    local status=$?
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$folder"
    exit "$status"
}
trap finish EXIT

program=${OPEN_WEBUI:-}
if [ -z "$program" ]; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet open-webui==0.12.4
    program=$folder/venv/bin/open-webui
fi
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# Without sign-in, other providers, and models of its own.
env -i PATH="$(dirname "$program"):$PATH" HOME="$folder" DATA_DIR="$folder/data" WEBUI_SECRET_KEY=tests \
    WEBUI_AUTH=False ENABLE_OLLAMA_API=false RAG_EMBEDDING_ENGINE=openai OFFLINE_MODE=true HF_HUB_OFFLINE=1 \
    OPENAI_API_BASE_URL="$THALWEG_URL/v1" OPENAI_API_KEY="$THALWEG_KEY" \
    "$program" serve --host 127.0.0.1 --port "$port" >"$folder/log" 2>&1 &
server=$!
at=http://127.0.0.1:$port
for _ in $(seq 300); do
    ! curl --silent --fail --output /dev/null "$at/health" || break
    sleep 1
done
token=$(curl --silent "$at/api/v1/auths/signin" -H 'content-type: application/json' -d '{"email": "", "password": ""}' |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])') || { cat "$folder/log"; exit 1; }
ask() { curl --silent --no-buffer --max-time 60 -H "authorization: Bearer $token" -H 'content-type: application/json' "$@"; }
chat() { ask "$at/api/chat/completions" -d "{\"model\": \"$MODEL\", \"stream\": $1, \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}"; }

passed=0 failed=0
check() {
    if grep -q "$2" <<<"$3"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "open-webui: $1: FAILED: ${3:0:300}"; fi
}
check "lists the models" "\"$MODEL\"" "$(ask "$at/api/models")"
check "streams" '"chat.completion.chunk".*"content":' "$(chat true)"
check "answers whole" '"chat.completion"' "$(chat false)"
echo "open-webui: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
