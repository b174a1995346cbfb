// What stands beside the charts: the tiles of now, who used the machine, insights, gaps. Writes what it is given.

import { at, make } from "./dom.js";
import { clock, duration, moment, quantity, span } from "./format.js";

const ARROWS = { increasing: "↗", decreasing: "↘", stable: "→" };

const tile = (id, title, unit, metrics, write) => ({ id, title, unit, metrics, write });
const one = (values, unit) => [quantity(values[0], unit)];

const TILES = [
  tile("cpu", "CPU", "percent", ["cpu_percent"], one),
  tile("memory", "Memory", "percent", ["memory_percent"], one),
  tile("disk", "Disk", "percent", ["disk_percent"], one),
  tile("network", "Network", "bytes per second", ["network_received_bytes", "network_sent_bytes"],
    ([received, sent], unit) => [`↓ ${quantity(received, unit)}`, `↑ ${quantity(sent, unit)}`]),
  tile("load", "Load", "processes", ["load_1", "load_5", "load_15"],
    (values, unit) => [quantity(values[0], unit), `${quantity(values[1], unit)} · ${quantity(values[2], unit)}`]),
  tile("processes", "Processes", "processes", ["process_count"], one),
];
export const TILE_METRICS = TILES.flatMap((each) => each.metrics);

const SVG = "http://www.w3.org/2000/svg";

const sparkline = () => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 60 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
};

// The hour as a path; from 0 or, where that would make a flat line of it, from the lowest.
const path = (values) => {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return "";
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const base = low > (high - low) * 2 ? low - (high - low || 1) / 4 : 0;
  let isDown = false;
  return values.map((value, n) => {
    if (value === null) {
      isDown = false;
      return "";
    }
    const word = isDown ? "L" : "M";
    isDown = true;
    const y = 19 - ((value - base) / (high - base || 1)) * 18;
    return `${word}${((n / (values.length - 1)) * 60).toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
};

export class Tiles {
  #parts = new Map();

  constructor() {
    at("now").append(...TILES.map((each) => {
      const [value, more, trend, svg] = [make("strong", {}, "–"), make("small"), make("em"), sparkline()];
      this.#parts.set(each, { value, more, trend, path: svg.firstChild });
      return make("a", { id: `now-${each.id}`, href: `#chart-${each.id}` },
        make("span", {}, each.title), value, more, svg, trend);
    }));
  }

  values(columns) {
    for (const [each, parts] of this.#parts) {
      const newest = each.metrics.map((metric) => columns.average(metric));
      if (newest.every((value) => value === null)) continue;
      const [value, more] = each.write(newest, each.unit);
      parts.value.textContent = value;
      parts.more.textContent = more ?? "";
    }
  }

  hour(columns) {
    for (const [each, parts] of this.#parts) parts.path.setAttribute("d", path(columns.series[each.metrics[0]].average));
  }

  trends(summary) {
    for (const [each, parts] of this.#parts) {
      const { word } = summary.metrics[each.metrics[0]].trend;
      parts.trend.textContent = ARROWS[word] ? `${ARROWS[word]} ${word}` : "trend unknown yet";
    }
  }
}

// -- gaps

export const showGaps = (gaps) => {
  const told = gaps.slice(-4).reverse().map((gap) => `${gap.reason} ${moment(gap.start)}, ${duration(gap.end - gap.start)}`);
  const more = gaps.length > told.length ? ` and ${gaps.length - told.length} more` : "";
  at("gaps").textContent = gaps.length ? `Gaps: ${told.join(" · ")}${more}` : "";
};

// -- who

const bar = (share) => {
  const meter = make("i");
  meter.style.width = `${Math.min(100, Math.max(0, share))}%`;
  return make("span", { className: "share" }, meter);
};

const processRow = (process, most) => {
  const pids = process.pids.length > 3 ? `${process.pids.length} processes` : process.pids.join(", ");
  // Isolated: a name may hold signs that turn the line around.
  const name = make("th", { scope: "row", title: `${process.name}, pid ${process.pids.join(", ")}` },
    make("bdi", {}, process.name), " ", make("small", {}, pids));
  return make("tr", {}, name, make("td", {}, bar((process.cpu_percent / most) * 100), quantity(process.cpu_percent, "percent")),
    make("td", {}, quantity(process.memory_bytes, "bytes")));
};

