// Who used the machine as layers on each other.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Palette, STACK_COLOURS, Shares } from "../../../service/web/static/stacking.js";

const sharesOf = (series, other, unattributed, total) => new Shares({
  by: "name", metric: "cpu", unit: "percent", step: 60, ts: total.map((_, n) => n * 60), series, other, unattributed, total,
});
const two = () => sharesOf({ a: [10, 20, null], b: [5, 0, null] }, [1, 0, null], [0, 4, null], [16, 24, null]);

test("each layer lies on the one before it, and together they are the total", () => {
  const layers = two().layers([0, 3]);
  assert.deepEqual(layers.map(({ name }) => name), ["a", "b", "other", "unattributed"]);
  assert.deepEqual(layers.map(({ low }) => low[0]), [0, 10, 15, 16]);
  assert.deepEqual(layers.at(-1).high.slice(0, 2), [16, 24]);
});

test("one alone stands on the ground, and its own highest is the highest", () => {
  const shares = two();
  const [only, ...others] = shares.layers([0, 3], "name b");
  assert.deepEqual([only.low, others], [[0, 0, 0], []]);
  assert.deepEqual([shares.highest([0, 3]), shares.highest([0, 3], "name b")], [24, 5]);
});

test("what is not recorded is unknown and never 0", () => {
  const shares = two();
  assert.deepEqual([0, 1, 2, 3, -1].map((n) => shares.isKnown(n)), [true, true, false, false, false]);
  assert.equal(shares.average(shares.parts[0], { start: 0, end: 180 }), 15);
  assert.equal(shares.average(shares.parts[0], { start: 120, end: 180 }), null);
});

test("where the host's own figure is missing, the sum is of what is known", () => {
  assert.equal(sharesOf({ a: [3] }, [2], [null], [null]).sum(0), 5);
});

test("a process named like the rest is not taken for it", () => {
  const { parts } = sharesOf({ other: [3] }, [2], [0], [5]);
  assert.deepEqual(parts.map(({ key, isRest }) => [key, isRest]), [["name other", false], ["rest other", true]]);
});

test("a name keeps its colour while it is shown, and no two that are shown have the same", () => {
  const palette = new Palette();
  const [a] = palette.assign(["a", "b"]);
  assert.equal(palette.assign(["x", "y", "a"])[2], a);
  const names = Array.from({ length: STACK_COLOURS }, (_, n) => `n${n}`);
  assert.equal(new Set(palette.assign(names)).size, STACK_COLOURS);
  assert.deepEqual(palette.assign(names), palette.assign(names));
});
