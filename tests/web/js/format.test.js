// Numbers, units and times as people read them. The zone is New York's, whose clocks went back on 1 November 2026.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  axisUnit, brief, clock, duration, evidence, moment, niceTicks, parseMoment, quantity, span, timeTicks, zone,
} from "../../../service/web/static/format.js";

const each = (write, pairs) => {
  for (const [given, expected] of pairs) assert.deepEqual(write(...given), expected, `${JSON.stringify(given)}`);
};

test("a quantity has three figures and its unit", () => each(quantity, [
  [[0, "bytes per second"], "0 B/s"],
  [[999.4, "bytes"], "999 B"],
  [[999999, "bytes"], "1.00 MB"],
  [[1234567, "bytes per second"], "1.23 MB/s"],
  [[5.2e9, "bytes per day"], "5.20 GB/day"],
  [[-2500000, "bytes"], "-2.50 MB"],
  [[99.96, "percent"], "100 %"],
  [[96.83333333333333, "percent"], "96.8 %"],
]));

test("a number of processes stands alone", () => each(quantity, [
  [[0.004, "processes"], "0.00"],
  [[171, "processes"], "171"],
  [[12345, "processes"], "12,345"],
]));

test("an unknown unit is the number and that unit's own word", () => each(quantity, [
  [[41.5, "celsius"], "41.5 celsius"],
  [[3, "requests per second"], "3 requests per second"],
]));

test("what is unknown is a dash", () => each(quantity, [[[null, "percent"], "–"], [[undefined, "celsius"], "–"]]));

test("evidence is written in the unit in which its key ends, and named without it", () => each(evidence, [
  [["cpu_percent", 96.83333333333333], ["CPU", "96.8 %"]],
  [["longest_seconds", 5400], ["longest", "1 h 30 min"]],
  [["growth_bytes", 123456789], ["growth", "123 MB"]],
  [["growth_bytes_per_day", 5200000000], ["growth", "5.20 GB/day"]],
  [["read_bytes_per_second", 1500], ["read", "1.50 kB/s"]],
  [["made_ts", 1764000000], ["made", "Mon 24 Nov 2025 11:00"]],
  [["most_swap_percent", null], ["most swap", "unknown"]],
  [["hour", 3], ["hour", "03:00"]],
]));

test("evidence of which the key is only a unit is named by what it is", () => each(evidence, [
  [["ts", 1764000000], ["time", "Mon 24 Nov 2025 11:00"]],
  [["seconds", 90], ["duration", "1 min 30 s"]],
  [["bytes", 1500], ["size", "1.50 kB"]],
  [["percent", 5], ["share", "5.0 %"]],
]));

test("evidence without a unit is a count, with thousands separated", () => each(evidence, [
  [["captures", 1234567], ["captures", "1,234,567"]],
  [["days", 27.318], ["days", "27.3"]],
  [["most_load_per_cpu", 1.625], ["most load per CPU", "1.63"]],
  [["io_gaps", 3], ["I/O gaps", "3"]],
]));

test("a number that only names something has no thousands", () => each(evidence, [
  [["pid", 12345], ["pid", "12345"]],
  [["last_run_id", 1000], ["last run id", "1000"]],
]));

test("a duration is given in its two largest units", () => each(duration, [
  [[0], "0 s"], [[3599.6], "1 h"], [[90061], "1 d 1 h"], [[-5], "0 s"], [[61], "1 min 1 s"],
]));

test("a time is local, and as exact as its bucket", () => {
  assert.equal(clock(1793505600), "00:00");
  assert.equal(clock(1793505661, 1), "00:01:01");
  assert.equal(moment(1764000000, 86400), "Mon 24 Nov 2025");
  assert.equal(brief(1793505600, 3600), "00:00");
  assert.equal(brief(1793505600, 7 * 86400), "1 Nov");
  assert.equal(span(1764000000, 1764003600), "Mon 24 Nov 2025 11:00 – 12:00");
  assert.match(span(1764000000, 1764086400), / – Tue 25 Nov 2025 11:00$/);
  assert.match(zone(), /^America\/New_York \(GMT-0[45]00\)$/);
});

test("an axis begins at 0 and has at most five steps of 1, 2 or 5", () => each(niceTicks, [
  [[100], [0, 20, 40, 60, 80, 100]], [[7], [0, 2, 4, 6, 8]], [[0.5], [0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5]],
]));

test("the ticks of an axis share one prefix and have the unit", () => {
  const ticks = (top, unit, values) => values.map(axisUnit(top, unit));
  assert.deepEqual(ticks(1500000, "bytes per second", [0, 500000, 1500000]), ["0 MB/s", "0.5 MB/s", "1.5 MB/s"]);
  assert.deepEqual(ticks(60, "percent", [20]), ["20 %"]);
  assert.deepEqual(ticks(0.5, "processes", [0.30000000000000004]), ["0.3"]);
});

// Tue 24 Nov 2026, 10:00 in New York.
const NOON = Date.UTC(2026, 10, 24, 15) / 1000;
const meant = (text) => {
  const ts = parseMoment(text, NOON);
  return ts === null ? null : new Date(ts * 1000).toISOString().slice(0, 16);
};
test("a moment is found as people write it, in the zone of the browser", () => each(meant, [
  [["03:12"], "2026-11-24T08:12"], [["23:00"], "2026-11-24T04:00"], [["yesterday 03:12"], "2026-11-23T08:12"],
  [["today"], "2026-11-24T05:00"], [["2026-10-03T03:12"], "2026-10-03T07:12"], [["3 Oct 03:12"], "2026-10-03T07:12"],
  [["24 Dec"], "2025-12-24T05:00"], [["24 December 2025 1:05"], "2025-12-24T06:05"],
]));
test("what is no moment is none", () => each(meant, [
  [[""], null], [["noon"], null], [["25:00"], null], [["2026-02-30"], null], [["3 Foo"], null], [["12:60"], null],
]));

test("times are labelled at whole local times", () => each(timeTicks, [
  [[1793419200, 1793426400, 4], [[1793419200, "31 Oct"], [1793421000, "00:30"], [1793422800, "01:00"],
    [1793424600, "01:30"]]],
]));

test("days are labelled at local midnights, also where clocks change", () => each(timeTicks, [
  [[1793419200, 1793678400, 4], [[1793419200, "31 Oct"], [1793505600, "1 Nov"], [1793595600, "2 Nov"]]],
]));

test("months are labelled by name, and January by its year", () => {
  const labels = timeTicks(1793505600, 1793505600 + 4 * 31 * 86400, 4).map(([, label]) => label);
  assert.deepEqual(labels, ["Nov", "Dec", "2027", "Feb", "Mar"]);
});
