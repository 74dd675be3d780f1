// The pages in Debian's Chromium, against thalweg with the demo provider: no console error, no request to another
// host, by keyboard, in both colour schemes, from 360 to 1440 pixels. Leaves a picture of each page in
// THALWEG_PICTURES.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

// The packages live in the cache of tests/run.sh, not beside this file.
const require = createRequire(`${process.env.THALWEG_NODE_HOME}/`);
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const { THALWEG_CONFIG_FILE: FILE, THALWEG_URL: URL_, THALWEG_KEY: KEY, THALWEG_ADMIN_KEY: ADMIN, THALWEG_PICTURES: PICTURES } = process.env;
const program = ["/usr/bin/chromium", "/usr/lib/chromium/chromium"].find(existsSync);
if (PICTURES) mkdirSync(PICTURES, { recursive: true });

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu"] });

/** A tab that is signed in, and fails at its end if its page complained or asked another host. */
const tab = async (work, { width = 1440, height = 1000, dark = false, key = KEY, at = URL_, below = "", expected } = {}) => {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
    serviceWorkers: "block",
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (line) => {
    if (["error", "warning"].includes(line.type()) && !expected?.test(line.text())) complaints.push(line.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(at).origin && protocol !== "data:") complaints.push(`asked ${request.url()}`);
  });
  try {
    if (key) await signIn(context, `${at}${below}`, key);
    await work(page, context);
    const kept = await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]).catch(() => null);
    assert.deepEqual(kept ?? [0, 0, ""], [0, 0, ""], "no script has a secret");
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
};

/** Signs a browser in past its form. */
const signIn = async (context, root, key) => {
  const answer = await context.request.post(`${root}/session`, { headers: { "x-thalweg-page": "1" }, data: { key } });
  assert.equal(answer.status(), 200, await answer.text());
};

/** A proxy that serves the gateway below /llm/ at a port of its own. */
const below = async (work) => {
  const proxy = createServer((asked, answer) => {
    if (!asked.url.startsWith("/llm/")) return answer.writeHead(404).end();
    const { hostname, port } = new URL(URL_);
    const options = { hostname, port, path: asked.url.slice(4), method: asked.method, headers: asked.headers };
    const onward = request(options, (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    asked.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  try {
    await work(`http://127.0.0.1:${proxy.address().port}`);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
};

/** A provider of a test's own, and its entry in the configuration. */
const begin = async (serve, port = 0) => {
  const server = createServer(serve);
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return server;
};
const river = (port) => ({ name: "river", base_url: `http://127.0.0.1:${port}/v1`, models: ["river-1"] });
const RIVERS = { object: "list", data: [{ id: "river-1", object: "model" }] };

/** Puts a configuration in force. */
const load = async (configuration) => {
  writeFileSync(FILE, configuration);
  const answer = await fetch(`${URL_}/v1/reload`, { method: "POST", headers: { authorization: `Bearer ${ADMIN}` } });
  assert.equal(answer.status, 200, await answer.text());
};

const open = (page, at, origin = URL_) => page.goto(`${origin}${at}`, { waitUntil: "load" });
const shoot = (page, name) => PICTURES && page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
const text = (page, id) => page.locator(`#${id}`).textContent();

/** The findings of axe that block readers. */
const audit = async (page) => {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ target, any }) => [target, any[0]?.message])]), []);
};

const fits = async (page) => {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert(content <= window, `${content} of ${window} pixels`);
};

/**
 * Begins to note the layout shifts outside of the tables of requests, within which rows move. A picture or another
 * size moves the whole page, in a frame that may come after the call's return.
 */
const watchShifts = (page) => page.evaluate(async () => {
  const frame = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
  await frame();
  await frame();
  globalThis.shiftWatcher?.disconnect();
  const seen = [];
  const part = (node) => (node?.parentElement ?? node)?.closest("[id]")?.id;
  const isOutside = ({ node }) => node && !(node.parentElement ?? node).closest("#running, #rows");
  const line = ({ node, previousRect: from, currentRect: to }) =>
    `${node?.nodeName} in ${part(node)}: ${[from.x, from.y, from.width, from.height]} to ${[to.x, to.y, to.width, to.height]}`;
  const note = (entries) => {
    for (const { value, sources } of entries) if (sources.some(isOutside)) seen.push([value, ...sources.map(line)]);
  };
  const watcher = new PerformanceObserver((list) => note(list.getEntries()));
  watcher.observe({ type: "layout-shift" });
  globalThis.shiftWatcher = watcher;
  globalThis.shifts = () => {
    note(watcher.takeRecords());
    return seen;
  };
});
const shifts = (page) => page.evaluate(() => globalThis.shifts());

/** Sends the message that is in the playground, and waits for the end of its answer. */
const play = async (page, model = "demo-text") => {
  await page.waitForFunction(() => document.querySelectorAll("#model option").length > 3);
  await page.selectOption("#model", model);
  await page.click("#send");
};
const ended = (page, words) =>
  page.waitForFunction((wanted) => new RegExp(wanted).test(document.querySelector("#play-status").textContent), words);

/** Three hundred streams of `river-1` on the dashboard. */
const manyStreams = () => tab(async (page) => {
  await open(page, "/dashboard");
  await page.waitForFunction(() => document.querySelector("#running-status").textContent.startsWith("Nothing is under way"));
  const leave = new AbortController();
  const body = JSON.stringify({ model: "river-1", stream: true, messages: [{ role: "user", content: "x" }] });
  const headers = { authorization: `Bearer ${KEY}` };
  const stream = async () => {
    const answer = await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers, body, signal: leave.signal });
    return answer.text();
  };
  const streams = Array.from({ length: 300 }, () => stream().catch(() => ""));
  await page.waitForFunction(() => Number.parseInt(document.querySelector("#running-status").textContent, 10) >= 300);
  assert.equal(await page.locator("#running tbody tr").count(), 100);
  await page.evaluate(() => {
    globalThis.draws = new Set();
    const watcher = new MutationObserver(() => globalThis.draws.add(Math.floor(performance.now())));
    watcher.observe(document.querySelector("#running tbody"), { subtree: true, childList: true, characterData: true });
    globalThis.watched = performance.now();
  });
  // Views of many streams are made less often, so that they cost the streams nothing.
  await page.waitForFunction(() => globalThis.draws.size >= 2);
  const [draws, seconds] = await page.evaluate(() => [globalThis.draws.size, (performance.now() - globalThis.watched) / 1000]);
  assert(draws <= 2 + 10 * seconds, `${draws} draws in ${seconds} seconds`);
  const took = await page.evaluate(() => new Promise((resolve) => {
    const begin = performance.now();
    setTimeout(() => resolve(performance.now() - begin), 0);
  }));
  assert(took < 1000, `the page answers after ${took} ms`);
  await shoot(page, "dashboard-under-load");
  leave.abort();
  await Promise.all(streams);
}, { key: ADMIN });

