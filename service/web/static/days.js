// A year by local days, and by weekday and hour: arithmetic only.

import { HOUR } from "./format.js";

export const LEVELS = 5;

const midnight = (ts) => new Date(ts * 1000).setHours(0, 0, 0, 0) / 1000;
export const after = (day, days) => new Date(day * 1000).setDate(new Date(day * 1000).getDate() + days) / 1000;

// Of hourly averages: {day, average, hours} for each local day with a known one, `day` its midnight.
export const byDay = (ts, averages) => {
  const found = new Map();
  ts.forEach((at, n) => {
    if (averages[n] === null) return;
    const day = midnight(at);
    const each = found.get(day) ?? { day, sum: 0, hours: 0 };
    found.set(day, Object.assign(each, { sum: each.sum + averages[n], hours: each.hours + 1 }));
  });
  return new Map([...found].map(([day, { sum, hours }]) => [day, { day, average: sum / hours, hours }]));
};

// The midnights from the Monday on or before `start` to the day of `end`.
export const daysOf = (start, end) => {
  const first = midnight(start);
  const days = [after(first, -((new Date(first * 1000).getDay() + 6) % 7))];
  while (after(days.at(-1), 1) <= end) days.push(after(days.at(-1), 1));
  return days;
};

// How many whole hours a local day has: 23 or 25 where the clock is set.
export const hoursOf = (day) => Math.round((after(day, 1) - day) / HOUR);

// Averages of Monday to Sunday by hour of the day; null where nothing is known.
export const byWeekday = (ts, averages) => {
  const sums = Array.from({ length: 7 }, () => Array.from({ length: 24 }, () => [0, 0]));
  ts.forEach((at, n) => {
    if (averages[n] === null) return;
    const date = new Date(at * 1000);
    const each = sums[(date.getDay() + 6) % 7][date.getHours()];
    each[0] += averages[n];
    each[1] += 1;
  });
  return sums.map((hours) => hours.map(([sum, count]) => (count ? sum / count : null)));
};

// 1 to LEVELS, in equal parts from the least to the most; a fifth of the most lies between two at least.
export const levelOf = (value, least, most) => {
  const low = Math.min(least, most * 0.8);
  return Math.max(1, Math.min(LEVELS, Math.ceil(((value - low) / (most - low || 1)) * LEVELS)));
};
