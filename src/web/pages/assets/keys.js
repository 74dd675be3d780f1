// Keys with their limits and use; for administrators also to make, limit, rotate and revoke those of the database.

import { administration, ask, askJson, begin, byId, every, isAdmin, make, money, number, ownKey, say, signedIn } from "./common.js";

const POLL_MS = 5000;
const STATES = {
  good: ["good", "good"],
  admin: ["good", "administrator"],
  spent: ["bad", "budget spent"],
  expired: ["bad", "expired"],
  revoked: ["bad", "revoked"],
};
const LIMITS = ["rpm", "tpm", "concurrent"];

/** `used of most`, with a bar where there is a limit. */
const use = (used, most, show, label) => {
  if (most === null || most === undefined) return used ? `${show(used)}, no limit` : "no limit";
  const bar = make("meter", { min: 0, max: most, value: Math.min(used ?? 0, most), high: most * 0.9, optimum: 0, "aria-label": label });
  return [`${show(used ?? 0)} of ${show(most)}`, bar];
};

const day = (at) => {
  if (!at) return "never";
  const date = new Date(at);
  return make("time", { datetime: at, title: date.toLocaleString() }, date.toLocaleDateString());
};

const button = (text, key, act) => {
  const element = make("button", { type: "button", class: "plain small", "aria-label": `${text}: ${key.name}` }, text);
  element.addEventListener("click", act);
  return element;
};

const row = (key, changeable) => {
  const [kind, words] = STATES[key.state] ?? ["warn", key.state];
  const own = ownKey()?.id === key.id ? " (yours)" : "";
  const from = key.source === "configuration" ? "in the configuration" : (key.prefix ?? key.id);
  const until = key.previous_until && new Date(key.previous_until) > new Date() ? `; the one before until ${new Date(key.previous_until).toLocaleTimeString()}` : "";
  const models = key.models.length ? key.models.join(", ") : "all";
  const changes =
    changeable && key.source === "database" && key.state !== "revoked"
      ? [button("Limits", key, () => edit(key)), button("Rotate", key, () => rotate(key)), button("Revoke", key, () => revoke(key))]
      : [];
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, make("bdi", {}, key.name || "(no name)"), own, make("small", { class: "quiet" }, from + until), make("div", { class: "changes" }, ...changes)),
    make("td", {}, make("span", { class: `state ${kind}` }, words)),
    make("td", {}, make("bdi", {}, models)),
    ...LIMITS.map((limit) => make("td", { class: "number" }, ...[use(key.use?.[limit], key[limit], number, `${limit} of ${key.name}`)].flat())),
    make("td", { class: "number" }, ...[key.budget === null ? money(key.spent || null) : use(key.spent, key.budget, money, `budget of ${key.name}`)].flat()),
    make("td", {}, day(key.expires)),
  );
};

let shown = "";

const list = async () => {
  const reply = await askJson("v1/keys");
  // A table that did not change stays, with the reader's focus in it.
  const now = JSON.stringify([reply, ownKey()]);
  if (now !== shown) {
    const at = document.activeElement?.getAttribute?.("aria-label");
    byId("keys").tBodies[0].replaceChildren(...reply.data.map((key) => row(key, reply.changeable)));
    if (at && document.activeElement === document.body) byId("keys").querySelector(`[aria-label="${CSS.escape(at)}"]`)?.focus();
    shown = now;
  }
  byId("keys").hidden = !reply.data.length;
  byId("make").hidden = !reply.changeable;
  const notes = [...reply.unreadable];
  if (reply.unavailable) notes.push("The database of keys does not answer: only the keys of the configuration are shown. Look at the gateway’s log.");
  if (isAdmin() && !reply.changeable) notes.push("There is no database, so no key can be made here: name one in config.json (“database”), or list tokens there.");
  if (!isAdmin() && administration() === "elsewhere") notes.push("Administrators see all keys at the address of admin_listen.");
  byId("keys-note").textContent = notes.join(" ");
  const count = `${reply.data.length} key${reply.data.length === 1 ? "" : "s"}.`;
  say(byId("status"), reply.data.length ? count : "There is no key yet. Make the first one.");
};

const load = async () => {
  if (!signedIn() || document.hidden) return;
  try {
    await list();
  } catch (error) {
    say(byId("status"), error.message, true);
  }
};

const showMade = (key, note) => {
  byId("made-title").replaceChildren("The key of ", make("bdi", {}, key.name));
  byId("made-note").textContent = note;
  byId("made-key").textContent = key.key;
  say(byId("copy-status"), "It is shown this once; the gateway keeps only a digest.");
  byId("made").hidden = false;
  byId("made-title").focus();
};

