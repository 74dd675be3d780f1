#!/usr/bin/env bash
# Codex gives up at once on a 429 without `retry-after`, but repeats one that has it, and repeats a 401.
#
# Version: @openai/codex 0.171.0, custom provider with wire_api = "responses".
# Source: RFC 6585 section 4: a 429 "MAY include a Retry-After header"; its absence does not make the limit
#   a lasting one. OpenAI's guide on rate limits asks clients to repeat a 429 with exponential backoff:
#   platform.openai.com/docs/guides/rate-limits. RFC 9110 section 15.5.2: a 401 concerns missing or refused
#   credentials, which a repeat of the same request does not change.
# Seen: 429 without the header: 1 request. 429 with `retry-after: 1`: more than one. 401: more than one.
# Consequence for a gateway: each 429 that goes to Codex carries `retry-after`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --silent --no-audit --no-fund @openai/codex@0.171.0

cat >"$dir/run.py" <<'PY'
import http.server, json, os, subprocess, sys, threading

FOLDER = sys.argv[1]


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version, asked, status, headers_of_answer = "HTTP/1.1", 0, 429, {}

    def do_POST(self):
        Provider.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"error": {"message": "Not now.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}).encode()
        self.send_response(self.status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **self.headers_of_answer}.items():
            self.send_header(name, value)
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
""")


def requests(status, headers):
    Provider.asked, Provider.status, Provider.headers_of_answer = 0, status, headers
    argv = [f"{FOLDER}/node_modules/.bin/codex", "exec", "--skip-git-repo-check", "Say hello."]
    env = {"PATH": os.environ["PATH"], "HOME": f"{FOLDER}/home", "OWN_KEY": "k", "NO_COLOR": "1"}
    subprocess.run(argv, cwd=FOLDER, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    return Provider.asked


bare, with_header, refused = requests(429, {}), requests(429, {"retry-after": "1"}), requests(401, {})
print(f"429: {bare} request(s); 429 with retry-after: {with_header}; 401: {refused}")
if bare != 1 or with_header < 2 or refused < 2:
    sys.exit("changed")
PY
python3 "$dir/run.py" "$dir"
