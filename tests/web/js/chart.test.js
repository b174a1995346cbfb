// What of a chart is arithmetic: where a moment lies, how high the axis is, which buckets make a line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { heights, runs, scale } from "../../../service/web/static/chart.js";
import { Columns } from "../../../service/web/static/series.js";

const columnsOf = (average, maximum = average) =>
  new Columns({ step: 1, ts: average.map((_, n) => n), series: { a: { average, minimum: average, maximum } } });
const heightsOf = (unit, floor, ...given) =>
  heights(columnsOf(...given), { floor, unit, lines: [{ metric: "a" }] }, [0, given[0].length]);

test("a moment's place and a place's moment are each other's inverse", () => {
  const { x, ts } = scale({ start: 1000, end: 2000 }, 600);
  for (const moment of [1000, 1234, 2000]) assert.ok(Math.abs(ts(x(moment)) - moment) < 1e-9);
  assert.ok(x(1000) > 0);
  assert.ok(x(2000) < 600);
});

test("an axis reaches its floor at least", () => {
  assert.deepEqual(heightsOf("bytes per second", 1000, [3, null, 5]), [1000, 1000]);
  assert.equal(heightsOf("percent", 10, [0.1, 0.2])[0], 10);
});

test("percents end at 100", () => assert.deepEqual(heightsOf("percent", 10, [99], [104]), [100, 0]));

test("a spike may lie beyond an axis that averages would be flat on", () => {
  assert.deepEqual(heightsOf("processes", 1, [2, 2], [2, 100]), [10, 100]);
});

test("a line has a run for each group of known buckets", () => {
  const average = [null, 1, 2, null, null, 0, null];
  assert.deepEqual(runs(average, [0, 7]), [[1, 3], [5, 6]]);
  assert.deepEqual(runs(average, [2, 6]), [[2, 3], [5, 6]]);
  assert.deepEqual(runs([null], [0, 1]), []);
});
