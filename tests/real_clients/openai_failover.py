"""OpenAI's Python client against a gateway with several providers of each model: what it sees when some of them fail, and
which of its classes it raises when all do. Starts the providers and the gateway (`THALWEG_BIN`) itself."""

import http.server
import json
import os
import re
import subprocess
import tempfile
import threading

KEY = "sk-tests-of-failover"
os.environ["THALWEG_KEY"], os.environ["THALWEG_URL"] = KEY, ""

import openai
from checks import expect, raises, run

TEXT = "The river flows down."


def delta(content):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


def error(status, code, headers=()):
    body = json.dumps({"error": {"message": "No.", "type": "x", "param": None, "code": code}})
    return status, "application/json", body, dict(headers)


GOOD = (200, "text/event-stream", "".join(map(delta, TEXT.split(" "))) + "data: [DONE]\n\n", {})
PROVIDERS = {
    "good": (GOOD, ["m", "strict", "raced", "large"]),
    "broken": (error(503, "overloaded"), ["m", "all", "raced"]),
    "lying": ((200, "text/event-stream", f": ping\n\ndata: {error(200, 'no')[2]}\n\n", {}), ["m"]),
    "poor": (error(429, "insufficient_quota"), ["all"]),
    "limited": (error(429, "rate_limit_exceeded", [("retry-after", "7")]), ["limited"]),
    "strict": (error(400, "context_length_exceeded"), ["strict", "small"]),
}


class Fake(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        status, content_type, body, headers = self.server.answer
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def provider(name, answer, models):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.answer = answer
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/v1"
    return {"name": name, "base_url": base, "api_key": "sk-up", "models": models}


def start(directory):
    """The gateway's process and its address. The good one stands last: it is reached by failing over."""
    order = ["broken", "lying", "poor", "limited", "strict", "good"]
    dead = {"name": "dead", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-up", "models": ["m", "all"]}
    config = {
        "host": "127.0.0.1",
        "port": 0,
        "tokens": [f"tests|{KEY}"],
        "providers": [dead, *(provider(name, *PROVIDERS[name]) for name in order)],
        "ledger": {"enabled": False},
        # Every failure is to be met anew.
        "routing": {"breaker": {"failures": 1000, "least": 1000}},
    }
    file = os.path.join(directory, "failover.json")
    with open(file, "w") as out:
        json.dump(config, out)
    command = [os.environ.get("THALWEG_BIN", "target/debug/thalweg"), "serve", "--config", file]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found[0]
    raise SystemExit("the gateway did not start")


def chat(model="m", **more):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hi"}], stream=True, **more
    )


def content_of(chunks):
    return " ".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)


def sees_nothing_of_a_failover():
    for _ in range(3):
        expect(content_of(chat()) == TEXT)


def sees_the_winner_of_a_race():
    raw = client.chat.completions.with_raw_response.create(
        model="raced", messages=[], stream=True, extra_headers={"x-thalweg-strategy": "race"}
    )
    expect(raw.headers["x-thalweg-provider"] == "good" and raw.headers["x-thalweg-attempts"] == "2", raw.headers)
    expect(content_of(raw.parse()) == TEXT)


def tries_a_list_of_models():
    expect(content_of(chat("small", extra_body={"models": ["large"]})) == TEXT)


def all_failed_is_an_internal_server_error():
    failed = raises(openai.InternalServerError, lambda: chat("all"))
    expect(failed.status_code == 503 and failed.code == "all_providers_failed", failed)
    for part in ("dead: unreachable", "broken: answered 503 (overloaded)", "poor: answered 429 (insufficient_quota)"):
        expect(part in failed.message, failed.message)
    expect("sk-up" not in failed.message)


def a_lone_providers_limit_is_a_rate_limit_error():
    limited = raises(openai.RateLimitError, lambda: chat("limited"))
    expect(limited.code == "rate_limit_exceeded" and limited.response.headers["retry-after"] == "7", limited)


def a_context_too_long_is_a_bad_request():
    long = raises(openai.BadRequestError, lambda: chat("strict"))
    expect(long.code == "context_length_exceeded", long)


def an_unknown_strategy_is_a_bad_request():
    raises(openai.BadRequestError, lambda: chat(extra_headers={"x-thalweg-strategy": "fastest"}))


with tempfile.TemporaryDirectory() as directory:
    gateway, url = start(directory)
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    try:
        run(
            "openai-python, failover",
            [
                sees_nothing_of_a_failover,
                sees_the_winner_of_a_race,
                tries_a_list_of_models,
                all_failed_is_an_internal_server_error,
                a_lone_providers_limit_is_a_rate_limit_error,
                a_context_too_long_is_a_bad_request,
                an_unknown_strategy_is_a_bad_request,
            ],
        )
    finally:
        gateway.terminate()
        gateway.wait()
