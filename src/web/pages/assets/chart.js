// Sums of the ledger over time: requests as bars, times to the first token as steps. The words stand beside the
// drawing, which is stretched to the width of the page.

import { askJson, byId, choices, make, number, source, time } from "./common.js";

const SVG = "http://www.w3.org/2000/svg";
const HOUR_MS = 3_600_000;
const RANGES = { "24h": ["hour", HOUR_MS, 24], "7d": ["day", 24 * HOUR_MS, 7], "30d": ["day", 24 * HOUR_MS, 30] };
export const HEIGHT = 100;

export const shape = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

export const drawing = (count, label, shapes) => {
  const svg = shape("svg", { class: "chart", viewBox: `0 0 ${count} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  svg.append(...shapes);
  return svg;
};

/** The ends of the axis of time. */
export const ends = (first, last) => make("p", { class: "ends small quiet" }, make("span", {}, first), make("span", {}, last));

/** A place in time each, also those without a request. */
export const places = (lines, unit, step, count) => {
  const found = new Map(lines.map((line) => [Math.floor(new Date(line[unit]) / step), line]));
  const now = Math.floor(Date.now() / step);
  return Array.from({ length: count }, (_, index) => now - count + 1 + index).map((at) => ({ at: at * step, ...found.get(at) }));
};

const bars = (points) => {
  const wrong = (point) => (point.failed ?? 0) + (point.refused ?? 0);
  const gone = (point) => point.gone ?? 0;
  const most = Math.max(...points.map((point) => point.requests ?? 0), 1);
  const bar = (index, from, to, kind) => {
    const [top, bottom] = [HEIGHT - (to / most) * HEIGHT, HEIGHT - (from / most) * HEIGHT];
    return shape("rect", { class: kind, x: index + 0.1, width: 0.8, y: top, height: bottom - top });
  };
  const shapes = points.flatMap((point, index) =>
    point.requests ? [bar(index, 0, wrong(point), "bad"), bar(index, wrong(point), wrong(point) + gone(point), "gone"), bar(index, wrong(point) + gone(point), point.requests, "good")] : []);
  const sum = (of) => points.reduce((total, point) => total + of(point), 0);
  const label = `${number(sum((point) => point.requests ?? 0))} requests, ${number(sum(wrong))} of them failed or refused, ${number(sum(gone))} left by the client`;
  return [most, drawing(points.length, label, shapes)];
};

const steps = (points) => {
  const most = Math.max(...points.map((point) => point.ttft_p95_us ?? 0));
  const path = (name) => {
    const level = (value) => HEIGHT - (value / Math.max(most, 1)) * (HEIGHT - 4) - 2;
    const parts = points.map((point, index) => (point[name] ? `M${index} ${level(point[name])}h1` : ""));
    return shape("path", { class: name.includes("p50") ? "p50" : "p95", d: parts.join("") || "M0 0" });
  };
  const label = most ? `Times to the first token; the 95th percentile is at most ${time(most / 1000)}` : "No times to a first token";
  return [most, drawing(points.length, label, [path("ttft_p95_us"), path("ttft_p50_us")])];
};

let asked = 0;
let filled = 0;

/** Draws the range, of all requests or of one model, provider or key (`model:NAME`). */
export const drawChart = async (since, of) => {
  const [, group, name] = /^(\w+):(.*)$/s.exec(of) ?? [];
  const [unit, step, count] = RANGES[since];
  const own = ++asked;
  const query = `stats?${new URLSearchParams({ since, by: group ? `${unit},${group}` : unit })}`;
  const answer = await askJson(query).catch((error) => {
    if (own === asked) throw error;
  });
  // A later question has been asked meanwhile.
  if (own !== asked) return;
  const points = places(answer.ledger.usage.filter((line) => !group || line[group] === name), unit, step, count);
  const [most, requests] = bars(points);
  const [longest, times] = steps(points);
  const options = unit === "hour" ? { dateStyle: "short", timeStyle: "short" } : { dateStyle: "medium", timeZone: "UTC" };
  const end = ({ at }) => new Date(at).toLocaleString(undefined, options);
  const legend = (kind, words) => make("span", { class: `legend ${kind}` }, words);
  const figure = (svg, ...words) => make("figure", {}, make("figcaption", { class: "small quiet" }, ...words), svg);
  byId("chart").replaceChildren(
    figure(requests, `Requests by ${unit}, at most ${number(most)}: `, legend("good", "ended well"), " ", legend("gone", "left by the client"), " ", legend("bad", "failed or refused")),
    figure(times, `First token by ${unit}, at most ${longest ? time(longest / 1000) : "–"}: `, legend("p50", "p50"), " ", legend("p95", "p95")),
    ends(end(points[0]), end(points.at(-1))),
  );
  byId("chart-query").replaceChildren("From ", source(query), group ? `, the lines of ${name}.` : ".");
  byId("chart-panel").hidden = false;
};

/** Offers the models, providers and keys of the range. */
export const fillOf = async (since) => {
  const own = ++filled;
  const lists = await Promise.all(["model", "provider", "key"].map(async (group) => {
    const { ledger } = await askJson(`stats?${new URLSearchParams({ since, by: group })}`);
    const names = ledger.usage.map((line) => line[group]).filter(Boolean);
    return choices(`${group[0].toUpperCase()}${group.slice(1)}s`, names.map((one) => [`${group}:${one}`, one]));
  }));
  if (own !== filled) return;
  const chosen = byId("of").value;
  byId("of").replaceChildren(make("option", { value: "" }, "all requests"), ...lists.filter((list) => list.childElementCount));
  byId("of").value = chosen;
  if (byId("of").selectedIndex < 0) byId("of").value = "";
};
