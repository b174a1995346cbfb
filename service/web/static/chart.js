// Draws one chart on a canvas: average lines, bands from minimum to maximum, gaps, peaks, axes. Knows no page.

import { clock, niceTicks, tickLabel, timeTicks } from "./format.js";

export const MARGIN = { left: 46, right: 6, top: 16, bottom: 18 };
const FONT = "11px system-ui, sans-serif";
const HATCH = 7;

// Colours are CSS variables, so that light and dark are told in one place; the canvas needs them as values.
export const palette = () => {
  const probe = document.createElement("i");
  document.body.append(probe);
  const names = ["line1", "line2", "line3", "grid", "dim", "ink", "hatch", "paper", "mark"];
  const found = Object.fromEntries(names.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  return { ...found, hatching: hatching(found.hatch) };
};

const hatching = (colour) => {
  const tile = Object.assign(document.createElement("canvas"), { width: HATCH, height: HATCH });
  const context = tile.getContext("2d");
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  for (const shift of [-HATCH, 0, HATCH]) {
    context.moveTo(shift, HATCH);
    context.lineTo(shift + HATCH, 0);
  }
  context.stroke();
  return tile;
};

// Where a moment lies across a plot `width` pixels wide, and back.
export const scale = (view, width) => {
  const inner = width - MARGIN.left - MARGIN.right;
  return {
    x: (ts) => MARGIN.left + ((ts - view.start) / (view.end - view.start)) * inner,
    ts: (x) => view.start + ((x - MARGIN.left) / inner) * (view.end - view.start),
  };
};

const highest = (columns, spec, [first, last]) => {
  let top = spec.floor;
  for (const { metric } of spec.lines) {
    const { maximum, average } = columns.series[metric];
    for (let n = first; n < last; n += 1) top = Math.max(top, maximum[n] ?? average[n] ?? 0);
  }
  return spec.unit === "percent" ? Math.min(100, top) : top;
};

// `gaps`: {start, end, reason}; `peaks`: {at, maximum}, in unix seconds.
export const draw = (canvas, { size, view, columns, spec, gaps, peaks, colours }) => {
  const { width, height } = size;
  const context = fitted(canvas, width, height);
  const { x } = scale(view, width);
  const bottom = height - MARGIN.bottom;
  const range = columns ? columns.within(view.start, view.end) : [0, 0];
  const ticks = niceTicks(columns ? highest(columns, spec, range) : spec.floor);
  const top = ticks[ticks.length - 1];
  const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
  axes(context, { view, width, bottom, x, y, ticks, spec, colours });
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, 0, width - MARGIN.left - MARGIN.right, bottom + 1);
  context.clip();
  for (const gap of gaps) hatch(context, gap, x, bottom, colours);
  if (columns) {
    spec.lines.forEach((line, n) => band(context, columns, line.metric, range, x, y, colours[`line${n + 1}`]));
    spec.lines.forEach((line, n) => stroke(context, columns, line.metric, range, x, y, colours[`line${n + 1}`]));
  }
  mark(context, peaks, x, y, view, width, colours);
  context.restore();
};

const fitted = (canvas, width, height) => {
  const ratio = devicePixelRatio;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  return context;
};

const axes = (context, { view, width, bottom, x, y, ticks, spec, colours }) => {
  context.strokeStyle = colours.grid;
  context.fillStyle = colours.dim;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.beginPath();
  for (const tick of ticks) {
    const at = Math.round(y(tick)) + 0.5;
    context.moveTo(MARGIN.left, at);
    context.lineTo(width - MARGIN.right, at);
    context.fillText(tickLabel(tick, ticks[1], spec.unit), MARGIN.left - 6, at);
  }
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  for (const [ts, label] of timeTicks(view.start, view.end, Math.max(2, (width - MARGIN.left) / 62))) {
    const at = Math.round(x(ts)) + 0.5;
    context.moveTo(at, bottom);
    context.lineTo(at, bottom + 4);
    const half = context.measureText(label).width / 2;
    if (at + half < width && at - half > MARGIN.left - 16) context.fillText(label, at, bottom + 15);
  }
  context.stroke();
};

