// Parts that all pages share: elements, the session, requests, streams of events, figures with their units.
// All that comes from outside becomes text, never markup. Keys are not kept: the browser has a cookie that
// no script reads.

const ROOT = new URL(document.documentElement.dataset.root, location.href);
// The gateway takes the cookie only with this header, which pages of other origins cannot send.
const PAGE = { "x-thalweg-page": "1" };

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

let session = { signed_in: false, admin: false, key: null, administration: "key" };
/** Whether the page may ask for more than anyone, and whether as an administrator. */
export const signedIn = () => session.signed_in;
export const isAdmin = () => session.admin;
/** The key of the session: `{id, name}`. `null`: none is needed, or there is no session. */
export const ownKey = () => session.key;
export const administration = () => session.administration;

/** A failure in words, with the next step. */
export class Failure extends Error {
  constructor(status, message, { code, errors } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    // Mistakes of a configuration: `{path, message, suggestion}`.
    this.errors = errors;
  }
}

const NEXT_STEP = {
  401: "Sign in with a key that this gateway knows.",
  403: "Sign in with a key that may do this.",
  404: "Check the name, and that this address serves it.",
  429: "Wait for a moment, then try again.",
  503: "The gateway or all providers are busy or down; look at the providers' state, then try again.",
};

// The refusals of the page's own key or session; a provider may refuse the gateway's by 401, too.
const KEY_REFUSALS = new Set(["missing_api_key", "invalid_api_key", "key_expired", "session_ended"]);
// Their messages say what to do.
const PLAIN = new Set(["invalid_api_key", "key_expired", "link_used", "too_many_sign_ins", "session_ended", "upstream_key_refused", "all_providers_refused"]);

const failure = async (response) => {
  const text = await response.text().catch(() => "");
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // A proxy in between answers in a form of its own.
  }
  const message = error.message || `the gateway answered ${response.status}`;
  const next = PLAIN.has(error.code) ? "" : (NEXT_STEP[response.status] ?? "");
  return new Failure(response.status, `${message[0].toUpperCase()}${message.slice(1)}. ${next}`.trim(), error);
};

/** A request to the gateway, as the session. Throws a `Failure`; 401 also opens the form for a key. */
export const ask = async (path, { headers = {}, ...options } = {}) => {
  let response;
  try {
    response = await fetch(address(path), { ...options, credentials: "same-origin", headers: { ...headers, ...PAGE } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "The gateway cannot be reached. Check that it runs, then try again.");
  }
  if (response.ok) return response;
  const wrong = await failure(response);
  if (KEY_REFUSALS.has(response.headers.get("x-thalweg-error")) && path !== "session") signedOut();
  throw wrong;
};

export const askJson = async (path, options) => {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(response.status, "The answer cannot be read: it broke off, or a proxy in between gave it. Try again.");
  }
};

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
/** The same of so many microseconds. */
export const micros = (us) => time(us === null || us === undefined ? null : us / 1000);
export const number = (value, places = 0) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : digits(value, places);
/** An amount in the currency of the prices. */
export const money = (amount) =>
  amount === null || amount === undefined ? "–" : amount.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 6 });

/** Shows a line of state to all readers. */
export const say = (element, text, bad = false) => {
  element.textContent = text;
  element.classList.toggle("bad", bad);
};

/** Runs `act` every so many milliseconds while the page is in view, and at once when it is again. */
export const every = (ms, act) => {
  let timer = null;
  const turn = () => {
    clearInterval(timer);
    timer = document.hidden ? null : setInterval(act, ms);
  };
  document.addEventListener("visibilitychange", () => {
    turn();
    if (!document.hidden) act();
  });
  turn();
};

/** Waits until the page is in view. */
export const inView = async () => {
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
};

/** Choices under a heading: `[value, words]` each. */
export const choices = (label, options) =>
  make("optgroup", { label }, ...options.map(([value, words]) => make("option", { value }, words)));

/** A link to the query that figures come from; behind a `#` the part of its answer that they are. */
export const source = (path) =>
  make("a", { class: "source", href: `${document.documentElement.dataset.root}${path}` }, make("code", {}, `/${path.split("#")[0]}`));

// An answer may be as large as a gateway has models.
const SHOWN_LENGTH = 500_000;

/** The part of an answer: of a document a member (`name`, or `group:name`), of metrics the lines of one. */
const partOf = (text, isJson, part) => {
  if (!isJson) return text.split("\n").filter((line) => !part || line.includes(part)).join("\n");
  const [, group, name] = /^([^:]+):?(.*)$/s.exec(part) ?? [];
  const whole = JSON.parse(text);
  const member = group ? whole[group] : whole;
  return JSON.stringify((name ? member?.[name] : member) ?? null, null, 2);
};

let sourceAsked = 0;

