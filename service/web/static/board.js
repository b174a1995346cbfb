// All charts, with one view, one cursor and one pinned moment in common.

import { palette, scale } from "./chart.js";
import { at, on, write } from "./dom.js";
import { duration, happening, moment } from "./format.js";
import { Lines } from "./lines.js";
import { Stack } from "./stack.js";

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
  // Of /api/v1/who; `before`: what both are compared with, moved to the view's time.
  shares = null;
  before = null;
  sharesBefore = null;
  gaps = [];
  // What happened: [{ts, kind, detail}], in time order.
  events = [];
  // When the history begins; null if unknown.
  since = null;
  // {start, end}: who used the machine then is shown.
  pinned = null;
  // Of a metric: [{start, end, at, maximum}], in unix seconds.
  peaks = {};

  // `actions`: zoom(start, end), pan(start, end), who(start, end, title), back(), source(view), shares(view).
  constructor(actions, ...choices) {
    this.#actions = actions;
    this.stack = new Stack(this, ...choices);
    // Reading sizes between drawings would lay out the page each time.
    this.#sizes = new ResizeObserver((entries) => this.#note(entries, ({ contentRect }) => ({ size: contentRect })));
    this.#sights = new IntersectionObserver((entries) =>
      this.#note(entries, ({ isIntersecting }) => ({ isSeen: isIntersecting })), { rootMargin: "100px" });
    at("over-time").prepend(this.#add(this.stack));
    on(at("charts"), "keydown", (event) => this.#key(event));
  }

  #sizes;
  #sights;

  // `source`: whose columns they show. Returns the charts.
  build(specs, place, source = this) {
    const charts = specs.map((spec) => new Lines(spec, source));
    place.append(...charts.map((chart) => this.#add(chart)));
    return charts;
  }

  #add(chart) {
    this.#charts.push(chart);
    this.#listen(chart);
    this.#sizes.observe(chart.plot);
    this.#sights.observe(chart.plot);
    return chart.figure;
  }

  #note(entries, found) {
    for (const entry of entries) Object.assign(this.#charts.find(({ plot }) => plot === entry.target), found(entry));
    this.redraw();
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

  // Before the first sample there is nothing, for a reason of its own.
  get #missing() {
    const { since, view, gaps } = this;
    if (since === null || since <= view.start) return gaps;
    const begins = `history begins ${moment(since)}`;
    return [{ start: Math.min(view.start, since), end: since, reason: begins, isBefore: true }, ...gaps];
  }

  #draw() {
    const { view } = this;
    this.#isAsked = false;
    this.#colours ??= palette();
    this.columns = this.#actions.source(view);
    this.shares = this.#actions.shares(view);
    const common = { view, gaps: this.#missing, events: this.events, colours: this.#colours };
    for (const chart of this.#charts) if (chart.isSeen && chart.size.width) chart.draw(common);
    this.#point();
  }

  describe() {
    for (const chart of this.#charts) chart.describe();
    this.#point();
  }

  set cursor(ts) {
    this.#cursor = ts;
    this.#point();
  }

  get cursor() {
    const { start, end } = this.view;
    return this.#cursor >= start && this.#cursor < end ? this.#cursor : null;
  }

  showWho = (start, end, title) => this.#actions.who(start, end, title);

  #point() {
    const { columns, view, cursor: ts, pinned } = this;
    const gap = ts === null ? null : this.#missing.find(({ start, end }) => start <= ts && ts < end);
    for (const chart of this.#charts) {
      const { cursor, time, pin, size } = chart;
      const { x } = scale(view, size.width);
      cursor.hidden = ts === null;
      pin.hidden = !pinned || pinned.end <= view.start || pinned.start >= view.end;
      if (!pin.hidden) pin.style.transform = `translateX(${x((Math.max(view.start, pinned.start) + Math.min(view.end, pinned.end)) / 2)}px)`;
      chart.point(ts);
      if (ts === null) continue;
      const across = x(ts);
      cursor.style.transform = `translateX(${across}px)`;
      cursor.classList.toggle("left", across > size.width - 150);
      write(time, this.#time(gap ? 1 : chart.step || columns?.step || 1, ts));
    }
    const missing = !gap ? "" : gap.isBefore ? `: ${gap.reason}` : `: nothing recorded (${gap.reason}, ${duration(gap.end - gap.start)})`;
    write(at("readout"), ts === null ? "Averages" : this.#time(gap ? 1 : columns?.step ?? 1, ts) + missing + this.#happened(ts));
  }

  // The event nearest to a moment, within what a flag is wide.
  #happened(ts) {
    const { view: { start, end }, events } = this;
    const [event] = events.map((each) => ({ ...each, apart: Math.abs(each.ts - ts) })).sort((a, b) => a.apart - b.apart);
    return event && event.apart <= (end - start) / 150 ? ` · ${happening(event)}` : "";
  }

  #time(step, ts) {
    return moment(Math.floor(ts / step) * step, step);
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
      if (pressed.isDrag && pressed.isPan) this.#drag(chart, pressed, event.clientX);
      else if (pressed.isDrag) this.#select(chart, pressed.ts, ts(event));
    });
    on(plot, "pointerup", (event) => {
      const pressed = release();
      if (!pressed) return;
      if (!pressed.isDrag) this.#click(pressed.ts, chart.step);
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
      this.panBy((sideways * (event.deltaMode ? 20 : 1)) / chart.size.width);
      event.preventDefault();
    }, { passive: false });
  }

  #drag({ size }, { x, from }, to) {
    const { ts } = scale(from, size.width);
    const seconds = ts(x) - ts(to);
    this.#actions.pan(from.start + seconds, from.end + seconds);
  }

  #select({ selection, size }, ...edges) {
    const [left, right] = edges.map(scale(this.view, size.width).x).sort((a, b) => a - b);
    selection.hidden = false;
    Object.assign(selection.style, { left: `${left}px`, width: `${right - left}px` });
  }

  #zoomTo(from, to) {
    const [start, end] = [Math.max(this.view.start, from), Math.min(this.view.end, to)];
    const missing = Math.max(0, LEAST_SECONDS - (end - start)) / 2;
    this.#actions.zoom(start - missing, end + missing);
  }

  // A second click may follow.
  #click(ts, step) {
    clearTimeout(this.#clicked);
    this.#clicked = setTimeout(() => this.#who(ts, step), DOUBLE_CLICK);
  }

  // In the bucket of the moment, or at least a minute.
  #who(ts, width = this.columns?.step) {
    const step = Math.max(LEAST_SECONDS, width ?? 0);
    const start = Math.floor(ts / step) * step;
    this.showWho(start, start + step, "");
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
    if (event.target.closest("button, summary, input, select, textarea, a, .scroll") || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (way && event.shiftKey) this.panBy(way / 4);
    else if (way) this.#step(way);
    else if (factor) this.zoomBy(factor);
    else if (event.key === "Enter" && this.cursor !== null) this.#who(this.cursor, this.stack.step);
    else return;
    event.preventDefault();
  }

  // By a bucket, at least two pixels; first to the end.
  #step(way) {
    const { start, end } = this.view;
    const step = Math.max(((end - start) / this.stack.size.width) * 2, this.columns?.step ?? 0);
    const to = this.cursor === null ? end : this.cursor + way * step;
    this.cursor = Math.min(end - step / 2, Math.max(start + step / 2, to));
  }
}
