// A year by days: the zone is New York's, whose clocks went back on 1 November 2026.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LEVELS, after, byDay, byWeekday, daysOf, hoursOf, levelOf } from "../../../service/web/static/days.js";

const HOUR = 3600;
const at = (text) => Date.parse(text) / 1000;
const FIRST = at("2026-11-01T04:00:00Z");
const hours = Array.from({ length: 49 }, (_, n) => FIRST + n * HOUR);

test("a day in which the clock goes back has 25 hours", () => {
  const days = byDay(hours, hours.map(() => 2));
  assert.deepEqual([...days.values()].map(({ day, hours: count }) => [day, count]), [[FIRST, 25], [FIRST + 25 * HOUR, 24]]);
  assert.deepEqual([hoursOf(FIRST), hoursOf(after(FIRST, 1))], [25, 24]);
});

test("a day's average is of what is known, and a day of nothing is not there", () => {
  const days = byDay(hours, hours.map((_, n) => (n === 3 ? 10 : n === 4 ? 20 : null)));
  assert.deepEqual([...days.values()], [{ day: FIRST, average: 15, hours: 2 }]);
});

test("the days begin on a Monday and end with the day that runs", () => {
  const days = daysOf(at("2026-11-05T12:00:00Z"), at("2026-11-10T12:00:00Z"));
  assert.deepEqual([days[0], days.at(-1), days.length], [at("2026-11-02T05:00:00Z"), at("2026-11-10T05:00:00Z"), 9]);
});

test("a weekday's hour is the local one", () => {
  const week = byWeekday(hours, hours.map((_, n) => n));
  assert.equal(week[6][0], 0);
  // One o'clock came twice on that Sunday.
  assert.equal(week[6][1], 1.5);
  assert.equal(week[0][0], 25);
  assert.equal(week[3][0], null);
});

test("levels go from the least to the most, and what hardly differs is not made to", () => {
  assert.deepEqual([10, 30, 60].map((value) => levelOf(value, 10, 60)), [1, 2, LEVELS]);
  assert.equal(levelOf(49, 49, 50) >= LEVELS - 1, true);
  assert.equal(levelOf(0, 0, 0), 1);
});
