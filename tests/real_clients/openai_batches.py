"""OpenAI's Python client makes, follows, lists and cancels batches that thalweg runs with the demo provider."""

import io
import json
import time

import openai
from checks import KEY, URL, expect, raises, run

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
CHAT = "/v1/chat/completions"


def line(name, model="demo-text", url=CHAT, **more):
    body = {"model": model, "messages": [{"role": "user", "content": "Which way does the river flow?"}], **more}
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body})


def uploaded(*lines):
    return client.files.create(file=("in.jsonl", io.BytesIO("\n".join(lines).encode())), purpose="batch")


def begun(*lines):
    return client.batches.create(
        input_file_id=uploaded(*lines).id, endpoint=CHAT, completion_window="24h", metadata={"for": "tests"}
    )


def ended(batch):
    for _ in range(600):
        batch = client.batches.retrieve(batch.id)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch
        time.sleep(0.05)
    raise AssertionError(batch)


def keeps_files():
    file = uploaded(line("a"))
    expect(file.object == "file" and file.purpose == "batch" and file.filename == "in.jsonl", file)
    expect(client.files.retrieve(file.id) == file, file)
    expect(client.files.content(file.id).text == line("a"), "another content")
    expect(file.id in [one.id for one in client.files.list(purpose="batch")], "not listed")
    expect(client.files.delete(file.id).deleted, file)
    raises(openai.NotFoundError, lambda: client.files.retrieve(file.id))
    raises(openai.BadRequestError, lambda: client.files.create(file=b"{}", purpose="fine-tune"))


def runs_a_batch():
    batch = begun(line("a"), line("b", model="no-such-model"), line("c"))
    expect(batch.status == "validating" and batch.metadata == {"for": "tests"}, batch)
    batch = ended(batch)
    expect(batch.status == "completed", batch)
    counts = batch.request_counts
    expect((counts.total, counts.completed, counts.failed) == (3, 2, 1), batch)
    answers = [json.loads(text) for text in client.files.content(batch.output_file_id).text.splitlines()]
    expect([answer["custom_id"] for answer in answers] == ["a", "c"], answers)
    expect(answers[0]["response"]["body"]["choices"][0]["message"]["content"], answers[0])
    errors = [json.loads(text) for text in client.files.content(batch.error_file_id).text.splitlines()]
    expect(errors[0]["custom_id"] == "b" and errors[0]["response"]["status_code"] == 404, errors)


def lists_batches_in_pages():
    made = [begun(line("a")).id for _ in range(3)]
    listed = [batch.id for batch in client.batches.list(limit=2)]
    expect(set(made) <= set(listed) and len(listed) == len(set(listed)), listed, made)
    expect(set(listed[:3]) == set(made), "not the newest first", listed, made)


def tells_mistakes_of_an_input():
    batch = ended(begun(line("a"), line("a")))
    expect(batch.status == "failed" and batch.errors.data[0].line == 2, batch)
    expect(batch.errors.data[0].code == "duplicate_custom_id", batch)


def cancels_a_batch():
    batch = begun(*(line(f"item-{number}") for number in range(500)))
    cancelled = client.batches.cancel(batch.id)
    expect(cancelled.status in ("cancelling", "cancelled"), cancelled)
    batch = ended(batch)
    expect(batch.status == "cancelled" and batch.request_counts.completed < 500, batch)
    raises(openai.NotFoundError, lambda: client.batches.retrieve("batch_0"))


run("openai batches", [keeps_files, runs_a_batch, lists_batches_in_pages, tells_mistakes_of_an_input, cancels_a_batch])
