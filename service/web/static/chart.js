// Which charts there are, and how one is drawn on a canvas.

import { HOUR, axisUnit, brief, niceTicks, quantity, timeTicks } from "./format.js";

import { STACK_COLOURS } from "./stacking.js";

const MARGIN = { left: 62, right: 6, top: 16, bottom: 18 };
const HATCH = 7;
// What the y axis reaches at least.
const FLOORS = { percent: 10, "bytes per second": 1000 };
const COLOURS = 3;
// From buckets of this width on, a band of extremes would fill the chart.
const WIDE_SECONDS = 12 * HOUR;
// Buckets narrower than so many pixels are drawn by the thinnest line, which is the fastest by far and as clear.
const DENSE = 3;

// The label without the chart's title, which stands above it: "Network in" is "in".
const nameOf = ({ label, chart }) =>
  (label.startsWith(chart) && label.slice(chart.length).match(/^\W+(.+)/)?.[1]) || label;

// One for each title: {id, title, unit, floor, lines: [{metric, name, colour}]}.
export const chartsOf = (metrics) => {
  const charts = {};
  for (const metric of metrics) {
    const title = metric.chart;
    // Counters are answered as rates.
    const unit = metric.kind === "counter" ? `${metric.unit} per second` : metric.unit;
    const id = title.toLowerCase().replace("/", "").replace(/[^a-z0-9]+/g, "-");
    const { lines } = (charts[id] ??= { id, title, unit, floor: FLOORS[unit] ?? 1, lines: [] });
    lines.push({ metric: metric.name, name: nameOf(metric), colour: `line${(lines.length % COLOURS) + 1}` });
  }
  const found = Object.values(charts);
  // More lines than that have the colours of what is stacked.
  for (const { lines } of found.filter(({ lines }) => lines.length > COLOURS))
    lines.forEach((line, n) => { line.colour = `stack${(n % STACK_COLOURS) + 1}`; });
  return found;
};

// The colours of page.css as values.
export const palette = () => {
  const probe = document.body.appendChild(document.createElement("i"));
  const names = "line1 line2 line3 edge dim ink hatch paper bad accent rest1 rest2".split(" ")
    .concat(Array.from({ length: STACK_COLOURS }, (_, n) => `stack${n + 1}`));
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
  for (const shift of [-HATCH, 0, HATCH]) {
    context.moveTo(shift, HATCH);
    context.lineTo(shift + HATCH, 0);
  }
  context.stroke();
  return context.createPattern(tile, "repeat");
};

// Where a moment lies across a plot `width` pixels wide, and back.
export const scale = ({ start, end }, width) => {
  const inner = width - MARGIN.left - MARGIN.right;
  return {
    x: (ts) => MARGIN.left + ((ts - start) / (end - start)) * inner,
    ts: (x) => start + ((x - MARGIN.left) / inner) * (end - start),
  };
};

// What the y axis must reach, and the highest value: beyond it, where a spike would flatten the averages.
export const heights = (columns, { floor, unit, lines }, [first, last]) => {
  let [most, usual] = [floor, floor];
  for (const { metric } of first < last ? lines : []) {
    const { average, maximum } = columns.series[metric] ?? { average: [], maximum: [] };
    for (let n = first; n < last; n += 1) {
      usual = Math.max(usual, average[n] ?? 0);
      most = Math.max(most, usual, maximum[n] ?? 0);
    }
  }
  return unit === "percent" ? [Math.min(100, most), 0] : [Math.min(most, usual * 5), most];
};

// `gaps`: {start, end, reason}; `peaks`: {at, maximum}, in unix seconds. `before`: the columns to compare with, or null.
// `limit`: a value that is marked and always within the chart, or null.
export const draw = ({ canvas, size, floor, unit, lines, view, columns, before, gaps, events, peaks, colours, limit = null }) => {
  const { width, height } = size;
  const range = columns ? columns.within(view) : [0, 0];
  const [top, most] = heights(columns, { floor: Math.max(floor, limit ?? 0), unit, lines }, range);
  const ticks = niceTicks(top);
  const on = { ...fitted({ canvas, width, height, view, ticks }), view, columns, colours };
  axes(on, ticks, unit);
  clipped(on, () => {
    const paintAll = (each, paints) => {
      const known = linesOf(each, lines, view, colours);
      for (const paint of paints) known.forEach((line) => paint({ ...on, columns: each }, ...line));
    };
    if (columns) paintAll(columns, columns.step >= WIDE_SECONDS ? [extremes, averagesBand, stroke] : [band, stroke]);
    if (before) paintAll(before, [dashed]);
    if (limit !== null) threshold(on, limit, `limit ${quantity(limit, unit)}`);
    // Over the lines: a bucket may reach into a gap.
    gaps.forEach((gap) => hatch(on, gap));
    flags(on, events);
    if (most > ticks.at(-1) * 1.01) label(on, `up to ${quantity(most, unit)}`, MARGIN.left + 4, 8, colours.dim);
    mark(on, peaks);
  });
};

