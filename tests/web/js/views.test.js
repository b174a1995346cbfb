// Which time is shown, by the clock alone.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { live } from "../../../service/web/static/views.js";

const NOW = 1_800_000_000;

const atNow = (work) => {
  mock.method(Date, "now", () => NOW * 1000);
  try {
    return work();
  } finally {
    mock.restoreAll();
  }
};
const span = (...given) => atNow(() => {
  const { start, end } = live(...given);
  return [start - NOW, end - NOW];
});

test("a history that has just begun is shown in a minute, and later from its beginning on", () => {
  assert.deepEqual(span("1h", NOW - 10), [-60, 0]);
  assert.deepEqual(span("1h", NOW - 55), [-60, 0]);
  assert.deepEqual(span("1h", NOW - 56), [-61, 0]);
  assert.deepEqual(span("1h", NOW - 1800), [-1805, 0]);
});

test("what is older than the window is not shown", () => {
  assert.deepEqual(span("1h", NOW - 7200), [-3600, 0]);
  assert.deepEqual(span("24h"), [-86400, 0]);
});