const head = (sort, does) => make("tr", {}, make("th", { scope: "col" }, "Process"),
  ...[["cpu", "CPU"], ["memory", "Memory"]].map(([name, title]) => {
    const button = make("button", { type: "button", ariaPressed: String(sort === name) }, title);
    button.addEventListener("click", () => does.sort(name));
    return make("th", { scope: "col" }, button);
  }));

// `asked`: {start, end, title, sort, isMoment}; `answer` of /api/v1/processes, or null with `text` in its place.
export const showWho = (asked, answer, text, does) => {
  const section = at("who");
  section.hidden = false;
  section.classList.toggle("moment", asked.isMoment);
  const close = make("button", { type: "button", id: "who-close", hidden: !asked.isMoment }, "Close");
  close.addEventListener("click", does.close);
  const title = make("header", {}, make("h2", {}, "Who used the machine"), close);
  const when = make("p", {}, asked.title ? `${asked.title}: ` : "", make("b", {}, span(asked.start, asked.end)));
  section.replaceChildren(title, when, ...(answer ? processes(asked, answer, does) : [make("p", {}, text)]));
};

const processes = (asked, answer, does) => {
  const whole = answer.cpu_percent === null ? "CPU unknown" : `CPU ${quantity(answer.cpu_percent, "percent")} on average`;
  if (!answer.processes.length) return [make("p", {}, `${whole}; no process was recorded then.`)];
  const most = Math.max(0.1, ...answer.processes.map((each) => each.cpu_percent ?? 0), answer.unattributed_cpu_percent ?? 0);
  const rows = answer.processes.map((each) => processRow(each, most));
  if (answer.unattributed_cpu_percent !== null) {
    rows.push(make("tr", { className: "rest" }, make("th", { scope: "row" }, "not attributed"),
      make("td", {}, bar((answer.unattributed_cpu_percent / most) * 100), quantity(answer.unattributed_cpu_percent, "percent")),
      make("td", {})));
  }
  const seen = `${whole}; ${duration(answer.covered_seconds)} recorded. Shares of the whole machine; memory at its peak.`;
  return [make("table", {}, make("thead", {}, head(asked.sort, does)), make("tbody", {}, ...rows)),
    make("p", { className: "note" }, seen)];
};

// -- insights

let shown = "";

export const showInsights = (insights) => {
  const text = JSON.stringify(insights);
  if (text === shown) return;
  shown = text;
  const section = at("insights");
  const open = new Set([...section.querySelectorAll("details[open]")].map((each) => each.dataset.code));
  section.hidden = false;
  const list = insights.map((each) => insight(each, open.has(each.code)));
  section.replaceChildren(make("h2", {}, "Insights"),
    list.length ? make("ul", {}, ...list) : make("p", {}, "Nothing to report."));
};

const insight = ({ code, severity, title, detail, evidence, sql }, isOpen) => {
  const numbers = Object.entries(evidence).map(([name, value]) =>
    make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, String(value ?? "–"))));
  const query = make("code", {}, sql);
  const copy = make("button", { type: "button" }, "Copy the SQL");
  copy.addEventListener("click", () => copied(query, copy));
  const fold = make("details", { open: isOpen }, make("summary", {}, "Evidence and SQL"), make("dl", {}, ...numbers),
    make("pre", { tabIndex: 0, role: "region", ariaLabel: `SQL: ${title}` }, query), copy);
  fold.dataset.code = code;
  return make("li", { className: severity }, make("h3", {}, make("b", {}, severity), " ", title), make("p", {}, detail), fold);
};

const copied = async (query, button) => {
  try {
    await navigator.clipboard.writeText(query.textContent);
    button.textContent = "Copied";
  } catch {
    // Without https there is no clipboard: what is selected can be copied by hand.
    getSelection().selectAllChildren(query);
    button.textContent = "Selected: copy it";
  }
};

// -- how it is

export const showStatus = (word, text) => {
  at("status").dataset.word = word;
  at("status").lastElementChild.textContent = text;
};

export const showBanner = (text) => {
  const banner = at("banner");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
};

export const stale = (since, newest) => {
  const seen = newest ? `; what you see is as of ${clock(newest, true)}` : "";
  return `Tidemark does not answer since ${clock(since)}${seen}.`;
};
