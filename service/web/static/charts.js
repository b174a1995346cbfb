// Which charts there are: one for each title in the list of metrics, a line for each metric.

// What the y axis reaches at least, so that the noise of an idle host does not draw mountains.
const FLOORS = { percent: 10, "bytes per second": 1000, processes: 1 };

const idOf = (title) => title.toLowerCase().replaceAll("/", "").replace(/[^a-z0-9]+/g, "-");

// What the title says already is not said again: `Load, 5 min` is `5 min` on the chart of the load.
const within = (title, label) =>
  (label.startsWith(title) && label.slice(title.length).replace(/^[ ,]+/, "")) || label;

// `metrics`: the answer of /api/v1/metrics. Counters are drawn as rates.
export const chartsOf = (metrics) => {
  const charts = new Map();
  for (const { name, label, unit: stored, kind, chart: title } of metrics) {
    const unit = kind === "counter" ? `${stored} per second` : stored;
    if (!charts.has(title)) charts.set(title, { id: idOf(title), title, unit, floor: FLOORS[unit] ?? 0, lines: [] });
    charts.get(title).lines.push({ metric: name, label: within(title, label) });
  }
  return [...charts.values()];
};

// The chart on which a metric is drawn.
export const chartWith = (charts, name) => charts.find(({ lines }) => lines.some(({ metric }) => metric === name));
