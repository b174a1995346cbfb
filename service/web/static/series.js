// Columns of /api/v1/series in memory: the newest few answers, merged with what arrives, and bounded.

const KEPT = 4;
const COLUMNS = ["average", "minimum", "maximum"];

export class Columns {
  constructor(answer) {
    this.step = answer.step;
    this.ts = answer.ts;
    this.series = answer.series;
  }

  get start() {
    return this.ts[0];
  }

  get end() {
    return this.ts[this.ts.length - 1] + this.step;
  }

  // The number of the bucket that holds the moment, which may lie outside.
  at(ts) {
    return Math.floor((ts - this.start) / this.step);
  }

  has(ts) {
    return ts >= this.start && ts < this.end;
  }

  value(metric, column, number) {
    return this.series[metric]?.[column][number] ?? null;
  }

  // The buckets that touch start <= ts < end: first and one past the last.
  within(start, end) {
    return [Math.max(0, this.at(start)), Math.min(this.ts.length, this.at(end - 1e-6) + 1)];
  }

  extreme(metric, start, end) {
    const [first, last] = this.within(start, end);
    let [highest, lowest, sum, count, where] = [null, null, 0, 0, null];
    for (let n = first; n < last; n += 1) {
      const average = this.value(metric, "average", n);
      if (average === null) continue;
      const maximum = this.value(metric, "maximum", n) ?? average;
      const minimum = this.value(metric, "minimum", n) ?? average;
      if (highest === null || maximum > highest) [highest, where] = [maximum, this.ts[n]];
      if (lowest === null || minimum < lowest) lowest = minimum;
      [sum, count] = [sum + average, count + 1];
    }
    return count ? { highest, lowest, average: sum / count, at: where } : null;
  }

  get newest() {
    for (let n = this.ts.length - 1; n >= 0; n -= 1) {
      if (Object.values(this.series).some((columns) => columns.average[n] !== null)) return n;
    }
    return -1;
  }

  get oldest() {
    return this.ts.findIndex((_, n) => Object.values(this.series).some((columns) => columns.average[n] !== null));
  }

  // Take over buckets of the same width, and let go of what lies before `keepFrom`. False where they do not fit.
  merge(answer, keepFrom) {
    const offset = (answer.ts[0] - this.start) / this.step;
    if (answer.step !== this.step || !Number.isInteger(offset) || offset < 0 || offset > this.ts.length) return false;
    answer.ts.forEach((ts, n) => {
      this.ts[offset + n] = ts;
      for (const [metric, columns] of Object.entries(answer.series)) {
        for (const name of COLUMNS) this.series[metric][name][offset + n] = columns[name][n];
      }
    });
    const past = Math.min(this.at(keepFrom), this.ts.length - 1);
    if (past > 0) {
      this.ts.splice(0, past);
      for (const columns of Object.values(this.series)) for (const name of COLUMNS) columns[name].splice(0, past);
    }
    return true;
  }
}

export class Memory {
  #kept = [];

  add(answer) {
    const columns = new Columns(answer);
    this.#kept = [columns, ...this.#kept].slice(0, KEPT);
    return columns;
  }

  clear() {
    this.#kept = [];
  }

  // Of what is in memory, what shows most of the view, and of two that show as much the finer.
  best(start, end) {
    const shown = (each) => Math.max(0, Math.min(end, each.end) - Math.max(start, each.start)) / (end - start);
    // Much finer than the view is no picture of it but a smear, and slow to draw.
    const score = (each) => {
      const points = (end - start) / each.step;
      return points > 4000 ? 0 : Math.round(shown(each) * 200) + Math.min(1, points / 4000);
    };
    return this.#kept.reduce((best, each) => (!best || score(each) > score(best) ? each : best), null);
  }
}
