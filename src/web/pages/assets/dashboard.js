// Requests under way and as they end, rates, times and providers, from one subscription and two requests every five
// seconds.

import { ask, askJson, begin, byId, events, every, inView, make, micros, number, say, signedIn } from "./common.js";
import { day, drawFailures, loadDays, noteFailure, showStats } from "./operations.js";
import { running } from "./running.js";

const KEPT = 200;
const WINDOW_MS = 10_000;
const DRAW_MS = 250;
const POLL_MS = 5000;

let rows = [];
let samples = [];
let latest = null;
let changed = false;
let failed = false;
let isFiltered = false;
let isAdmin = true;
// The state of the events, and a failure of a question beside them, which is shown until the next one is answered.
let live = ["", false];
let trouble = null;

const KINDS = { ok: "good", refused: "warn", client_gone: "warn" };

const words = (row) => [row.outcome, row.status, row.fault, row.principal, row.model ?? row.model_asked, row.provider, row.path].join(" ").toLowerCase();

const drawRow = (row) => {
  const outcome = row.outcome === "ok" ? "ok" : `${(row.fault ?? row.outcome).replaceAll("_", " ")} ${row.status ?? ""}`;
  const cells = [row.principal ?? "none", row.model ?? row.model_asked ?? "–", row.provider ?? "–"];
  const figures = [micros(row.ttft_us), micros(row.total_us), number(row.tokens_out), micros(row.added_p50_ns === undefined ? null : row.added_p50_ns / 1000)];
  return make(
    "tr",
    {},
    make("td", { title: row.request_id }, new Date(row.at / 1000).toLocaleTimeString()),
    make("td", {}, make("span", { class: `state ${KINDS[row.outcome] ?? "bad"}` }, outcome)),
    ...cells.map((cell) => make("td", {}, make("bdi", {}, cell))),
    ...figures.map((figure) => make("td", { class: "number" }, figure)),
  );
};

const showStatus = () => say(byId("status"), ...(trouble && !live[1] ? [trouble, true] : live));
const sayLive = (...words) => {
  live = words;
  showStatus();
};

const draw = () => {
  const wanted = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  running.draw(wanted, isFiltered);
  isFiltered = false;
  if (!changed) return;
  changed = false;
  if (failed) drawFailures();
  failed = false;
  const shown = rows.filter((row) => wanted.every((word) => words(row).includes(word)));
  byId("rows").tBodies[0].replaceChildren(...shown.map(drawRow));
  const none = rows.length ? "None of them has these words." : "None has ended since this page was opened.";
  byId("rows-status").textContent = shown.length ? `${shown.length} of ${rows.length} shown.` : none;
  if (!samples.length) return;
  const [first, last] = [samples[0], samples.at(-1)];
  const seconds = Math.max((performance.now() - first.at) / 1000, 1);
  byId("requests").textContent = number((last.requests - first.requests) / seconds, 1);
  byId("tokens").textContent = number((last.output - first.output) / seconds, 1);
  byId("streams").textContent = number(latest.in_flight.streams);
  byId("connections").textContent = number(latest.in_flight.connections);
  byId("failed").textContent = number(latest.failed);
  byId("refused").textContent = number(latest.refused);
};

const note = (name, data) => {
  if (name === "running") return running.show(JSON.parse(data));
  if (name === "row") {
    const row = JSON.parse(data);
    rows = [row, ...rows].slice(0, KEPT);
    if (noteFailure(row)) failed = true;
  } else if (name === "stats") {
    latest = JSON.parse(data);
    samples.push({ at: performance.now(), requests: latest.requests, output: latest.tokens.output });
    trim();
  } else if (name === "lost") {
    sayLive(`${JSON.parse(data).count} events were lost, because more came than this page could read.`, true);
  }
  changed = true;
};

const trim = () => {
  while (samples.length > 1 && samples[1].at < performance.now() - WINDOW_MS) samples.shift();
};

// Statistics come when they change; between them the sum stays as it is.
const age = () => {
  const now = performance.now();
  trim();
  if (samples.length === 1 && samples[0].at < now - WINDOW_MS) samples[0].at = now - WINDOW_MS;
  changed ||= samples.length > 0;
};

const showProviders = ({ details = [] }) => {
  const lines = details.map((one) => {
    const sum = (name) => one.candidates.reduce((total, candidate) => total + candidate[name], 0);
    const [kind, text] = !one.healthy ? ["bad", "down"] : one.state === "admitting" ? ["good", "ready"] : ["warn", "rests"];
    const error = one.last_error ? `${one.last_error.class.replaceAll("_", " ")}, ${new Date(one.last_error.at).toLocaleTimeString()}` : "none";
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, one.provider),
      make("td", {}, make("span", { class: `state ${kind}` }, text)),
      make("td", { class: "number" }, number(sum("under_way"))),
      make("td", { class: "number" }, number(sum("requests"))),
      make("td", {}, error),
      make("td", {}, day(one.provider)),
    );
  });
  byId("providers").tBodies[0].replaceChildren(...lines);
};

const poll = async () => {
  if (document.hidden || !signedIn()) return;
  let [stats, health, wrong] = [null, null, null];
  try {
    if (isAdmin) {
      stats = await askJson("stats?scope=cluster");
      await loadDays();
    }
  } catch (error) {
    if (error.status === 403) isAdmin = false;
    else wrong = error.message;
  }
  try {
    health = await askJson("health");
  } catch (error) {
    wrong ??= error.message;
  }
  // At once, so that the page moves once as it fills.
  if (stats) showStats(stats);
  if (health) showProviders(health);
  if (!signedIn()) return;
  trouble = wrong;
  showStatus();
};

let watching = null;

/** Follows the events; after a break it begins again by itself. */
const watch = async () => {
  watching?.abort();
  watching = new AbortController();
  const own = watching;
  for (let wait = 1000; !own.signal.aborted; wait = Math.min(wait * 2, 30_000)) {
    try {
      const response = await ask("events?running=true", { headers: { accept: "text/event-stream" }, signal: own.signal });
      sayLive("Live.", false);
      wait = 1000;
      samples = [];
      for await (const { name, data } of events(response)) if (data) note(name, data);
      running.show(null);
      sayLive("The gateway has ended the events; asking again …", false);
    } catch (error) {
      running.show(null);
      if (own.signal.aborted || error.status === 401) return;
      sayLive(`${error.status ? error.message : "The gateway cannot be reached."} Asking again in ${wait / 1000} s …`, true);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    await inView();
  }
};

const load = () => {
  if (!signedIn()) return;
  isAdmin = true;
  watch();
  poll();
};

// The events go on where another tab ended the session.
document.addEventListener("signed-out", () => {
  watching?.abort();
  running.show(null);
  trouble = null;
  sayLive("Sign in to see requests.", false);
});

const filter = new URLSearchParams(location.search).get("filter");
if (filter) byId("filter").value = filter;
byId("filter").addEventListener("input", () => {
  const value = byId("filter").value;
  const query = new URLSearchParams(location.search);
  if (value) query.set("filter", value);
  else query.delete("filter");
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  changed = true;
  isFiltered = true;
});
every(DRAW_MS, draw);
every(1000, age);
every(POLL_MS, poll);
begin(load);
