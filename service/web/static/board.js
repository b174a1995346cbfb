// All charts, with one view and one cursor in common.

import { draw, palette, scale } from "./chart.js";
import { at, button, make, on, write } from "./dom.js";
import { brief, duration, moment, quantity } from "./format.js";
import { COLUMNS } from "./series.js";

const DRAG_PIXELS = 4;
const DOUBLE_CLICK = 250;
const LEAST_SECONDS = 60;

export class Board {
  #charts = [];
  #actions;
  #cursor = null;
  #isAsked = false;
  #pressed = null;
  #colours = null;
  #clicked = 0;
  columns = null;
  gaps = [];
  // Of a metric: [{start, end, at, maximum}], in unix seconds.
  peaks = {};

  // `actions`: zoom(start, end), pan(start, end), who(start, end, title), back(), source(view).
  constructor(actions) {
    this.#actions = actions;
    on(at("charts"), "keydown", (event) => this.#key(event));
  }

  build(charts) {
    this.#charts = charts.map((spec) => this.#build(spec));
    // Reading sizes between drawings would lay out the page each time.
    const sizes = new ResizeObserver((entries) => this.#note(entries, ({ contentRect }) => ({ size: contentRect })));
    const sights = new IntersectionObserver((entries) =>
      this.#note(entries, ({ isIntersecting }) => ({ isSeen: isIntersecting })), { rootMargin: "100px" });
    for (const { plot } of this.#charts) {
      sizes.observe(plot);
      sights.observe(plot);
    }
  }

  #peaksOf({ lines }) {
    return lines.flatMap(({ metric }) => this.peaks[metric] ?? []);
  }

  #note(entries, found) {
    for (const entry of entries) Object.assign(this.#charts.find(({ plot }) => plot === entry.target), found(entry));
    this.redraw();
  }

  get #width() {
    return this.#charts[0]?.size.width ?? 0;
  }

  show(view) {
    this.view = view;
    this.redraw();
  }

  recolour() {
    this.#colours = null;
    this.redraw();
  }

  redraw() {
    if (this.#isAsked || !this.view) return;
    this.#isAsked = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const { view, gaps } = this;
    this.#isAsked = false;
    this.#colours ??= palette();
    this.columns = this.#actions.source(view);
    const common = { view, gaps, columns: this.columns, colours: this.#colours };
    for (const chart of this.#charts) {
      if (chart.isSeen && chart.size.width) draw({ ...chart, ...common, peaks: this.#peaksOf(chart) });
    }
    this.#point();
  }

  #build(spec) {
    const { id, title, lines } = spec;
    const values = lines.map(() => make("b"));
    const legend = make("ul.legend", ...lines.map(({ name, colour }, n) =>
      make("li", make(`i.${colour}`), `${name} `, values[n])));
    const canvas = make("canvas", { role: "img", ariaLabel: title });
    const [cursor, selection] = ["cursor", "selection"].map((name) => make(`div.${name}`, { hidden: true }));
    const plot = make("div.plot", canvas, selection, cursor);
    const table = make("details", make("summary", "Table"));
    const marks = make("div.peaks");
    at("charts").append(make("figure", { id: `chart-${id}` },
      make("figcaption", make("h2", title), legend), plot, make("footer", marks, table)));
    const chart = { ...spec, plot, canvas, cursor, selection, values, legend, table, marks, size: plot, found: [] };
    on(table, "toggle", () => this.#fill(chart));
    this.#listen(chart);
    return chart;
  }

  describe() {
    if (!this.columns) return;
    for (const chart of this.#charts) {
      const { title, unit, lines, canvas, legend } = chart;
      const found = lines.map(({ metric }) => this.columns.extreme(metric, this.view));
      chart.found = found;
      [...legend.children].forEach((item, n) => { item.hidden = n > 0 && !found[n]; });
      const texts = found.map((each, n) => each && `${lines[n].name}: average ${
        quantity(each.average, unit)}, highest ${quantity(each.highest, unit)} at ${moment(each.at)}`);
      canvas.ariaLabel = `${title}. ${texts.filter(Boolean).join("; ") || "Nothing recorded"}.`;
      this.#fill(chart);
      this.#list(chart);
    }
    this.#point();
  }

  // Replaced only where they differ: somebody may be pressing one.
  #list(chart) {
    const { title, unit, marks } = chart;
    const wide = this.view.end - this.view.start;
    const peaks = this.#peaksOf(chart);
    const texts = peaks.map(({ at, maximum }) => `${brief(at, wide)} ${quantity(maximum, unit)}`);
    if (marks.dataset.shown === `${texts}`) return;
    marks.dataset.shown = texts;
    marks.replaceChildren(texts.length ? "Peaks" : "", ...texts.map((text, n) => button(text, () => {
      const { start, end } = this.#peaksOf(chart)[n];
      this.#actions.who(start, end, `${title} peak`);
    })));
  }

  #fill({ title, unit, lines, table }) {
    table.children[1]?.remove();
    if (!table.open || !this.columns) return;
    const { columns } = this;
    const cells = (cell) => lines.flatMap((line) => COLUMNS.map((name) => cell(line, name)));
    const head = cells((line, name) => make("th", `${line.name} ${name}`));
    const [first, last] = columns.within(this.view);
    const rows = columns.ts.slice(first, last).map((ts, n) =>
      make("tr", make("th", moment(ts, columns.step)), ...cells(({ metric }, name) =>
        make("td", quantity(columns.value(metric, name, first + n), unit)))));
    table.append(make("div.scroll", { tabIndex: 0, role: "region", ariaLabel: `${title} table` },
      make("table", make("thead", make("tr", make("th", "Time"), ...head)), make("tbody", ...rows))));
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
    const { columns, view, cursor: ts } = this;
    for (const { unit, lines, cursor, size, values, found } of this.#charts) {
      cursor.hidden = ts === null;
      if (ts !== null) cursor.style.transform = `translateX(${scale(view, size.width).x(ts)}px)`;
      lines.forEach(({ metric }, n) => {
        const [average, low, high] = COLUMNS.map((name) => ts === null
          ? found[n]?.[name] : columns?.value(metric, name, columns.at(ts))).map((value) => quantity(value, unit));
        write(values[n], average + (lines.length === 1 && low !== high ? ` (${low} to ${high})` : ""));
      });
    }
    const gap = this.gaps.find(({ start, end }) => ts !== null && start <= ts && ts < end);
    const missing = gap ? `: nothing recorded (${gap.reason}, ${duration(gap.end - gap.start)})` : "";
    const step = columns?.step ?? 1;
    const time = moment(gap ? ts : Math.floor(ts / step) * step, step);
    write(at("readout"), ts === null ? "Averages" : time + missing);
  }

  #listen(chart) {
    const { plot, selection } = chart;
    const ts = ({ clientX }) => scale(this.view, chart.size.width).ts(clientX - plot.getBoundingClientRect().left);
    const release = () => {
      selection.hidden = true;
      const pressed = this.#pressed;
      this.#pressed = null;
      return pressed;
    };
    on(plot, "pointerdown", (event) => {
      if (event.button !== 0) return;
      const isPan = event.shiftKey || event.pointerType === "touch";
      this.#pressed = { x: event.clientX, from: this.view, ts: ts(event), isPan, isDrag: false };
      plot.setPointerCapture(event.pointerId);
    });
    on(plot, "pointermove", (event) => {
      const pressed = this.#pressed;
      this.cursor = ts(event);
      if (!pressed) return;
      pressed.isDrag ||= Math.abs(event.clientX - pressed.x) > DRAG_PIXELS;
      if (pressed.isDrag && pressed.isPan) this.#drag(pressed, event.clientX);
      else if (pressed.isDrag) this.#select(selection, pressed.ts, ts(event));
    });
    on(plot, "pointerup", (event) => {
      const pressed = release();
      if (!pressed) return;
      if (!pressed.isDrag) this.#click(pressed.ts);
      else if (!pressed.isPan) this.#zoomTo(...[pressed.ts, ts(event)].sort((a, b) => a - b));
    });
    on(plot, "pointercancel", release);
    on(plot, "pointerleave", () => { if (!this.#pressed) this.cursor = null; });
    on(plot, "dblclick", () => {
      clearTimeout(this.#clicked);
      this.#actions.back();
    });
    // Vertically the page scrolls; sideways, or with shift, the view moves.
    on(plot, "wheel", (event) => {
      const sideways = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
      if (event.ctrlKey || (!event.shiftKey && Math.abs(sideways) <= Math.abs(event.deltaY))) return;
      this.panBy((sideways * (event.deltaMode ? 20 : 1)) / this.#width);
      event.preventDefault();
    }, { passive: false });
  }

  #drag({ x, from }, to) {
    const { ts } = scale(from, this.#width);
    const seconds = ts(x) - ts(to);
    this.#actions.pan(from.start + seconds, from.end + seconds);
  }

  #select(selection, ...edges) {
    const [left, right] = edges.map(scale(this.view, this.#width).x).sort((a, b) => a - b);
    selection.hidden = false;
    Object.assign(selection.style, { left: `${left}px`, width: `${right - left}px` });
  }

  #zoomTo(from, to) {
    const [start, end] = [Math.max(this.view.start, from), Math.min(this.view.end, to)];
    const missing = Math.max(0, LEAST_SECONDS - (end - start)) / 2;
    this.#actions.zoom(start - missing, end + missing);
  }

  // A second click may follow.
  #click(ts) {
    clearTimeout(this.#clicked);
    this.#clicked = setTimeout(() => this.#who(ts), DOUBLE_CLICK);
  }

  // In the bucket of the moment, or at least a minute.
  #who(ts) {
    const step = Math.max(LEAST_SECONDS, this.columns?.step ?? 0);
    const start = Math.floor(ts / step) * step;
    this.#actions.who(start, start + step, "");
  }

  panBy(share) {
    const { start, end } = this.view;
    this.#actions.pan(start + share * (end - start), end + share * (end - start));
  }

  // The cursor keeps its place, or else the middle.
  zoomBy(factor) {
    const { start, end } = this.view;
    const about = this.cursor ?? (start + end) / 2;
    const grown = Math.max(factor, LEAST_SECONDS / (end - start));
    this.#actions.pan(about - (about - start) * grown, about + (end - about) * grown);
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

  // By a bucket, at least two pixels; first to the end.
  #step(way) {
    const { start, end } = this.view;
    const step = Math.max(((end - start) / this.#width) * 2, this.columns?.step ?? 0);
    const to = this.cursor === null ? end : this.cursor + way * step;
    this.cursor = Math.min(end - step / 2, Math.max(start + step / 2, to));
  }
}
