import assert from "node:assert/strict";
import { test } from "node:test";

import { duration, niceTicks, quantity, tickLabel, timeTicks } from "./format.js";

test("a quantity has three figures and the unit that makes it short", () => {
  const cases = [
    [null, "percent", "–"], [45.26, "percent", "45.3 %"], [99.96, "percent", "100 %"], [0, "bytes", "0 B"],
    [999, "bytes", "999 B"], [1234, "bytes", "1.23 kB"], [2e12, "bytes per second", "2 TB/s"], [156, "processes", "156"],
    [1.256, "processes", "1.26"],
  ];
  for (const [value, unit, shown] of cases) assert.equal(quantity(value, unit), shown);
});

test("a unit that is not known stands behind its number, and is not taken for bytes", () => {
  assert.equal(quantity(71.25, "celsius"), "71.3 celsius");
  assert.equal(quantity(3, "operations per second"), "3 operations per second");
});

test("a duration has its two largest units", () => {
  const cases = [[0, "0 s"], [59.6, "1 min"], [12000, "3 h 20 min"], [90061, "1 d 1 h"], [7261, "2 h 1 min"]];
  for (const [seconds, shown] of cases) assert.equal(duration(seconds), shown);
});

test("the ticks of an axis reach its top in at most five even steps from 0", () => {
  for (let top = 0.013; top < 1e12; top *= 3.7) {
    const ticks = niceTicks(top);
    assert.equal(ticks[0], 0);
    assert.ok(ticks.at(-1) >= top * 0.999 && ticks.length <= 6, `${top}: ${ticks}`);
  }
});

test("a tick of bytes has a prefix, one of percent its sign, others neither", () => {
  assert.equal(tickLabel(2e6, "bytes per second"), "2M");
  assert.equal(tickLabel(50, "percent"), "50%");
  assert.equal(tickLabel(1.5, "processes"), "1.5");
});

test("time ticks lie in the window, in order, and are about as many as there is room for", () => {
  const start = 1767607200;
  for (const seconds of [90, 3600, 86400, 7 * 86400, 60 * 86400, 366 * 86400, 4 * 366 * 86400]) {
    const found = timeTicks(start, start + seconds, 8);
    assert.ok(found.length >= 1 && found.length <= 9, `${seconds}: ${found.length}`);
    for (const [ts] of found) assert.ok(ts >= start && ts < start + seconds);
    for (let n = 1; n < found.length; n += 1) assert.ok(found[n][0] > found[n - 1][0]);
  }
});
