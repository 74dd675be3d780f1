// Parts that all pages share: elements, the key, requests, streams of events, figures with their units.
// All that comes from outside becomes text, never markup.

const ROOT = new URL(document.documentElement.dataset.root, location.href);
const KEY = "thalweg-key";

export const byId = (id) => document.getElementById(id);
export const address = (path) => new URL(path, ROOT);

/** An element with attributes and children; strings become text. */
export const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

// The key is kept until the tab closes. The start-up lines print an address that holds it behind the `#`,
// which no request carries.
const store = () => {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
};
export const key = () => store()?.getItem(KEY) ?? null;
const keep = (value) => (value ? store()?.setItem(KEY, value) : store()?.removeItem(KEY));

const given = new URLSearchParams(location.hash.slice(1)).get("key");
if (given) {
  keep(given);
  history.replaceState(null, "", location.pathname + location.search);
}

/** A failure in words, with the next step. */
export class Failure extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const NEXT_STEP = {
  401: "Sign in with a key that this gateway knows.",
  403: "Sign in with a key that may do this.",
  404: "Check the name, and that this address serves it.",
  429: "Wait for a moment, then try again.",
  503: "The gateway or all providers are busy or down; look at the providers' state, then try again.",
};

const failure = async (response) => {
  const text = await response.text().catch(() => "");
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // A proxy in between answers in a form of its own.
  }
  const message = error.message ?? `the gateway answered ${response.status}`;
  const next = NEXT_STEP[response.status] ?? "";
  return new Failure(response.status, `${message[0].toUpperCase()}${message.slice(1)}. ${next}`.trim(), error.code);
};

/** A request to the gateway, with the key. Throws a `Failure`; 401 also opens the form for a key. */
export const ask = async (path, { headers = {}, ...options } = {}) => {
  const authorization = key() ? { authorization: `Bearer ${key()}` } : {};
  let response;
  try {
    response = await fetch(address(path), { ...options, headers: { ...headers, ...authorization } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "The gateway cannot be reached. Check that it runs, then try again.");
  }
  if (response.ok) return response;
  const wrong = await failure(response);
  if (response.status === 401) showForm(key() ? wrong.message : null);
  throw wrong;
};

export const askJson = async (path, options) => (await ask(path, options)).json();

/** The events of a response, in order: `{name, data, comment}`. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { name: "message", data: [], comment: null };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length || event.comment !== null) yield { ...event, data: event.data.join("\n") };
        event = { name: "message", data: [], comment: null };
      } else if (line.startsWith(":")) {
        event.comment = line.slice(1).trim();
      } else if (line.startsWith("data:")) {
        event.data.push(line.slice(5).replace(/^ /, ""));
      } else if (line.startsWith("event:")) {
        event.name = line.slice(6).trim();
      }
    }
  }
}

const digits = (value, places) =>
  value.toLocaleString(undefined, { minimumFractionDigits: places, maximumFractionDigits: places });

/** A time of so many milliseconds, with a unit that fits. */
export const time = (ms) => {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  const size = Math.abs(ms);
  if (size < 0.1) return `${digits(ms * 1000, 0)} µs`;
  if (size < 10) return `${digits(ms, 2)} ms`;
  if (size < 1000) return `${digits(ms, 0)} ms`;
  return size < 60_000 ? `${digits(ms / 1000, 2)} s` : `${digits(ms / 60_000, 1)} min`;
};
export const number = (value, places = 0) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : digits(value, places);

/** Shows a line of state to all readers. */
export const say = (element, text, bad = false) => {
  element.textContent = text;
  element.classList.toggle("bad", bad);
};

// The form for a key, at the top of each page.
const form = byId("sign-in");
const showForm = (message) => {
  form.hidden = false;
  say(byId("sign-in-status"), message ?? "", Boolean(message));
};

const showWho = () => {
  const known = key();
  byId("who").replaceChildren();
  if (!known) return;
  const out = make("button", { type: "button", class: "plain small" }, "Sign out");
  out.addEventListener("click", () => {
    keep(null);
    location.reload();
  });
  byId("who").append(`Key …${known.slice(-4)}`, out);
};

/** Begins a page: `load` runs now and after each sign-in. `open`: it has something to show without a key. */
export const begin = (load, { open = false } = {}) => {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const value = byId("key").value.trim();
    if (!value) return say(byId("sign-in-status"), "Type or paste a key first.", true);
    keep(value);
    byId("key").value = "";
    form.hidden = true;
    showWho();
    load();
  });
  showWho();
  if (!key() && !open) showForm(null);
  load();
};

/** Lists of models for a form; keeps the choice. */
export const fillModels = (select, models) => {
  const chosen = select.value;
  select.replaceChildren(...models.map((id) => make("option", { value: id }, id)));
  if (models.includes(chosen)) select.value = chosen;
};

const NO_CHAT = /embed|whisper|tts|audio|image|dall-e|moderation|realtime|rerank/i;
export const chatModels = (list) => list.map(({ id }) => id).filter((id) => !NO_CHAT.test(id));
