// The first page: lines for clients, the playground, providers and models with their state.

import { Failure, address, ask, askJson, begin, byId, chatModels, events, fillModels, make, number, say, signedIn, time } from "./common.js";

const base = address("v1").href;
const root = address("").href.replace(/\/$/, "");
// A single quote is the only character that ends a single-quoted word in a shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const COVER = "YOUR_KEY";

const lines = (secret, model) => [
  [
    "curl",
    `curl --no-buffer \\\n  ${base}/chat/completions \\\n  -H ${quoted(`Authorization: Bearer ${secret}`)} \\\n` +
      `  -H 'Content-Type: application/json' \\\n  -d ${quoted(`{${JSON.stringify({ model, stream: true }).slice(1, -1)},\n       "messages":[{"role":"user","content":"Hello"}]}`)}`,
  ],
  ["OpenAI’s libraries", `export OPENAI_BASE_URL=${base}\nexport OPENAI_API_KEY=${secret}`],
  ["Claude Code", `ANTHROPIC_BASE_URL=${root} ANTHROPIC_AUTH_TOKEN=${secret} claude --model ${quoted(model)}`],
  [
    "Codex: ~/.codex/config.toml, with the key in THALWEG_KEY",
    `model = ${JSON.stringify(model)}\nmodel_provider = "thalweg"\n\n[model_providers.thalweg]\nname = "thalweg"\n` +
      `base_url = "${base}"\nenv_key = "THALWEG_KEY"\nwire_api = "responses"`,
  ],
];

const showLines = () => {
  const model = byId("model").disabled ? "MODEL" : byId("model").value;
  const shown = lines(COVER, model).map(([title, text], index) => {
    const copy = make("button", { type: "button", class: "plain small", "aria-label": `Copy the lines for ${title.split(":")[0]}` }, "Copy");
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(lines(COVER, model)[index][1]);
        say(byId("copy-status"), `Copied; put your key in the place of ${COVER}.`);
      } catch {
        say(byId("copy-status"), "This browser does not let a page copy here: select the lines and copy them.", true);
      }
    });
    const label = make("span", { class: "label" }, title);
    return make("div", { class: "snippet" }, make("header", {}, label, copy), make("pre", {}, make("code", {}, text)));
  });
  byId("snippets").replaceChildren(...shown);
};

const STATES = {
  admitting: ["good", "ready"],
  probing: ["warn", "being tried again"],
  resting: ["warn", "rests"],
  tripped: ["bad", "rests after failures"],
};

const state = (name, until) => {
  const [kind, words] = STATES[name] ?? ["warn", name];
  const end = until ? ` until ${new Date(until).toLocaleTimeString()}` : "";
  return make("span", { class: `state ${kind}` }, words + end);
};

const lastError = (error) => (error ? `${error.class.replaceAll("_", " ")}, ${new Date(error.at).toLocaleTimeString()}` : "");

const rows = (provider, listed) => {
  const known = new Map(provider.candidates.map((one) => [one.model, one]));
  const models = [...new Set([...listed, ...known.keys()])].filter((model) => model !== null);
  const first = make("th", { scope: "row", rowspan: Math.max(models.length, 1) }, provider.provider, make("br"));
  first.append(provider.healthy ? state(provider.state, provider.until) : make("span", { class: "state bad" }, "down"));
  if (!models.length) {
    return [make("tr", {}, first, make("td", { colspan: 5 }, lastError(provider.last_error) || "It lists no model."))];
  }
  return models.map((model, index) => {
    const one = known.get(model);
    const cells = [
      make("td", {}, make("bdi", {}, model)),
      make("td", {}, one ? state(one.state, one.until) : ""),
      make("td", { class: "number" }, number(one?.requests ?? 0)),
      make("td", { class: "number" }, time(one?.ttft_ms?.p50)),
      make("td", {}, lastError(one?.last_error) || "none"),
    ];
    return make("tr", {}, ...(index ? cells : [first, ...cells]));
  });
};

const STATUS = {
  healthy: "All providers answer.",
  degraded: "Some providers are down.",
  unhealthy: "No provider answers.",
};

