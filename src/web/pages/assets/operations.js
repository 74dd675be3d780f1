// What `/stats` knows beyond rates: times of all, a model, a provider or a key; races and retries; replicas; the
// last day of each provider, out of the ledger; and failures by class, from the requests that end.

import { askJson, byId, choices, make, number, source, time } from "./common.js";
import { ofReplicas } from "./running.js";

const TIMES = [
  ["first_token_ms", "First token", 1],
  ["inter_frame_ms", "Gap between frames", 1],
  ["added_frame_us", "Added by thalweg, per frame", 1000],
  ["total_ms", "Whole request", 1],
];
const SPANS = { "1m": "minute", "5m": "5 minutes", "1h": "hour" };
const GROUPS = { models: "Model", providers: "Provider", keys: "Key" };
const HOURS = 24;
const HOUR_MS = 3_600_000;
const DAY_EVERY_MS = 60_000;
/** The part of an hour's requests from which on it counts as bad. */
const BAD_SHARE = 0.05;

let stats = null;
let known = "";
let days = new Map();
let askedDays = -Infinity;
const classes = new Map();

const share = (rate) => (rate === null || rate === undefined ? "–" : `${number(rate * 100, 1)} %`);

/** The choices of a group of figures; they change only with the names. */
const showChoices = () => {
  const groups = Object.keys(GROUPS).map((group) => [group, Object.keys(stats[group] ?? {}).sort()]);
  if (JSON.stringify(groups) === known) return;
  known = JSON.stringify(groups);
  const chosen = byId("of").value || new URLSearchParams(location.search).get("of");
  const lists = groups.filter(([, names]) => names.length).map(([group, names]) =>
    choices(`${GROUPS[group]}s`, names.map((name) => [`${group}:${name}`, name])));
  byId("of").replaceChildren(make("option", { value: "" }, "all requests"), ...lists);
  byId("of").value = chosen ?? "";
  if (byId("of").selectedIndex < 0) byId("of").value = "";
};

/** The link to the figures of the choice: all of them, or the part of one name. */
const showSource = (group, name) => {
  const part = group ? `#${encodeURIComponent(`${group}:${name}`)}` : "";
  if (byId("times-source").firstChild.getAttribute("href").endsWith(`scope=cluster${part}`)) return;
  byId("times-source").replaceChildren(source(`stats?scope=cluster${part}`));
};

const showTimes = () => {
  const [, group, name] = /^(\w+):(.*)$/s.exec(byId("of").value) ?? [];
  showSource(group, name);
  const figures = group ? (stats[group]?.[name] ?? {}) : stats;
  const lines = TIMES.flatMap(([figure, label, per]) =>
    Object.entries(SPANS).map(([span, over], index) => {
      const given = figures[figure]?.[span] ?? {};
      const quantiles = ["p50", "p95", "p99", "max"].map((quantile) => time(given.count ? given[quantile] / per : null));
      const cells = [number(given.count ?? 0), ...quantiles].map((text) => make("td", { class: "number" }, text));
      const head = index ? [] : [make("th", { scope: "rowgroup", rowspan: 3 }, label)];
      return make("tr", {}, ...head, make("td", {}, over), ...cells);
    }),
  );
  byId("times").tBodies[0].replaceChildren(...lines);
};

const showRaces = () => {
  const { races, hedges, retries, retry } = stats;
  byId("races").textContent = number(races.count);
  byId("race-time").textContent = time(races.average_ms);
  byId("hedges").textContent = number(hedges.fired);
  byId("hedges-won").textContent = number(hedges.won);
  byId("retries").textContent = number(retries);
  byId("retries-good").textContent = share(retry.rate);
  const wins = Object.entries(races.wins).flatMap(([provider, models]) =>
    Object.entries(models).map(([model, count]) => [`${model} at ${provider}`, count]));
  const words = wins.sort((one, other) => other[1] - one[1]).slice(0, 5).map(([name, count]) => `${name}: ${number(count)}`);
  byId("wins").textContent = words.length ? `Won by ${words.join("; ")}.` : "No race has been won yet.";
};

