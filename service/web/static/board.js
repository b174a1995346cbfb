// All charts over one view: what is drawn and when, one cursor, and what hands and keys do with it.

import { MARGIN, draw, palette, scale } from "./chart.js";
import { make } from "./dom.js";
import { duration, moment, quantity } from "./format.js";

const percent = (id, title, floor, ...lines) => ({ id, title, unit: "percent", floor, lines });
const line = (metric, name) => ({ metric, name });

export const CHARTS = [
  percent("cpu", "CPU", 10, line("cpu_percent", "busy")),
  percent("memory", "Memory", 10, line("memory_percent", "used"), line("swap_percent", "swap used")),
  percent("disk", "Disk space", 10, line("disk_percent", "used")),
  {
    id: "load", title: "Load", unit: "processes", floor: 0.5,
    lines: [line("load_1", "1 min"), line("load_5", "5 min"), line("load_15", "15 min")],
  },
  {
    id: "network", title: "Network", unit: "bytes per second", floor: 1000,
    lines: [line("network_received_bytes", "received"), line("network_sent_bytes", "sent")],
  },
  {
    id: "disk-io", title: "Disk traffic", unit: "bytes per second", floor: 1000,
    lines: [line("disk_read_bytes", "read"), line("disk_written_bytes", "written")],
  },
  percent("pressure", "Waiting (pressure)", 1, line("cpu_pressure", "for CPU"), line("memory_pressure", "for memory"),
    line("io_pressure", "for I/O")),
  { id: "processes", title: "Processes", unit: "processes", floor: 10, lines: [line("process_count", "running")] },
];
export const METRICS = CHARTS.flatMap((spec) => spec.lines.map((each) => each.metric));

const DRAG_PIXELS = 4;
const LEAST_SECONDS = 60;
const ROWS = 600;

export class Board {
  #charts;
  #readout;
  #does;
  #cursor = null;
  #asked = false;
  #pressed = null;
  #colours = null;
  #clicked = 0;
  columns = null;
  gaps = [];
  peaks = {};

