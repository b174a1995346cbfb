// One chart of lines: its figure, its values at the cursor, its table, its peaks.

import { draw } from "./chart.js";
import { button, make, on, write } from "./dom.js";
import { DAY, brief, clock, moment, quantity } from "./format.js";
import { COLUMNS } from "./series.js";

// What every chart has on which a cursor moves.
export const frame = (id, title, legend, ...footer) => {
  const canvas = make("canvas", { role: "img", ariaLabel: title });
  const time = make("span");
  const cursor = make("div.cursor", { hidden: true }, time);
  const [selection, pin] = ["selection", "pin"].map((name) => make(`div.${name}`, { hidden: true }));
  const plot = make("div.plot", canvas, selection, pin, cursor);
  const figure = make("figure", { id: `chart-${id}` },
    make("figcaption", make("h2", title), legend), plot, make("footer", ...footer));
  return { figure, plot, canvas, cursor, time, selection, pin, size: plot, isSeen: false };
};

export class Lines {
  #values;
  #legend;
  #table = make("details", make("summary", "Table"));
  #marks = make("div.peaks");
  #found = [];
  #board;

  // `spec`: of chartsOf. `board`: has `view`, `columns`, `before`, `peaks`, `showWho`.
  constructor(spec, board) {
    Object.assign(this, spec);
    this.#board = board;
    this.#values = spec.lines.map(() => make("b"));
    this.#legend = make("ul.legend", ...spec.lines.map(({ name, colour }, n) =>
      make("li", make(`i.${colour}`), `${name} `, this.#values[n])));
    Object.assign(this, frame(spec.id, spec.title, this.#legend, this.#marks, this.#table));
    on(this.#table, "toggle", () => this.#fill());
  }

  get #peaks() {
    return this.lines.flatMap(({ metric }) => this.#board.peaks[metric] ?? []);
  }

  get step() {
    return this.#board.columns?.step ?? 0;
  }

  draw(common) {
    const { columns, before } = this.#board;
    draw({ ...this, ...common, columns, before, peaks: this.#peaks });
  }

  describe() {
    const { columns, view } = this.#board;
    if (!columns) return;
    const { title, unit, lines, canvas } = this;
    this.#found = lines.map(({ metric }) => columns.extreme(metric, view));
    [...this.#legend.children].forEach((item, n) => { item.hidden = n > 0 && !this.#found[n]; });
    const texts = this.#found.map((each, n) => each && `${lines[n].name}: average ${
      quantity(each.average, unit)}, highest ${quantity(each.highest, unit)} at ${moment(each.at)}`);
    canvas.ariaLabel = `${title}. ${texts.filter(Boolean).join("; ") || "Nothing recorded"}.`;
    this.#fill();
    this.#list();
  }

  // The values at a moment, or the averages where it is null.
  point(ts) {
    const { columns } = this.#board;
    this.lines.forEach(({ metric }, n) => {
      const [average, low, high] = COLUMNS.map((name) => ts === null
        ? this.#found[n]?.[name] : columns?.value(metric, name, columns.at(ts))).map((value) => quantity(value, this.unit));
      // Not everything has a least that is kept.
      const around = low === "–" ? `up to ${high}` : `${low} to ${high}`;
      write(this.#values[n], average + (this.lines.length === 1 && low !== high && high !== "–" ? ` (${around})` : ""));
    });
  }

  // Replaced only where they differ: somebody may be pressing one.
  #list() {
    const { view, showWho } = this.#board;
    const wide = view.end - view.start;
    const texts = this.#peaks.map(({ at, maximum }) => `${wide > 1.5 * DAY ? `${brief(at, wide)} ` : ""}${clock(at)} ${quantity(maximum, this.unit)}`);
    if (this.#marks.dataset.shown === `${texts}`) return;
    this.#marks.dataset.shown = texts;
    this.#marks.replaceChildren(texts.length ? "Peaks" : "", ...texts.map((text, n) => button(text, () => {
      const { start, end } = this.#peaks[n];
      showWho(start, end, `${this.title} peak`);
    })));
  }

  #fill() {
    const table = this.#table;
    table.children[1]?.remove();
    const { columns, view } = this.#board;
    if (!table.open || !columns) return;
    const cells = (cell) => this.lines.flatMap((line) => COLUMNS.map((name) => cell(line, name)));
    const head = cells((line, name) => make("th", `${line.name} ${name}`));
    const [first, last] = columns.within(view);
    const rows = columns.ts.slice(first, last).map((ts, n) =>
      make("tr", make("th", moment(ts, columns.step)), ...cells(({ metric }, name) =>
        make("td", quantity(columns.value(metric, name, first + n), this.unit)))));
    table.append(make("div.scroll", { tabIndex: 0, role: "region", ariaLabel: `${this.title} table` },
      make("table", make("thead", make("tr", make("th", "Time"), ...head)), make("tbody", ...rows))));
  }
}