// Beside the figures, and the part that they come from. In a tab of its own a browser shows the whole answer.
const openSource = async (event) => {
  const link = event.target.closest?.("a.source");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const own = ++sourceAsked;
  const at = new URL(link.href);
  const part = decodeURIComponent(at.hash.slice(1));
  at.hash = "";
  byId("origin-title").textContent = link.textContent;
  byId("origin-text").textContent = "";
  say(byId("origin-status"), "Asking …");
  if (!byId("origin").open) byId("origin").showModal();
  try {
    const response = await ask(at);
    const text = await response.text();
    if (own !== sourceAsked) return;
    byId("origin-text").textContent = partOf(text, /json/.test(response.headers.get("content-type")), part).slice(0, SHOWN_LENGTH);
    say(byId("origin-status"), part ? `${part}, of ` : "");
    byId("origin-status").append(make("a", { href: at.href, target: "_blank" }, at.href));
  } catch (error) {
    if (own === sourceAsked) say(byId("origin-status"), error.message, true);
  }
};
document.addEventListener("click", openSource);
byId("origin-close").addEventListener("click", () => byId("origin").close());

// All tabs share the cookie. The one that signs in or out says so to the others of this gateway.
const tabs = new BroadcastChannel(`thalweg ${ROOT.pathname}`);

// The form for a key, at the top of each page.
const form = byId("sign-in");
const showForm = (message, bad = Boolean(message)) => {
  form.hidden = false;
  byId("no-admin").hidden = session.administration !== "closed";
  say(byId("sign-in-status"), message ?? "", bad);
};

// Of the key that the page shows things of: `null` before the first.
let shownKey = null;
const keyOf = ({ key, admin }) => JSON.stringify([key?.id, admin]);

/** A session began. Things of another key leave the page with it. True: the page stays. */
const entered = (now) => {
  const isOther = now.signed_in && shownKey !== null && shownKey !== keyOf(now);
  session = now;
  if (now.signed_in) shownKey = keyOf(now);
  if (isOther) location.reload();
  return !isOther;
};

/** The gateway knows the session no more: it or its key has ended, or the gateway was started again. */
const signedOut = () => {
  const before = session.signed_in;
  session = { ...session, signed_in: false, admin: false, key: null };
  showWho();
  // Of several questions that find out, the first says so.
  if (before || form.hidden) showForm(before ? "This session has ended. Sign in again." : null);
  document.dispatchEvent(new Event("signed-out"));
};

const showWho = () => {
  byId("who").replaceChildren();
  if (!session.key) return;
  const out = make("button", { type: "button", class: "plain small" }, "Sign out");
  out.addEventListener("click", async () => {
    out.disabled = true;
    // Where the gateway is away, the cookie stays, and so does the page.
    try {
      await ask("session", { method: "DELETE" });
    } catch (error) {
      out.disabled = false;
      return showForm(error.message);
    }
    tabs.postMessage("signed out");
    location.reload();
  });
  const name = make("bdi", { class: "name" }, session.key.name || session.key.id);
  byId("who").append(make("span", {}, session.admin ? "Administrator " : "Key ", name), out);
};

const signIn = async (body) => {
  const headers = { "content-type": "application/json" };
  const now = await askJson("session", { method: "POST", headers, body: JSON.stringify(body) });
  tabs.postMessage("signed in");
  if (!entered(now)) return new Promise(() => {});
  form.hidden = true;
  showWho();
};

/** Learns of the end of the session, and of a sign-in or a sign-out in another tab. */
const lookAgain = async (load) => {
  // A gateway that is away has said nothing of the session.
  const now = await askJson("session").catch(() => session);
  if (session.signed_in && !now.signed_in) return signedOut();
  if (!now.signed_in) return;
  if (session.signed_in && keyOf(session) === keyOf(now)) return;
  if (!entered(now)) return;
  form.hidden = true;
  showWho();
  load();
};

/** The session as the gateway knows it, after the link of the start-up lines, if that was followed. */
const enter = async () => {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  let wrong = null;
  if (code) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      return await signIn({ code });
    } catch (error) {
      wrong = error.message;
    }
  }
  try {
    entered(await askJson("session"));
  } catch (error) {
    wrong = error.message;
  }
  showWho();
  if (wrong && !session.signed_in) showForm(wrong);
};

/** Begins a page: `load` runs now and after each sign-in. `open`: it has something to show without a key. */
export const begin = async (load, { open = false } = {}) => {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = byId("key").value.trim();
    if (!value) return say(byId("sign-in-status"), "Type or paste a key first.", true);
    const send = form.querySelector("button");
    send.disabled = true;
    try {
      await signIn({ key: value });
      byId("key").value = "";
    } catch (error) {
      return showForm(error.message);
    } finally {
      send.disabled = false;
    }
    load();
  });
  await enter();
  if (!session.signed_in && !open && form.hidden) showForm(null);
  load();
  tabs.onmessage = () => lookAgain(load);
  // A tab that comes back after days finds out before its reader does.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) lookAgain(load);
  });
};

/** Lists of models for a form; keeps the choice. */
export const fillModels = (select, models) => {
  const chosen = select.value;
  select.replaceChildren(...models.map((id) => make("option", { value: id }, id)));
  if (models.includes(chosen)) select.value = chosen;
};

const NO_CHAT = /embed|whisper|tts|audio|image|dall-e|moderation|realtime|rerank/i;
export const chatModels = (list) => list.map(({ id }) => id).filter((id) => !NO_CHAT.test(id));
