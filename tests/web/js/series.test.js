import assert from "node:assert/strict";
import { test } from "node:test";

import { Columns, Memory } from "./series.js";

const answer = (start, values, step = 10) => ({
  step,
  ts: values.map((_, n) => start + n * step),
  series: { cpu: { average: [...values], minimum: [...values], maximum: values.map((v) => (v === null ? null : v + 1)) } },
});

test("a bucket holds its start and not its end", () => {
  const columns = new Columns(answer(100, [1, 2, 3]));
  assert.deepEqual([columns.at(100), columns.at(109.9), columns.at(110)], [0, 0, 1]);
  assert.deepEqual(columns.within({ start: 105, end: 120 }), [0, 2]);
});

test("the extreme is the highest maximum, with the average of what is known", () => {
  const columns = new Columns(answer(0, [5, null, 9, 1]));
  assert.deepEqual(columns.extreme("cpu", { start: 0, end: 40 }), { highest: 10, average: 5, at: 20 });
  assert.equal(columns.extreme("cpu", { start: 10, end: 20 }), null);
});

test("buckets that follow are taken over, and old ones are let go", () => {
  const columns = new Columns(answer(0, [1, 2, 3]));
  assert.equal(columns.merge(answer(20, [7, 8]), 10), true);
  assert.deepEqual(columns.ts, [10, 20, 30]);
  assert.deepEqual(columns.series.cpu.average, [2, 7, 8]);
});

test("buckets of another width, or with a gap between, do not fit", () => {
  const columns = new Columns(answer(0, [1, 2, 3]));
  assert.equal(columns.merge(answer(30, [1], 20), 0), false);
  assert.equal(columns.merge(answer(50, [1]), 0), false);
  assert.deepEqual(columns.series.cpu.average, [1, 2, 3]);
});

test("of several answers the one that shows most of the view serves, and of equals the finer", () => {
  const memory = new Memory();
  const wide = memory.add(answer(0, Array(10).fill(1), 100));
  const fine = memory.add(answer(400, Array(20).fill(1), 10));
  assert.equal(memory.best({ start: 450, end: 550 }), fine);
  assert.equal(memory.best({ start: 0, end: 1000 }), wide);
  memory.clear();
  assert.equal(memory.best({ start: 0, end: 1 }), null);
});
