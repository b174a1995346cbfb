// All charts over one view and one cursor.

import { MARGIN, draw, palette, scale } from "./chart.js";
import { button, make, write } from "./dom.js";
import { brief, duration, moment, quantity } from "./format.js";

const DRAG_PIXELS = 4;
const DOUBLE_CLICK = 250;
const LEAST_SECONDS = 60;

export class Board {
  #charts;
  #readout;
  #does;
  #cursor = null;
  #isAsked = false;
  #pressed = null;
  #colours = null;
  #clicked = 0;
  columns = null;
  gaps = [];
  peaks = {};

  // `does`: zoom(start, end), pan(start, end), who(start, end, title), back(), source(view).
  constructor(charts, root, readout, does) {
    this.#readout = readout;
    this.#does = does;
    this.#charts = charts.map((spec) => this.#build(spec, root));
    root.addEventListener("keydown", (event) => this.#key(event));
    // Sizes are observed: asking for them between drawings has the page laid out each time.
    const sizes = new ResizeObserver((entries) => this.#note(entries, ({ contentRect }) => ({ size: contentRect })));
    const sights = new IntersectionObserver((entries) =>
      this.#note(entries, ({ isIntersecting }) => ({ isSeen: isIntersecting })), { rootMargin: "100px" });
    for (const { plot } of this.#charts) {
      sizes.observe(plot);
      sights.observe(plot);
    }
  }

  #note(entries, read) {
    for (const entry of entries) Object.assign(this.#charts.find(({ plot }) => plot === entry.target), read(entry));
    this.redraw();
  }

  get #width() {
    return this.#charts[0].size.width;
  }

  show(view) {
    this.view = view;
    this.redraw();
  }

  recolour() {
    this.#colours = null;
    this.redraw();
  }

  // Once in a frame.
  redraw() {
    if (this.#isAsked || !this.view) return;
    this.#isAsked = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const { view, gaps } = this;
    this.#isAsked = false;
    this.#colours ??= palette();
    this.columns = this.#does.source(view);
    const common = { view, gaps, columns: this.columns, colours: this.#colours };
    for (const { canvas, spec, size, isSeen } of this.#charts) {
      if (isSeen && size.width) draw(canvas, { ...common, size, spec, peaks: this.peaks[spec.id] ?? [] });
    }
    if (this.columns && !performance.getEntriesByName("first-chart").length) performance.mark("first-chart");
    this.#point();
  }

  #build(spec, root) {
    const values = spec.lines.map(() => make("b"));
    const legend = make("ul", { className: "legend" }, ...spec.lines.map(({ label }, n) =>
      make("li", make("i", { className: `line${n + 1}` }), `${label} `, values[n])));
    const canvas = make("canvas", { role: "img", ariaLabel: spec.title });
    const [cursor, selection] = ["cursor", "selection"].map((name) => make("div", { className: name, hidden: true }));
    const plot = make("div", { className: "plot" }, canvas, selection, cursor);
    const table = make("details", make("summary", "Table"));
    const peaks = make("div", { className: "peaks" });
    root.append(make("figure", { id: `chart-${spec.id}` }, make("figcaption", make("h2", spec.title), legend), plot,
      make("footer", peaks, table)));
    const built = { spec, plot, canvas, cursor, selection, values, legend, table, peaks, size: plot, found: [] };
    table.addEventListener("toggle", () => this.#fill(built));
    this.#listen(built);
    return built;
  }

  describe() {
    if (!this.columns) return;
    for (const each of this.#charts) {
      const { spec, canvas, legend } = each;
      each.found = spec.lines.map(({ metric }) => this.columns.extreme(metric, this.view));
      [...legend.children].forEach((item, n) => { item.hidden = n > 0 && !each.found[n]; });
      const texts = each.found.map((found, n) => found && `${spec.lines[n].label}: average ${
        quantity(found.average, spec.unit)}, highest ${quantity(found.highest, spec.unit)} at ${moment(found.at)}`);
      canvas.ariaLabel = `${spec.title}. ${texts.filter(Boolean).join("; ") || "Nothing recorded"}.`;
      this.#fill(each);
      this.#list(each);
    }
    this.#point();
  }

  // Made anew only where they differ: a finger may be on one.
  #list({ spec, peaks }) {
    const ask = ({ start, end }) => this.#does.who(start, end, `${spec.title} peak`);
    const wide = this.view.end - this.view.start;
    const found = this.peaks[spec.id] ?? [];
    const texts = found.map(({ at, maximum }) => `${brief(at, wide)} ${quantity(maximum, spec.unit)}`);
    if (peaks.dataset.shown === `${texts}`) return;
    peaks.dataset.shown = texts;
    const buttons = texts.map((each, n) => button(each, () => ask(this.peaks[spec.id][n])));
    peaks.replaceChildren(texts.length ? "Peaks" : "", ...buttons);
  }

  #fill({ spec, table }) {
    table.children[1]?.remove();
    if (!table.open || !this.columns) return;
    const { columns } = this;
    const names = ["average", "minimum", "maximum"];
    const cells = (cell) => spec.lines.flatMap((line) => names.map((name) => cell(line, name)));
    const head = cells((line, name) => make("th", { scope: "col" }, `${line.label} ${name}`));
    const [first, last] = columns.within(this.view);
    const rows = columns.ts.slice(first, last).map((ts, n) =>
      make("tr", make("th", { scope: "row" }, moment(ts, columns.step)), ...cells(({ metric }, name) =>
        make("td", quantity(columns.value(metric, name, first + n), spec.unit)))));
    table.append(make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `${spec.title} table` },
      make("table",
        make("thead", make("tr", make("th", { scope: "col" }, "Time"), ...head)), make("tbody", ...rows))));
  }

