// Columns of an answer, and what is drawn from memory.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Columns, Memory, around } from "../../../service/web/static/series.js";

const answer = (ts, step = 5, average = ts.map((n) => n)) => ({
  step, ts, series: { a: { average, minimum: ts.map(() => 0), maximum: ts.map(() => 2) } },
});
const range = (from, to, step) => Array.from({ length: (to - from) / step }, (_, n) => from + n * step);

test("a day of samples taken over one by one keeps no more than the view", () => {
  const columns = new Columns(answer(range(0, 3600, 5)));
  for (let now = 3600; now < 90000; now += 5) columns.merge(answer([now - 5, now]), now - 3600);
  const { ts, series: { a } } = columns;
  assert.deepEqual([ts.length, a.average.length, a.maximum.length], [721, 721, 721]);
  assert.deepEqual([ts[0], ts.at(-1), a.average.at(-1)], [86395, 89995, 89995]);
});

test("buckets of another width, or after missing ones, do not fit", () => {
  const columns = new Columns(answer([0, 5, 10]));
  assert.equal(columns.merge(answer([10], 10), 0), false);
  assert.equal(columns.merge(answer([20, 25]), 0), false);
  assert.equal(columns.merge(answer([15, 20]), 0), true);
  assert.deepEqual(columns.ts, [0, 5, 10, 15, 20]);
});

test("a view touches the buckets that hold its edges", () => {
  const columns = new Columns(answer([100, 110, 120], 10));
  assert.deepEqual(columns.within({ start: 105, end: 120 }), [0, 2]);
  assert.deepEqual(columns.within({ start: 105, end: 121 }), [0, 3]);
  assert.deepEqual(columns.within({ start: 0, end: 1000 }), [0, 3]);
  for (const [start, end] of [[0, 50], [500, 600]]) {
    const [first, last] = columns.within({ start, end });
    assert.equal(last, first);
  }
});

test("the highest of a view is the maximum of a bucket, the average that of averages", () => {
  const columns = new Columns({ step: 10, ts: [0, 10, 20, 30], series: {
    a: { average: [1, null, 3, 99], minimum: [0, null, 0, 0], maximum: [2, null, 9, 99] } } });
  assert.deepEqual(columns.extreme("a", { start: 0, end: 30 }), { highest: 9, average: 2, at: 20 });
  assert.equal(columns.extreme("a", { start: 10, end: 20 }), null);
});

test("of what is in memory the answer that shows most of the view is drawn, and of two alike the finer", () => {
  const memory = new Memory();
  const fine = memory.add(answer(range(0, 600, 5)));
  const coarse = memory.add(answer(range(0, 6000, 60), 60));
  assert.equal(memory.best({ start: 0, end: 600 }), fine);
  assert.equal(memory.best({ start: 0, end: 6000 }), coarse);
  memory.clear();
  assert.equal(memory.best({ start: 0, end: 600 }), null);
});

test("around a bucket lie the averages of its week, and what is unknown is in none", () => {
  const { minimum, maximum } = around([1, 5, 3, null, 9, 2], 2 * 86400);
  assert.deepEqual(minimum, [1, 1, 3, null, 2, 2]);
  assert.deepEqual(maximum, [5, 5, 5, null, 9, 9]);
});

test("what lies around is computed once, until a bucket arrives", () => {
  const columns = new Columns(answer([0, 86400, 172800], 86400));
  const before = columns.around("a");
  assert.equal(columns.around("a"), before);
  columns.merge(answer([172800], 86400, [9]), 0);
  assert.deepEqual(columns.around("a"), { minimum: [0, 0, 0], maximum: [86400, 86400, 86400] });
});
