// Requests under way and as they end, rates, times and providers, from one subscription and two requests every five
// seconds.

import { ask, askJson, begin, byId, events, every, inView, make, micros, number, say, signedIn } from "./common.js";
import { historyQuery, loadLedger, onRange, showMemory } from "./history.js";
import { day, drawFailures, loadDays, noteFailure, showStats } from "./operations.js";
import { running } from "./running.js";

const KEPT = 200;
const WINDOW_MS = 10_000;
const DRAW_MS = 250;
const POLL_MS = 5000;

let rows = [];
// By the replica: its sums in the window, the last one last.
const samples = new Map();
// The sums of all replicas, where there are several: one says its own only when they have changed.
let sums = null;
let changed = false;
let failed = false;
let isFiltered = false;
let isAdmin = true;
// The state of the events, and a failure of a question beside them, which is shown until the next one is answered.
let live = ["", false];
let trouble = null;

const KINDS = { ok: "good", refused: "warn", gone: "warn" };

const words = (row) => [row.outcome, row.status, row.fault, row.principal, row.model ?? row.model_asked, row.provider, row.path, row.instance].join(" ").toLowerCase();

const drawRow = (row) => {
  const outcome = row.outcome === "ok" ? "ok" : `${(row.fault ?? row.outcome).replaceAll("_", " ")} ${row.status ?? ""}`;
  const cells = [row.principal ?? "none", row.model ?? row.model_asked ?? "–", row.provider ?? "–"];
  const figures = [micros(row.ttft_us), micros(row.total_us), number(row.tokens_out), micros(row.added_p50_ns === undefined ? null : row.added_p50_ns / 1000)];
  return make(
    "tr",
    {},
    make("td", { title: `${row.request_id}, at ${row.instance}` }, new Date(row.at / 1000).toLocaleTimeString()),
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
  if (!samples.size) return;
  const rate = (name) => [...samples.values()].reduce((sum, of) => {
    const seconds = Math.max((performance.now() - of[0].at) / 1000, 1);
    return sum + (of.at(-1).stats[name] - of[0].stats[name]) / seconds;
  }, 0);
  byId("requests").textContent = number(rate("requests"), 1);
  byId("tokens").textContent = number(rate("output"), 1);
  const latest = sums ?? [...samples.values()].at(-1).at(-1).stats;
  byId("streams").textContent = number(latest.in_flight.streams);
  byId("connections").textContent = number(latest.in_flight.connections);
  byId("failed").textContent = number(latest.failed);
  byId("refused").textContent = number(latest.refused);
};

const note = (name, data) => {
  if (name === "running") return running.show(JSON.parse(data));
  if (name === "replicas") {
    const { others, reason } = JSON.parse(data);
    if (others === "present") return sayLive("Live.", false);
    // A gateway without Redis is alone.
    return reason.startsWith("Redis") ? sayLive(`Live, without the other replicas: ${reason}.`, true) : undefined;
  }
  if (name === "row") {
    const row = JSON.parse(data);
    rows = [row, ...rows].slice(0, KEPT);
    if (noteFailure(row)) failed = true;
  } else if (name === "stats") {
    noteSums(JSON.parse(data));
  } else if (name === "lost") {
    sayLive(`${JSON.parse(data).count} events were lost, because more came than this page could read.`, true);
  }
  changed = true;
};

/** A replica's sums at this moment. */
const noteSums = ({ instance, requests, failed: broken, refused, tokens, in_flight: open }) => {
  const own = samples.get(instance) ?? [];
  own.push({ at: performance.now(), stats: { requests, failed: broken, refused, output: tokens.output, in_flight: open } });
  samples.set(instance, own);
  trim();
};

const trim = () => {
  const since = performance.now() - WINDOW_MS;
  for (const own of samples.values()) while (own.length > 1 && own[1].at < since) own.shift();
};

// Statistics come when they change; between them the sum stays as it is.
const age = () => {
  trim();
  const since = performance.now() - WINDOW_MS;
  for (const own of samples.values()) if (own.length === 1 && own[0].at < since) own[0].at = since;
  changed ||= samples.size > 0;
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
      stats = await askJson(`stats?scope=cluster${historyQuery()}`);
      await Promise.all([loadDays(), loadLedger()]);
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
  if (stats) {
    showStats(stats);
    showMemory(stats);
    sums = stats.replicas?.length > 1 ? stats : null;
    // Rates begin here, not with the first event, which comes when something has changed.
    if (!sums && !samples.size) noteSums({ ...stats, instance: stats.replicas[0].instance });
    changed = true;
  }
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
      const response = await ask("events?running=true&scope=cluster", { headers: { accept: "text/event-stream" }, signal: own.signal });
      sayLive("Live.", false);
      wait = 1000;
      samples.clear();
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
onRange(poll);
every(DRAW_MS, draw);
every(1000, age);
every(POLL_MS, poll);
begin(load);