const checks = {
  async "the first page asks for a key, and takes one"() {
    await tab(async (page, context) => {
      await open(page, "/");
      await page.waitForSelector("#sign-in:not([hidden])");
      await page.waitForFunction(() => document.querySelector("#state").textContent.includes("providers"));
      await shoot(page, "start-signed-out");
      await audit(page);
      await page.fill("#key", "sk-wrong");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => /knows no such key\.$/.test(document.querySelector("#sign-in-status").textContent));
      assert.equal(await page.inputValue("#key"), "sk-wrong", "to be mended");
      await shoot(page, "sign-in-wrong");
      await page.fill("#key", KEY);
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelectorAll("#providers tbody tr").length > 3);
      assert(await page.isHidden("#sign-in"));
      assert.equal(await page.inputValue("#key"), "");
      assert.match(await text(page, "who"), /^Key tests/);
      const [{ name, httpOnly, sameSite, path: at }] = await context.cookies();
      assert.deepEqual([name, httpOnly, sameSite, at], [`thalweg-session-${new URL(URL_).port}`, true, "Strict", "/"]);
      await page.reload();
      await page.waitForFunction(() => document.querySelectorAll("#providers tbody tr").length > 3);
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.waitForSelector("#sign-in:not([hidden])");
      assert.deepEqual(await context.cookies(), []);
    }, { key: null, expected: /status of 401/ });
  },
  async "a used link says so, and leaves the address"() {
    await tab(async (page) => {
      await open(page, "/#code=0123456789abcdef");
      await page.waitForFunction(() => /used before/.test(document.querySelector("#sign-in-status").textContent));
      assert.equal(page.url(), `${URL_}/`);
    }, { key: null, expected: /status of 401/ });
  },
  async "a tab that comes back after its session has ended gets the form, and goes on"() {
    await tab(async (page, context) => {
      await open(page, "/dashboard");
      await page.waitForFunction(() => document.querySelector("#status").textContent === "Live.");
      // Another tab has signed out meanwhile; this one finds out by itself.
      const headers = { "x-thalweg-page": "1" };
      const cookie = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join();
      await fetch(`${URL_}/session`, { method: "DELETE", headers: { ...headers, cookie } });
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await page.waitForFunction(() => /has ended/.test(document.querySelector("#sign-in-status").textContent));
      await shoot(page, "session-ended");
      assert.equal(await text(page, "status"), "Sign in to see requests.", "it follows none of them any more");
      await page.fill("#key", ADMIN);
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("#status").textContent === "Live.");
      assert(await page.isHidden("#sign-in"));
    }, { key: ADMIN, expected: /status of 401/ });
  },
  async "a session goes by keyboard alone"() {
    await tab(async (page) => {
      await open(page, "/");
      await page.waitForSelector("#sign-in:not([hidden])");
      const tabTo = async (wanted) => {
        for (let step = 0; step < 30; step += 1) {
          await page.keyboard.press("Tab");
          if (await page.evaluate(wanted)) return;
        }
        throw new Error("not reached by Tab");
      };
      await tabTo(() => document.activeElement.id === "key");
      await page.keyboard.type(KEY);
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelectorAll("#providers tbody tr").length > 3);
      await page.evaluate(() => document.activeElement.blur());
      await page.reload();
      await page.waitForFunction(() => document.querySelector("#who button"));
      await tabTo(() => document.activeElement.textContent === "Sign out");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#sign-in:not([hidden])");
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await shoot(page, "sign-in-360-dark");
      await audit(page);
    }, { key: null });
  },
  async "the playground shows tokens as they arrive, with their times"() {
    await tab(async (page) => {
      await open(page, "/");
      await play(page);
      await ended(page, "Tokens arrive");
      const early = (await text(page, "answer")).length;
      await ended(page, "^Done in .* from demo");
      const late = (await text(page, "answer")).length;
      assert(early < late && late > 200, `${early}, ${late}`);
      assert.match(await text(page, "first"), /^\d+ ms$/);
      assert(Number.parseFloat(await text(page, "rate")) > 5);
      assert.match(await text(page, "added"), /µs|ms/);
      await shoot(page, "start");
      await audit(page);
    });
  },
  async "the playground stops, and says an error in words"() {
    await tab(async (page) => {
      await open(page, "/");
      await play(page, "demo-long");
      await ended(page, "Tokens arrive");
      await page.click("#stop");
      await ended(page, "^Stopped");
      await play(page, "demo-error");
      await ended(page, "error|broke");
      assert(await page.isEnabled("#send"));
    });
  },
  async "the playground goes by keyboard alone"() {
    await tab(async (page) => {
      await open(page, "/");
      await page.waitForFunction(() => document.querySelectorAll("#model option").length > 3);
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
      const seen = [];
      for (let step = 0; step < 40 && seen.at(-1) !== "prompt"; step += 1) {
        await page.keyboard.press("Tab");
        seen.push(await page.evaluate(() => document.activeElement.id));
      }
      assert(seen.includes("model") && seen.at(-1) === "prompt", seen.join());
      await page.keyboard.press("Control+A");
      await page.keyboard.type("Which way?");
      await page.keyboard.press("Control+Enter");
      await ended(page, "^Done");
    });
  },
  async "a name with markup is text"() {
    await tab(async (page) => {
      const name = "<img src=x onerror=document.title='run'><b>bold</b>";
      await page.route("**/v1/models", (route) => route.fulfill({ json: { data: [{ id: name, providers: ["demo"] }] } }));
      await open(page, "/");
      await page.waitForFunction(() => document.querySelectorAll("#providers tbody tr").length > 3);
      assert.equal(await page.locator("#model option").textContent(), name);
      assert.equal(await page.locator("#providers b, #providers img, #model b").count(), 0);
      assert.equal(await page.title(), "thalweg");
    });
  },
  async "pages work below a path of a proxy"() {
    await below((origin) => tab(async (page, context) => {
      await open(page, "/llm/", origin);
      await play(page, "demo-emoji");
      await ended(page, "^Done");
      assert((await text(page, "snippets")).includes(`OPENAI_BASE_URL=${origin}/llm/v1`));
      await page.getByRole("link", { name: "Comparison" }).click();
      await page.waitForFunction(() => document.querySelectorAll("#model option").length > 3);
      assert.equal(new URL(page.url()).pathname, "/llm/compare");
      await page.getByRole("link", { name: "Start" }).click();
      await page.waitForFunction(() => document.querySelectorAll("#providers tbody tr").length > 3);
      assert.equal(new URL(page.url()).pathname, "/llm/");
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.waitForSelector("#sign-in:not([hidden])");
      await page.fill("#key", KEY);
      await page.keyboard.press("Enter");
      await page.waitForSelector("#who button");
      const [{ path: at }] = await context.cookies();
      assert.equal(at, "/llm", "the cookie is for the gateway's pages alone");
    }, { at: origin, below: "/llm" }));
  },
  async "the first page fits 360 pixels, in the dark"() {
    await tab(async (page) => {
      await open(page, "/");
      await play(page, "demo-emoji");
      await ended(page, "^Done");
      await fits(page);
      await shoot(page, "start-360-dark");
      await audit(page);
    }, { width: 360, height: 740, dark: true });
  },
  async "a comparison is drawn as it runs: a mark for each event, and the run is kept"() {
    await tab(async (page) => {
      await open(page, "/compare");
      await page.waitForFunction(() => document.querySelectorAll("#model option").length > 3);
      await page.selectOption("#model", "demo-emoji");
      await page.fill("#repeats", "2");
      await page.click("#run");
      await page.waitForSelector("#picture svg");
      assert.match(await text(page, "status"), /of 12 answers/, "drawn before the end");
      await page.waitForSelector("#links:not([hidden])", { timeout: 60_000 });
      const report = await (await fetch(await page.getByRole("link", { name: "JSON" }).getAttribute("href"))).json();
      const events = report.legs.reduce((sum, leg) => sum + leg.events_at_us.length, 0);
      assert(events > 100, `${events}`);
      assert.equal(await page.locator("#picture .mark").count(), events);
      assert.match(await text(page, "status"), /recommended way/);
      await shoot(page, "compare");
      await fits(page);
      await audit(page);
      const [download] = await Promise.all([page.waitForEvent("download"), page.click("#png")]);
      const png = readFileSync(await download.path());
      assert.equal(png.toString("latin1", 1, 4), "PNG");
      const drawn = await page.evaluate(() => document.querySelector("#picture svg").viewBox.baseVal.width);
      assert.equal(png.readUInt32BE(16), 2 * drawn);
      assert(png.length > 20_000, `${png.length}: an empty picture`);

      await page.getByRole("link", { name: "Link to this run" }).click();
      await page.waitForSelector("#picture svg");
      assert.equal(await page.locator("#picture .mark").count(), events);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await page.reload();
      await page.waitForSelector("#picture svg");
      await fits(page);
      assert.equal(await page.locator("#picture .mark").count(), events);
      await shoot(page, "compare-360-dark");
      await audit(page);

      // The picture alone has a style sheet of its own.
      await page.goto(`${page.url()}.svg`);
      const fill = () => getComputedStyle(document.querySelector(".c1.fill")).fill;
      assert.equal(await page.evaluate(fill), "rgb(86, 180, 233)", "its dark colours");
    });
  },
  async "keys are made, used, limited, rotated and revoked, by keyboard too"() {
    await tab(async (page, context) => {
      await open(page, "/keys");
      await page.waitForSelector("#make:not([hidden])");
      await page.focus("#make");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#edit[open]");
      await audit(page);
      await page.keyboard.press("Escape");
      await page.waitForSelector("#edit:not([open])", { state: "attached" });
      await page.keyboard.press("Enter");
      await page.fill("#rpm", "many");
      await page.fill("#name", "<b>alice</b>");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => /whole number/.test(document.querySelector("#edit-status").textContent));
      await shoot(page, "keys-make");
      await page.fill("#rpm", "5");
      await page.fill("#budget", "2.5");
      await page.fill("#expires", "30d");
      await page.click("#edit-send");
      await page.waitForSelector("#made:not([hidden])");
      const secret = await text(page, "made-key");
      assert.match(secret, /^sk-thalweg-[0-9a-f]{32}$/);
      assert.equal(await page.evaluate(() => document.activeElement.id), "made-title");
      const line = page.locator("#keys tbody tr", { hasText: "<b>alice</b>" });
      await line.waitFor();
      assert.equal(await page.locator("#keys b").count(), 0, "a name is text");
      await shoot(page, "keys-made");
      await page.click("#made-done");
      assert.equal(await text(page, "made-key"), "", "shown once");

      const asks = async (key) => {
        const headers = { authorization: `Bearer ${key}` };
        const body = JSON.stringify({ model: "demo-emoji", messages: [{ role: "user", content: "x" }] });
        const answer = await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers, body });
        await answer.text();
        return answer.status;
      };
      const until = async (key, wanted) => {
        for (let tries = 0; (await asks(key)) !== wanted; tries += 1) {
          assert(tries < 100, `never ${wanted}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      };
      await until(secret, 200);
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await page.waitForFunction(() => /[1-5] of 5/.test(document.querySelector("#keys tbody").textContent));
      await shoot(page, "keys");
      await fits(page);
      await audit(page);

      await line.getByRole("button", { name: /^Limits/ }).click();
      assert.equal(await page.inputValue("#rpm"), "5");
      assert(await page.isHidden("#name"));
      await page.fill("#rpm", "");
      await page.fill("#models", "gpt-*");
      await page.click("#edit-send");
      await page.waitForSelector("#edit:not([open])", { state: "attached" });
      await page.waitForFunction(() => document.querySelector("#keys tbody").textContent.includes("gpt-*"));
      await until(secret, 403);

      await line.getByRole("button", { name: /^Rotate/ }).click();
      await page.fill("#overlap", "0");
      await shoot(page, "keys-rotate");
      await page.click("#rotate-form button");
      await page.waitForSelector("#made:not([hidden])");
      const next = await text(page, "made-key");
      assert.notEqual(next, secret);
      await until(secret, 401);

      // A session of that key, in another browser, ends when it is revoked.
      const other = await browser.newContext();
      await signIn(other, URL_, next);
      const page2 = await other.newPage();
      await open(page2, "/keys");
      await page2.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 1);
      assert(await page2.isHidden("#make"));
      assert.match(await text(page2, "keys"), /\(yours\)/);
      await line.getByRole("button", { name: /^Revoke/ }).click();
      await shoot(page, "keys-revoke");
      await page.click("#revoke-form button");
      await page.waitForFunction(() => !document.querySelector("#keys tbody").textContent.includes("alice"));
      await page2.waitForFunction(() => /has ended/.test(document.querySelector("#sign-in-status").textContent), null, { timeout: 10_000 });
      await other.close();

      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await shoot(page, "keys-360-dark");
      await audit(page);
      await page.click("#make");
      await fits(page);
      await shoot(page, "keys-make-360-dark");
      await audit(page);
    }, { key: ADMIN });
  },
  async "the dashboard shows a running stream with its phase until it ends, and nothing shifts"() {
    const leave = new AbortController();
    await tab(async (page) => {
      await page.route("**/health", async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await route.continue();
      });
      await open(page, "/dashboard");
      await page.waitForFunction(() => document.querySelector("#running-status").textContent.startsWith("Nothing is under way"));
      await page.waitForFunction(() => document.querySelectorAll("#times tbody tr").length === 12);
      assert((await page.locator("#providers tbody tr").count()) > 0, "the page fills at once, however slow a part is");
      await shoot(page, "dashboard-empty");
      await watchShifts(page);
      // Again and again, so that a slow machine sees them, too.
      const stream = async (model) => {
        const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "x" }] });
        const headers = { authorization: `Bearer ${KEY}` };
        const options = { method: "POST", headers, body, signal: leave.signal };
        while (!leave.signal.aborted) await fetch(`${URL_}/v1/chat/completions`, options).then((answer) => answer.text()).catch(() => "");
      };
      const counted = await page.locator("#times tbody tr:nth-child(3) td.number").first().textContent();
      const streams = ["demo-long", "demo-long", "demo-reasoning"].map(stream);
      const shows = (count) => page.waitForFunction((wanted) => {
        const texts = [...document.querySelectorAll("#running tbody tr")].map((row) => row.textContent);
        return texts.filter((text) => text.includes("mid stream") && text.includes("demo-long")).length === wanted;
      }, count);
      await shows(2);
      const row = await page.waitForFunction(() => {
        const [first] = document.querySelectorAll("#running tbody tr");
        return first && [...first.querySelectorAll("td")].map((cell) => cell.textContent);
      });
      const cells = await row.jsonValue();
      assert.match(cells[4], /ms|s/);
      assert(cells.length === 10 && cells[3] === "demo", cells.join("|"));
      assert(await page.locator("#running td:nth-child(10)").first().isHidden(), "one gateway needs no name");
      await page.waitForFunction(() => Number.parseFloat(document.querySelector("#running tbody td:nth-child(7)")?.textContent) > 20);
      assert.match(await text(page, "running-status"), /^\d under way/);
      await page.fill("#filter", "no such words");
      await shows(0);
      await page.fill("#filter", "demo-long");
      await shows(2);
      // The times of these streams come with the next statistics.
      await page.waitForFunction((before) => document.querySelector("#times tbody tr:nth-child(3) td.number").textContent !== before, counted);
      assert.deepEqual(await shifts(page), [], "nothing shifts as rows come and go");
      await shoot(page, "dashboard-running");
      await audit(page);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await shoot(page, "dashboard-running-360-dark");
      await audit(page);
      await watchShifts(page);
      leave.abort();
      await Promise.allSettled(streams);
      await page.waitForFunction(() => document.querySelectorAll("#running tbody tr").length === 0);
      await page.waitForFunction(() => document.querySelector("#running-status").textContent.startsWith("Nothing"));
      assert.deepEqual(await shifts(page), [], "nor on a phone");
    }, { key: ADMIN }).finally(() => leave.abort());
  },
  async "the dashboard has the times of one model, classes of failures and the last day of a provider"() {
    await tab(async (page) => {
      const ask = (model) => {
        const body = JSON.stringify({ model, messages: [{ role: "user", content: "x" }] });
        return fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers: { authorization: `Bearer ${KEY}` }, body });
      };
      assert.equal((await ask("demo-text")).status, 200);
      await open(page, "/dashboard");
      await page.waitForFunction(() => document.querySelector("#of optgroup[label='Models'] option"));
      await page.waitForFunction(() => document.querySelector("#status").textContent === "Live.");
      await page.selectOption("#of", "models:demo-text");
      assert.equal(new URL(page.url()).searchParams.get("of"), "models:demo-text");
      const whole = () => document.querySelector("#times tbody tr:nth-child(12) td.number").textContent;
      assert.match(await page.evaluate(whole), /^[1-9]/, "whole requests of the hour");
      assert.equal((await ask("<b>no such model</b>")).status, 404);
      assert.equal((await ask("<b>no such model</b>")).status, 404);
      await page.waitForFunction(() => /^model not found 404/.test(document.querySelector("#failures tbody th")?.textContent ?? ""));
      await page.waitForFunction(() => document.querySelector("#failures tbody td").textContent === "2");
      assert.equal(await page.locator("#failures b").count(), 0, "names are text");
      assert.match(await page.locator("#failures tbody tr").first().textContent(), /<b>no such model<\/b>/);
      assert.equal(await page.locator("#providers .day > span").count(), 24 * (await page.locator("#providers tbody tr").count()));
      assert.match(await page.locator("#providers .day").first().getAttribute("aria-label"), /^The last day: /);
      assert.match(await text(page, "retries"), /^\d/);
      assert(await page.isHidden("#replicas-panel"), "one gateway");
      await page.reload();
      await page.waitForFunction(() => document.querySelector("#of").value === "models:demo-text", null, { timeout: 10_000 });
      await shoot(page, "dashboard-times");
      await audit(page);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await shoot(page, "dashboard-times-360-dark");
      await audit(page);
    }, { key: ADMIN });
  },
  async "the dashboard draws a minute, an hour, a day and thirty days, and says what the ledger lacks"() {
    await tab(async (page) => {
      const body = JSON.stringify({ model: "demo-emoji", stream: true, messages: [{ role: "user", content: "x" }] });
      const headers = { authorization: `Bearer ${KEY}` };
      await (await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers, body })).text();
      await (await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers, body: body.replace("demo-emoji", "none") })).text();
      const drawn = (places) => page.waitForFunction((wanted) => {
        const charts = [...document.querySelectorAll("#history svg")];
        return charts.length >= 4 && charts.every((chart) => chart.viewBox.baseVal.width === wanted) && charts[0].querySelector(".good") !== null;
      }, places, { timeout: 30_000 });
      await open(page, "/dashboard?range=minute");
      await drawn(30);
      const labels = () => page.locator("#history svg").evaluateAll((charts) => charts.map((chart) => chart.getAttribute("aria-label")));
      const of = async (title) => (await labels()).find((label) => label.startsWith(title));
      assert.equal((await labels()).length, 6);
      assert.match(await of("First token"), /at most \d/);
      assert.match(await of("Failures"), /at most \d+ in two seconds/);
      assert.match(await page.locator("#history .warn title, #history svg:nth-of-type(1) .mark title").last().textContent(), /^\d/);
      assert.equal(await page.locator("#history-source a").getAttribute("href"), "./stats?history=minute#history");
      await page.selectOption("#range", "hour");
      assert.equal(new URL(page.url()).searchParams.get("range"), "hour");
      await drawn(60);
      assert.match(await of("Gap between frames"), /at most \d/);
      assert((await page.locator("#history .unknown").count()) > 0, "before the start nothing is known");
      for (const [range, places] of [["day", 24], ["month", 30]]) {
        await page.selectOption("#range", range);
        await drawn(places);
        assert.equal(await page.locator("#history svg").count(), 4);
        assert.match(await page.locator("#history .lacks").first().textContent(), /^The ledger keeps no gaps/);
        await fits(page);
        await audit(page);
      }
      await page.reload();
      await drawn(30);
      assert.match(await text(page, "history-source"), /^By day, out of the ledger/);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await audit(page);
      await shoot(page, "dashboard-month-360-dark");
    }, { key: ADMIN });
  },
  async "a stalled stream is first, says so once, and a name with markup is text"() {
    await tab(async (page) => {
      const name = "<img src=x onerror=document.title='run'><b>bold</b>";
      const row = (id, more) => ({ request_id: id, path: "/v1/chat/completions", principal: "k", model_asked: name, provider: "<i>p</i>", phase: "mid_stream", state: "running", instance: "gateway-b", age_us: 9e6, ttft_us: 2e5, quiet_us: 2e4, events: 9, tokens_out: 9, tokens_per_s: 1.5, added_max_ns: 31_000, ...more });
      const rows = [row("a", { state: "stalled", quiet_us: 12.5e6 }), row("b", { state: "waiting", phase: "before_first_token", ttft_us: undefined }), row("c"), row("c")];
      await page.addInitScript((view) => {
        const ask = globalThis.fetch;
        globalThis.fetch = (asked, options) => {
          if (!String(asked).includes("events?running=true")) return ask(asked, options);
          const event = new TextEncoder().encode(`event: running\ndata: ${JSON.stringify(view)}\n\n`);
          return Promise.resolve(new Response(new ReadableStream({ start: (stream) => stream.enqueue(event) })));
        };
      }, { requests: 7, stalled: 1, waiting: 1, left_out: 3, workers_missing: 1, replicas: [{ instance: "gateway-a" }, { instance: "gateway-b" }], rows });
      await open(page, "/dashboard");
      await page.waitForFunction(() => document.querySelectorAll("#running tbody tr").length === 4);
      const first = page.locator("#running tbody tr").first();
      assert.equal(await first.locator(".state.bad").textContent(), "silent 12.50 s");
      assert.equal(await first.locator("td").nth(2).textContent(), name);
      assert.equal(await page.locator("#running img, #running b, #running i").count(), 0);
      const replica = first.locator("td").nth(9);
      assert(await replica.isVisible() && (await replica.textContent()) === "gateway-b", "where there are several");
      assert.equal(await text(page, "running-status"), "7 under way at 2 replicas, 1 stalled, 1 waiting for a first token, 4 shown, 1 of the workers missing.");
      assert.equal(await text(page, "running-say"), "1 stream has stalled.");
      await shoot(page, "dashboard-stalled");
      await audit(page);
    }, { key: ADMIN });
  },
  async "the dashboard keeps its figures while it waits for the next ones, after the events have ended"() {
    await tab(async (page) => {
      const stats = { requests: 7, failed: 3, refused: 1, tokens: { output: 9 }, in_flight: { streams: 2, connections: 4 } };
      const row = { request_id: "a", path: "/v1/chat/completions", model_asked: "demo-long", phase: "mid_stream", state: "running", age_us: 9e6, tokens_out: 9 };
      await page.addInitScript(([first, next]) => {
        const ask = globalThis.fetch;
        const told = [`event: stats\ndata: ${JSON.stringify(first)}\n\n`, `event: running\ndata: ${JSON.stringify(next)}\n\n`];
        globalThis.fetch = (asked, options) => {
          if (!String(asked).includes("events?running=true")) return ask(asked, options);
          const event = told.shift();
          const start = (stream) => {
            stream.enqueue(new TextEncoder().encode(event));
            if (told.length) stream.close();
          };
          return Promise.resolve(new Response(new ReadableStream({ start })));
        };
      }, [stats, { requests: 1, stalled: 0, waiting: 0, left_out: 0, rows: [row] }]);
      await open(page, "/dashboard");
      const shows = (count) => page.waitForFunction((wanted) => document.querySelectorAll("#running tbody tr").length === wanted, count);
      await shows(1);
      await page.fill("#filter", "no such words");
      await shows(0);
      assert.equal(await text(page, "failed"), "3");
    }, { key: ADMIN });
  },
  async "usage is summed by day, model and key, and its address keeps range and filter"() {
    await tab(async (page) => {
      const lines = (wanted) => page.waitForFunction((words) => document.querySelector("#lines tbody").textContent.includes(words), wanted);
      const body = JSON.stringify({ model: "demo-emoji", messages: [{ role: "user", content: "x" }] });
      const headers = { authorization: `Bearer ${KEY}` };
      await (await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers, body })).text();
      // The ledger takes rows in batches.
      for (let tries = 0; ; tries += 1) {
        await open(page, "/usage?since=30d&by=model&filter=emoji");
        await page.waitForFunction(() => /lines|line has|No request/.test(document.querySelector("#status").textContent));
        if ((await page.locator("#lines tbody tr").count()) === 1) break;
        assert(tries < 20, await text(page, "status"));
      }
      assert.match(await text(page, "query"), /stats\?since=30d&by=model/);
      assert(Number.parseInt(await text(page, "requests"), 10) >= 1);
      await page.fill("#filter", "");
      await page.selectOption("#by", "key");
      await lines("tests");
      assert.match(page.url(), /since=30d&by=key$/);
      await page.selectOption("#by", "day");
      await lines("202");
      const drawn = (count) => page.waitForFunction((wanted) => document.querySelectorAll("#chart .good").length >= wanted, count);
      await drawn(2);
      assert.match(await page.locator("#chart svg").first().getAttribute("aria-label"), /^[\d.,]+ requests, /);
      await page.selectOption("#since", "24h");
      await page.waitForFunction(() => document.querySelector("#chart svg").viewBox.baseVal.width === 24);
      await page.waitForFunction(() => document.querySelector("#of optgroup[label='Models'] option[value='model:demo-emoji']"));
      const label = () => page.locator("#chart svg").first().getAttribute("aria-label");
      // A ledger of earlier runs has thousands, which have separators.
      const all = Number((await label()).match(/^[\d.,]+/)[0].replace(/\D/g, ""));
      await page.selectOption("#of", "model:demo-emoji");
      await page.waitForFunction((sum) => {
        const own = Number(document.querySelector("#chart svg").getAttribute("aria-label").match(/^[\d.,]+/)[0].replace(/\D/g, ""));
        return own >= 1 && own < sum;
      }, all);
      await shoot(page, "usage");
      await audit(page);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await shoot(page, "usage-360-dark");
      await audit(page);
    }, { key: ADMIN });
  },
  async "tabs learn of a sign-in, of another key and of a sign-out in one of them"() {
    await tab(async (page, context) => {
      await open(page, "/keys");
      await page.waitForSelector("#sign-in:not([hidden])");
      const other = await context.newPage();
      await open(other, "/keys");
      const sign = async (key) => {
        await other.waitForSelector("#sign-in:not([hidden])");
        await other.fill("#key", key);
        await other.keyboard.press("Enter");
      };
      const is = (who, wanted) => who.waitForFunction((words) => document.querySelector("#who").textContent.startsWith(words), wanted);
      await sign(KEY);
      await is(page, "Key tests");
      await page.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 1);
      assert(await page.isHidden("#sign-in"));
      await other.getByRole("button", { name: "Sign out" }).click();
      await page.waitForFunction(() => /has ended/.test(document.querySelector("#sign-in-status").textContent));
      await is(page, "");
      await sign(ADMIN);
      await is(page, "Administrator");
      // A sign-in as another key without a sign-out before it, by a program that has the same cookies.
      await signIn(context, URL_, KEY);
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await is(page, "Key tests");
      await page.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 1);
    }, { key: null, expected: /status of 401/ });
  },
  async "a page that shows things of an administrator leaves none to the next key"() {
    await tab(async (page) => {
      await open(page, "/dashboard");
      await page.waitForSelector("#history-panel:not([hidden])");
      await page.evaluate(() => fetch("session", { method: "DELETE", headers: { "x-thalweg-page": "1" } }));
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await page.waitForSelector("#sign-in:not([hidden])");
      await page.fill("#key", KEY);
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("#who").textContent.startsWith("Key tests"));
      await page.waitForSelector("#history-panel", { state: "hidden" });
    }, { key: ADMIN, expected: /status of 401|status of 403/ });
  },
  async "a provider that refuses the gateway's key ends no session"() {
    await tab(async (page) => {
      await page.route("**/v1/chat/completions", (route) => route.fulfill({
        status: 401,
        headers: { "content-type": "application/json", "x-thalweg-error": "upstream_key_refused" },
        body: JSON.stringify({ error: { message: "the provider refuses the gateway's key", code: "upstream_key_refused" } }),
      }));
      await open(page, "/");
      await page.waitForSelector("#send:not([disabled])");
      await page.fill("#prompt", "hi");
      await page.click("#send");
      await page.waitForFunction(() => /refuses the gateway/.test(document.querySelector("#play-status").textContent));
      assert(await page.isHidden("#sign-in"));
    }, { expected: /status of 401/ });
  },
  async "a late answer of an earlier range replaces none of a later one"() {
    await tab(async (page) => {
      const reply = (by, name) => ({ ledger: { by: [by], usage: [{ [by]: name, requests: 1, failed: 0, refused: 0, tokens_in: 1, tokens_out: 1 }] } });
      const held = [];
      const answered = (route, by, name) => route.fulfill({ json: reply(by, name) });
      await page.route("**/stats?**", (route) => {
        const by = new URL(route.request().url()).searchParams.get("by");
        if (by === "key") return held.push(route);
        return answered(route, by, by === "provider" ? "the-later" : "2026-01-01T00:00:00Z");
      });
      await open(page, "/usage");
      await page.waitForFunction(() => document.querySelectorAll("#lines tbody tr").length === 1);
      const waits = async (count) => {
        for (let tries = 0; held.length < count; tries += 1) {
          assert(tries < 500, "never asked");
          await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 10)));
        }
      };
      // The first is of the choices of the chart.
      await waits(1);
      await page.selectOption("#by", "key");
      await waits(2);
      await page.selectOption("#by", "provider");
      const shown = () => page.waitForFunction(() => document.querySelector("#lines tbody").textContent.includes("the-later"));
      await shown();
      await waits(3);
      await answered(held[1], "key", "the-earlier");
      await answered(held[0], "key", "the-earlier");
      await answered(held[2], "key", "a-key-of-the-later");
      await page.waitForFunction(() => document.querySelector("#of option[value='key:a-key-of-the-later']"));
      await shown();
      assert.equal(await page.locator("#lines", { hasText: "the-earlier" }).count(), 0);
      assert.equal(await page.locator("#of option", { hasText: "the-earlier" }).count(), 0);
      assert.equal(await text(page, "group"), "Provider");
    }, { key: ADMIN });
  },
  async "the dashboard rests while it is hidden, and says a failed question in words until the next is answered"() {
    await tab(async (page) => {
      await page.addInitScript(() => {
        const [begin, end] = [globalThis.setInterval, globalThis.clearInterval];
        globalThis.timers = new Set();
        globalThis.setInterval = (...given) => {
          const timer = begin(...given);
          globalThis.timers.add(timer);
          return timer;
        };
        globalThis.clearInterval = (timer) => {
          globalThis.timers.delete(timer);
          end(timer);
        };
        let isHidden = false;
        Object.defineProperty(document, "hidden", { get: () => isHidden });
        globalThis.turn = (hidden) => {
          isHidden = hidden;
          document.dispatchEvent(new Event("visibilitychange"));
        };
      });
      const status = (wanted) => page.waitForFunction((words) => new RegExp(words).test(document.querySelector("#status").textContent), wanted);
      await open(page, "/dashboard");
      await status("^Live");
      const timers = () => page.evaluate(() => globalThis.timers.size);
      const before = await timers();
      assert(before >= 3, `${before}`);
      await page.evaluate(() => globalThis.turn(true));
      assert.equal(await timers(), 0, "nothing runs");
      const asked = page.waitForRequest("**/health");
      await page.evaluate(() => globalThis.turn(false));
      await asked;
      assert.equal(await timers(), before, "all go on");
      for (const [answer, words] of [
        [{ status: 502, contentType: "text/html", body: "<html>no</html>" }, "answered 502"],
        [{ status: 200, contentType: "text/html", body: "<html>sign in</html>" }, "cannot be read"],
      ]) {
        await page.route("**/health", (route) => route.fulfill(answer));
        await page.evaluate(() => globalThis.turn(false));
        await status(words);
        await page.unroute("**/health");
        await page.evaluate(() => globalThis.turn(false));
        await status("^Live");
      }
    }, { key: ADMIN, expected: /status of 502/ });
  },
  async "figures link to the queries that they come from, by keyboard and below a path of a proxy"() {
    await below((origin) => tab(async (page, context) => {
      const shows = (wanted) => page.waitForFunction((words) => new RegExp(words).test(document.querySelector("#origin-text").textContent), wanted);
      const close = async () => {
        await page.keyboard.press("Escape");
        await page.waitForSelector("#origin:not([open])", { state: "attached" });
      };
      await open(page, "/llm/dashboard", origin);
      await page.waitForFunction(() => document.querySelectorAll("#times tbody tr").length === 12);
      const sources = await page.locator("a.source").evaluateAll((links) => links.map((link) => [link.getAttribute("href"), link.pathname]));
      assert(sources.length >= 15 && sources.every(([href, at]) => href.startsWith("./") && at.startsWith("/llm/")), sources.join("\n"));
      const answers = await Promise.all([...new Set(sources.map(([href]) => href.split("#")[0]))].map(async (href) => {
        const answer = await page.request.get(new URL(href, page.url()).href, { headers: { "x-thalweg-page": "1" } });
        return [href, answer.status()];
      }));
      assert.deepEqual(answers.filter(([, got]) => got !== 200), [], "each is a query that the gateway answers");

      await page.focus("#races-panel a.source");
      await page.keyboard.press("Enter");
      await shows('"wins"');
      assert.match(await text(page, "origin-status"), /^races, of .*\/llm\/stats\?scope=cluster$/);
      await audit(page);
      await shoot(page, "dashboard-source");
      await close();
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "races", "the focus comes back");
      await page.getByRole("link", { name: "thalweg_client_connections" }).click();
      await shows("^# HELP thalweg_client_connections .*\\n# TYPE thalweg_client_connections gauge\\nthalweg_client_connections[^\\n]* \\d+$");
      await close();

      const body = JSON.stringify({ model: "demo-emoji", messages: [{ role: "user", content: "x" }] });
      await (await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers: { authorization: `Bearer ${KEY}` }, body })).text();
      await page.waitForFunction(() => document.querySelector("#of option[value='models:demo-emoji']"), null, { timeout: 30_000 });
      await page.selectOption("#of", "models:demo-emoji");
      await page.click("#times-source a");
      await shows('^\\{[^]*"first_token_ms"');
      assert.match(await text(page, "origin-status"), /^models:demo-emoji, of /);
      // The whole answer, in a tab of its own: from the dialog, and as a browser opens any link so.
      const opened = async (act) => {
        const [other] = await Promise.all([context.waitForEvent("page"), act()]);
        await other.waitForLoadState();
        const shown = await other.locator("body").textContent();
        await other.close();
        return shown;
      };
      assert.match(await opened(() => page.click("#origin-status a")), /"replicas"/);
      await page.click("#origin-close");
      assert.match(await opened(() => page.locator("#times-source a").click({ modifiers: ["Control"] })), /"first_token_ms"/);
      const metrics = page.getByRole("link", { name: "thalweg_tokens_total" });
      assert.match(await opened(() => metrics.click({ button: "middle" })), /# TYPE thalweg_tokens_total/);
      assert.equal(await page.locator("#origin[open]").count(), 0);

      await open(page, "/llm/usage?since=7d&by=model", origin);
      await page.waitForSelector("#chart-query a");
      assert.equal(await page.locator("#query a").getAttribute("href"), "./stats?since=7d&by=model");
      assert.equal(await page.locator("#chart-query a").getAttribute("href"), "./stats?since=7d&by=day");
      await page.click("#query a");
      await shows('"usage"');
      await close();
      for (const at of ["keys", "configuration", ""]) {
        await open(page, `/llm/${at}`, origin);
        await page.waitForSelector("a.source:visible");
        await page.locator("a.source:visible").first().click();
        await shows("^\\{");
        await close();
      }
    }, { at: origin, below: "/llm", key: ADMIN }));
  },
  async "the configuration is checked and loaded, with its mistakes at their paths"() {
    const good = readFileSync(FILE, "utf8");
    const outcome = (page, wanted) => page.waitForFunction((words) => document.querySelector("#outcome").textContent.includes(words), wanted);
    try {
      await tab(async (page) => {
        await open(page, "/configuration");
        await page.waitForSelector("#configuration:not([hidden])");
        const shown = await text(page, "configuration");
        assert(shown.includes("tests|***") && !shown.includes(KEY), shown);
        await page.focus("#check");
        await page.keyboard.press("Enter");
        await outcome(page, "would change nothing");
        writeFileSync(FILE, JSON.stringify({ ...JSON.parse(good), prot: 1, tokens: [`tests|${KEY}`, "<b>x</b>"] }));
        await page.click("#reload");
        await outcome(page, "stays in force");
        assert.equal(await page.locator("#outcome tbody tr").count(), 2);
        assert.match(await text(page, "outcome"), /prot.*tokens\[1\]|tokens\[1\].*prot/s);
        await page.waitForFunction(() => /Not loaded/.test(document.querySelector("#last").textContent));
        await shoot(page, "configuration-mistakes");
        await audit(page);
        writeFileSync(FILE, JSON.stringify({ ...JSON.parse(good), failover: false }));
        await page.click("#check");
        await outcome(page, "A load would change:");
        await page.click("#reload");
        await page.waitForFunction(() => document.querySelector("#configuration").textContent.includes("failover"));
        await shoot(page, "configuration");
        await page.setViewportSize({ width: 360, height: 740 });
        await page.emulateMedia({ colorScheme: "dark" });
        await fits(page);
        await shoot(page, "configuration-360-dark");
        await audit(page);
      }, { key: ADMIN, expected: /status of 400/ });
    } finally {
      writeFileSync(FILE, good);
    }
    await tab(async (page) => {
      await open(page, "/configuration");
      await page.waitForFunction(() => /Only an administrator/.test(document.querySelector("#status").textContent));
      assert(await page.isDisabled("#reload"));
    });
  },
  async "the dashboard shows requests as they end"() {
    await tab(async (page) => {
      await open(page, "/dashboard");
      await page.waitForFunction(() => document.querySelector("#status").textContent === "Live.");
      const authorization = `Bearer ${KEY}`;
      const send = async (model) => {
        const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "x" }] });
        await (await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers: { authorization }, body })).text();
      };
      await Promise.all([send("demo-emoji"), send("<b>no-such-model</b>")]);
      await page.waitForFunction(() => document.querySelectorAll("#rows tbody tr").length >= 2);
      assert.equal(await page.locator("#rows b").count(), 0, "a name is text");
      await page.waitForFunction(() => Number.parseFloat(document.querySelector("#tokens").textContent) > 0);
      await page.waitForFunction(() => document.querySelectorAll("#times tbody tr").length === 12);
      await shoot(page, "dashboard");
      await audit(page);
      await page.fill("#filter", "emoji ok");
      await page.waitForFunction(() => document.querySelectorAll("#rows tbody tr").length === 1);
      assert.match(page.url(), /filter=emoji/);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: "dark" });
      await fits(page);
      await shoot(page, "dashboard-360-dark");
      await audit(page);
    }, { key: ADMIN });
  },
  // The last two: a gateway that had providers does not go back to its own demonstration.
  async "a provider that dies is seen on the dashboard, and its return"() {
    const good = readFileSync(FILE, "utf8");
    const serve = (asked, answer) => {
      asked.resume();
      const choice = { index: 0, message: { role: "assistant", content: "x" }, finish_reason: "stop" };
      const completion = { id: "1", object: "chat.completion", model: "river-1", choices: [choice] };
      answer.writeHead(200, { "content-type": "application/json" });
      answer.end(JSON.stringify(asked.url.endsWith("/models") ? RIVERS : completion));
    };
    let server = await begin(serve);
    const { port } = server.address();
    const end = async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    };
    try {
      await load(JSON.stringify({ ...JSON.parse(good), providers: [river(port)], health: { interval: "1s" } }));
      await tab(async (page) => {
        await open(page, "/dashboard");
        const row = (state) => page.waitForFunction((words) => {
          const lines = [...document.querySelectorAll("#providers tbody tr")].map((line) => line.textContent);
          return lines.length === 1 && lines[0].startsWith("river") && words.some((word) => lines[0].includes(word));
        }, state, { timeout: 60_000 });
        await row(["ready"]);
        await end();
        const ask = async () => {
          const body = JSON.stringify({ model: "river-1", messages: [{ role: "user", content: "x" }] });
          const headers = { authorization: `Bearer ${KEY}` };
          return (await fetch(`${URL_}/v1/chat/completions`, { method: "POST", headers, body })).status;
        };
        assert((await ask()) >= 500 && (await ask()) >= 500);
        await row(["down", "rests"]);
        await page.waitForFunction(() => document.querySelector("#failures tbody tr")?.textContent.includes("river-1"));
        await shoot(page, "dashboard-provider-down");
        server = await begin(serve, port);
        await row(["ready"]);
        for (let tries = 0; (await ask()) !== 200; tries += 1) {
          assert(tries < 100, "the provider is asked again");
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }, { key: ADMIN });
    } finally {
      await end();
    }
  },
  async "a dashboard of three hundred streams stays within its rows and its pace"() {
    const good = readFileSync(FILE, "utf8");
    // They last until the test leaves them: however slow a machine is, there is a time with all of them.
    const flowing = new Set();
    const server = await begin((asked, answer) => {
      asked.resume();
      if (asked.url.endsWith("/models")) return answer.end(JSON.stringify(RIVERS));
      answer.writeHead(200, { "content-type": "text/event-stream" });
      flowing.add(answer);
      answer.on("close", () => flowing.delete(answer));
    });
    const piece = { id: "1", object: "chat.completion.chunk", model: "river-1", choices: [{ index: 0, delta: { content: "x" } }] };
    const flow = setInterval(() => flowing.forEach((answer) => answer.write(`data: ${JSON.stringify(piece)}\n\n`)), 250);
    try {
      await load(JSON.stringify({ ...JSON.parse(good), providers: [river(server.address().port)] }));
      await manyStreams();
    } finally {
      clearInterval(flow);
      server.closeAllConnections();
      server.close();
    }
  },
};

let [passed, failed] = [0, 0];
const only = process.argv[2];
for (const [name, check] of Object.entries(checks)) {
  if (only && !name.includes(only)) continue;
  try {
    await check();
    passed += 1;
    console.log(`ok      pages: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  pages: ${name}\n${error.stack}`);
  }
}
await browser.close();
console.log(`pages in a browser: ${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
