import assert from "node:assert/strict";
import { test } from "node:test";

import { scale } from "./chart.js";
import { chartWith, chartsOf } from "./charts.js";

const metric = (name, chart, unit = "percent", kind = "gauge") => ({ name, label: `The ${name}`, unit, kind, chart });

test("there is a chart for each title and a line for each metric, in the order of the list", () => {
  const charts = chartsOf([
    metric("a", "CPU"), metric("b", "CPU"), metric("c", "Disk I/O", "bytes", "counter"), metric("d", "CPU"),
  ]);
  assert.deepEqual(charts.map(({ title }) => title), ["CPU", "Disk I/O"]);
  assert.deepEqual(charts[0].lines, [
    { metric: "a", label: "The a" }, { metric: "b", label: "The b" }, { metric: "d", label: "The d" },
  ]);
  assert.equal(charts[1].id, "disk-io");
  assert.equal(chartWith(charts, "c"), charts[1]);
});

test("a line's label leaves out what the chart's title says", () => {
  const label = (chart, text) => chartsOf([{ ...metric("a", chart), label: text }])[0].lines[0].label;
  assert.equal(label("Load", "Load, 5 min"), "5 min");
  assert.equal(label("Network", "Network out"), "out");
  assert.equal(label("CPU", "CPU"), "CPU");
  assert.equal(label("CPU", "Busiest CPU"), "Busiest CPU");
});

test("a counter is drawn as its rate", () => {
  const [chart] = chartsOf([metric("c", "Network", "bytes", "counter")]);
  assert.deepEqual([chart.unit, chart.floor], ["bytes per second", 1000]);
});

test("a metric of a unit that nobody has heard of has a chart too", () => {
  const [chart] = chartsOf([metric("t", "Heat", "celsius")]);
  assert.deepEqual([chart.unit, chart.floor], ["celsius", 0]);
});

test("a moment and its place across the plot are each other's inverse", () => {
  const { x, ts } = scale({ start: 1000, end: 4600 }, 500);
  for (const moment of [1000, 1234.5, 4600]) assert.ok(Math.abs(ts(x(moment)) - moment) < 1e-6);
  assert.ok(x(1000) > 0 && x(4600) < 500);
});