// Each line's values, runs and colour; the first line last, which lies over the others.
const linesOf = (columns, lines, view, colours) => {
  const range = columns.within(view);
  // One bucket more on each side, so that lines reach the edge.
  const wider = [Math.max(0, range[0] - 1), Math.min(columns.ts.length, range[1] + 1)];
  // Of details that were just opened, what is compared with has none yet.
  return lines.filter(({ metric }) => columns.series[metric]).map(({ metric, colour }) => {
    const values = columns.series[metric];
    return [values, runs(values.average, wider), colours[colour], metric];
  }).reverse();
};

// What is drawn within the axes.
export const clipped = ({ context, width, bottom }, work) => {
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, 0, width - MARGIN.left - MARGIN.right, bottom + 1);
  context.clip();
  work();
  context.restore();
};

// The canvas, empty and in the pixels of the screen, and where values and moments lie on it.
export const fitted = ({ canvas, width, height, view, ticks }) => {
  const ratio = devicePixelRatio;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  // Once for a size, which forgets them: each time, the font would be looked up anew.
  if (context.textBaseline !== "middle")
    Object.assign(context, { font: "11px system-ui", textBaseline: "middle", lineCap: "round", lineJoin: "round" });
  const bottom = height - MARGIN.bottom;
  const y = (value) => bottom - (value / ticks.at(-1)) * (bottom - MARGIN.top);
  // To a whole pixel of the screen: what ends within one takes ten times as long to fill.
  const snap = (pixels) => Math.round(pixels * ratio) / ratio;
  return { context, width, bottom, y, snap, x: scale(view, width).x };
};

const label = ({ context, colours }, text, left, middle, colour) => {
  context.fillStyle = colours.paper;
  context.fillRect(left - 2, middle - 7, context.measureText(text).width + 4, 14);
  context.fillStyle = colour;
  context.textAlign = "left";
  context.fillText(text, left, middle);
};

export const axes = ({ context, view, width, bottom, x, y, colours }, ticks, unit) => {
  context.strokeStyle = colours.edge;
  context.fillStyle = colours.dim;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.beginPath();
  const text = axisUnit(ticks.at(-1), unit);
  for (const tick of ticks) {
    const high = Math.round(y(tick)) + 0.5;
    context.moveTo(MARGIN.left, high);
    context.lineTo(width - MARGIN.right, high);
    context.fillText(text(tick), MARGIN.left - 6, high);
  }
  context.textAlign = "center";
  for (const [ts, text] of timeTicks(view.start, view.end, Math.max(2, (width - MARGIN.left) / 62))) {
    const across = Math.round(x(ts)) + 0.5;
    context.moveTo(across, bottom);
    context.lineTo(across, bottom + 4);
    const half = context.measureText(text).width / 2;
    if (across + half < width && across - half > MARGIN.left - 16) context.fillText(text, across, bottom + 11);
  }
  context.stroke();
};

// What happened, as flags that stand on the time axis; of those that would lie on each other the first. `events`: {ts, kind}.
const FLAGS = { killed: "bad", oom_kill: "bad", note: "ink" };
export const flags = ({ context, view, bottom, x, colours }, events) => {
  const taken = {};
  for (const { ts, kind } of events) {
    const [across, colour] = [x(ts), FLAGS[kind] ?? "dim"];
    if (ts < view.start || ts >= view.end || across - (taken[colour] ?? -9) < 4) continue;
    taken[colour] = across;
    context.fillStyle = colours[colour];
    context.beginPath();
    context.moveTo(across, bottom - 9);
    context.lineTo(across - 4, bottom);
    context.lineTo(across + 4, bottom);
    context.fill();
  }
};

const threshold = (on, value, text) => {
  const { context, width, y, colours } = on;
  const high = Math.round(y(value)) + 0.5;
  context.strokeStyle = colours.bad;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(MARGIN.left, high);
  context.lineTo(width - MARGIN.right, high);
  context.stroke();
  label(on, text, MARGIN.left + 4, high + 9, colours.bad);
};

