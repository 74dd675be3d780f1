"""OpenAI's Python client against thalweg with the demo provider: streams, tools, errors as its classes, cancellation."""

import asyncio
import json

import openai
from checks import KEY, URL, expect, raises, run

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
MESSAGES = [{"role": "user", "content": "Which way does the river flow?"}]


def chat(model="demo-text", **more):
    return client.chat.completions.create(model=model, messages=MESSAGES, **more)


def content_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def streams_text():
    chunks = list(chat(stream=True))
    expect(len(chunks) > 3 and len(content_of(chunks)) > 10, chunks)
    expect(chunks[-1].choices[0].finish_reason == "stop", chunks[-1])
    expect(all(chunk.usage is None for chunk in chunks), "usage that nobody asked for")


def streams_in_every_mode():
    whole = content_of(chat(stream=True))
    for value in ("true", "false"):
        expect(content_of(chat(stream=True, extra_headers={"x-use-asgi-streaming": value})) == whole, value)
    for value in (True, False):
        expect(content_of(chat(stream=True, extra_body={"x_use_asgi_streaming": value})) == whole, value)
    with client.chat.completions.with_streaming_response.create(
        model="demo-text", messages=MESSAGES, stream=True
    ) as response:
        expect(response.headers["content-type"].startswith("text/event-stream"), response.headers)
        expect(response.headers.get("x-request-id"), response.headers)


def tells_usage_when_asked():
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    expect(chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1])


def streams_reasoning():
    deltas = [chunk.choices[0].delta for chunk in chat("demo-reasoning", stream=True) if chunk.choices]
    expect(any(getattr(delta, "reasoning_content", None) for delta in deltas), deltas)


def streams_tool_calls():
    name, arguments = "", ""
    for chunk in chat("demo-tools", stream=True):
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            if call.index == 0:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    expect(name and isinstance(json.loads(arguments), dict), name, arguments)


def streams_emoji():
    text = content_of(chat("demo-emoji", stream=True))
    expect(any(ord(letter) > 0xFFFF for letter in text) and "\ufffd" not in text, text)


def answers_whole():
    completion = chat()
    expect(completion.choices[0].message.content, completion)
    expect(completion.usage.total_tokens > 0, completion)


def answers_tool_calls_whole():
    calls = chat("demo-tools").choices[0].message.tool_calls
    expect(isinstance(json.loads(calls[0].function.arguments), dict), calls)


def lists_models():
    models = [model.id for model in client.models.list()]
    expect(any("demo-text" in model for model in models), models)
    for name in ("demo-text", "demo/demo-text"):
        expect(client.models.retrieve(name).id == name, name)
    error = raises(openai.NotFoundError, lambda: client.models.retrieve("demo-txet"))
    expect("demo-text" in str(error), error)


def embeds():
    vectors = client.embeddings.create(model="demo-embedding", input=["river", "bed"]).data
    expect(len(vectors) == 2 and len(vectors[0].embedding) > 1, vectors)


def completes_the_old_way():
    chunks = list(client.completions.create(model="demo-text", prompt="Once", stream=True))
    expect("".join(chunk.choices[0].text for chunk in chunks if chunk.choices), chunks)


def streams_responses():
    events = [event.type for event in client.responses.create(model="demo-text", input="hi", stream=True)]
    expect(events[0] == "response.created" and events[-1] == "response.completed", events)


def unknown_model_is_not_found():
    error = raises(openai.NotFoundError, lambda: chat("demo-txet"))
    expect("demo-text" in str(error), error)
    expect(error.code == "model_not_found" and error.param == "model", error)


def wrong_key_is_authentication():
    stranger = openai.OpenAI(base_url=f"{URL}/v1", api_key="sk-wrong", max_retries=0)
    error = raises(
        openai.AuthenticationError,
        lambda: stranger.chat.completions.create(model="demo-text", messages=MESSAGES, stream=True),
    )
    expect("sk-wrong" not in str(error), error)


def bad_field_is_bad_request():
    raises(openai.BadRequestError, lambda: chat(extra_body={"stream": "yes"}))


def error_in_mid_stream_is_raised():
    seen = []

    def read():
        for chunk in chat("demo-error", stream=True):
            seen.append(chunk)

    error = raises(openai.APIError, read)
    expect(seen and error.message, seen, error)


def leaves_in_mid_stream():
    for _ in range(5):
        stream = chat("demo-long", stream=True)
        for _, chunk in zip(range(3), stream):
            expect(chunk.object == "chat.completion.chunk", chunk)
        stream.close()
    streams_text()


def cancels_a_task():
    async def main():
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as loop_client:
            started = asyncio.Event()

            async def read():
                stream = await loop_client.chat.completions.create(
                    model="demo-long", messages=MESSAGES, stream=True
                )
                async for _ in stream:
                    started.set()

            task = asyncio.create_task(read())
            await asyncio.wait_for(started.wait(), 10)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return
            raise AssertionError("the task was not cancelled")

    asyncio.run(main())


def streams_twenty_at_once():
    async def main():
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as loop_client:

            async def read():
                stream = await loop_client.chat.completions.create(
                    model="demo-text", messages=MESSAGES, stream=True
                )
                return content_of([chunk async for chunk in stream])

            texts = await asyncio.gather(*(read() for _ in range(20)))
            expect(len(set(texts)) == 1 and texts[0], texts)

    asyncio.run(main())


run(
    "openai-python",
    [
        streams_text,
        streams_in_every_mode,
        tells_usage_when_asked,
        streams_reasoning,
        streams_tool_calls,
        streams_emoji,
        answers_whole,
        answers_tool_calls_whole,
        lists_models,
        embeds,
        completes_the_old_way,
        streams_responses,
        unknown_model_is_not_found,
        wrong_key_is_authentication,
        bad_field_is_bad_request,
        error_in_mid_stream_is_raised,
        leaves_in_mid_stream,
        cancels_a_task,
        streams_twenty_at_once,
    ],
)
