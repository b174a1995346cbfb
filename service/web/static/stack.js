// The chart of who used the machine over time: layers on each other, a legend that isolates one, its table.

import { axes, clipped, course, fitted, flags, hatch } from "./chart.js";
import { button, make, on, write } from "./dom.js";
import { moment, niceTicks, quantity } from "./format.js";
import { frame } from "./lines.js";
import { csv, save } from "./sql.js";
import { Palette } from "./stacking.js";

const TITLES = { cpu: "Who used the CPU", memory: "Who used the memory" };
const FLOORS = { cpu: 10, memory: 1e6 };

export class Stack {
  #legend = make("ul.legend");
  #table = make("details", make("summary", "Table"));
  #note = make("p.note");
  #palette = new Palette();
  #only = null;
  #items = [];
  #shown = "";
  #listed = null;
  #board;

  // `board`: has `view`, `shares`. `choices`: elements that choose what is shown.
  constructor(board, ...choices) {
    this.#board = board;
    const file = button("CSV", () => this.#save());
    Object.assign(this, frame("stack", TITLES.cpu, make("p.choice", ...choices), this.#legend, this.#note, file, this.#table));
    on(this.#table, "toggle", () => this.#fill());
  }

  get step() {
    return this.#board.shares?.step ?? 0;
  }

  draw(common) {
    const { shares, sharesBefore } = this.#board;
    const { view, colours } = common;
    const { width, height } = this.size;
    if (shares) this.#list();
    const range = shares ? shares.within(view) : [0, 0];
    const unit = shares?.unit ?? "percent";
    const most = Math.max(FLOORS[shares?.metric ?? "cpu"], shares?.highest(range, this.#only) ?? 0);
    const ticks = niceTicks(unit === "percent" ? Math.min(100, most) : most);
    const on = { ...common, ...fitted({ canvas: this.canvas, width, height, view, ticks }) };
    axes(on, ticks, unit);
    clipped(on, () => {
      if (shares) this.#layers(on, shares, range, colours);
      if (sharesBefore && !this.#only) course(on, sharesBefore, colours.ink);
      common.gaps.forEach((gap) => hatch(on, gap));
      flags(on, common.events);
    });
  }

  #layers(on, shares, range, colours) {
    const { context, snap, x, y } = on;
    const [first] = range;
    const edges = shares.ts.slice(...range).map((ts) => snap(x(ts)));
    edges.push(snap(x(shares.ts[range[1] - 1] + shares.step)));
    const known = edges.map((_, n) => shares.isKnown(first + n));
    for (const { key, low, high } of shares.layers(range, this.#only)) {
      context.fillStyle = colours[this.#colour(key)];
      context.beginPath();
      for (let n = 0; n < high.length; n += 1) {
        const [top, ground] = [snap(y(high[n])), snap(y(low[n]))];
        if (top < ground && known[n]) context.rect(edges[n], top, edges[n + 1] - edges[n], ground - top);
      }
      context.fill();
    }
  }

  #colour(key) {
    return this.#items.find((each) => each.key === key)?.colour ?? "rest1";
  }

  describe() {
    const { shares, view } = this.#board;
    if (!shares) return;
    this.#list();
    const texts = shares.parts.map((part) => `${part.name}: average ${quantity(shares.average(part, view), shares.unit)}`);
    const title = TITLES[shares.metric];
    write(this.figure.querySelector("h2"), title);
    this.canvas.ariaLabel = `${title}. ${texts.join("; ") || "Nothing recorded"}.`;
    this.#fill();
  }

  // Replaced only where names differ: somebody may be pressing one.
  #list() {
    const { parts } = this.#board.shares;
    if (parts === this.#listed) return;
    this.#listed = parts;
    const text = JSON.stringify(parts.map(({ key }) => key));
    if (text === this.#shown) return;
    this.#shown = text;
    const named = parts.filter(({ isRest }) => !isRest).map(({ key }) => key);
    const numbers = this.#palette.assign(named);
    const colourOf = ({ key, name }) => named.includes(key) ? `stack${numbers[named.indexOf(key)]}`
      : name === "other" ? "rest1" : "rest2";
    if (!parts.some(({ key }) => key === this.#only)) this.#only = null;
    this.#items = parts.map((part) => ({ ...part, colour: colourOf(part), value: make("b") }));
    this.#legend.replaceChildren(...this.#items.map(({ key, name, colour, value, isRest }) => {
      const chip = button("", () => this.#isolate(key), { ariaPressed: this.#only === key, title: `Show only ${name}` });
      chip.append(make(`i.${colour}`), isRest ? make("em", name) : make("bdi", name), " ", value);
      return make("li", chip);
    }));
  }

  #isolate(key) {
    this.#only = this.#only === key ? null : key;
    [...this.#legend.children].forEach(({ firstChild }, n) => { firstChild.ariaPressed = this.#items[n].key === this.#only; });
    this.#board.redraw();
  }

  // The shares at a moment, or the averages where it is null.
  point(ts) {
    const { shares, view } = this.#board;
    if (!shares) return;
    for (const item of this.#items) {
      const part = shares.parts.find(({ key }) => key === item.key);
      const value = !part ? null : ts === null ? shares.average(part, view) : part.values[shares.at(ts)];
      write(item.value, quantity(value, shares.unit));
    }
  }

  // What there is to say about nothing: `text` is empty where there is something.
  set note(text) {
    write(this.#note, text);
    this.#note.hidden = !text;
  }

  #save() {
    const { shares, view } = this.#board;
    if (!shares) return;
    const [first, last] = shares.within(view);
    const rows = shares.ts.slice(first, last).map((ts, n) => [new Date(ts * 1000).toISOString(), ts,
      ...shares.parts.map(({ values }) => values[first + n])]);
    save(`who-${shares.metric}.csv`, csv(["time", "ts", ...shares.parts.map(({ name }) => name)], rows));
  }

  #fill() {
    const table = this.#table;
    table.children[1]?.remove();
    const { shares, view } = this.#board;
    if (!table.open || !shares) return;
    const [first, last] = shares.within(view);
    const rows = shares.ts.slice(first, last).map((ts, n) => make("tr", make("th", moment(ts, shares.step)),
      ...shares.parts.map(({ values }) => make("td", quantity(values[first + n], shares.unit)))));
    const head = shares.parts.map(({ name }) => make("th", name));
    table.append(make("div.scroll", { tabIndex: 0, role: "region", ariaLabel: "Who used the machine, table" },
      make("table", make("thead", make("tr", make("th", "Time"), ...head)), make("tbody", ...rows))));
  }
}
