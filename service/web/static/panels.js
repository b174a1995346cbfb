// What stands beside the charts.

import { at, button, make } from "./dom.js";
import { labelOf, written } from "./evidence.js";
import { duration, moment, quantity, span } from "./format.js";

const ARROWS = { increasing: "↗", decreasing: "↘", stable: "→" };
const SVG = "http://www.w3.org/2000/svg";

// The hour from left to right; from 0 up or, where that were a flat line, from the lowest.
const path = (values) => {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const base = low > (high - low) * 2 ? low - (high - low) / 4 : 0;
  return values.map((value, n) => {
    if (value === null) return "";
    const y = 19 - ((value - base) / (high - base || 1)) * 18;
    return `${(values[n - 1] ?? null) === null ? "M" : "L"}${(n * 60) / (values.length - 1)} ${y.toFixed(1)}`;
  }).join("");
};

const sparkline = () => {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 60 20", preserveAspectRatio: "none", "aria-hidden": true };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
};

export class Tiles {
  #parts;

  // One for each chart in `specs`, of its first line, with a word on the others.
  constructor(specs) {
    this.#parts = specs.map((spec) =>
      ({ spec, value: make("strong", "–"), more: make("small"), trend: make("em"), svg: sparkline() }));
    at("now").append(...this.#parts.map(({ spec: { id, title }, value, more, trend, svg }) =>
      make("a", { id: `now-${id}`, href: `#chart-${id}` }, make("span", title), trend, value, more, svg)));
  }

  // `known`: of a metric its newest value, or null.
  values(known) {
    for (const { spec: { unit, lines }, value, more } of this.#parts) {
      value.textContent = quantity(known(lines[0].metric), unit);
      const others = lines.filter(({ metric }, n) => n && known(metric) !== null);
      more.textContent = others.map(({ metric, label }) => `${label} ${quantity(known(metric), unit)}`).join(" · ");
    }
  }

  hour(curve, { metrics }) {
    for (const { spec: { lines: [{ metric }] }, trend, svg } of this.#parts) {
      const { word } = metrics[metric].trend;
      svg.firstChild.setAttribute("d", path(curve.series[metric].average));
      trend.textContent = ARROWS[word] ? `${ARROWS[word]} ${word}` : "trend unknown";
    }
  }
}

export const showGaps = (gaps) => {
  const newest = gaps.slice(-4).reverse();
  const texts = newest.map(({ start, end, reason }) => `${reason} ${moment(start)}, ${duration(end - start)}`);
  const more = gaps.length > 4 ? ` and ${gaps.length - 4} more` : "";
  at("gaps").textContent = gaps.length ? `Gaps: ${texts.join(" · ")}${more}` : "";
};

const share = (percent, most) => {
  const bar = make("i");
  bar.style.width = `${Math.min(100, (percent / most) * 100)}%`;
  return make("td", make("span", { className: "share" }, bar), quantity(percent, "percent"));
};

const row = ({ name, pids, cpu_percent, memory_bytes }, most) => {
  const ids = pids.length > 2 ? `× ${pids.length}` : pids.join(", ");
  // A name may hold signs that turn the line around.
  const title = `${name}, pid ${pids.join(", ")}`;
  const head = make("th", { scope: "row", title }, make("bdi", name), " ", make("small", ids));
  return make("tr", head, share(cpu_percent, most), make("td", quantity(memory_bytes, "bytes")));
};

const processes = (asked, answer, does) => {
  const { covered_seconds, cpu_percent, unattributed_cpu_percent: rest, processes, sql } = answer;
  const { sort } = asked;
  if (!processes.length) return [make("p", "No process was recorded then.")];
  const most = Math.max(0.1, rest, ...processes.map((each) => each.cpu_percent));
  const choose = (name, title) =>
    make("th", { scope: "col" }, button(title, () => does.sort(name), { ariaPressed: String(sort === name) }));
  const head = make("tr", make("th", { scope: "col" }, "Process"), choose("cpu", "CPU"), choose("memory", "Memory"));
  const rows = processes.map((each) => row(each, most));
  rows.push(make("tr", { className: "rest" }, make("th", { scope: "row" }, "others"), share(rest, most), make("td")));
  return [make("table", make("thead", head), make("tbody", ...rows)),
    make("p", { className: "rest" }, `CPU ${quantity(cpu_percent, "percent")} on average; ${
      duration(covered_seconds)} recorded. Shares of the whole machine; memory at its highest.`),
    make("details", make("summary", "SQL"), ...shownSql("who", sql))];
};

// `asked`: {start, end, title, isMoment, sort}; `answer` of /api/v1/processes, or null and `text` in its place.
export const showWho = (asked, answer, text, does) => {
  const { start, end, title, isMoment } = asked;
  const section = at("who");
  section.hidden = false;
  section.classList.toggle("moment", isMoment);
  const close = isMoment ? button("Close", does.close) : "";
  section.replaceChildren(make("header", make("h2", "Who used the machine"), close),
    make("p", title ? `${title}: ` : "", make("b", span(start, end))),
    ...(answer ? processes(asked, answer, does) : [make("p", text)]));
};

// Without https there is no clipboard, but a selection.
const copy = async ({ target }, query) => {
  getSelection().selectAllChildren(query);
  await navigator.clipboard?.writeText(query.textContent);
  target.textContent = navigator.clipboard ? "Copied" : "Selected";
};

const shownSql = (title, sql) => {
  const query = make("code", sql);
  return [make("pre", { tabIndex: 0, role: "region", ariaLabel: `SQL: ${title}` }, query),
    button("Copy the SQL", (event) => copy(event, query))];
};

const insight = ({ code, severity, title, detail, evidence, sql }, open) => {
  const numbers = Object.entries(evidence).map(([key, value]) =>
    make("div", make("dt", labelOf(key)), make("dd", written(key, value))));
  const fold = make("details", { open }, make("summary", "Evidence and SQL"), make("dl", ...numbers),
    ...shownSql(title, sql));
  fold.dataset.code = code;
  return make("li", { className: severity }, make("h3", make("b", severity), ` ${title}`), make("p", detail), fold);
};

let shown = "";

export const showInsights = (insights) => {
  const text = JSON.stringify(insights);
  if (text === shown) return;
  shown = text;
  const section = at("insights");
  const open = [...section.querySelectorAll("details[open]")].map(({ dataset }) => dataset.code);
  section.hidden = false;
  section.replaceChildren(make("h2", "Insights"), insights.length
    ? make("ul", ...insights.map((each) => insight(each, open.includes(each.code)))) : make("p", "Nothing to report."));
};
