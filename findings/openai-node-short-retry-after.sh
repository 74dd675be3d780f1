#!/usr/bin/env bash
# OpenAI's SDK for Node.js asks again after a second when `retry-after` says 61, and sends a deadline of 1.9
# s as 1 s.
#
# Version: openai 7.59.0 (npm).
# Source: RFC 9110 section 10.2.3: Retry-After says how long the client "ought to wait before making a
#   follow-up request"; there is no bound at 60. The SDK's README: a request's `timeout` is in milliseconds.
# Seen: 429 with `retry-after: 2`: the next request after 2 s. 429 with `retry-after: 61`: after less than
#   10 s. `timeout: 1900`: the request carries `x-stainless-timeout: 1`. Consequence for a gateway: limits
#   per minute never say more than 60; a deadline from x-stainless-timeout has 1 s added.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --silent --no-audit --no-fund openai@7.59.0
cat >"$dir/run.mjs" <<'JS'
import http from "node:http";
import OpenAI from "openai";

let times = [], headers = {}, wait = "2";
const server = http.createServer((request, response) => {
  times.push(performance.now());
  headers = request.headers;
  request.resume();
  response.writeHead(429, { "content-type": "application/json", "retry-after": wait });
  response.end(JSON.stringify({ error: { message: "Not now.", type: "requests", param: null, code: "rate_limit_exceeded" } }));
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;

async function pause(value) {
  times = [];
  wait = value;
  const client = new OpenAI({ baseURL, apiKey: "k", maxRetries: 1 });
  const body = { model: "m", messages: [{ role: "user", content: "Hello" }] };
  await client.chat.completions.create(body, { timeout: 1900 }).catch(() => {});
  return (times[1] - times[0]) / 1000;
}

const short = await pause("2"), long = await pause("61");
console.log(`retry-after: 2 -> next request after ${short.toFixed(1)} s`);
console.log(`retry-after: 61 -> next request after ${long.toFixed(1)} s`);
console.log(`timeout: 1900 -> x-stainless-timeout: ${headers["x-stainless-timeout"]}`);
server.close();
if (!(short >= 1.9 && long < 10 && headers["x-stainless-timeout"] === "1")) {
  console.error("changed");
  process.exit(1);
}
process.exit(0);
JS
node "$dir/run.mjs"
