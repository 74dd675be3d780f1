// The configuration in force, and the file as it would be loaded: its changes, or its mistakes at their paths.

import { askJson, begin, byId, isAdmin, make, say, signedIn } from "./common.js";

const words = (list) => list.map((name) => make("bdi", {}, name || "(no name)")).flatMap((name, index) => (index ? [", ", name] : [name]));

const NAMES = { providers: "Providers", tokens: "Tokens" };
const KINDS = { added: "added", removed: "removed", changed: "changed" };

/** The changes of a report, a line each. */
const changeLines = (changes) => {
  const lines = [];
  for (const [part, title] of Object.entries(NAMES)) {
    for (const [kind, verb] of Object.entries(KINDS)) {
      const names = changes[part]?.[kind] ?? [];
      if (names.length) lines.push(make("li", {}, `${title} ${verb}: `, ...words(names)));
    }
  }
  if (changes.provider_order) lines.push(make("li", {}, "Order of providers"));
  if (changes.supported_models) lines.push(make("li", {}, "Models that are offered (supported_models)"));
  if (changes.log_level) lines.push(make("li", {}, `Log level: ${changes.log_level}`));
  if (changes.settings?.length) lines.push(make("li", {}, "Settings: ", ...words(changes.settings)));
  if (changes.restart_needed?.length) lines.push(make("li", { class: "warn" }, "Only a restart applies: ", ...words(changes.restart_needed)));
  return lines;
};

const showChanges = (title, changes, none) => {
  const lines = changeLines(changes);
  return lines.length ? [make("p", { class: "state good" }, title), make("ul", {}, ...lines)] : [make("p", { class: "state good" }, none)];
};

const showMistakes = (title, errors) => {
  const head = make("tr", {}, make("th", { scope: "col" }, "Place in the file"), make("th", { scope: "col" }, "Mistake"));
  const row = ({ path, message, suggestion }) =>
    make("tr", {}, make("th", { scope: "row" }, make("code", {}, path)), make("td", {}, message, suggestion ? make("span", { class: "quiet" }, `; did you mean ${suggestion}?`) : null));
  const table = make("table", { class: "mistakes" }, make("thead", {}, head), make("tbody", {}, ...errors.map(row)));
  const scroll = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Mistakes" }, table);
  return [make("p", { class: "state bad" }, title), ...(errors.length ? [scroll] : [])];
};

const BY = { request: "on request", signal: "by a signal", file: "because the file changed" };

const showLast = (last) => {
  if (!last) return;
  const at = make("p", { class: "quiet" }, make("time", { datetime: last.at }, new Date(last.at).toLocaleString()), `, ${BY[last.by] ?? last.by}`);
  const shown = last.changes
    ? showChanges("Loaded. It changed:", last.changes, "Loaded. Nothing differed.")
    : showMistakes(`Not loaded: ${last.message}. The configuration before stays in force.`, last.errors ?? []);
  byId("last").replaceChildren(at, ...shown);
};

const fact = (title, ...values) => make("div", {}, make("dt", {}, title), make("dd", {}, ...values));

const show = async () => {
  const reply = await askJson("v1/configuration");
  const { in_force: names } = reply;
  byId("source").replaceChildren(...(reply.file ? [make("code", {}, make("bdi", {}, reply.file)), reply.watched ? " — loaded by itself when it changes" : ""] : ["This gateway has no file: its settings are flags and variables."]));
  byId("check").disabled = byId("reload").disabled = !reply.reloadable;
  byId("facts").replaceChildren(
    fact("Loads since the start", String(reply.generation)),
    fact("Providers", ...(names.providers.length ? words(names.providers) : ["none: the demo answers"])),
    fact("Tokens", ...(names.tokens.length ? words(names.tokens) : ["none"])),
    fact("Log level", names.log_level),
    ...reply.notes.map((note) => fact("Note", note)),
  );
  byId("configuration").hidden = reply.configuration === null;
  byId("configuration").firstElementChild.textContent = JSON.stringify(reply.configuration, null, 2);
  showLast(reply.last_reload);
  const failed = Boolean(reply.last_reload?.message);
  say(byId("status"), failed ? "The last load failed; the configuration before it is in force." : "The configuration in force is below.", failed);
};

const load = async () => {
  if (!signedIn()) return;
  if (!isAdmin()) return say(byId("status"), "Only an administrator’s key shows the configuration here.", true);
  try {
    await show();
  } catch (error) {
    say(byId("status"), error.message, true);
  }
};

/** Asks for a check or a load, and shows its outcome. */
const ask = async (check) => {
  byId("check").disabled = byId("reload").disabled = true;
  byId("outcome").replaceChildren(make("p", { class: "quiet" }, "Reading the file …"));
  try {
    const report = await askJson(`v1/reload${check ? "?check=true" : ""}`, { method: "POST" });
    const title = check ? "The file is good. A load would change:" : "Loaded. It changed:";
    const none = check ? "The file is good, and a load would change nothing." : "Loaded. Nothing differed.";
    byId("outcome").replaceChildren(...showChanges(title, report.changes, none));
  } catch (error) {
    // Without an answer of the gateway's own it may have been loaded.
    const lead = check || error.status !== 400 ? "" : " The configuration before stays in force.";
    byId("outcome").replaceChildren(...showMistakes(`${error.message}${lead}`, error.errors ?? []));
  }
  byId("check").disabled = byId("reload").disabled = false;
  if (!check) load();
};

byId("check").addEventListener("click", () => ask(true));
byId("reload").addEventListener("click", () => ask(false));
begin(load);
