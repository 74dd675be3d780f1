// OpenAI's Node client against thalweg with the demo provider: streams, tools, errors as its classes, cancellation.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The package lives in the cache of tests/run.sh, not beside this file.
const require = createRequire(`${process.env.THALWEG_NODE_HOME}/`);
const OpenAI = require("openai").default ?? require("openai");

const { THALWEG_URL: URL, THALWEG_KEY: KEY } = process.env;
const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Which way does the river flow?" }];

const chat = (model, more = {}, options = {}) =>
  client.chat.completions.create({ model, messages, ...more }, options);

const chunks = async (model, more = {}, options = {}) => {
  const seen = [];
  for await (const chunk of await chat(model, { stream: true, ...more }, options)) seen.push(chunk);
  return seen;
};

const content = (seen) => seen.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

const checks = {
  async "streams text"() {
    const seen = await chunks("demo-text");
    assert(seen.length > 3 && content(seen).length > 10);
    assert.equal(seen.at(-1).choices[0].finish_reason, "stop");
    assert(seen.every((chunk) => chunk.usage == null));
  },
  async "streams the same buffered"() {
    const headers = { "x-use-asgi-streaming": "false" };
    assert.equal(content(await chunks("demo-text", {}, { headers })), content(await chunks("demo-text")));
  },
  async "tells usage when asked"() {
    const last = (await chunks("demo-text", { stream_options: { include_usage: true } })).at(-1);
    assert(last.choices.length === 0 && last.usage.total_tokens > 0);
  },
  async "streams tool calls"() {
    const calls = (await chunks("demo-tools")).flatMap((chunk) => chunk.choices[0]?.delta?.tool_calls ?? []);
    const first = calls.filter((call) => call.index === 0);
    assert(first[0].function.name);
    assert.equal(typeof JSON.parse(first.map((call) => call.function.arguments ?? "").join("")), "object");
  },
  async "streams emoji"() {
    const text = content(await chunks("demo-emoji"));
    assert(/\p{Extended_Pictographic}/u.test(text) && !text.includes("\ufffd"));
  },
  async "answers whole"() {
    assert((await chat("demo-text")).choices[0].message.content);
  },
  async "lists models"() {
    const { data } = await client.models.list();
    assert(data.some((model) => model.id.includes("demo-text")));
  },
  async "unknown model is not found"() {
    await assert.rejects(chat("demo-txet"), (error) => {
      assert(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, "model_not_found");
      return true;
    });
  },
  async "wrong key is authentication"() {
    const stranger = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
    await assert.rejects(
      stranger.chat.completions.create({ model: "demo-text", messages }),
      OpenAI.AuthenticationError,
    );
  },
  async "bad field is bad request"() {
    await assert.rejects(chat("demo-text", { stream: "yes" }), OpenAI.BadRequestError);
  },
  async "error in mid stream is thrown"() {
    await assert.rejects(chunks("demo-error"), (error) => error instanceof OpenAI.APIError);
  },
  async "aborts in mid stream"() {
    const stream = await chat("demo-long", { stream: true });
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) stream.controller.abort();
    assert(seen >= 3);
    assert(content(await chunks("demo-text")));
  },
  async "streams twenty at once"() {
    const texts = await Promise.all(Array.from({ length: 20 }, async () => content(await chunks("demo-text"))));
    assert.equal(new Set(texts).size, 1);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok      openai-node: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  openai-node: ${name}\n${error.stack}`);
  }
}
console.log(`openai-node: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
