// Usage and cost out of the ledger, by day, hour, model, key or provider; the address keeps range and filter.

import { drawChart, fillOf } from "./chart.js";
import { askJson, begin, byId, isAdmin, make, micros, money, number, say, signedIn, source } from "./common.js";

const CONTROLS = ["since", "by", "filter"];
// `null`: nothing was read, or the last question failed.
let usage = null;
let by = "day";
let asked = 0;

/** The name of a line: a time in the viewer's zone for hours; days are UTC's, as the ledger sums them. */
const name = (line) => {
  const value = line[by];
  if (value === null || value === undefined) return "none";
  if (by === "hour") return new Date(value).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  if (by === "day") return new Date(value).toLocaleDateString(undefined, { timeZone: "UTC", dateStyle: "medium" });
  return value;
};

const sum = (lines, column) => lines.reduce((total, line) => total + (line[column] ?? 0), 0);

const draw = () => {
  const wanted = byId("filter").value.trim().toLowerCase();
  const lines = usage.filter((line) => name(line).toLowerCase().includes(wanted));
  const most = Math.max(...lines.map((line) => line.requests), 1);
  const row = (line) => {
    const bar = make("meter", { min: 0, max: most, value: line.requests, "aria-label": `Requests of ${name(line)}, of the most` });
    const cells = [
      [number(line.requests), bar],
      [number(line.failed)],
      [number(line.refused)],
      [number(line.tokens_in)],
      [number(line.tokens_out)],
      [money((line.cost_micros ?? 0) / 1e6)],
      [micros(line.ttft_p50_us)],
      [micros(line.ttft_p95_us)],
    ];
    return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, name(line))), ...cells.map((cell) => make("td", { class: "number" }, ...cell)));
  };
  byId("lines").tBodies[0].replaceChildren(...lines.map(row));
  byId("lines").hidden = !lines.length;
  byId("group").textContent = by === "day" ? "Day (UTC)" : `${by[0].toUpperCase()}${by.slice(1)}`;
  byId("requests").textContent = number(sum(lines, "requests"));
  byId("failed").textContent = number(sum(lines, "failed") + sum(lines, "refused"));
  byId("tokens-in").textContent = number(sum(lines, "tokens_in"));
  byId("tokens-out").textContent = number(sum(lines, "tokens_out"));
  byId("cost").textContent = money(sum(lines, "cost_micros") / 1e6);
  if (!usage.length) return say(byId("status"), "No request has ended in this time.");
  say(byId("status"), lines.length ? `${lines.length} of ${usage.length} lines.` : "No line has this in its name.");
};

const keep = () => {
  const set = CONTROLS.filter((id) => byId(id).value).map((id) => [id, byId(id).value]);
  history.replaceState(null, "", `?${new URLSearchParams(set)}`);
};

const chart = () => drawChart(byId("since").value, byId("of").value);

const load = async () => {
  const own = ++asked;
  const since = byId("since").value;
  const query = `stats?${new URLSearchParams({ since, by: byId("by").value })}`;
  byId("query").replaceChildren("From ", source(query), "; in a terminal: ", make("code", {}, `thalweg usage --since ${byId("since").value} --by ${byId("by").value}`));
  if (!signedIn()) return;
  if (!isAdmin()) return say(byId("status"), "Only an administrator’s key sees the usage of all keys.", true);
  try {
    const { ledger } = await askJson(query);
    // A later question has been asked meanwhile.
    if (own !== asked) return;
    [by] = ledger.by;
    usage = ledger.usage;
    draw();
    await fillOf(since);
    if (own === asked) await chart();
  } catch (error) {
    if (own !== asked) return;
    usage = null;
    const none = "This gateway keeps no ledger: it needs a configuration file or a database.";
    say(byId("status"), error.code === "no_ledger" ? none : error.message, true);
  }
};

const given = new URLSearchParams(location.search);
for (const id of CONTROLS) {
  const control = byId(id);
  const before = control.value;
  if (given.has(id)) control.value = given.get(id);
  // A range that there is none of leaves the first.
  if (!control.value && id !== "filter") control.value = before;
}
for (const id of ["since", "by"]) {
  byId(id).addEventListener("change", () => {
    keep();
    load();
  });
}
byId("filter").addEventListener("input", () => {
  keep();
  if (usage) draw();
});
byId("of").addEventListener("change", () => chart().catch((error) => say(byId("status"), error.message, true)));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
begin(load);
