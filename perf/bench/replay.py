"""Answers that providers have given, and bodies that agents and indexers send, through a gateway in every pair of
dialects: for perf/profile/record.sh, so that the branches run that real traffic runs. Nothing is measured.

    python3 -m bench.replay FOLDER      of recorded answers: NAME/meta.json, NAME/response.body
"""

import http.client
import itertools
import json
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import legs
from .process import PROXY_CORE, Process, wait_until

ROUNDS = 20
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def main():
    answers = _answers(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="thalweg-replay-") as directory:
        provider = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answers))
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        port = legs.free_port()
        base = f"http://127.0.0.1:{provider.server_port}/v1"
        providers = [{"name": dialect, "base_url": base, "api_key": "sk-up", "models": [dialect], "dialects": [dialect, "embeddings"]} for dialect in PATHS]
        # The faults among the answers are no reason to stop asking.
        process = Process(legs.thalweg(port, Path(directory), providers, routing={"breaker": {"failures": 10**6, "least": 10**6}}), PROXY_CORE, directory, "thalweg")
        try:
            wait_until(lambda: legs.listening(port), process, 0.005)
            print(_ask(port))
        finally:
            process.stop(10)
            provider.shutdown()


def _answers(folder):
    """{(dialect, streamed): an endless row of (status, type, body)}"""
    found = {(dialect, streamed): [] for dialect in PATHS for streamed in (False, True)}
    for meta in sorted(folder.glob("*/meta.json")):
        about, body = json.loads(meta.read_text()), (meta.parent / "response.body").read_bytes()
        dialect = next((dialect for dialect, path in PATHS.items() if about["path"].split("?")[0].endswith(path[3:])), None)
        if dialect and about["kind"] in ("sse", "json", "error"):
            kind = "text/event-stream" if about["kind"] == "sse" else "application/json"
            for streamed in {"sse": (True,), "json": (False,), "error": (False, True)}[about["kind"]]:
                found[dialect, streamed].append((about["status"], kind, body))
    return {key: itertools.cycle(rows or [(200, "application/json", b"{}")]) for key, rows in found.items()}


def _handler(answers):
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked = self.rfile.read(int(self.headers["content-length"]))
            dialect = next((dialect for dialect, path in PATHS.items() if self.path == path), None)
            with lock:
                streamed = b'"stream":true' in asked.replace(b" ", b"")
                status, kind, body = next(answers[dialect, streamed]) if dialect else (200, "application/json", b'{"object":"list","data":[]}')
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            for start in range(0, len(body), 700):
                self.wfile.write(body[start : start + 700])

        def log_message(self, *_):
            pass

    return Handler


def _ask(port):
    """{status: number of answers}"""
    seen = {}
    for _, (client, model), streamed in itertools.product(range(ROUNDS), itertools.product(PATHS, PATHS), (False, True)):
        _post(port, PATHS[client], {**_request(client), "model": model, "stream": streamed}, seen)
    for number in range(ROUNDS):
        _post(port, "/v1/embeddings", {"model": "chat", "input": [[at * 7 % 100_000 for at in range(number * 400)]]}, seen)
    return seen


def _post(port, path, body, seen):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {legs.KEY}", "content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    seen[answer.status] = seen.get(answer.status, 0) + 1
    connection.close()


def _request(dialect):
    """Source code with its escapes, texts that are not ASCII, and a tool: the form of an agent's turn."""
    text = Path(__file__).read_text() + "\u00e9\u4e16\U0001f600"
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": "of a file"}}, "required": ["path"]}
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "go on"}]
    if dialect == "responses":
        return {"input": messages, "instructions": text, "tools": [{"type": "function", "name": "read", "parameters": schema}]}
    if dialect == "messages":
        return {"messages": messages, "system": text, "max_tokens": 100, "tools": [{"name": "read", "description": "reads", "input_schema": schema}]}
    return {"messages": [{"role": "system", "content": text}, *messages], "tools": [{"type": "function", "function": {"name": "read", "parameters": schema}}]}


if __name__ == "__main__":
    main()