const showReplicas = () => {
  const replicas = stats.replicas ?? [];
  byId("replicas-panel").hidden = replicas.length < 2;
  const running = ofReplicas();
  const line = ({ instance, version, uptime_s: uptime, age_s: age, up }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("bdi", {}, instance)),
      make("td", {}, make("span", { class: `state ${up ? "good" : "bad"}` }, up ? "up" : "silent")),
      make("td", {}, version),
      make("td", { class: "number" }, time(uptime * 1000)),
      make("td", { class: "number" }, age ? time(age * 1000) : "now"),
      ...["requests", "waiting", "stalled"].map((name) => make("td", { class: "number" }, number(running.get(instance)?.[name]))),
    );
  byId("replicas").tBodies[0].replaceChildren(...replicas.map(line));
};

/** Shows the statistics, of all replicas where there are more. */
export const showStats = (given) => {
  stats = given;
  showChoices();
  showTimes();
  showRaces();
  showReplicas();
  byId("scope").textContent = given.scope === "cluster" && given.replicas.length > 1 ? `, of all ${given.replicas.length} replicas` : "";
  for (const id of ["times-panel", "races-panel"]) byId(id).hidden = false;
};

/** Reads the last day of the providers out of the ledger, once a minute. A gateway without one shows none. */
export const loadDays = async () => {
  if (performance.now() - askedDays < DAY_EVERY_MS) return;
  askedDays = performance.now();
  try {
    const { ledger } = await askJson("stats?since=24h&by=provider,hour");
    days = new Map();
    for (const line of ledger.usage) {
      const hours = days.get(line.provider) ?? new Map();
      days.set(line.provider, hours.set(Math.floor(new Date(line.hour) / HOUR_MS), line));
    }
  } catch (error) {
    if (error.status !== 400 && error.status !== 404 && error.code !== "no_ledger") {
      askedDays = -Infinity;
      throw error;
    }
  }
};

const hourState = (line) => {
  if (!line?.requests) return "none";
  if (!line.failed) return "good";
  return line.failed < line.requests * BAD_SHARE ? "warn" : "bad";
};

/** The last day of a provider, an hour each; the height says the same as the colour. */
export const day = (provider) => {
  const hours = days.get(provider) ?? new Map();
  const now = Math.floor(Date.now() / HOUR_MS);
  const lines = Array.from({ length: HOURS }, (_, index) => now - HOURS + 1 + index).map((hour) => [hour, hours.get(hour)]);
  const sum = (name) => lines.reduce((total, [, line]) => total + (line?.[name] ?? 0), 0);
  const label = sum("requests") ? `The last day: ${number(sum("requests"))} requests, ${number(sum("failed"))} failed` : "The last day: no requests";
  const marks = lines.map(([hour, line]) => {
    const at = new Date(hour * HOUR_MS).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    const words = line?.requests ? `${number(line.requests)} requests, ${number(line.failed)} failed` : "no requests";
    return make("span", { class: hourState(line), title: `From ${at}: ${words}` });
  });
  return make("span", { class: "day", role: "img", "aria-label": label }, ...marks);
};

/** Counts a request that ended otherwise than well. */
export const noteFailure = (row) => {
  if (row.outcome === "ok") return false;
  const words = `${(row.fault ?? row.outcome).replaceAll("_", " ")} ${row.status ?? ""}`.trim();
  const count = (classes.get(words)?.count ?? 0) + 1;
  classes.delete(words);
  classes.set(words, { count, row });
  return true;
};

/** The classes of failures, the latest first. */
export const drawFailures = () => {
  const lines = [...classes].reverse().map(([words, { count, row }]) => {
    const where = [row.principal, row.model ?? row.model_asked, row.provider].filter(Boolean).join(", ");
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, make("span", { class: `state ${row.outcome === "failed" ? "bad" : "warn"}` }, words)),
      make("td", { class: "number" }, number(count)),
      make("td", {}, new Date(row.at / 1000).toLocaleTimeString()),
      make("td", {}, make("bdi", {}, where || "–")),
      make("td", {}, make("code", {}, row.request_id)),
    );
  });
  byId("failures").tBodies[0].replaceChildren(...lines);
  byId("failures-status").textContent = lines.length ? "Since this page was opened, the latest first." : "None since this page was opened.";
};

byId("of").addEventListener("change", () => {
  const query = new URLSearchParams(location.search);
  if (byId("of").value) query.set("of", byId("of").value);
  else query.delete("of");
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  if (stats) showTimes();
});
