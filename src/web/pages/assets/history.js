// The past in charts: a minute and an hour out of the gateway's memory, a day and thirty days out of the ledger.
// The address keeps the range. What a source does not have is said in words in its place.

import { drawing, ends, HEIGHT, places, shape } from "./chart.js";
import { askJson, byId, make, micros, number, source } from "./common.js";

const HOUR_MS = 3_600_000;
const MEMORY = ["minute", "hour"];
// The unit of a line of the ledger, its length and their number.
const LEDGER = { day: ["24h", "hour", HOUR_MS, 24], month: ["30d", "day", 24 * HOUR_MS, 30] };
const LEDGER_EVERY_MS = 60_000;
const STEPS = { minute: "two seconds", hour: "a minute", day: "an hour", month: "a day" };

const ENDS = [
  ["failed", "bad", "failed"],
  ["refused", "warn", "refused"],
  ["gone", "gone", "client left"],
];

/** A rate with as many digits as tell something. */
const rate = (value) => number(value, value >= 10 || value === 0 ? 0 : value >= 1 ? 1 : value >= 0.1 ? 2 : 3);

const CHARTS = [
  { title: "Requests per second", of: (step) => [[step.requests / step.seconds, "good"]], words: rate },
  { title: "Tokens out per second", of: (step) => [[step.tokens / step.seconds, "good"]], words: rate },
  { title: "First token", lines: "first", words: micros },
  { title: "Gap between frames", lines: "gap", words: micros, lacks: "The ledger keeps no gaps: choose a minute or an hour." },
  { title: "Failures", of: (step) => ENDS.map(([name, kind]) => [step[name], kind]), words: number, legend: ENDS },
  { title: "Added per frame", lines: "added", words: micros, lacks: "The ledger keeps no added time of frames: choose a minute or an hour." },
];

let asked = 0;
let ledgerAt = -Infinity;

export const range = () => byId("range").value;
/** The part of the question for the statistics that the range needs: the gateway's memory or nothing. */
export const historyQuery = () => (MEMORY.includes(range()) ? `&history=${range()}` : "");

/** Steps of the gateway's memory. A step before its start is `null`. */
const ofMemory = ({ step_s: length, steps }) => {
  const last = Math.floor(Date.now() / 1000 / length);
  const times = (given, per) => (given.count ? { p50: given.p50 * per, p95: given.p95 * per } : null);
  return steps.map((step, index) => ({
    at: (last - steps.length + 1 + index) * length * 1000,
    ...(step && {
      known: true,
      // The open step is as long as it has lasted, but no rate is made of an instant.
      seconds: Math.max(step.seconds, Math.min(length, 1)),
      requests: step.requests,
      tokens: step.tokens_out,
      failed: step.failed,
      refused: step.refused,
      gone: step.client_gone,
      first: times(step.first_token_ms, 1000),
      gap: times(step.inter_frame_ms, 1000),
      added: times(step.added_frame_us, 1),
    }),
  }));
};

/** Lines of the ledger. It says nothing of the time without requests before its first line. */
const ofLedger = (usage, [, unit, step, count]) =>
  places(usage, unit, step, count).map((line, index) => ({
    at: line.at,
    known: true,
    // The last one has only begun.
    seconds: (index === count - 1 ? Math.max(Date.now() - line.at, 60_000) : step) / 1000,
    requests: line.requests ?? 0,
    tokens: line.tokens_out ?? 0,
    failed: line.failed ?? 0,
    refused: line.refused ?? 0,
    gone: line.gone ?? 0,
    first: line.ttft_p50_us ? { p50: line.ttft_p50_us, p95: line.ttft_p95_us } : null,
    gap: null,
    added: null,
  }));

const top = (chart, step) => {
  if (!step.known) return 0;
  return chart.lines ? (step[chart.lines]?.p95 ?? 0) : chart.of(step).reduce((sum, [value]) => sum + value, 0);
};

const stepWords = (chart, step, at) => {
  if (!step.known) return `${at}: before the gateway’s start`;
  if (chart.lines) {
    const found = step[chart.lines];
    return `${at}: ${found ? `p50 ${chart.words(found.p50)}, p95 ${chart.words(found.p95)}` : "none"}`;
  }
  if (!chart.legend) return `${at}: ${chart.words(top(chart, step))}`;
  return `${at}: ${chart.legend.map(([name, , words]) => `${number(step[name])} ${words}`).join(", ")}`;
};

const shapesOf = (chart, steps, most) => {
  if (chart.lines) {
    const path = (name) => {
      const level = (value) => HEIGHT - (value / most) * (HEIGHT - 4) - 2;
      const parts = steps.map((step, index) => (step[chart.lines] ? `M${index} ${level(step[chart.lines][name])}h1` : ""));
      return shape("path", { class: name, d: parts.join("") || "M0 0" });
    };
    return [path("p95"), path("p50")];
  }
  return steps.flatMap((step, index) => {
    if (!step.known) return [];
    let base = HEIGHT;
    return chart.of(step).filter(([value]) => value > 0).map(([value, kind]) => {
      const height = (value / most) * (HEIGHT - 2);
      base -= height;
      return shape("rect", { class: kind, x: index + 0.1, width: 0.8, y: base, height });
    });
  });
};

