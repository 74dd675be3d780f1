#!/usr/bin/env bash
# OpenAI's SDKs raise on an event of a stream that has a name and no data.
#
# Versions: openai 3.57.0 (PyPI), openai 7.59.0 (npm).
# Source: WHATWG HTML, "Server-sent events", 9.2.6: at the blank line, "if the data buffer is an empty
#   string, set the data buffer and the event type buffer to the empty string and return": such a block
#   dispatches nothing.
# Seen: `event: ping` and a blank line between two chunks ends the loop over the stream with a JSON error in
#   both SDKs; the same stream with a comment (`: ping`) is read to its end. Consequence for a gateway: its
#   keepalives are comments.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0
npm install --prefix "$dir" --silent --no-audit --no-fund openai@7.59.0

cat >"$dir/read.mjs" <<'JS'
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "k", maxRetries: 0 });
try {
  let text = "";
  const stream = await client.chat.completions.create({ model: "m", stream: true, messages: [{ role: "user", content: "Hello" }] });
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  console.log(`read ${text}`);
} catch (error) {
  console.log(`raised ${error.constructor.name}: ${error.message}`);
}
JS
cat >"$dir/run.py" <<'PY'
import http.server, json, subprocess, sys, threading

import openai

FOLDER = sys.argv[1]


def chunk(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'created': 1, 'model': 'm', 'choices': [choice]})}\n\n"


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version, between = "HTTP/1.1", ""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = (chunk("one ") + self.between + chunk("two") + "data: [DONE]\n\n").encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"


def python():
    try:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        stream = client.chat.completions.create(model="m", stream=True, messages=[{"role": "user", "content": "Hello"}])
        return "read " + "".join(each.choices[0].delta.content or "" for each in stream)
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"


def node():
    return subprocess.run(["node", f"{FOLDER}/read.mjs", url], capture_output=True, text=True, timeout=60).stdout.strip()


changed = False
for name, between in {"comment": ": ping\n\n", "event without data": "event: ping\n\n"}.items():
    Provider.between = between
    for language, read in {"Python": python, "Node.js": node}.items():
        result = read()
        print(f"{name}, {language}: {result}")
        changed |= (result == "read one two") != (name == "comment")
sys.exit("changed" if changed else 0)
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir"
