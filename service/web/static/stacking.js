// Who used the machine over time, as layers that lie on each other: answers of /api/v1/who. Arithmetic only.

import { Buckets } from "./series.js";

// Of page.css: --stack1 to --stack8. Two more than are listed, so that a name can keep its own.
export const STACK_COLOURS = 8;
// What is known and not listed, and what belongs to nobody.
export const REST = ["other", "unattributed"];

// `parts`: {key, name, values, isRest}, from the ground up; a process may be named like the rest.
export class Shares extends Buckets {
  constructor(answer) {
    super(answer);
    const { by, metric, unit, total, series } = answer;
    const rest = REST.map((name) => ({ key: `rest ${name}`, name, values: answer[name], isRest: true }));
    const named = Object.entries(series).map(([name, values]) => ({ key: `name ${name}`, name, values, isRest: false }));
    Object.assign(this, { by, metric, unit, total, parts: [...named, ...rest].filter(({ values }) => values.some((value) => value > 0)) });
  }

  // The sum of all parts in a bucket; null where nothing was recorded. Where the host's own figure is missing, of what is known.
  sum(number) {
    if (number < 0 || number >= this.ts.length) return null;
    if ((this.total[number] ?? null) !== null) return this.total[number];
    const known = this.parts.map(({ values }) => values[number] ?? null).filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
  }

  isKnown(number) {
    return this.sum(number) !== null;
  }

  // Each layer's floor and ceiling by bucket, from the ground up; of one part alone where it is named by its key.
  layers([first, last], only = null) {
    const floors = new Array(last - first).fill(0);
    return this.parts.filter(({ key }) => only === null || key === only).map((part) => {
      const low = [...floors];
      for (let n = first; n < last; n += 1) floors[n - first] += part.values[n] ?? 0;
      return { ...part, low, high: [...floors] };
    });
  }

  // The highest of all parts together, or of one.
  highest([first, last], only = null) {
    const values = this.parts.find(({ key }) => key === only)?.values;
    let most = 0;
    for (let n = first; n < last; n += 1) most = Math.max(most, values ? values[n] ?? 0 : this.sum(n) ?? 0);
    return most;
  }

  // The average of a part over a view; null where nothing was recorded.
  average({ values }, view) {
    const [first, last] = this.within(view);
    const known = values.slice(first, last).filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  }
}

// Gives each name one of the colours, the same as long as it is shown and after that as long as it is free.
export class Palette {
  #given = new Map();

  // The number of the colour of each name, from 1; names of the rest have 0.
  assign(names) {
    const taken = new Set(names.map((name) => this.#given.get(name)).filter(Boolean));
    for (const name of names) {
      if (this.#given.has(name)) continue;
      const free = Array.from({ length: STACK_COLOURS }, (_, n) => n + 1).find((n) => !taken.has(n)) ?? STACK_COLOURS;
      for (const [other, colour] of this.#given) if (colour === free) this.#given.delete(other);
      this.#given.set(name, free);
      taken.add(free);
    }
    return names.map((name) => this.#given.get(name));
  }
}