  // `does`: what the page does: {zoom(start, end), pan(start, end), who(start, end), back(), close(), source(view)}.
  constructor(root, readout, does) {
    this.#readout = readout;
    this.#does = does;
    this.#charts = CHARTS.map((spec) => this.#build(spec));
    root.append(...this.#charts.map((chart) => chart.figure));
    root.addEventListener("keydown", (event) => this.#key(event));
    // Sizes are told, not asked for: asking between two drawings has the browser lay out the page each time.
    const sizes = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) this.#of(target).size = contentRect;
      this.redraw();
    });
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        this.#of(target).isSeen = isIntersecting;
      }
      this.redraw();
    }, { rootMargin: "100px" });
    for (const { plot } of this.#charts) {
      sizes.observe(plot);
      seen.observe(plot);
    }
  }

  #of(plot) {
    return this.#charts.find((chart) => chart.plot === plot);
  }

  get width() {
    return this.#charts[0].size.width || this.#charts[0].plot.clientWidth;
  }

  show(view) {
    this.view = view;
    this.redraw();
  }

  // Colours are read again: light became dark.
  recolour() {
    this.#colours = null;
    this.redraw();
  }

  // Once in a frame, however often it is asked for.
  redraw() {
    if (this.#asked || !this.view) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#draw();
    });
  }

  #draw() {
    const { view } = this;
    this.#colours ??= palette();
    this.columns = this.#does.source(view);
    for (const chart of this.#charts) {
      if (!chart.isSeen) continue;
      const { canvas, spec, size } = chart;
      draw(canvas, {
        size, view, spec, columns: this.columns, gaps: this.gaps, peaks: this.peaks[spec.id] ?? [], colours: this.#colours,
      });
    }
    if (this.columns && !performance.getEntriesByName("first-chart").length) performance.mark("first-chart");
    this.#point();
  }

  // -- one chart

  #build(spec) {
    const values = spec.lines.map(() => make("b", {}, "–"));
    const legend = make("ul", { className: "legend" }, ...spec.lines.map((each, n) => make("li", {},
      make("i", { className: `line${n + 1}` }), `${each.name} `, values[n])));
    const canvas = make("canvas", { role: "img", ariaLabel: spec.title });
    const cursor = make("div", { className: "cursor", hidden: true });
    const selection = make("div", { className: "selection", hidden: true });
    const plot = make("div", { className: "plot" }, canvas, selection, cursor);
    const table = make("details", { className: "rows" }, make("summary", {}, "Table"));
    const peaks = make("div", { className: "peaks" });
    const figure = make("figure", { id: `chart-${spec.id}` },
      make("figcaption", {}, make("h2", {}, spec.title), legend), plot, make("footer", {}, peaks, table));
    const chart = { spec, figure, plot, canvas, cursor, selection, values, legend, table, peaks, isSeen: false, size: { width: 0, height: 0 } };
    table.addEventListener("toggle", () => this.#fill(chart));
    this.#listen(chart);
    return chart;
  }

  // After an answer came: what stands beside the pictures in words.
  describe() {
    if (!this.columns) return;
    for (const chart of this.#charts) {
      const { spec, canvas, legend } = chart;
      const found = spec.lines.map((each) => this.columns.extreme(each.metric, this.view.start, this.view.end));
      [...legend.children].forEach((item, n) => { item.hidden = n > 0 && !found[n]; });
      const told = spec.lines.map((each, n) => found[n] && `${each.name}: average ${
        quantity(found[n].average, spec.unit)}, highest ${quantity(found[n].highest, spec.unit)} at ${
        moment(found[n].at, this.columns.step)}`);
      canvas.ariaLabel = `${spec.title}. ${told.filter(Boolean).join("; ") || "Nothing recorded"}.`;
      chart.found = found;
      this.#fill(chart);
      this.#list(chart);
    }
    this.#point();
  }

  // The peaks as buttons: what a mouse finds on the picture, a keyboard finds here.
  #list({ spec, peaks }) {
    const found = this.peaks[spec.id] ?? [];
    const told = found.map((peak) => {
      const button = make("button", { type: "button" }, `${moment(peak.at)} · ${quantity(peak.maximum, spec.unit)}`);
      button.addEventListener("click", () => this.#does.who(peak.start, peak.end, `${spec.title} peak`));
      return button;
    });
    peaks.replaceChildren(...(told.length ? [make("span", {}, told.length > 1 ? "Peaks" : "Highest"), ...told] : []));
  }

  #fill({ spec, table }) {
    while (table.children.length > 1) table.lastChild.remove();
    if (!table.open || !this.columns) return;
    const columns = this.columns;
    const [first, last] = columns.within(this.view.start, this.view.end);
    const names = ["average", "minimum", "maximum"];
    const head = spec.lines.flatMap((each) => names.map((name) => make("th", { scope: "col" }, `${each.name} ${name}`)));
    const rows = [];
    for (let n = Math.max(first, last - ROWS); n < last; n += 1) {
      const cells = spec.lines.flatMap(({ metric }) => names.map((name) =>
        make("td", {}, quantity(columns.value(metric, name, n), spec.unit))));
      rows.push(make("tr", {}, make("th", { scope: "row" }, moment(columns.ts[n], columns.step)), ...cells));
    }
    const caption = make("caption", {}, `${spec.title}, each row ${duration(columns.step)}`);
    const body = make("table", {}, caption,
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Time"), ...head)), make("tbody", {}, ...rows));
    table.append(make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `${spec.title} table` }, body));
  }

  // -- the cursor

  // At a moment, or nowhere.
  set cursor(ts) {
    this.#cursor = ts;
    this.#point();
  }

  get cursor() {
    return this.#cursor;
  }

  #point() {
    const { columns, view } = this;
    const at = this.#cursor !== null && view && this.#cursor >= view.start && this.#cursor < view.end
      ? this.#cursor : null;
    for (const { spec, cursor, size, values, found } of this.#charts) {
      cursor.hidden = at === null;
      if (at !== null) cursor.style.transform = `translateX(${scale(view, size.width).x(at)}px)`;
      spec.lines.forEach(({ metric }, n) => {
        const value = at === null ? found?.[n]?.average : columns?.value(metric, "average", columns.at(at));
        values[n].textContent = `${at === null && found?.[n] ? "avg " : ""}${quantity(value, spec.unit)}`;
        if (at !== null && spec.lines.length === 1) values[n].textContent += this.#spread(metric, at, spec.unit);
      });
    }
    this.#tell(at);
  }

  #spread(metric, at, unit) {
    const n = this.columns?.at(at);
    const [low, high] = ["minimum", "maximum"].map((name) => this.columns?.value(metric, name, n) ?? null);
    return low === null || high === null || low === high ? "" : ` (${quantity(low, unit)} to ${quantity(high, unit)})`;
  }

  #tell(at) {
    const gap = at === null ? null : this.gaps.find((each) => each.start <= at && at < each.end);
    const step = this.columns?.step ?? 1;
    const where = at === null ? "" : moment(this.columns?.has(at) ? this.columns.ts[this.columns.at(at)] : at, step);
    this.#readout.textContent = gap ? `${where}: nothing recorded (${gap.reason}, ${duration(gap.end - gap.start)})` : where;
  }

  // -- hands

  #listen(chart) {
    const { plot, selection } = chart;
    const ts = (event) => scale(this.view, chart.size.width).ts(event.clientX - plot.getBoundingClientRect().left);
    const end = () => {
      selection.hidden = true;
      this.#pressed = null;
    };
    plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.view) return;
      const isPan = event.shiftKey || event.pointerType === "touch";
      this.#pressed = { x: event.clientX, from: this.view, ts: ts(event), isPan, isDrag: false };
      plot.setPointerCapture(event.pointerId);
    });
    plot.addEventListener("pointermove", (event) => {
      this.cursor = ts(event);
      const pressed = this.#pressed;
      if (!pressed) return;
      pressed.isDrag ||= Math.abs(event.clientX - pressed.x) > DRAG_PIXELS;
      if (!pressed.isDrag) return;
      if (pressed.isPan) this.#drag(pressed, event.clientX, chart.size.width);
      else this.#select(selection, pressed.ts, this.cursor, chart.size.width);
    });
    plot.addEventListener("pointerup", (event) => {
      const pressed = this.#pressed;
      if (!pressed) return;
      end();
      if (!pressed.isDrag) this.#click(pressed.ts);
      else if (!pressed.isPan) this.#zoomTo(pressed.ts, ts(event));
    });
    plot.addEventListener("pointercancel", end);
    plot.addEventListener("pointerleave", () => {
      if (!this.#pressed) this.cursor = null;
    });
    plot.addEventListener("dblclick", () => {
      clearTimeout(this.#clicked);
      this.#does.back();
    });
    plot.addEventListener("wheel", (event) => this.#wheel(event, ts(event), chart.size.width), { passive: false });
  }

  #drag({ x, from }, to, width) {
    const seconds = ((x - to) / (width - MARGIN.left - MARGIN.right)) * (from.end - from.start);
    this.#does.pan(from.start + seconds, from.end + seconds);
  }

  #select(selection, from, to, width) {
    const { x } = scale(this.view, width);
    const [left, right] = [x(Math.min(from, to)), x(Math.max(from, to))];
    selection.hidden = false;
    Object.assign(selection.style, { left: `${left}px`, width: `${right - left}px` });
  }

  #zoomTo(one, other) {
    let [start, end] = [Math.max(this.view.start, Math.min(one, other)), Math.min(this.view.end, Math.max(one, other))];
    const missing = LEAST_SECONDS - (end - start);
    if (missing > 0) [start, end] = [start - missing / 2, end + missing / 2];
    this.#does.zoom(start, end);
  }

  // Not before it is clear that no second click follows.
  #click(ts) {
    clearTimeout(this.#clicked);
    this.#clicked = setTimeout(() => this.whoAt(ts), 250);
  }

  // Who used the machine in the bucket that holds the moment; processes are looked at less often than a bucket is wide.
  whoAt(ts) {
    const step = Math.max(LEAST_SECONDS, this.columns?.step ?? 0);
    const start = Math.floor(ts / step) * step;
    this.#does.who(start, start + step, "");
  }

  // Up and down the page scrolls; sideways, or with shift, the view does, and with ctrl it zooms.
  #wheel(event, ts, width) {
    const sideways = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
    if (event.ctrlKey) this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, ts);
    else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      this.panBy((sideways * (event.deltaMode ? 20 : 1)) / width);
    } else return;
    event.preventDefault();
  }

  panBy(share) {
    const { start, end } = this.view;
    this.#does.pan(start + share * (end - start), end + share * (end - start));
  }

  zoomBy(factor, ts = this.#cursor) {
    const { start, end } = this.view;
    const about = ts === null || ts < start || ts > end ? (start + end) / 2 : ts;
    const wide = Math.max(LEAST_SECONDS, (end - start) * factor);
    const share = (about - start) / (end - start);
    this.#does.pan(about - share * wide, about + (1 - share) * wide);
  }

  // -- keys

  #key(event) {
    if (event.target.closest("button, summary, .scroll") || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (way && event.shiftKey) this.panBy(way / 4);
    else if (way) this.#step(way);
    else if (event.key === "+" || event.key === "=") this.zoomBy(0.5);
    else if (event.key === "-") this.zoomBy(2);
    else if (event.key === "Enter" && this.#cursor !== null) this.whoAt(this.#cursor);
    else return;
    event.preventDefault();
  }

  // A bucket on, but no less than two pixels; from nowhere to the newest one.
  #step(way) {
    const { start, end } = this.view;
    const least = ((end - start) / this.width) * 2;
    const step = Math.max(least, this.columns?.step ?? least);
    const from = this.#cursor ?? end - step / 2 - (way > 0 ? step : 0);
    this.cursor = Math.min(end - step / 2, Math.max(start + step / 2, from + (this.#cursor === null ? 0 : way * step)));
  }
}
