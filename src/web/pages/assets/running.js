// The requests under way, as `running` events of `/events?running=true` show them. A row stays the same element
// for as long as its request runs, so that nothing that is marked or focused is lost.

import { byId, make, micros, number, say, time } from "./common.js";

const SAY_MS = 10_000;
const KINDS = { running: "good", waiting: "warn", stalled: "bad" };
// The cells of figures, and the last one, of the replica, which is shown where there are several.
const FIGURES = [3, 8];

let view = null;
let changed = false;
let lines = new Map();
let said = { at: -SAY_MS, stalled: 0 };


const stateOf = (row) => {
  if (row.state === "stalled") return `silent ${time(row.quiet_us / 1000)}`;
  return row.phase === "before_first_token" ? "before token" : row.phase.replaceAll("_", " ");
};

const words = (row) => [row.state, row.phase.replaceAll("_", " "), row.principal, row.model_asked, row.provider, row.path, row.request_id, row.instance].join(" ").toLowerCase();

/** Whether the row has all of these words. */
const matches = (row, wanted) => wanted.every((word) => words(row).includes(word));

const texts = (row) => [
  row.principal ?? "none",
  row.model_asked ?? "–",
  row.provider ?? "–",
  micros(row.age_us),
  micros(row.ttft_us),
  number(row.tokens_out),
  row.tokens_per_s === undefined ? "–" : `${number(row.tokens_per_s, 1)}/s`,
  micros(row.added_max_ns === undefined ? undefined : row.added_max_ns / 1000),
  row.instance ?? "–",
];

const addLine = (row) => {
  const state = make("span", { class: "state" });
  const cells = texts(row).map((_, index) => {
    const isNumber = index >= FIGURES[0] && index < FIGURES[1];
    return isNumber ? make("td", { class: "number" }) : make("td", {}, make("bdi", {}));
  });
  const element = make("tr", { title: `${row.model_asked ?? "–"}, ${row.path}, ${row.request_id}` }, make("td", {}, state), ...cells);
  return { element, state, cells: cells.map((cell) => cell.firstChild ?? cell) };
};

const put = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const fill = (line, row) => {
  put(line.state, stateOf(row));
  line.state.className = `state ${KINDS[row.state] ?? "warn"}`;
  texts(row).forEach((text, index) => put(line.cells[index], text));
};

/** What the last view says of each replica, by its name. */
export const ofReplicas = () => new Map((view?.replicas ?? []).map((one) => [one.instance, one]));

/** Readers of the page hear of streams that stall, seldom. */
const tell = () => {
  const now = performance.now();
  if (view.stalled === said.stalled || now < said.at + SAY_MS) return;
  said = { at: now, stalled: view.stalled };
  const one = view.stalled === 1;
  byId("running-say").textContent = view.stalled ? `${view.stalled} ${one ? "stream has" : "streams have"} stalled.` : "No stream is stalled any more.";
};

const summary = (shown) => {
  if (!view.requests && !view.workers_missing) return "Nothing is under way. A request appears here as soon as it arrives.";
  const parts = [`${number(view.requests)} under way`];
  if (view.replicas?.length > 1) parts[0] += ` at ${number(view.replicas.length)} replicas`;
  if (view.stalled) parts.push(`${number(view.stalled)} stalled`);
  if (view.waiting) parts.push(`${number(view.waiting)} waiting for a first token`);
  if (shown < view.requests) parts.push(`${number(shown)} shown`);
  if (view.workers_missing) parts.push(`${number(view.workers_missing)} of the workers missing`);
  return `${parts.join(", ")}.`;
};

export const running = {
  /** A view, or `null`: nothing is known any more. */
  show(next) {
    view = next;
    changed = true;
  },
  /** Draws the last view, if it is another one or the `wanted` words are. */
  draw(wanted, isFiltered) {
    if (!changed && !isFiltered) return;
    changed = false;
    const rows = (view?.rows ?? []).filter((row) => matches(row, wanted));
    const next = new Map();
    for (const [index, row] of rows.entries()) {
      // Two requests may have the same id, which clients choose.
      const place = next.has(row.request_id) ? `${row.request_id} ${index}` : row.request_id;
      const line = lines.get(place) ?? addLine(row);
      fill(line, row);
      next.set(place, line);
    }
    byId("running").classList.toggle("several", view?.replicas?.length > 1);
    const body = byId("running").tBodies[0];
    for (const [place, line] of lines) if (next.get(place) !== line) line.element.remove();
    [...next.values()].forEach(({ element }, index) => {
      if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
    });
    lines = next;
    say(byId("running-status"), view ? summary(rows.length) : "Not known at the moment.");
    if (view) tell();
  },
};
