import assert from "node:assert/strict";
import { test } from "node:test";

import { labelOf, written } from "./evidence.js";

test("a number of the evidence is written in the unit that its name ends with", () => {
  const cases = [
    ["cpu_percent", 96.83333333333333, "96.8 %"], ["longest_seconds", 5400, "1 h 30 min"],
    ["growth_bytes_per_day", 8e9, "8 GB a day"], ["first_bytes", 2 ** 20, "1.05 MB"],
    ["most_load_per_cpu", 2.3456, "2.35"], ["saturated_minutes", 1234, "1,234"], ["hour", 3, "03:00"],
    ["last_run_id", 12345, "12345"], ["pid", 4711, "4711"], ["made_ts", null, "unknown"],
  ];
  for (const [key, value, shown] of cases) assert.equal(written(key, value), shown, key);
  assert.match(written("made_ts", 1767607200), /^[A-Z][a-z]{2} \d+ [A-Z][a-z]{2}.* \d\d:\d\d$/);
});

test("its label is in words, without the unit", () => {
  const cases = [
    ["cpu_percent", "cpu"], ["longest_seconds", "longest"], ["made_ts", "made"], ["ts", "ts"],
    ["growth_bytes_per_day", "growth"], ["rising_captures", "rising captures"], ["hour", "hour"],
  ];
  for (const [key, label] of cases) assert.equal(labelOf(key), label);
});