export const hatch = (on, { start, end, reason }) => {
  const { context, view, x, snap, bottom, colours } = on;
  if (end < view.start || start > view.end) return;
  const left = snap(x(start));
  const wide = Math.max(2, snap(x(end)) - left);
  for (const fill of [colours.paper, colours.hatching]) {
    context.fillStyle = fill;
    context.fillRect(left, MARGIN.top, wide, bottom - MARGIN.top);
  }
  const room = wide < 40 ? 0 : wide - context.measureText(reason).width;
  if (room > 10) label(on, reason, left + room / 2, (MARGIN.top + bottom) / 2, colours.dim);
};

// Runs [from, to) of buckets first <= n < last with a value.
export const runs = (average, [first, last]) => {
  const found = [];
  for (let n = first; n < last; n += 1) {
    if (average[n] === null) continue;
    const from = n;
    while (n < last && average[n] !== null) n += 1;
    found.push([from, n]);
  }
  return found;
};

// A bucket's value is drawn at its middle.
const middle = ({ columns, x }, n) => x(columns.ts[n] + columns.step / 2);

const isDense = ({ columns, x }) => x(columns.step) - x(0) < DENSE;

const band = (on, { average, minimum, maximum }, known, colour) => {
  const { context, columns, snap, x, y } = on;
  const isOfBars = isDense(on);
  context.fillStyle = colour;
  context.globalAlpha = 0.2;
  for (const [from, to] of known) {
    context.beginPath();
    if (isOfBars) {
      for (let n = from; n < to; n += 1) {
        const [left, top] = [snap(x(columns.ts[n])), snap(y(maximum[n] ?? average[n]))];
        context.rect(left, top, snap(x(columns.ts[n] + columns.step)) - left, snap(y(minimum[n] ?? average[n])) - top);
      }
    } else for (let n = from; n < to; n += 1) context.lineTo(middle(on, n), y(maximum[n] ?? average[n]));
    if (!isOfBars) for (let n = to - 1; n >= from; n -= 1) context.lineTo(middle(on, n), y(minimum[n] ?? average[n]));
    context.fill();
  }
  context.globalAlpha = 1;
};

// The least and the most that was sampled, as hairlines.
const extremes = (on, { minimum, maximum }, known, colour) => {
  const { context, y } = on;
  context.strokeStyle = colour;
  context.lineWidth = 0.5;
  context.globalAlpha = 0.35;
  context.beginPath();
  for (const values of [minimum, maximum]) {
    for (const [from, to] of known) {
      for (let n = from; n < to; n += 1) context[n === from ? "moveTo" : "lineTo"](middle(on, n), y(values[n] ?? 0));
    }
  }
  context.stroke();
  context.globalAlpha = 1;
};

// Between the lowest and the highest average of the week around each bucket.
const averagesBand = (on, { average }, known, colour, metric) =>
  band(on, { average, ...on.columns.around(metric) }, known, colour);

// From edge to edge, so that a single bucket shows as a dash.
const stroke = (on, { average }, known, colour) => {
  const { context, columns, x, y } = on;
  context.strokeStyle = colour;
  context.lineWidth = isDense(on) ? 1 : 1.5;
  context.beginPath();
  for (const [from, to] of known) {
    context.moveTo(x(columns.ts[from]), y(average[from]));
    for (let n = from; n < to; n += 1) context.lineTo(middle(on, n), y(average[n]));
    context.lineTo(x(columns.ts[to - 1] + columns.step), y(average[to - 1]));
  }
  context.stroke();
};

// As it was in the time that is compared with.
const dashed = (on, values, known, colour) => {
  on.context.setLineDash([4, 4]);
  on.context.globalAlpha = 0.8;
  stroke(on, values, known, colour);
  on.context.globalAlpha = 1;
  on.context.setLineDash([]);
};

const mark = (on, peaks) => {
  const { context, view, width, colours, x, y } = on;
  let taken = 0;
  for (const { at, maximum } of peaks) {
    if (at < view.start || at >= view.end) continue;
    const [across, high] = [x(at), Math.max(MARGIN.top, y(maximum))];
    const text = brief(at, view.end - view.start);
    const wide = context.measureText(text).width + 8;
    const left = across + wide > width - MARGIN.right ? across - wide : across + 8;
    if (left > taken) label(on, text, left, high - 7, colours.ink);
    taken = left + wide;
    context.fillStyle = colours.bad;
    context.beginPath();
    context.moveTo(across, high - 1);
    context.lineTo(across - 5, high - 10);
    context.lineTo(across + 5, high - 10);
    context.fill();
  }
};

// The sum of shares in the time that is compared with, as a dashed line.
export const course = (on, shares, colour) => {
  const average = shares.ts.map((_, n) => shares.sum(n));
  dashed({ ...on, columns: shares }, { average }, runs(average, [0, average.length]), colour);
};
