// Answers of /api/v1/series, merged with what arrives.

import { DAY } from "./format.js";

export const COLUMNS = ["average", "minimum", "maximum"];
const KEPT = 4;
// More buckets in a view are a smear.
const MOST_SHOWN = 2000;

// Evenly spaced buckets.
export class Buckets {
  constructor({ step, ts, series }) {
    Object.assign(this, { step, ts, series });
  }

  get end() {
    return this.ts.at(-1) + this.step;
  }

  // The number of a moment's bucket.
  at(ts) {
    return Math.floor((ts - this.ts[0]) / this.step);
  }

  // The buckets [first, last) that touch start <= ts < end; none where it lies beside them.
  within({ start, end }) {
    const first = Math.max(0, this.at(start));
    return [first, Math.max(first, Math.min(this.ts.length, this.at(end - 1e-6) + 1))];
  }
}

// The lowest and the highest average of the week around each bucket; null where there is none.
export const around = (average, step) => {
  const half = Math.max(1, Math.floor(7 * DAY / step / 2));
  const found = { minimum: [], maximum: [] };
  for (let n = 0; n < average.length; n += 1) {
    let [least, most] = [Infinity, -Infinity];
    for (let at = Math.max(0, n - half); at <= n + half && at < average.length; at += 1) {
      if (average[at] !== null) [least, most] = [Math.min(least, average[at]), Math.max(most, average[at])];
    }
    found.minimum[n] = average[n] === null ? null : least;
    found.maximum[n] = average[n] === null ? null : most;
  }
  return found;
};

export class Columns extends Buckets {
  #around = {};

  // Of a metric: once for what was answered, and not for each frame in which it moves.
  around(metric) {
    return this.#around[metric] ??= around(this.series[metric].average, this.step);
  }

  value(metric, column, number) {
    return this.series[metric]?.[column][number] ?? null;
  }

  // Average and highest of a metric in a view, and when; null if unknown.
  extreme(metric, view) {
    const [first, last] = this.within(view);
    let [highest, sum, count, at] = [-1, 0, 0, 0];
    for (let n = first; n < last; n += 1) {
      const average = this.value(metric, "average", n);
      if (average === null) continue;
      const maximum = this.value(metric, "maximum", n) ?? average;
      if (maximum > highest) [highest, at] = [maximum, this.ts[n]];
      [sum, count] = [sum + average, count + 1];
    }
    return count ? { highest, average: sum / count, at } : null;
  }

  isKnown(number) {
    return Object.values(this.series).some(({ average }) => average[number] !== null);
  }

  // Takes buckets over, and drops those before `keepFrom`. False where they do not fit.
  merge(answer, keepFrom) {
    if (Object.keys(answer.series).length !== Object.keys(this.series).length) return false;
    const offset = (answer.ts[0] - this.ts[0]) / this.step;
    if (answer.step !== this.step || !Number.isInteger(offset) || offset < 0 || offset > this.ts.length) return false;
    const past = Math.max(0, Math.min(this.at(keepFrom), offset));
    const put = (own, given) => {
      own.splice(offset, given.length, ...given);
      own.splice(0, past);
    };
    put(this.ts, answer.ts);
    this.#around = {};
    for (const [metric, columns] of Object.entries(answer.series)) {
      for (const name of COLUMNS) put(this.series[metric][name], columns[name]);
    }
    return true;
  }
}

export class Memory {
  #kept = [];
  #kind;

  // `kind`: the class of what is kept.
  constructor(kind = Columns) {
    this.#kind = kind;
  }

  add(answer) {
    const columns = new this.#kind(answer);
    this.#kept = [columns, ...this.#kept].slice(0, KEPT);
    return columns;
  }

  clear() {
    this.#kept = [];
  }

  // What shows most of the view; of two alike, the finer.
  best({ start, end }) {
    const score = (each) => {
      const shown = Math.max(0, Math.min(end, each.end) - Math.max(start, each.ts[0])) / (end - start);
      const points = (end - start) / each.step;
      return points > MOST_SHOWN ? 0 : Math.round(shown * 200) + points / MOST_SHOWN;
    };
    return this.#kept.reduce((best, each) => (best && score(best) >= score(each) ? best : each), null);
  }
}
