#!/usr/bin/env bash
# OpenAI's Python helper for streams has no final response for one that ends incomplete or failed.
#
# Version: openai 3.52.0 (Python), `client.responses.stream(…).get_final_response()`.
# Source: OpenAI's Responses reference: a stream ends with `response.completed`, `response.incomplete` (a
#   limit of output tokens, a content filter) or `response.failed`, each with the whole `response`. In Node
#   the helper `finalResponse()` returns an incomplete one, too.
# Seen: RuntimeError "Didn't receive a `response.completed` event." for both other ends; the text is lost to a
#   caller that asks for the final response alone.
# Consequence for a gateway: none in bytes; callers read the last event instead.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.52.0

cat >"$dir/run.py" <<'PY'
import http.server, json, sys, threading

import openai


def response(status, **more):
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status,
               "content": [{"type": "output_text", "text": "The river", "annotations": []}]}
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "model": "m", "output": [message] if status != "in_progress" else [],
            "parallel_tool_calls": True, "temperature": 1, "tool_choice": "auto", "tools": [], "top_p": 1, **more}


ENDS = {
    "completed": response("completed"),
    "incomplete": response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    "failed": response("failed", error={"code": "server_error", "message": "No."}),
}


class Provider(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        end = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for number, (kind, value) in enumerate([("created", response("in_progress")), (end, ENDS[end])]):
            event = {"type": f"response.{kind}", "sequence_number": number, "response": value}
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k", max_retries=0)


def final(end):
    try:
        with client.responses.stream(model=end, input="hi") as stream:
            return stream.get_final_response().status
    except RuntimeError as error:
        return f"RuntimeError: {error}"


seen = {end: final(end) for end in ENDS}
for end, result in seen.items():
    print(f"{end}: {result}")
if seen["completed"] != "completed" or not all(seen[end].startswith("RuntimeError") for end in ("incomplete", "failed")):
    sys.exit("changed")
PY
"$dir/venv/bin/python" "$dir/run.py"