const send = (path, body, method = "POST") =>
  askJson(path, { method, headers: { "content-type": "application/json" }, ...(body && { body: JSON.stringify(body) }) });

/** Opens a dialog; `act` runs when it is sent, and closes it unless it fails. */
const open = (id, act) => {
  const [dialog, form] = [byId(id), byId(`${id}-form`)];
  say(byId(`${id}-status`), "");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const sending = form.querySelector("button");
    sending.disabled = true;
    try {
      const then = await act();
      dialog.close();
      then?.();
      load();
    } catch (error) {
      say(byId(`${id}-status`), error.message, true);
    } finally {
      sending.disabled = false;
    }
  };
  dialog.showModal();
};

const FIELDS = ["models", ...LIMITS, "budget", "expires"];

/** The fields that differ from `key`, as the gateway takes them. Throws words for a person. */
const changes = (key) => {
  const before = fields(key);
  const change = {};
  for (const field of FIELDS) {
    const value = byId(field).value.trim();
    if (value === before[field]) continue;
    if (field === "models") change.models = value ? value.split(",").map((one) => one.trim()).filter(Boolean) : null;
    else if (!value) change[field] = null;
    else if (LIMITS.includes(field)) {
      if (!/^\d+$/.test(value)) throw new Error(`${byId(field).labels[0].textContent}: write a whole number, or leave it empty.`);
      change[field] = Number(value);
    } else change[field] = value;
  }
  return change;
};

const fields = (key) => ({
  models: key.models.join(", "),
  rpm: String(key.rpm ?? ""),
  tpm: String(key.tpm ?? ""),
  concurrent: String(key.concurrent ?? ""),
  budget: String(key.budget ?? ""),
  expires: key.expires ?? "",
});

const NEW = { models: [], rpm: null, tpm: null, concurrent: null, budget: null, expires: null };

const edit = (key) => {
  for (const [field, value] of Object.entries(fields(key ?? NEW))) byId(field).value = value;
  byId("edit-name").hidden = byId("edit-admin").hidden = Boolean(key);
  byId("name").value = "";
  byId("admin").checked = false;
  byId("edit-title").replaceChildren(...(key ? ["Limits of ", make("bdi", {}, key.name)] : ["Make a key"]));
  byId("edit-send").textContent = key ? "Change the limits" : "Make the key";
  open("edit", async () => {
    if (key) {
      const change = changes(key);
      await send(`v1/keys/${encodeURIComponent(key.id)}`, change);
      return;
    }
    const name = byId("name").value.trim();
    if (!name) throw new Error("Give the key a name.");
    const made = await send("v1/keys", { name, admin: byId("admin").checked, ...changes(NEW) });
    return () => showMade(made, "Clients may use it within a second.");
  });
};

const rotate = (key) => {
  byId("rotate-title").replaceChildren("Rotate the key of ", make("bdi", {}, key.name));
  const own = ownKey()?.id === key.id ? " You are signed in with it: this session ends with the key before." : "";
  byId("rotate-note").textContent = `Its limits and its use stay.${own}`;
  open("rotate", async () => {
    const made = await send(`v1/keys/${encodeURIComponent(key.id)}/rotate`, { overlap: byId("overlap").value.trim() || "0", prefix: key.prefix });
    return () => showMade(made, made.previous_until && new Date(made.previous_until) > new Date() ? `The one before is accepted until ${new Date(made.previous_until).toLocaleString()}.` : "The one before is refused within a second.");
  });
};

const revoke = (key) => {
  byId("revoke-title").replaceChildren("Revoke the key of ", make("bdi", {}, key.name));
  const own = ownKey()?.id === key.id ? " You are signed in with it: this session ends, too." : "";
  byId("revoke-note").textContent = `It is refused within a second, for ever. Streams that have begun go on.${own}`;
  open("revoke", async () => {
    await ask(`v1/keys/${encodeURIComponent(key.id)}`, { method: "DELETE" });
  });
};

byId("make").addEventListener("click", () => edit(null));
for (const close of document.querySelectorAll("[data-close]")) {
  close.addEventListener("click", () => close.closest("dialog").close());
}
byId("made-done").addEventListener("click", () => {
  byId("made-key").textContent = "";
  byId("made").hidden = true;
  byId("make").focus();
});
byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("made-key").textContent);
    say(byId("copy-status"), "Copied.");
  } catch {
    say(byId("copy-status"), "This browser does not let a page copy here: select the key and copy it.", true);
  }
});
every(POLL_MS, load);
begin(load);
