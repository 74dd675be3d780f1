// A comparison as it runs, or one that the gateway has kept (`compare/ID`).

import { address, ask, askJson, begin, byId, chatModels, events, fillModels, make, micros, number, say, signedIn, time } from "./common.js";

const kept = /\/compare\/([0-9a-f]+)$/.exec(location.pathname)?.[1] ?? null;
const width = () => Math.min(Math.max(Math.floor(byId("picture").clientWidth), 320), 1600);

/** The gateway's picture becomes a part of the page, without its own style sheet, which the page has, too. */
const show = (svg) => {
  const bare = svg.replace(/<style>[^]*?<\/style>/, "");
  const picture = new DOMParser().parseFromString(bare, "image/svg+xml").documentElement;
  if (picture.localName !== "svg") return;
  byId("picture").replaceChildren(document.importNode(picture, true));
};

const signed = (value) => (value === null || value === undefined ? "–" : `${value > 0 ? "+" : ""}${time(value / 1000)}`);

const showFigures = (report) => {
  const row = (leg) => {
    const words = leg.works ? "works" : (leg.error ?? "does not work");
    const cells = [
      number(leg.events),
      micros(leg.ttft_us?.median),
      leg.ttft_us && report.repeats > 1 ? micros(leg.ttft_us.max - leg.ttft_us.min) : "–",
      micros(leg.total_us?.median),
      signed(leg.added_event_us?.p50),
      signed(leg.added_event_us?.p99),
    ];
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, leg.label),
      make("td", {}, make("span", { class: `state ${leg.works ? "good" : "bad"}` }, words)),
      ...cells.map((cell) => make("td", { class: "number" }, cell)),
    );
  };
  byId("figures").tBodies[0].replaceChildren(...report.legs.map(row));
  byId("figures").hidden = false;
};

/** Saves the picture as PNG, two pixels for each of its own, in the colours of the page. */
const savePng = async (id) => {
  const image = new Image();
  image.src = address(`compare/${id}.svg?width=${width()}`).href;
  try {
    await image.decode();
    const canvas = make("canvas", { width: image.naturalWidth * 2, height: image.naturalHeight * 2 });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const file = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    const link = make("a", { href: URL.createObjectURL(file), download: `thalweg-compare-${id}.png` });
    link.click();
    URL.revokeObjectURL(link.href);
  } catch {
    say(byId("status"), "The picture cannot be drawn as PNG: the run is not kept here any more. Take the SVG while it is shown.", true);
  }
};

const showLinks = (id) => {
  const link = (path, words) => make("a", { href: address(path).href }, words);
  const png = make("button", { type: "button", class: "plain small", id: "png" }, "PNG");
  png.addEventListener("click", () => savePng(id));
  byId("links").replaceChildren(
    link(`compare/${id}`, "Link to this run"), " · ", link(`compare/${id}.svg`, "SVG"), " · ", png, " · ", link(`compare/${id}.json`, "JSON"),
    " — the link shows the figures to anyone, without the message; the gateway keeps its last 64 runs until it stops.",
  );
  byId("links").hidden = false;
};

const recommended = ({ recommended: { leg, how, reason } }) =>
  leg ? `Done. To use the recommended way: ${how}.` : `Done. Nothing is recommended: ${reason}.`;

let running = null;

const run = async () => {
  running = new AbortController();
  byId("run").disabled = true;
  byId("stop").disabled = false;
  byId("links").hidden = byId("figures").hidden = true;
  byId("picture").classList.add("waits");
  say(byId("status"), "Begins …");
  const query = new URLSearchParams({
    model: byId("model").value, prompt: byId("prompt").value, repeats: byId("repeats").value, format: "svg", width: width(),
  });
  try {
    const response = await ask(`streaming-compare?${query}`, { headers: { accept: "text/event-stream" }, signal: running.signal });
    let report = null;
    for await (const { name, data } of events(response)) {
      if (name === "progress") {
        const { leg, done, of } = JSON.parse(data);
        say(byId("status"), `${done} of ${of} answers are there; next: ${leg.replaceAll("_", " ")}.`);
      } else if (name === "picture") {
        show(JSON.parse(data).svg);
      } else if (name === "report") {
        report = JSON.parse(data);
      }
    }
    if (!report) throw new Error("The gateway broke off. Try again.");
    showFigures(report);
    if (report.id) showLinks(report.id);
    say(byId("status"), recommended(report));
  } catch (error) {
    say(byId("status"), error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  } finally {
    running = null;
    byId("run").disabled = false;
    byId("stop").disabled = true;
  }
};

const loadKept = async () => {
  try {
    const report = await askJson(`compare/${kept}.json`);
    show(await (await ask(`compare/${kept}.svg?width=${width()}`)).text());
    showFigures(report);
    showLinks(kept);
    say(byId("status"), `A kept run: ${report.model} at ${report.provider}, ${report.repeats} repeats.`);
  } catch (error) {
    byId("picture").classList.remove("waits");
    byId("empty").textContent = "There is nothing to show.";
    const gone = "This run is not kept here any more, or another gateway has it. Open the comparison to run a new one.";
    say(byId("status"), error.status === 404 ? gone : error.message, true);
  }
};

const load = async () => {
  if (!signedIn()) return;
  try {
    const { data } = await askJson("v1/models");
    const models = chatModels(data);
    if (!models.length) return say(byId("status"), "No model to compare: your key may use none, or no provider has listed one yet.", true);
    fillModels(byId("model"), models);
    const wanted = new URLSearchParams(location.search).get("model");
    if (models.includes(wanted)) byId("model").value = wanted;
    byId("model").disabled = byId("run").disabled = false;
    say(byId("status"), "Ready.");
  } catch (error) {
    say(byId("status"), error.message, true);
  }
};

byId("compare").hidden = Boolean(kept);
byId("picture").classList.toggle("waits", Boolean(kept));
byId("compare").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  if (!byId("prompt").value.trim()) return say(byId("status"), "Write a message first.", true);
  run();
});
byId("stop").addEventListener("click", () => running?.abort());
begin(kept ? loadKept : load, { open: Boolean(kept) });