const load = async () => {
  showLines();
  try {
    const health = await askJson("health");
    say(byId("state"), STATUS[health.status] ?? health.status, health.status === "unhealthy");
    if (!signedIn()) return say(byId("providers-status"), "Sign in to see providers and models.");
    const { data } = await askJson("v1/models");
    showModels(data);
    const details = health.details ?? [];
    const listed = (name) => data.filter(({ providers }) => providers?.includes(name)).map(({ id }) => id);
    byId("providers").tBodies[0].replaceChildren(...details.flatMap((one) => rows(one, listed(one.provider))));
    byId("providers").hidden = !details.length;
    const none = "None is configured: name one in config.json, or set a provider’s key in the environment.";
    const count = (size, word) => `${size} ${word}${size === 1 ? "" : "s"}`;
    const sum = `${count(details.length, "provider")}, ${count(data.length, "model")} that your key may use.`;
    say(byId("providers-status"), details.length ? sum : none);
  } catch (error) {
    say(byId("providers-status"), error.message, true);
  }
};

const showModels = (data) => {
  const models = chatModels(data);
  const select = byId("model");
  select.disabled = byId("send").disabled = !models.length;
  if (!models.length) return say(byId("play-status"), "No model to talk to: your key may use none, or no provider has listed one yet.", true);
  fillModels(select, models);
  showLines();
  say(byId("play-status"), "Ready.");
};

let running = null;

const play = async () => {
  running = new AbortController();
  const begun = performance.now();
  let first = null;
  let last = null;
  let tokens = 0;
  const answer = byId("answer");
  answer.replaceChildren();
  for (const id of ["first", "rate", "tokens", "added"]) byId(id).textContent = "–";
  byId("send").disabled = true;
  byId("stop").disabled = false;
  say(byId("play-status"), "Waiting for the first token …");

  // At most one change of the page per frame, however fast tokens come.
  let pending = [];
  let scheduled = false;
  const draw = () => {
    scheduled = false;
    const atEnd = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 40;
    for (const [kind, text] of pending) {
      const end = answer.lastElementChild;
      if (end?.className === kind) end.append(text);
      else answer.append(make("span", { class: kind }, text));
    }
    pending = [];
    if (atEnd) answer.scrollTop = answer.scrollHeight;
    byId("tokens").textContent = number(tokens);
    if (tokens > 1 && last > first) byId("rate").textContent = number(((tokens - 1) * 1000) / (last - first), 1);
  };
  const put = (kind, text) => {
    last = performance.now();
    tokens += 1;
    if (first === null) {
      first = last;
      byId("first").textContent = time(first - begun);
      say(byId("play-status"), "Tokens arrive.");
    }
    pending.push([kind, text]);
    if (!scheduled) requestAnimationFrame(draw);
    scheduled = true;
  };

  try {
    const body = { model: byId("model").value, stream: true, messages: [{ role: "user", content: byId("prompt").value }] };
    const response = await ask("v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json", "x-thalweg-trace": "1" },
      body: JSON.stringify(body),
      signal: running.signal,
    });
    let provider = response.headers.get("x-thalweg-provider");
    for await (const { data, comment } of events(response)) {
      if (comment?.startsWith("thalweg {")) {
        const trace = JSON.parse(comment.slice(8));
        provider = trace.provider ?? provider;
        const { p50, p99 } = trace.added_us ?? {};
        if (p50 !== undefined && p50 !== null) {
          byId("added").replaceChildren(`${time(p50 / 1000)} `, make("small", {}, `p99 ${time(p99 / 1000)}`));
        }
      }
      if (!data || data === "[DONE]") continue;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Failure(200, `The provider ended with an error: ${chunk.error.message ?? JSON.stringify(chunk.error)}`);
      const delta = chunk.choices?.[0]?.delta ?? {};
      const thought = delta.reasoning_content ?? delta.reasoning;
      if (typeof thought === "string" && thought) put("reasoning", thought);
      if (delta.content) put("text", delta.content);
      for (const call of delta.tool_calls ?? []) put("text", `${call.function?.name ?? ""}${call.function?.arguments ?? ""}`);
    }
    say(byId("play-status"), `Done in ${time(performance.now() - begun)}${provider ? `, from ${provider}` : ""}.`);
  } catch (error) {
    const stopped = error.name === "AbortError";
    const broken = error instanceof Failure ? error.message : "The answer broke off. Try again, or look at the providers’ state.";
    say(byId("play-status"), stopped ? "Stopped." : broken, !stopped);
  } finally {
    if (pending.length) draw();
    running = null;
    byId("send").disabled = false;
    byId("stop").disabled = true;
  }
};

byId("play").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  if (!byId("prompt").value.trim()) return say(byId("play-status"), "Write a message first.", true);
  play();
});
byId("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("play").requestSubmit();
});
byId("stop").addEventListener("click", () => running?.abort());
byId("model").addEventListener("change", showLines);
begin(load);