  set cursor(ts) {
    this.#cursor = ts;
    this.#point();
  }

  get cursor() {
    const { start, end } = this.view;
    return this.#cursor >= start && this.#cursor < end ? this.#cursor : null;
  }

  #point() {
    const { columns, view, cursor: at } = this;
    for (const { spec, cursor, size, values, found } of this.#charts) {
      cursor.hidden = at === null;
      if (at !== null) cursor.style.transform = `translateX(${scale(view, size.width).x(at)}px)`;
      spec.lines.forEach(({ metric }, n) => {
        const value = (name) => columns?.value(metric, name, columns.at(at)) ?? null;
        const [low, high] = [value("minimum"), value("maximum")].map((each) => quantity(each, spec.unit));
        const spread = spec.lines.length === 1 && low !== high ? ` (${low} to ${high})` : "";
        const average = at === null ? found[n]?.average : value("average");
        write(values[n], quantity(average, spec.unit) + (at === null ? "" : spread));
      });
    }
    const gap = this.gaps.find(({ start, end }) => at !== null && start <= at && at < end);
    const missing = gap ? `: nothing recorded (${gap.reason}, ${duration(gap.end - gap.start)})` : "";
    const step = columns?.step ?? 1;
    const text = moment(gap ? at : Math.floor(at / step) * step, step);
    write(this.#readout, at === null ? "Averages" : text + missing);
  }

  #listen(chart) {
    const { plot, selection } = chart;
    const ts = ({ clientX }) => scale(this.view, chart.size.width).ts(clientX - plot.getBoundingClientRect().left);
    const on = (name, does, options) => plot.addEventListener(name, does, options);
    const release = () => {
      selection.hidden = true;
      const pressed = this.#pressed;
      this.#pressed = null;
      return pressed;
    };
    on("pointerdown", (event) => {
      if (event.button !== 0) return;
      const isPan = event.shiftKey || event.pointerType === "touch";
      this.#pressed = { x: event.clientX, from: this.view, ts: ts(event), isPan, isDrag: false };
      plot.setPointerCapture(event.pointerId);
    });
    on("pointermove", (event) => {
      const pressed = this.#pressed;
      this.cursor = ts(event);
      if (!pressed) return;
      pressed.isDrag ||= Math.abs(event.clientX - pressed.x) > DRAG_PIXELS;
      if (pressed.isDrag && pressed.isPan) this.#drag(pressed, event.clientX);
      else if (pressed.isDrag) this.#select(selection, pressed.ts, ts(event));
    });
    on("pointerup", (event) => {
      const pressed = release();
      if (!pressed) return;
      if (!pressed.isDrag) this.#click(pressed.ts);
      else if (!pressed.isPan) this.#zoomTo(...[pressed.ts, ts(event)].sort((a, b) => a - b));
    });
    on("pointercancel", release);
    on("pointerleave", () => { if (!this.#pressed) this.cursor = null; });
    on("dblclick", () => {
      clearTimeout(this.#clicked);
      this.#does.back();
    });
    // Up and down the page scrolls; sideways, or with shift, the view does.
    on("wheel", (event) => {
      const sideways = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
      if (event.ctrlKey || (!event.shiftKey && Math.abs(sideways) <= Math.abs(event.deltaY))) return;
      this.panBy((sideways * (event.deltaMode ? 20 : 1)) / this.#width);
      event.preventDefault();
    }, { passive: false });
  }

  #drag({ x, from }, to) {
    const seconds = ((x - to) / (this.#width - MARGIN.left - MARGIN.right)) * (from.end - from.start);
    this.#does.pan(from.start + seconds, from.end + seconds);
  }

  #select(selection, ...edges) {
    const [left, right] = edges.map(scale(this.view, this.#width).x).sort((a, b) => a - b);
    selection.hidden = false;
    Object.assign(selection.style, { left: `${left}px`, width: `${right - left}px` });
  }

  #zoomTo(from, to) {
    const [start, end] = [Math.max(this.view.start, from), Math.min(this.view.end, to)];
    const missing = Math.max(0, LEAST_SECONDS - (end - start)) / 2;
    this.#does.zoom(start - missing, end + missing);
  }

  // Not before it is clear that no second click follows.
  #click(ts) {
    clearTimeout(this.#clicked);
    this.#clicked = setTimeout(() => this.#who(ts), DOUBLE_CLICK);
  }

  // For the bucket that holds the moment, but at least a minute.
  #who(ts) {
    const step = Math.max(LEAST_SECONDS, this.columns?.step ?? 0);
    const start = Math.floor(ts / step) * step;
    this.#does.who(start, start + step, "");
  }

  panBy(share) {
    const { start, end } = this.view;
    this.#does.pan(start + share * (end - start), end + share * (end - start));
  }

  // About the cursor, else about the middle.
  zoomBy(factor) {
    const { start, end } = this.view;
    const about = this.cursor ?? (start + end) / 2;
    const grown = Math.max(factor, LEAST_SECONDS / (end - start));
    this.#does.pan(about - (about - start) * grown, about + (end - about) * grown);
  }

  #key(event) {
    if (event.target.closest("button, summary, .scroll") || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (way && event.shiftKey) this.panBy(way / 4);
    else if (way) this.#step(way);
    else if (factor) this.zoomBy(factor);
    else if (event.key === "Enter" && this.cursor !== null) this.#who(this.cursor);
    else return;
    event.preventDefault();
  }

  // A bucket on, at least two pixels; from nowhere to the end.
  #step(way) {
    const { start, end } = this.view;
    const step = Math.max(((end - start) / this.#width) * 2, this.columns?.step ?? 0);
    const to = this.cursor === null ? end : this.cursor + way * step;
    this.cursor = Math.min(end - step / 2, Math.max(start + step / 2, to));
  }
}
