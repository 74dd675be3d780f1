"""Google's Python client against thalweg with the demo provider, which has chat completions: streams, thoughts, tools, counts, errors."""

from checks import KEY, URL, expect, raises, run
from google import genai
from google.genai import errors, types

client = genai.Client(api_key=KEY, http_options={"base_url": URL})
PROMPT = "Which way does the river flow?"
QUIET = types.GenerateContentConfig(automatic_function_calling={"disable": True})


def stream(model="demo-text"):
    return list(client.models.generate_content_stream(model=model, contents=PROMPT, config=QUIET))


def parts_of(chunks):
    return [part for chunk in chunks for candidate in chunk.candidates or [] for part in candidate.content.parts or []]


def text_of(chunks):
    return "".join(part.text or "" for part in parts_of(chunks) if not part.thought)


def streams_text():
    chunks = stream()
    expect(len(chunks) > 3 and len(text_of(chunks)) > 10, chunks)
    expect(chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP, chunks[-1])
    expect(chunks[-1].usage_metadata.total_token_count > 0, chunks[-1])


def streams_thoughts():
    expect(any(part.thought and part.text for part in parts_of(stream("demo-reasoning"))))


def streams_emoji():
    text = text_of(stream("demo-emoji"))
    expect(any(ord(letter) > 0xFFFF for letter in text) and "\ufffd" not in text, text)


def calls_functions_and_takes_results():
    chunks = stream("demo-tools")
    calls = [part.function_call for part in parts_of(chunks) if part.function_call]
    expect(calls and all(call.id and call.name and isinstance(call.args, dict) for call in calls), chunks)
    said = [part for part in parts_of(chunks) if part.function_call]
    results = [types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "9"})) for call in calls]
    contents = [types.Content(role="user", parts=[types.Part(text=PROMPT)]), types.Content(role="model", parts=said), types.Content(role="user", parts=results)]
    expect(client.models.generate_content(model="demo-text", contents=contents).text)


def answers_whole():
    answer = client.models.generate_content(model="demo-text", contents=PROMPT)
    expect(answer.text and answer.usage_metadata.prompt_token_count > 0, answer)


def counts_tokens():
    expect(0 < client.models.count_tokens(model="demo-text", contents=PROMPT).total_tokens < 100)


def lists_models():
    names = [model.name for model in client.models.list()]
    expect("models/demo-text" in names, names)
    for name in ("demo-text", "models/demo-text"):
        expect(client.models.get(model=name).name == "models/demo-text", name)


def unknown_model_is_not_found():
    error = raises(errors.ClientError, lambda: stream("demo-txet"))
    expect((error.code, error.status) == (404, "NOT_FOUND") and "demo-text" in str(error), error)


def wrong_key_is_unauthenticated():
    stranger = genai.Client(api_key="sk-wrong", http_options={"base_url": URL})
    error = raises(errors.ClientError, lambda: stranger.models.generate_content(model="demo-text", contents=PROMPT))
    expect((error.code, error.status) == (401, "UNAUTHENTICATED") and "sk-wrong" not in str(error), error)


def error_in_mid_stream_is_raised():
    seen = []

    def read():
        for chunk in client.models.generate_content_stream(model="demo-error", contents=PROMPT):
            seen.append(chunk)

    error = raises(errors.ServerError, read)
    expect(seen and error.code >= 500 and error.message, seen, error)


def leaves_in_mid_stream():
    for _ in range(5):
        chunks = client.models.generate_content_stream(model="demo-long", contents=PROMPT)
        for _, chunk in zip(range(3), chunks):
            expect(chunk.candidates, chunk)
        chunks.close()
    streams_text()


run(
    "google-python",
    [
        streams_text,
        streams_thoughts,
        streams_emoji,
        calls_functions_and_takes_results,
        answers_whole,
        counts_tokens,
        lists_models,
        unknown_model_is_not_found,
        wrong_key_is_unauthenticated,
        error_in_mid_stream_is_raised,
        leaves_in_mid_stream,
    ],
)