const figure = (chart, steps, format, isMemory) => {
  const most = Math.max(...steps.map((step) => top(chart, step)), 0);
  const kinds = chart.lines ? [["", "p50", "p50"], ["", "p95", "p95"]] : (chart.legend ?? []);
  const legend = kinds.map(([, kind, words]) => make("span", { class: `legend ${kind}` }, words));
  const lacks = !isMemory && chart.lacks;
  const words = lacks || (most ? `at most ${chart.words(most)}${chart.legend ? ` in ${STEPS[range()]}` : ""}` : "none in this time");
  const title = make("figcaption", { class: "small quiet" }, make("span", {}, make("b", {}, chart.title), lacks ? "" : `, ${words}`));
  if (!lacks && legend.length) title.append(make("span", {}, ...legend));
  if (lacks) return make("figure", {}, title, make("p", { class: "chart lacks small quiet" }, lacks));
  const shapes = most ? shapesOf(chart, steps, most) : [];
  // The words of a step, for a pointer anywhere above it.
  const marks = steps.map((step, index) => {
    const mark = shape("rect", { class: "mark", x: index, width: 1, y: 0, height: HEIGHT });
    const said = shape("title", {});
    said.textContent = stepWords(chart, step, format(step.at));
    mark.append(said);
    return mark;
  });
  const unknown = steps.filter((step) => !step.known).length;
  const before = unknown ? [shape("rect", { class: "unknown", x: 0, width: unknown, y: 0, height: HEIGHT })] : [];
  return make("figure", {}, title, drawing(steps.length, `${chart.title}, ${words}`, [...before, ...shapes, ...marks]), ends(format(steps[0].at), format(steps.at(-1).at)));
};

const FORMATS = {
  minute: { timeStyle: "medium" },
  hour: { timeStyle: "short" },
  day: { dateStyle: "short", timeStyle: "short" },
  month: { dateStyle: "medium", timeZone: "UTC" },
};

const draw = (steps, words, ...links) => {
  const format = (at) => new Date(at).toLocaleString(undefined, FORMATS[range()]);
  byId("history").replaceChildren(...CHARTS.map((chart) => figure(chart, steps, format, MEMORY.includes(range()))));
  byId("history-source").replaceChildren(words, ...links);
  byId("history-panel").hidden = false;
};

/** Draws the range out of an answer to the statistics, if it is one of the gateway's memory. */
export const showMemory = ({ history, replicas }) => {
  if (!history || !MEMORY.includes(range())) return;
  const expected = range() === "minute" ? 2 : 60;
  // An answer to the range before.
  if (history.step_s !== expected) return;
  const own = replicas?.length > 1 ? `Of the asked replica alone (${replicas[0].instance}); a day and thirty days are of all that share its database. ` : "";
  const grey = history.steps[0] ? "" : "Grey is the time before its start. ";
  draw(ofMemory(history), `${own}${grey}In steps of ${STEPS[range()]}, by the end of requests, from `, source(`stats?history=${range()}#history`), ".");
};

/** Asks the ledger, at most once a minute. */
export const loadLedger = async () => {
  const wanted = LEDGER[range()];
  if (!wanted || performance.now() - ledgerAt < LEDGER_EVERY_MS) return;
  const own = ++asked;
  const query = `stats?since=${wanted[0]}&by=${wanted[1]}`;
  ledgerAt = performance.now();
  try {
    const { ledger } = await askJson(query);
    if (own !== asked) return;
    const days = wanted[1] === "day" ? " Days are UTC’s." : "";
    draw(ofLedger(ledger.usage, wanted), `By ${wanted[1]}, out of the ledger, from `, source(query), `.${days} By model, provider or key: `, make("a", { href: `${document.documentElement.dataset.root}usage?since=${wanted[0]}&by=${wanted[1]}` }, "Usage"), ".");
  } catch (error) {
    if (own !== asked) return;
    byId("history").replaceChildren();
    if (error.code !== "no_ledger") {
      // The next poll asks again.
      ledgerAt = -Infinity;
      byId("history-source").replaceChildren(error.message);
      byId("history-panel").hidden = false;
      throw error;
    }
    byId("history-source").replaceChildren("This gateway keeps no ledger, so it knows a minute and an hour alone. A configuration file or a database makes one.");
    byId("history-panel").hidden = false;
  }
};

const given = new URLSearchParams(location.search).get("range");
if (MEMORY.includes(given) || LEDGER[given]) byId("range").value = given;

/** Calls back after a choice of another range. */
export const onRange = (act) => byId("range").addEventListener("change", () => {
  const query = new URLSearchParams(location.search);
  query.set("range", range());
  history.replaceState(null, "", `?${query}`);
  asked += 1;
  ledgerAt = -Infinity;
  act();
});
