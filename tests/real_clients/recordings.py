"""A provider on loopback that answers with recordings of real ones, and a gateway before it.

Each recording is a model of its own, served in the one dialect in which it was recorded: `recorded-NAME`. A
request that streams gets the recorded bytes, cut where the network cut them; another gets the same answer in
one piece."""

import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

from meaning import GLUE, READ, dialect_of, has_failed

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "sk-tests-of-translation"
DIALECTS = ("chat", "messages", "responses")
# No completion, or an API of its own.
OTHERS = ("models", "openai-completions", "cohere-native")
# Of the repository's own fixtures those that are whole answers.
FIXTURES = ("error-400", "error-429", "json-plain", "messages-stream", "stream-comments", "stream-crlf", "stream-plain", "stream-reasoning",
            "stream-split-characters", "stream-tools", "stream-usage", "stream-usage-on-finish")


class Recording:
    def __init__(self, name, meta, body):
        self.name, self.status, self.streams = name, meta["status"], meta["kind"] == "sse"
        self.body, self.reads = body, meta.get("chunk_sizes")
        self.headers = {name: value for name, value in meta["response_headers"].items() if name in ("content-type", "retry-after")}
        self.dialect = dialect_of(self.name, self.body)
        self.model = f"recorded-{self.name}"
        self.failed = self.status >= 400 or (self.streams and has_failed(self.body))
        self.whole = None if self.failed else GLUE[self.dialect](self.body) if self.streams else json.loads(self.body)
        self.meaning = self.whole and READ[self.dialect](self.whole)


def recordings():
    folder = pathlib.Path(os.environ.get("THALWEG_TRANSCRIPTS") or ROOT / "../shared/transcripts")
    if not folder.is_dir():
        print(f"left out: recorded transcripts (no {folder}); fixtures only", flush=True)
    recorded = sorted(path.parent for path in folder.glob("*/meta.json"))
    folders = [*(ROOT / "tests/fixtures" / name for name in FIXTURES), *recorded]
    read = [(path.name, json.loads((path / "meta.json").read_text()), (path / "response.body").read_bytes()) for path in folders]
    written = [(name, {"status": 200, "kind": "sse", "response_headers": {"content-type": "text/event-stream"}}, stream(deltas))
               for name, deltas in WRITTEN.items()]
    return [Recording(*each) for each in [*written, *read] if not any(other in each[0] for other in OTHERS)]


def stream(deltas):
    """A chat stream of these deltas, with each character as it is."""
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
               {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}}]
    shared = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return "".join(f"data: {json.dumps({**shared, **chunk}, ensure_ascii=False)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


def call(index, arguments, **more):
    return {"tool_calls": [{"index": index, **more, "function": {"arguments": arguments, **({"name": "look"} if more else {})}}]}


# Answers that providers give and no recording has.
WRITTEN = {
    "written-interleaved-calls": [
        {"role": "assistant", "reasoning_content": "Both."},
        call(0, "", id="call_a", type="function"), call(1, "", id="call_b", type="function"),
        call(0, '{"way":'), call(1, '{"way":'), call(0, '"up"}'), call(1, '"down"}')],
    "written-line-separators": [{"role": "assistant", "content": "up\u2028down\u2029left\u0085"}, {"content": "\rright\x00\x1b"}],
    "written-text-around-a-call": [{"content": "Look:"}, call(0, "", id="call_a", type="function"), {"content": " done."}],
}


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        recording = self.server.models.get(asked["model"])
        if recording is None:
            # A check by the gateway's prober.
            self.send_error(404)
            return
        self.send_response(recording.status)
        streams = recording.streams and asked.get("stream")
        for name, value in recording.headers.items():
            self.send_header(name, "application/json" if name == "content-type" and recording.streams and not streams else value)
        if streams:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            rest = recording.body
            for size in [*(recording.reads or []), len(rest)]:
                piece, rest = rest[:size], rest[size:]
                if piece:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        body = recording.body if recording.whole is None else json.dumps(recording.whole).encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start(all_recordings, directory):
    """The gateway's process and its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.models = {recording.model: recording for recording in all_recordings}
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def provider(dialect):
        models = [recording.model for recording in all_recordings if recording.dialect == dialect]
        base = f"http://127.0.0.1:{server.server_port}/{dialect}/v1"
        return {"name": dialect, "base_url": base, "api_key": "sk-up", "models": models, "dialects": [dialect]}

    config = {
        "host": "127.0.0.1",
        "port": 0,
        "tokens": [f"tests|{KEY}"],
        "providers": [provider(dialect) for dialect in DIALECTS if any(each.dialect == dialect for each in all_recordings)],
        "ledger": {"enabled": False},
        # Recorded failures are to be met anew.
        "routing": {"breaker": {"failures": 10_000, "least": 10_000}},
    }
    file = os.path.join(directory, "translation.json")
    with open(file, "w") as out:
        json.dump(config, out)
    command = [os.environ.get("THALWEG_BIN", "target/debug/thalweg"), "serve", "--config", file]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found[0]
    raise SystemExit("the gateway did not start")
