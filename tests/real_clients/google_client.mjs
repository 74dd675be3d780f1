// Google's Node client against thalweg with the demo provider, which has chat completions: streams, thoughts, tools, counts, errors.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The package lives in the cache of tests/run.sh, not beside this file.
const require = createRequire(`${process.env.THALWEG_NODE_HOME}/`);
const { GoogleGenAI, ApiError } = require("@google/genai");

const { THALWEG_URL: URL, THALWEG_KEY: KEY } = process.env;
const client = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: URL } }).models;
const models = client(KEY);
const contents = "Which way does the river flow?";

const chunks = async (model, seen = []) => {
  for await (const chunk of await models.generateContentStream({ model, contents })) seen.push(chunk);
  return seen;
};
const parts = (seen) => seen.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
const text = (seen) =>
  parts(seen)
    .map((part) => (part.thought ? "" : (part.text ?? "")))
    .join("");
const fails = (status) => (error) => error instanceof ApiError && error.status === status;

const checks = {
  async "streams text"() {
    const seen = await chunks("demo-text");
    assert(seen.length > 3 && text(seen).length > 10);
    assert.equal(seen.at(-1).candidates[0].finishReason, "STOP");
    assert(seen.at(-1).usageMetadata.totalTokenCount > 0);
  },
  async "streams thoughts"() {
    assert(parts(await chunks("demo-reasoning")).some((part) => part.thought && part.text));
  },
  async "streams function calls"() {
    const calls = parts(await chunks("demo-tools")).flatMap((part) => part.functionCall ?? []);
    assert(calls.length > 0 && calls.every((call) => call.id && call.name && typeof call.args === "object"));
  },
  async "answers whole"() {
    assert((await models.generateContent({ model: "demo-text", contents })).text);
  },
  async "counts tokens"() {
    assert((await models.countTokens({ model: "demo-text", contents })).totalTokens > 0);
  },
  async "lists models"() {
    const names = [];
    for await (const model of await models.list()) names.push(model.name);
    assert(names.includes("models/demo-text"));
    assert.equal((await models.get({ model: "demo-text" })).name, "models/demo-text");
  },
  async "unknown model is not found"() {
    await assert.rejects(chunks("demo-txet"), fails(404));
  },
  async "wrong key is unauthenticated"() {
    await assert.rejects(client("sk-wrong").generateContent({ model: "demo-text", contents }), fails(401));
  },
  async "error in mid stream is thrown"() {
    const seen = [];
    await assert.rejects(chunks("demo-error", seen), (error) => error instanceof ApiError && error.status >= 500);
    assert(seen.length > 0);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok      google-node: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  google-node: ${name}\n${error.stack}`);
  }
}
console.log(`google-node: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
