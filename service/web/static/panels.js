// Tiles, gaps, who used the machine, insights.

import { now } from "./api.js";
import { at, button, make, write } from "./dom.js";
import { DAY, duration, evidence, happening, localTimes, moment, quantity, span } from "./format.js";
import { copy } from "./sql.js";
import { seconds } from "./views.js";

const ARROWS = { increasing: "↗", decreasing: "↘", stable: "→" };

// The hour from left to right; from 0 up, or from near the lowest where the line would be flat.
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

export class Tiles {
  #parts = [];

  build(charts) {
    const { firstChild } = at("curve").content;
    this.#parts = charts.map((chart) => ({ ...chart, value: make("strong", "–"), more: make("small"),
      trend: make("em"), svg: firstChild.cloneNode(true) }));
    at("now").append(...this.#parts.map(({ id, title, value, more, trend, svg }) =>
      make("a", { id: `now-${id}`, href: `#chart-${id}` }, make("span", title), trend, value, more, svg)));
  }

  values(newestOf) {
    for (const { title, unit, lines: [first, ...others], value, more } of this.#parts) {
      value.textContent = quantity(newestOf(first.metric), unit);
      const shown = others.filter(({ metric }) => newestOf(metric) !== null);
      const texts = shown.map(({ metric, name }) => `${name} ${quantity(newestOf(metric), unit)}`);
      more.textContent = [first.name === title ? [] : first.name, texts].flat().join(" · ");
    }
  }

  hour(curve, { metrics }) {
    for (const { lines: [{ metric }], trend, svg } of this.#parts) {
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
  at("gaps").textContent = gaps.length ? `Gaps: ${texts.join(" · ")}${more}` : "No gaps.";
};

export const showEvents = (events) => {
  const more = events.length > 4 ? ` and ${events.length - 4} more` : "";
  write(at("events"), events.length ? `Events: ${events.slice(-4).reverse().map(happening).join(" · ")}${more}` : "No events.");
};

// Which machine this is. Returns since when it is recorded, and when its first capture is there, in unix seconds; null if
// unknown.
export const showHost = ({ name, cpus, memory_bytes: bytes, kernel, os, booted, recording_since: since, first_capture: first, version, ...rest }) => {
  write(at("host"), name);
  document.title = `${name} - Tidemark`;
  const up = booted && duration(now() - seconds(booted)).split(" ").slice(0, 2).join(" ");
  const facts = [cpus && `${cpus} CPU${cpus > 1 ? "s" : ""}`, bytes && quantity(bytes, "bytes"), os, kernel, up && `up ${up}`,
    rest.scope === "container" && "seen from a container", rest.cpu_limit && `limited to ${rest.cpu_limit} CPUs`,
    rest.memory_limit_bytes && `limited to ${quantity(rest.memory_limit_bytes, "bytes")}`];
  write(at("facts"), facts.filter(Boolean).join(" · "));
  at("facts").title = `Tidemark ${version}`;
  return { since: since && seconds(since), firstCapture: first && seconds(first) };
};

// A bar beside its digits.
const share = (percent, most) => {
  const bar = make("i.share");
  bar.style.width = `${Math.min(100, (percent / most) * 100)}%`;
  return make("td.shared", make("span.track", bar), make("span", quantity(percent, "percent")));
};

const row = (each, most, then) => {
  const { name, pids, process_count: processes, cpu_percent, children_cpu_percent: ended, memory_bytes } = each;
  const ids = processes === null ? (pids.length === 1 ? `${pids[0]}` : "") : processes > 1 ? `× ${processes}` : pids.join(", ");
  // A name may hold characters that reverse the line.
  const title = [name, pids.length ? `pid ${pids.join(", ")}${processes > pids.length ? ", ..." : ""}` : "",
    ended >= 0.05 ? `of it children that have ended ${quantity(ended, "percent")}` : ""].filter(Boolean).join(", ");
  const head = make("th", { title }, make("bdi", name), " ", make("small", ids));
  const before = then ? [make("td.rest", quantity(then.get(name) ?? null, "percent"))] : [];
  return make("tr", head, share(cpu_percent, most), ...before, make("td", quantity(memory_bytes, "bytes")));
};

const processes = (sort, by, answer, before, actions) => {
  const { covered_seconds, cpu_percent, unattributed_cpu_percent: rest, processes, sql } = answer;
  if (!processes.length) return [make("p", `No ${by === "name" ? "processes" : "services"} were recorded then.`)];
  const most = Math.max(0.1, rest, ...processes.map((each) => each.cpu_percent));
  const choose = (name, title) => make("th", button(title, () => actions.sort(name), { ariaPressed: sort === name }));
  const then = before && new Map(before.processes.map((each) => [each.name, each.cpu_percent]));
  const head = make("tr", make("th", by === "name" ? "Process" : "Service"), choose("cpu", "CPU"),
    ...(then ? [make("th.rest", "A week ago")] : []), choose("memory", "Memory"));
  const rows = processes.map((each) => row(each, most, then));
  rows.push(make("tr.rest", make("th", "unattributed"), share(rest, most),
    ...(then ? [make("td", quantity(before.unattributed_cpu_percent, "percent"))] : []), make("td")));
  const earlier = !before ? "" : before.covered_seconds
    ? `, ${quantity(before.cpu_percent, "percent")} a week ago` : ", nothing recorded a week ago";
  return [make("table", make("thead", head), make("tbody", ...rows)),
    make("p.rest", `CPU ${quantity(cpu_percent, "percent")} on average${earlier}; ${
      duration(covered_seconds)} recorded. Shares are of the whole machine; memory is the peak.`),
    make("details", make("summary", "SQL"), ...shownSql("who", sql, actions))];
};

// `answer`: of /api/v1/processes, or a text in its place; `before`: the answer of a week earlier, or null.
export const showWho = ({ start, end, title, isMoment, sort, by }, answer, before, actions) => {
  const section = at("who");
  section.hidden = false;
  section.classList.toggle("moment", !!isMoment);
  const close = isMoment ? button("Close", actions.close) : "";
  section.replaceChildren(make("header", make("h2", title || "Who used the machine"), close),
    make("p", make("b", span(start, end))),
    ...(answer.processes ? processes(sort, by, answer, before, actions) : [make("p.waiting", answer)]));
};

const shownSql = (title, sql, actions) => {
  const query = make("code", sql);
  return [make("pre", { tabIndex: 0, role: "region", ariaLabel: `SQL: ${title}` }, query),
    button("Copy the SQL", ({ target }) => copy(target, query)), " ", button("Change and run it", () => actions.edit(sql))];
};

const insight = ({ code, severity, title, detail, evidence: pairs, sql, device }, open, actions) => {
  const numbers = Object.entries(pairs).map(([key, value]) => {
    const [name, text] = evidence(key, value);
    return make("div", make("dt", name), make("dd", text));
  });
  const chart = chartOf(code, device);
  const show = button("Show its chart", () => actions.show(chart));
  const fold = make("details", { open }, make("summary", make("b", severity), ` ${localTimes(title)}`),
    make("p", localTimes(detail)), make("dl", ...numbers), show, ...shownSql(title, sql, actions));
  fold.dataset.code = code;
  return make(`li.${severity}`, fold);
};

// The chart on which a finding shows, and its time; that of its device, where it is about one.
const DEVICE_CHARTS = { disk: "disk-busy", interface: "interface-bytes", sensor: "sensor-celsius" };
const CHARTS = {
  disk: "mounts", memory: "memory", swap: "memory", oom: "memory", cpu: "cpu", io: "waiting-for", oversized: "cpu",
  tcp: "network", recurring: "stack", unusual: "stack",
};
const chartOf = (code, device) => ({
  device,
  id: DEVICE_CHARTS[device?.split(":")[0]] ?? CHARTS[Object.keys(CHARTS).find((begin) => code.startsWith(begin))] ?? "cpu",
  range: code === "oversized" || code === "recurring_peak" || code.startsWith("disk_f") ? "30d" : "7d",
});

// Which rules cannot speak yet, and from when on: {rule, speaks_from}.
const waiting = (later) => {
  const texts = later.map(({ rule, speaks_from: from }) => `${rule.replaceAll("_", " ")} (${moment(seconds(from), DAY)})`);
  return texts.length ? `What needs a longer history, and from when on it can be found: ${texts.join(", ")}.` : "";
};

let shown = "";

export const showInsights = ({ insights, later }, actions) => {
  const young = waiting(later);
  const text = JSON.stringify([insights, young]);
  if (text === shown) return;
  shown = text;
  const section = at("insights");
  const open = [...section.querySelectorAll("details[open]")].map(({ dataset }) => dataset.code);
  section.hidden = false;
  section.replaceChildren(insights.length
    ? make("ul", ...insights.map((each) => insight(each, open.includes(each.code), actions))) : make("p", "No findings."),
    make("p.note", { hidden: !young }, young));
};
