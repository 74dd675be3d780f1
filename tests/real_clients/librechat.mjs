// LibreChat with the block of docs/CLIENTS.md: LibreChat's own schema takes it, and the library by which its
// server talks to models streams an answer, runs a tool and returns the result, before a provider of chat
// completions and translated before one of messages. Not a part of tests/run.sh, because it installs 570 MB:
//
//   THALWEG=target/debug/thalweg node tests/real_clients/librechat.mjs
//
// LIBRECHAT_HOME names a directory that has the packages, or gets them. Ends with "N passed, N failed".

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

// LibreChat 0.8.8 has these.
const PACKAGES = ["librechat-data-provider@0.8.524", "@librechat/agents@3.9.2"];
const KEY = "sk-tests-of-librechat";
const MODELS = { chat: "river-chat", messages: "river-messages" };
const CALL = { name: "depth", arguments: { station: "weir" } };
const ANSWER = ["It is ", "2.31 m ", "deep."];
const DEPTH = "2.31";

const folder = mkdtempSync(join(tmpdir(), "thalweg-librechat-"));
let gateway;
process.on("exit", () => {
  gateway?.kill();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
const home = process.env.LIBRECHAT_HOME ?? folder;
if (!existsSync(join(home, "node_modules", "@librechat", "agents"))) {
  const options = ["--prefix", home, "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
  execFileSync("npm", ["install", ...options, ...PACKAGES], { stdio: "inherit" });
}
const require = createRequire(join(home, "package.json"));
const { Constants, configSchema, extractEnvVariable } = require("librechat-data-provider");
const { GraphEvents, HumanMessage, Providers, Run } = require("@librechat/agents");
const { tool } = require("@langchain/core/tools");
const yaml = require("js-yaml");

/** The block of docs/CLIENTS.md. */
const block = () => {
  const docs = readFileSync(new URL("../../docs/CLIENTS.md", import.meta.url), "utf8");
  return yaml.load(/LibreChat reads `librechat\.yaml`[^]*?```yaml\n([^]*?)```/.exec(docs)[1]);
};

/** Events of a call first, of the answer once the conversation has the call's result. */
const chatEvents = (hasResult) => {
  const chunk = (delta, finish_reason = null) => ({
    id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: MODELS.chat, choices: [{ index: 0, delta, finish_reason }],
  });
  const call = { index: 0, id: "call_1", type: "function", function: { name: CALL.name, arguments: "" } };
  const written = JSON.stringify(CALL.arguments);
  const parts = [written.slice(0, 9), written.slice(9)].map((part) => ({ index: 0, function: { arguments: part } }));
  const said = hasResult ? ANSWER.map((content) => ({ content })) : [call, ...parts].map((part) => ({ tool_calls: [part] }));
  const usage = { ...chunk({}), choices: [], usage: { prompt_tokens: 20, completion_tokens: 8, total_tokens: 28 } };
  const chunks = [chunk({ role: "assistant" }), ...said.map((delta) => chunk(delta)), chunk({}, hasResult ? "stop" : "tool_calls"), usage];
  return [...chunks.map((data) => `data: ${JSON.stringify(data)}\n\n`), "data: [DONE]\n\n"];
};

const messagesEvents = (hasResult) => {
  const message = { id: "msg_1", type: "message", role: "assistant", model: MODELS.messages, content: [], usage: { input_tokens: 20, output_tokens: 1 } };
  const written = JSON.stringify(CALL.arguments);
  const content = hasResult ? { type: "text", text: "" } : { type: "tool_use", id: "toolu_1", name: CALL.name, input: {} };
  const deltas = hasResult
    ? ANSWER.map((text) => ({ type: "text_delta", text }))
    : [written.slice(0, 9), written.slice(9)].map((partial_json) => ({ type: "input_json_delta", partial_json }));
  const events = [
    { type: "message_start", message },
    { type: "content_block_start", index: 0, content_block: content },
    ...deltas.map((delta) => ({ type: "content_block_delta", index: 0, delta })),
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: hasResult ? "end_turn" : "tool_use" }, usage: { output_tokens: 8 } },
    { type: "message_stop" },
  ];
  return events.map((data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`);
};

const asked = [];
const provider = createServer(async (request, response) => {
  // It has no list of models.
  if (request.method !== "POST") return response.writeHead(404).end();
  let body = "";
  for await (const part of request) body += part;
  const json = JSON.parse(body);
  asked.push(json);
  const isChat = request.url === "/v1/chat/completions";
  const hasResult = json.messages.some(({ role, content }) => role === "tool" || (Array.isArray(content) && content.some(({ type }) => type === "tool_result")));
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of (isChat ? chatEvents : messagesEvents)(hasResult)) {
    response.write(event);
    await new Promise(setImmediate);
  }
  response.end();
});
provider.listen(0, "127.0.0.1");
await once(provider, "listening");

const base_url = `http://127.0.0.1:${provider.address().port}/v1`;
const providers = Object.entries(MODELS).map(([dialect, model]) => ({ name: dialect, base_url, api_key: "sk-up", models: [model], dialects: [dialect] }));
const file = join(folder, "config.json");
writeFileSync(file, JSON.stringify({ host: "127.0.0.1", port: 0, tokens: [`tests|${KEY}`], providers, database: false, watch: false }));
gateway = spawn(process.env.THALWEG ?? "target/debug/thalweg", ["serve", "--config", file], { env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });

/** Where the gateway listens. */
const address = await new Promise((resolve, reject) => {
  for (const stream of [gateway.stdout, gateway.stderr])
    createInterface(stream).on("line", (line) => {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (found) resolve(found[0]);
    });
  gateway.on("error", reject).on("exit", (code) => reject(new Error(`the gateway ended with ${code}`)));
});
process.env.THALWEG_KEY = KEY;

/** The endpoint of the block, as LibreChat's server resolves it, with this gateway's port. */
const endpoint = () => {
  const [{ apiKey, baseURL, models }] = configSchema.strict().parse(block()).endpoints.custom;
  return { apiKey: extractEnvVariable(apiKey), baseURL: baseURL.replace("http://localhost:9000", address), models };
};

/** One conversation of LibreChat's agent with a tool. */
const talk = async (model) => {
  const { apiKey, baseURL } = endpoint();
  const [deltas, calls, usage] = [[], [], []];
  const depth = tool(async (given) => (calls.push(given), DEPTH), {
    name: CALL.name,
    description: "The depth of the river in metres.",
    schema: { type: "object", properties: { station: { type: "string" } }, required: ["station"] },
  });
  const llmConfig = { provider: Providers.OPENAI, model, apiKey, streaming: true, streamUsage: true, configuration: { baseURL } };
  const run = await Run.create({
    runId: `run-${model}`,
    graphConfig: { type: "standard", llmConfig, tools: [depth], instructions: "You know the river." },
    returnContent: true,
    customHandlers: {
      [GraphEvents.ON_MESSAGE_DELTA]: { handle: (_, { delta }) => deltas.push(...delta.content.map(({ text }) => text)) },
      [GraphEvents.CHAT_MODEL_END]: { handle: (_, { output }) => usage.push(output.usage_metadata) },
    },
  });
  const config = { configurable: { thread_id: model }, streamMode: "values", version: "v2" };
  const content = await run.processStream({ messages: [new HumanMessage("How deep is it at the weir?")] }, config);
  return { content, deltas, calls, usage };
};

const roundTrip = async (dialect) => {
  asked.length = 0;
  const { content, deltas, calls, usage } = await talk(MODELS[dialect]);
  assert.deepEqual(calls, [CALL.arguments]);
  assert.deepEqual(deltas, ANSWER);
  assert.equal(content.find(({ type }) => type === "tool_call").tool_call.output, DEPTH);
  assert.equal(content.find(({ text }) => text).text, ANSWER.join(""));
  assert.equal(asked.length, 2);
  assert(JSON.stringify(asked[1].messages).includes(DEPTH));
  assert(usage.every(({ output_tokens }) => output_tokens === 8) && usage.length === 2, JSON.stringify(usage));
};

const checks = {
  "its schema takes the block, without a member that it does not know"() {
    const { endpoints } = configSchema.strict().parse(block());
    assert.deepEqual(endpoints, block().endpoints);
  },
  "the block's version is its schema's"() {
    assert.equal(block().version, Constants.CONFIG_VERSION);
  },
  async "it finds the models"() {
    const { apiKey, baseURL, models } = endpoint();
    assert(models.fetch);
    const answer = await fetch(`${baseURL}/models`, { headers: { authorization: `Bearer ${apiKey}` } });
    const { data } = await answer.json();
    assert.deepEqual(data.map(({ id }) => id).sort(), Object.values(MODELS).sort());
  },
  "streams, runs a tool and returns its result": () => roundTrip("chat"),
  "the same, translated": () => roundTrip("messages"),
  async "tells the reason of a refusal"() {
    await assert.rejects(talk("river-none"), /river-none/);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok      librechat: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  librechat: ${name}\n${error.stack}`);
  }
}
// It writes its state into the folder when it ends.
gateway.removeAllListeners("exit").kill();
await once(gateway, "exit");
console.log(`librechat: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
