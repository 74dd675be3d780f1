#!/usr/bin/env bash
# Google's Python client raises at a comment in an event stream.
#
# Version: google-genai 3.6.1 (Python), models.generate_content_stream.
# Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream": a line that begins with a colon is
#   ignored. Servers and proxies send such lines so that a connection is not taken for dead (9.2.7).
# Seen: a comment between two events of a sound stream ends it by UnknownApiResponseError ("Failed to parse
#   response as JSON. Raw response: : keep-alive"). Without the comment the same stream is read to its end.
# Consequence for a gateway: a stream that is translated for a client of Gemini's API has no comments.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check google-genai==3.6.1

cat >"$dir/run.py" <<'PY'
import http.server, json, threading

from google import genai


def event(text, **more):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
    return f"data: {json.dumps({'candidates': [candidate]})}\r\n\r\n"


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version, between = "HTTP/1.1", ""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = (event("one") + self.between + event(" two", finishReason="STOP")).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = genai.Client(api_key="k", http_options={"base_url": f"http://127.0.0.1:{server.server_port}"})


def read(between):
    Provider.between = between
    try:
        return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(model="m", contents="hi"))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


without, with_comment = read(""), read(": keep-alive\n\n")
print(f"without a comment: {without}\nwith a comment:    {with_comment}")
assert without == "one two" and with_comment.startswith("UnknownApiResponseError"), "no longer so"
PY
"$dir/venv/bin/python" "$dir/run.py"
