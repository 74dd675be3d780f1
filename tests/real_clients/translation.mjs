// Recorded answers of real providers, asked for through thalweg in every other dialect, with and without a
// stream: the official SDKs of Node and the AI SDK read them, and they mean the same as the recordings.
// `translation.py` starts the provider and the gateway, and writes the meaning of the recordings into the file
// THALWEG_RECORDINGS.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { THALWEG_URL: URL, THALWEG_KEY: KEY, THALWEG_NODE_HOME: HOME } = process.env;
// The packages live in the cache of tests/run.sh, not beside this file.
const require = createRequire(`${HOME}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const OpenAI = (await load("openai")).default;
const Anthropic = (await load("@anthropic-ai/sdk")).default;
const { GoogleGenAI } = require("@google/genai");
const { streamText, generateText } = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createAnthropic } = await load("@ai-sdk/anthropic");
const { createGoogleGenerativeAI } = await load("@ai-sdk/google");

globalThis.AI_SDK_LOG_WARNINGS = false;
const openai = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: URL, apiKey: KEY, maxRetries: 0 });
const google = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: URL } }).models;
const messages = [{ role: "user", content: "Which way does the river flow?" }];

const sum = (...counts) => counts.reduce((total, count) => total + (count ?? 0), 0);
const joined = (parts, name) => parts.map((part) => part[name]).join("");
const stopOf = (reason, names, calls) => names[reason] ?? (calls.length ? "tool" : "stop");

const sdks = {
  async chat(model, stream) {
    const options = stream ? { stream_options: { include_usage: true } } : {};
    const { chat } = openai;
    const whole = stream
      ? await chat.completions.stream({ model, messages, ...options }).finalChatCompletion()
      : await chat.completions.create({ model, messages });
    const [{ message, finish_reason: reason }] = whole.choices;
    const calls = (message.tool_calls ?? []).map(({ function: f }) => [f.name, JSON.parse(f.arguments || "{}")]);
    const { usage } = whole;
    return {
      text: message.content ?? "",
      reasoning: message.reasoning_content ?? "",
      calls,
      stop: stopOf(reason, { length: "length", content_filter: "filter" }, calls),
      usage: [usage?.prompt_tokens, usage?.completion_tokens, usage?.prompt_tokens_details?.cached_tokens ?? 0],
    };
  },
  async messages(model, stream) {
    const asked = { model, max_tokens: 1000, messages };
    const whole = stream ? await anthropic.messages.stream(asked).finalMessage() : await anthropic.messages.create(asked);
    const of = (type) => whole.content.filter((block) => block.type === type);
    const calls = of("tool_use").map((block) => [block.name, block.input]);
    const { input_tokens, output_tokens, cache_read_input_tokens: cached, cache_creation_input_tokens } = whole.usage;
    return {
      text: joined(of("text"), "text"),
      reasoning: joined(of("thinking"), "thinking"),
      calls,
      stop: stopOf(whole.stop_reason, { max_tokens: "length", refusal: "filter" }, calls),
      usage: [sum(input_tokens, cached, cache_creation_input_tokens), output_tokens, cached],
    };
  },
  async responses(model, stream) {
    const asked = { model, input: messages };
    const whole = stream ? await openai.responses.stream(asked).finalResponse() : await openai.responses.create(asked);
    if (whole.status === "failed") throw new OpenAI.APIError(undefined, whole.error, whole.error.message);
    const of = (type) => whole.output.filter((item) => item.type === type);
    const calls = of("function_call").map((item) => [item.name, JSON.parse(item.arguments || "{}")]);
    const { usage } = whole;
    return {
      text: joined(of("message").flatMap((item) => item.content), "text"),
      reasoning: of("reasoning").flatMap((item) => item.summary).map((part) => part.text).join("\n\n"),
      calls,
      stop: stopOf(whole.incomplete_details?.reason, { max_output_tokens: "length", content_filter: "filter" }, calls),
      usage: [usage?.input_tokens, usage?.output_tokens, usage?.input_tokens_details.cached_tokens],
    };
  },
  async gemini(model, stream) {
    const asked = { model, contents: messages[0].content };
    const answers = [];
    if (stream) for await (const answer of await google.generateContentStream(asked)) answers.push(answer);
    else answers.push(await google.generateContent(asked));
    const parts = answers.flatMap((answer) => answer.candidates?.[0]?.content?.parts ?? []);
    const texts = (isThought) => joined(parts.filter((part) => "text" in part && !!part.thought === isThought), "text");
    const calls = answers.flatMap((answer) => answer.functionCalls ?? []).map((call) => [call.name, call.args]);
    const { finishReason } = answers.at(-1).candidates[0];
    const usage = answers.findLast((answer) => answer.usageMetadata)?.usageMetadata;
    return {
      text: texts(false),
      reasoning: texts(true),
      calls,
      stop: stopOf(finishReason, { MAX_TOKENS: "length", SAFETY: "filter" }, calls),
      usage: usage && [
        usage.promptTokenCount,
        sum(usage.candidatesTokenCount, usage.thoughtsTokenCount),
        usage.cachedContentTokenCount ?? 0,
      ],
    };
  },
};

// The AI SDK checks each event by its own schema of the dialect.
const aiModels = {
  messages: createAnthropic({ baseURL: `${URL}/v1`, apiKey: KEY }),
  responses: createOpenAI({ baseURL: `${URL}/v1`, apiKey: KEY }).responses,
  chat: createOpenAI({ baseURL: `${URL}/v1`, apiKey: KEY }).chat,
  gemini: createGoogleGenerativeAI({ baseURL: `${URL}/v1beta`, apiKey: KEY }),
};

async function ai(dialect, name, stream) {
  const asked = { model: aiModels[dialect](name), messages, maxRetries: 0 };
  if (!stream) return ofAi(dialect, await generateText(asked));
  let failure;
  const result = streamText({ ...asked, onError: ({ error }) => (failure = error) });
  for await (const part of result.fullStream) if (part.type === "error") failure = part.error;
  // It offers no tools here, and says so of each call.
  if (failure && failure.name !== "AI_NoSuchToolError") throw failure;
  const [text, reasoningText, toolCalls, finishReason, usage] = await Promise.all(
    ["text", "reasoningText", "toolCalls", "finishReason", "usage"].map((member) => result[member]),
  );
  return ofAi(dialect, { text, reasoningText, toolCalls, finishReason, usage });
}

const ofAi = (dialect, { text, reasoningText, toolCalls, finishReason, usage }) => ({
  text,
  // Its chat client reads no reasoning.
  reasoning: dialect === "chat" ? undefined : (reasoningText ?? ""),
  calls: toolCalls.map((call) => [call.toolName, call.input]),
  stop: { "tool-calls": "tool", length: "length", "content-filter": "filter" }[finishReason] ?? "stop",
  usage: [usage.inputTokens, usage.outputTokens, usage.inputTokenDetails.cacheReadTokens ?? 0],
});

const recordings = JSON.parse(readFileSync(process.env.THALWEG_RECORDINGS));
const checks = {};
for (const recording of recordings) {
  for (const dialect of Object.keys(sdks).filter((each) => each !== recording.dialect)) {
    for (const stream of recording.streams || recording.status >= 400 ? [true, false] : [false]) {
      if (recording.failed && recording.status < 400 && !stream) continue;
      const way = stream ? "streamed" : "whole";
      checks[`${recording.name}, ${dialect} on ${recording.dialect}, ${way}`] = () =>
        check(recording, (model) => sdks[dialect](model, stream));
      checks[`${recording.name}, ${dialect} on ${recording.dialect}, ${way}, AI SDK`] = () =>
        check(recording, (model) => ai(dialect, model, stream));
    }
  }
}

async function check(recording, ask) {
  if (recording.failed) {
    await assert.rejects(ask(recording.model));
    return;
  }
  const seen = await ask(recording.model);
  for (const [name, value] of Object.entries(recording.meaning)) {
    // A dialect that always has counts gets an estimate.
    if ((name === "usage" && value === null) || seen[name] === undefined) continue;
    assert.deepEqual(seen[name], value, name);
  }
}

let failed = 0;
for (const [name, run] of Object.entries(checks)) {
  try {
    await run();
  } catch (error) {
    failed += 1;
    console.log(`FAILED  sdk-node, translation: ${name}\n${error.stack}`);
  }
}
console.log(`sdk-node, translation: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