const hatch = (context, { start, end, reason }, x, bottom, colours) => {
  const [left, right] = [x(start), Math.max(x(end), x(start) + 2)];
  const pattern = context.createPattern(colours.hatching, "repeat");
  // The pattern moves with the gap, or it would seem to crawl while panning.
  pattern.setTransform(new DOMMatrix().translate(left % HATCH, 0));
  context.fillStyle = pattern;
  context.fillRect(left, MARGIN.top, right - left, bottom - MARGIN.top);
  const wide = context.measureText(reason).width;
  if (right - left < wide + 10) return;
  const [middle, high] = [(left + right) / 2, (MARGIN.top + bottom) / 2];
  context.fillStyle = colours.paper;
  context.fillRect(middle - wide / 2 - 4, high - 9, wide + 8, 18);
  context.fillStyle = colours.dim;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(reason, middle, high);
};

// Stretches of buckets first <= n < last in which the metric is known.
const stretches = (average, [first, last]) => {
  const found = [];
  for (let n = first; n < last; n += 1) {
    if (average[n] === null) continue;
    const from = n;
    while (n < last && average[n] !== null) n += 1;
    found.push([from, n]);
  }
  return found;
};

// The moment that a bucket's value is drawn at: its middle.
const middle = (columns, n) => columns.ts[n] + columns.step / 2;
// One bucket more on each side, so that lines leave the plot and do not end at its edge.
const beyond = (columns, [first, last]) => [Math.max(0, first - 1), Math.min(columns.ts.length, last + 1)];

const band = (context, columns, metric, range, x, y, colour) => {
  const { average, minimum, maximum } = columns.series[metric];
  context.fillStyle = colour;
  context.globalAlpha = 0.22;
  for (const [from, to] of stretches(average, beyond(columns, range))) {
    context.beginPath();
    for (let n = from; n < to; n += 1) context.lineTo(x(middle(columns, n)), y(maximum[n] ?? average[n]));
    for (let n = to - 1; n >= from; n -= 1) context.lineTo(x(middle(columns, n)), y(minimum[n] ?? average[n]));
    context.fill();
  }
  context.globalAlpha = 1;
};

const stroke = (context, columns, metric, range, x, y, colour) => {
  const { average } = columns.series[metric];
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  for (const [from, to] of stretches(average, beyond(columns, range))) {
    if (to - from === 1) {
      // A bucket alone is a dash as wide as it is, and wide enough to be seen.
      const [left, right] = [x(columns.ts[from]), x(columns.ts[from] + columns.step)];
      context.moveTo(left, y(average[from]));
      context.lineTo(Math.max(right, left + 2), y(average[from]));
      continue;
    }
    for (let n = from; n < to; n += 1) {
      const [at, high] = [x(middle(columns, n)), y(average[n])];
      if (n === from) context.moveTo(at, high);
      else context.lineTo(at, high);
    }
  }
  context.stroke();
};

const mark = (context, peaks, x, y, view, width, colours) => {
  let free = 0;
  context.textBaseline = "alphabetic";
  for (const { at, maximum } of peaks) {
    if (at < view.start || at >= view.end) continue;
    const [across, high] = [x(at), Math.max(MARGIN.top, y(maximum))];
    context.fillStyle = colours.mark;
    context.beginPath();
    context.moveTo(across, high - 1);
    context.lineTo(across - 4, high - 8);
    context.lineTo(across + 4, high - 8);
    context.fill();
    const label = clock(at);
    const wide = context.measureText(label).width;
    const isLeft = across + wide + 10 > width - MARGIN.right;
    const left = isLeft ? across - wide - 7 : across + 7;
    if (left < free) continue;
    context.textAlign = "left";
    context.fillStyle = colours.paper;
    context.globalAlpha = 0.8;
    context.fillRect(left - 1, high - 13, wide + 2, 13);
    context.globalAlpha = 1;
    context.fillStyle = colours.ink;
    context.fillText(label, left, high - 2);
    free = left + wide + 4;
  }
};
