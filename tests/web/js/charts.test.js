// Charts follow the list of metrics.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chartsOf } from "../../../service/web/static/chart.js";

const metric = (name, label, chart, unit = "percent", kind = "gauge") => ({ name, label, chart, unit, kind, help: "" });

test("metrics of one title share a chart, in the order of the list", () => {
  const charts = chartsOf([
    metric("x", "X", "First"), metric("y", "Y", "Second part"), metric("z", "Z", "First"), metric("d", "D", "Disk I/O"),
  ]);
  assert.deepEqual(charts.map(({ id, title }) => [id, title]), [
    ["first", "First"], ["second-part", "Second part"], ["disk-io", "Disk I/O"],
  ]);
  assert.deepEqual(charts[0].lines.map(({ metric: name }) => name), ["x", "z"]);
});

test("a counter is drawn as its rate", () => {
  const [chart] = chartsOf([metric("sent", "Sent", "Network", "bytes", "counter")]);
  assert.deepEqual([chart.unit, chart.floor], ["bytes per second", 1000]);
});

test("the floor of an axis follows from its unit", () => {
  const floor = (unit) => chartsOf([metric("x", "X", "X", unit)])[0].floor;
  assert.deepEqual([floor("percent"), floor("processes"), floor("celsius")], [10, 1, 1]);
});

test("a line is named by its label, without the title that stands above it", () => {
  const name = (label, chart) => chartsOf([metric("x", label, chart)])[0].lines[0].name;
  assert.equal(name("Processes", "Processes"), "Processes");
  assert.equal(name("Network in", "Network"), "in");
  assert.equal(name("Load, 1 min", "Load"), "1 min");
  assert.equal(name("Busiest CPU", "CPU"), "Busiest CPU");
  assert.equal(name("Diskette", "Disk"), "Diskette");
});

test("however many lines a chart has, each has one of the colours that there are", () => {
  const colours = (...names) => chartsOf(names.map((name) => metric(name, name, "Many")))[0].lines.map(({ colour }) => colour);
  assert.deepEqual(colours("a", "b", "c"), ["line1", "line2", "line3"]);
  assert.deepEqual(colours(..."abcd"), ["stack1", "stack2", "stack3", "stack4"]);
  assert.deepEqual(colours(..."abcdefghi").slice(-2), ["stack8", "stack1"]);
});
