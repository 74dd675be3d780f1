"""Recorded answers of real providers, asked for through thalweg in every other dialect, with and without a
stream: the official SDKs of Python read them under strict validation, and they mean the same as the recordings.
Then the same by the official SDKs of Node and the AI SDK (`translation.mjs`), if `THALWEG_NODE_HOME` has them."""

import json
import os
import subprocess
import sys
import tempfile

import anthropic
import openai
from google import genai
from google.genai import _common, errors

os.environ["THALWEG_URL"], os.environ["THALWEG_KEY"] = "", ""

import checks
import recordings
from checks import expect, raises
from meaning import of_completion, of_gemini, of_message, of_response

QUESTION = [{"role": "user", "content": "Which way does the river flow?"}]
# It takes members that it does not know out of an answer, so that no validation sees them.
_common._remove_extra_fields = lambda *_: None


def chat(model, streams):
    if not streams:
        completion = openai_client.chat.completions.create(model=model, messages=QUESTION)
        return of_completion(completion.model_dump()), completion
    options = {"include_usage": True}
    with openai_client.chat.completions.stream(model=model, messages=QUESTION, stream_options=options) as stream:
        try:
            completion = stream.get_final_completion()
        except openai.LengthFinishReasonError as error:
            completion = error.completion
    return of_completion(completion.model_dump()), completion


def messages(model, streams):
    asked = {"model": model, "max_tokens": 1000, "messages": QUESTION}
    if not streams:
        message = anthropic_client.messages.create(**asked)
    else:
        with anthropic_client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    return of_message(message.model_dump()), message


def responses(model, streams):
    if not streams:
        response = openai_client.responses.create(model=model, input=QUESTION)
    else:
        with openai_client.responses.stream(model=model, input=QUESTION) as stream:
            # `get_final_response` knows a completed one alone.
            ends = [event for event in stream if event.type in ("response.completed", "response.incomplete", "response.failed")]
        expect(len(ends) == 1, ends)
        response = ends[0].response
        if response.status == "failed":
            raise openai.APIError(response.error.message, None, body=None)
    return of_response(response.model_dump()), response


def gemini(model, streams):
    asked = {"model": model, "contents": QUESTION[0]["content"]}
    if streams:
        answers = list(google_client.models.generate_content_stream(**asked))
    else:
        answers = [google_client.models.generate_content(**asked)]
    return of_gemini([answer.model_dump(mode="json", by_alias=True, exclude_none=True) for answer in answers]), answers


CLIENTS = {"chat": chat, "messages": messages, "responses": responses, "gemini": gemini}
ERRORS = {"chat": openai.APIError, "messages": anthropic.APIError, "responses": openai.APIError, "gemini": errors.APIError}


def difference(recording, read, dialect):
    """Members whose values are not the recording's."""
    expected = recording.meaning
    if expected["usage"] is None:
        # A dialect that always has counts gets an estimate.
        read = {**read, "usage": None}
    return {name: (expected[name], read[name]) for name in expected if expected[name] != read[name]}


def ids_of(dialect, answer):
    if dialect == "gemini":
        return [call.id for each in answer for call in each.function_calls or []]
    if dialect == "chat":
        return [call.id for call in answer.choices[0].message.tool_calls or []]
    if dialect == "messages":
        return [block.id for block in answer.content if block.type == "tool_use"]
    return [item.call_id for item in answer.output if item.type == "function_call"]


def same_meaning(recording, dialect, streams):
    def check():
        read, answer = CLIENTS[dialect](recording.model, streams)
        for each in answer if dialect == "gemini" else [answer]:
            type(each).model_validate(each.model_dump())
        differs = difference(recording, read, dialect)
        expect(not differs, differs)
        ids = ids_of(dialect, answer)
        expect(all(ids) and len(set(ids)) == len(ids), ids)

    return check


def fails(recording, dialect, streams):
    def check():
        try:
            seen = CLIENTS[dialect](recording.model, streams)
        except ERRORS[dialect] as error:
            if recording.status >= 400 and recording.status != 503:
                status = error.code if dialect == "gemini" else error.status_code
                expect(status == recording.status, status, recording.status)
            return
        raise AssertionError(f"a failed answer is taken for a good one: {seen!r}")

    return check


def all_checks():
    for recording in found:
        for dialect in CLIENTS:
            for streams in (True, False):
                if dialect == recording.dialect or (streams is not recording.streams and recording.whole is None):
                    continue
                if streams and not recording.streams and recording.status < 400:
                    continue
                check = (fails if recording.failed else same_meaning)(recording, dialect, streams)
                way = "streamed" if streams else "whole"
                check.__name__ = f"{recording.name}, {dialect} on {recording.dialect}, {way}"
                yield check


def node(url, directory):
    """The exit status of the SDKs of Node."""
    if not os.environ.get("THALWEG_NODE_HOME"):
        print("left out: SDKs of Node (no THALWEG_NODE_HOME)", flush=True)
        return 0
    file = os.path.join(directory, "recordings.json")
    with open(file, "w") as out:
        names = ("name", "model", "dialect", "streams", "failed", "status", "meaning")
        json.dump([{name: getattr(each, name) for name in names} for each in found], out)
    script = os.path.join(os.path.dirname(__file__), "translation.mjs")
    env = {**os.environ, "THALWEG_URL": url, "THALWEG_KEY": recordings.KEY, "THALWEG_RECORDINGS": file}
    return subprocess.run(["node", script], env=env).returncode


found = recordings.recordings()
with tempfile.TemporaryDirectory() as directory:
    gateway, url = recordings.start(found, directory)
    options = {"api_key": recordings.KEY, "max_retries": 0, "_strict_response_validation": True}
    openai_client = openai.OpenAI(base_url=f"{url}/v1", **options)
    anthropic_client = anthropic.Anthropic(base_url=url, **options)
    google_client = genai.Client(api_key=recordings.KEY, http_options={"base_url": url})
    try:
        failed = checks.count("sdk-python, translation", list(all_checks()), quiet=True)
        status = node(url, directory)
    finally:
        gateway.terminate()
        gateway.wait()
sys.exit(1 if failed or status else 0)
