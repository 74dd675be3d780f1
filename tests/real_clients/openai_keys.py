"""Keys and their limits as OpenAI's Python client sees them: made and revoked by the command line beside a gateway of its
own, refused as the client's own errors, and waited for where it is told to wait."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

os.environ["THALWEG_KEY"] = os.environ["THALWEG_URL"] = ""

import openai
from checks import expect, raises, run

BINARY = os.environ.get("THALWEG_BIN", "target/debug/thalweg")
MESSAGES = [{"role": "user", "content": "Which way does the river flow?"}]
SECOND = 1.0

folder = tempfile.TemporaryDirectory(prefix="thalweg-keys-")
config = Path(folder.name) / "config.json"
config.write_text(json.dumps({"port": 0, "providers": [], "tokens": ["beside|sk-beside"]}))
environment = {"PATH": os.environ["PATH"]}


def keys(*arguments):
    command = [BINARY, "keys", *arguments, "--json", "--config", str(config)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)


gateway = subprocess.Popen([BINARY, "--config", str(config)], stdout=subprocess.PIPE, env=environment, text=True)
URL = next(match.group() for line in gateway.stdout if (match := re.search(r"http://\S+/v1", line)))


def made(name, *limits):
    """A client with a new key."""
    key = keys("create", "--name", name, *limits)["key"]
    client = openai.OpenAI(base_url=URL, api_key=key, max_retries=0)
    within_a_second(lambda: client.models.list())
    return client


def within_a_second(works):
    begun = time.monotonic()
    while True:
        try:
            return works()
        except openai.APIStatusError:
            expect(time.monotonic() - begun < SECOND, "not within a second")
            time.sleep(0.02)


def chat(client, model="demo-text", **more):
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **more)


def too_many_requests():
    client = made("fast", "--rpm", "2")
    for left in ("1", "0"):
        answer = client.chat.completions.with_raw_response.create(model="demo-text", messages=MESSAGES, stream=True)
        expect(answer.headers["x-ratelimit-remaining-requests"] == left, answer.headers)
    error = raises(openai.RateLimitError, lambda: chat(client))
    expect((error.code, error.param) == ("rate_limit_exceeded", "rpm"), error)
    expect(0 < float(error.response.headers["retry-after-ms"]) <= 61_000, error.response.headers)


def the_client_waits_as_it_is_told():
    client = made("one-by-one", "--concurrent", "1")
    first = chat(client)
    raises(openai.RateLimitError, lambda: chat(client))
    patient = client.with_options(max_retries=5)
    begun = time.monotonic()
    first.close()
    for chunk in chat(patient):
        break
    expect(time.monotonic() - begun < 5, "it waited for longer than it was told to")


def other_models_and_a_spent_budget():
    error = raises(openai.PermissionDeniedError, lambda: chat(made("narrow", "--models", "demo-tools")))
    expect(error.code == "model_not_allowed", error)
    # The budget is checked before the body, so before the model.
    error = raises(openai.APIStatusError, lambda: chat(made("spent", "--models", "demo-tools", "--budget", "0")))
    expect((error.status_code, error.code) == (402, "budget_exceeded"), error)


def a_revoked_key():
    client = made("short")
    within_a_second(lambda: chat(client)).close()
    keys("revoke", "short")
    begun = time.monotonic()
    while time.monotonic() - begun < SECOND:
        try:
            chat(client).close()
        except openai.AuthenticationError as error:
            expect(error.code == "invalid_api_key", error)
            return
        time.sleep(0.02)
    expect(False, "still accepted after a second")


try:
    run(
        "openai-python, keys",
        [too_many_requests, the_client_waits_as_it_is_told, other_models_and_a_spent_budget, a_revoked_key],
    )
finally:
    gateway.terminate()
    gateway.wait()
    folder.cleanup()
