#!/usr/bin/env bash
# Codex passes over the `error` event of a response stream.
#
# Version: @openai/codex 0.171.0, custom provider with wire_api = "responses".
# Source: OpenAI API reference, "Streaming events", event `error` ("Emitted when an error occurs", members
#   code, message, param): platform.openai.com/docs/api-reference/responses-streaming/error
# Seen: the stream sends `response.created`, then `error` with a message, then ends. Codex shows no word of
#   the message, but "stream disconnected before completion: stream closed before response.completed", and
#   asks again. The same message in `response.failed` is shown. Consequence for a gateway: an error that
#   Codex shall show goes down as `response.failed`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --silent --no-audit --no-fund @openai/codex@0.171.0

cat >"$dir/run.py" <<'PY'
import http.server, json, os, subprocess, sys, threading

FOLDER = sys.argv[1]
WORDS = "The upstream model went away, ticket 4711."


def event(kind, **members):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def response(status, error=None):
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": [], "error": error}


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version, asked, last = "HTTP/1.1", 0, None

    def do_POST(self):
        Provider.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = event("response.created", sequence_number=0, response=response("in_progress")) + self.last
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.makedirs(f"{FOLDER}/home/.codex")
with open(f"{FOLDER}/home/.codex/config.toml", "w") as file:
    file.write(f"""model = "m"
model_provider = "own"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.own]
name = "own"
base_url = "http://127.0.0.1:{server.server_port}/v1"
env_key = "OWN_KEY"
wire_api = "responses"
stream_max_retries = 1
""")


def codex(last):
    Provider.asked, Provider.last = 0, last
    argv = [f"{FOLDER}/node_modules/.bin/codex", "exec", "--skip-git-repo-check", "Say hello."]
    env = {"PATH": os.environ["PATH"], "HOME": f"{FOLDER}/home", "OWN_KEY": "k", "NO_COLOR": "1"}
    done = subprocess.run(argv, cwd=FOLDER, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return done.returncode, Provider.asked, done.stdout + done.stderr


for name, last in {
    "error": event("error", sequence_number=1, code="server_error", message=WORDS, param=None),
    "response.failed": event("response.failed", sequence_number=1, response=response("failed", {"code": "server_error", "message": WORDS})),
}.items():
    status, asked, text = codex(last)
    print(f"{name}: exit {status}, {asked} requests, message shown: {WORDS in text}")
    print("   ", [line for line in text.splitlines() if "ERROR" in line or "stream" in line][-1:])
    if (WORDS in text) != (name == "response.failed"):
        sys.exit("changed: the error event is read now, or response.failed is not")
PY
python3 "$dir/run.py" "$dir"
