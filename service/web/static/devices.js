// What one disk, one interface and one sensor did, each chosen from all that are recorded.

import { ask, now } from "./api.js";
import { at, make, on } from "./dom.js";
import { DAY, quantity } from "./format.js";
import { Columns, Memory } from "./series.js";
import { windowOf } from "./views.js";

const KINDS = ["disk", "interface", "sensor"];
const RATE = "bytes per second";
const spec = (kind, part, title, unit, floor, ...metrics) => ({ kind, id: `${kind}-${part}`, title, unit, floor,
  lines: metrics.map(([metric, name], n) => ({ metric, name, colour: `line${n + 1}` })) });
const SPECS = [
  spec("disk", "busy", "Disk busy", "percent", 10, ["busy_percent", "busy"]),
  spec("disk", "bytes", "Disk bytes", RATE, 1000, ["read_bytes", "read"], ["written_bytes", "written"]),
  spec("interface", "bytes", "Interface", RATE, 1000, ["received_bytes", "received"], ["sent_bytes", "sent"]),
  spec("sensor", "celsius", "Temperature", "degrees Celsius", 50, ["celsius", "temperature"]),
];
// Of a device's newest figures: by what the busiest comes first.
const NEWEST = {
  disk: ({ busy_percent: busy }) => [busy, `${quantity(busy, "percent")} busy`],
  interface: ({ received_bytes: received, sent_bytes: sent }) => [received + sent, quantity(received + sent, RATE)],
  sensor: ({ celsius }) => [celsius, quantity(celsius, "degrees Celsius")],
};
const LIMITS = (ts) => `SELECT sensor, MAX(limit_celsius) AS limit_celsius
FROM sensors WHERE ts >= ${ts - 2 * DAY} AND limit_celsius IS NOT NULL GROUP BY sensor`;

// Isolated: a name from right to left would turn the figure beside it around.
const option = ({ device, name, text }) => {
  const element = make("option", name || "(no name)");
  Object.assign(element, { value: device, title: "" });
  element.prepend("\u2068");
  element.append(`\u2069${text && ` · ${text}`}`);
  return element;
};

// Of one kind, the busiest first; those of which nothing is known now last.
export const listed = (devices, kind) => devices.filter((each) => each.kind === kind).map((each) => {
  const isKnown = Object.values(each.figures).some((value) => value !== null);
  const [rank, text] = isKnown ? NEWEST[kind](each.figures) : [-1, ""];
  return { ...each, rank, text };
}).sort((a, b) => b.rank - a.rank);

export class Devices {
  #board;
  #load;
  #parts = [];
  #limits = new Map();
  #isListed = false;
  #wanted = null;
  #note = make("p.note", { role: "status" }, "Asking which there are.");

  // `load()`: asks for the view, and says what went wrong.
  constructor(board, load) {
    this.#board = board;
    this.#load = load;
    at("devices").append(this.#note);
    on(at("devices"), "toggle", () => this.#toggled());
  }

  get #isOpen() {
    return at("devices").open;
  }

  // Asked again each time it is unfolded, and never while somebody chooses.
  #toggled() {
    if (this.#isOpen) this.#load();
    else this.clear();
  }

  clear() {
    for (const part of this.#parts) part.memory.clear();
    this.#isListed = false;
  }

  // `earlier`: seconds before the view that it is compared with, 0 for none.
  async load(view, earlier) {
    if (!this.#isOpen) return;
    if (!this.#isListed) await this.#list();
    await Promise.all(this.#parts.filter(({ choice }) => choice.value).map((part) => this.#ask(part, view, earlier)));
    this.#board.redraw();
    requestAnimationFrame(() => this.#board.describe());
  }

  async #list() {
    const { devices, left_out: more } = await ask("devices");
    const isWarm = devices.some(({ kind }) => kind === "sensor");
    const { rows } = isWarm ? await ask("sql", { query: LIMITS(Math.floor(now())) }, "limits") : { rows: [] };
    this.#limits = new Map(rows);
    if (!this.#parts.length) this.#parts = KINDS.map((kind) => this.#build(kind));
    const missing = this.#parts.filter((part) => !this.#offer(part, listed(devices, part.kind))).map(({ kind }) => kind);
    this.#note.textContent = [missing.length && `Not recorded here: ${missing.map((kind) => `${kind}s`).join(", ")}.`,
      more && `${more} more devices, services and mounts are not listed.`].filter(Boolean).join(" ");
    this.#isListed = missing.length < KINDS.length;
    this.#pick();
  }

  // Shows one, like disk:sda; `then` is called once its charts stand there.
  choose(device, then) {
    this.#wanted = { device, then };
    at("devices").open = true;
    // Else it is about to be listed.
    if (!this.#isListed) return;
    this.#pick();
    this.#load();
  }

  #pick() {
    if (!this.#wanted) return;
    const { device, then } = this.#wanted;
    this.#wanted = null;
    const part = this.#parts.find(({ kind }) => device.startsWith(`${kind}:`));
    if (part.choice.value !== device && [...part.choice.options].some(({ value }) => value === device)) {
      part.choice.value = device;
      part.memory.clear();
      part.before = null;
    }
    then();
  }

  // Its choice, and charts that have a view and a cursor in common with all others.
  #build(kind) {
    const memory = new Memory();
    const choice = make("select");
    const place = make("div.charts");
    const block = make("section", { ariaLabel: `${kind}s` }, make("label", `${kind[0].toUpperCase()}${kind.slice(1)} `, choice), place);
    const part = { kind, memory, choice, block, before: null };
    const board = this.#board;
    const source = {
      get view() { return board.view; },
      get columns() { return memory.best(board.view); },
      get before() { return part.before; },
      peaks: {}, showWho: board.showWho,
    };
    on(choice, "change", () => {
      memory.clear();
      part.before = null;
      board.redraw();
      this.#load();
    });
    at("kinds").append(block);
    part.charts = board.build(SPECS.filter((each) => each.kind === kind), place, source);
    return part;
  }

  // False where there are none. Who has chosen one keeps it.
  #offer({ choice, block }, devices) {
    const chosen = choice.value;
    choice.replaceChildren(...devices.map(option));
    if (devices.some(({ device }) => device === chosen)) choice.value = chosen;
    block.hidden = !devices.length;
    return devices.length > 0;
  }

  async #ask(part, view, earlier) {
    const { kind, memory, choice: { value: device }, charts } = part;
    const metric = charts.flatMap(({ lines }) => lines.map((line) => line.metric));
    const asking = (window, name) => ask("series", { device, metric, points: 300, ...window }, `${kind} ${name}`);
    const limit = kind === "sensor" ? this.#limits.get(device.slice(kind.length + 1)) ?? null : null;
    for (const chart of charts) chart.limit = limit;
    const moved = { start: view.start - earlier, end: view.end - earlier };
    const [columns, before] = await Promise.all([asking(windowOf(view), "view"), earlier ? asking(windowOf(moved), "before") : null]);
    if (part.choice.value !== device) return;
    memory.add(columns);
    part.before = before && new Columns({ ...before, ts: before.ts.map((ts) => ts + earlier) });
  }
}
