// The numbers of an insight, by the unit that ends their name.

import { duration, moment, quantity } from "./format.js";

const plain = (value) => Number(value.toFixed(2)).toLocaleString("en");

// The longest ending first: `growth_bytes_per_day` is no count of days.
const WRITTEN = [
  ["bytes_per_day", (value) => `${quantity(value, "bytes")} a day`],
  ["bytes", (value) => quantity(value, "bytes")],
  ["percent", (value) => quantity(value, "percent")],
  ["seconds", (value) => duration(value)],
  ["per_cpu", plain],
  ["ts", (value) => moment(value)],
  ["hour", (value) => `${String(value).padStart(2, "0")}:00`],
  ["id", (value) => `${value}`],
  ["pid", (value) => `${value}`],
];

const endingOf = (key) => WRITTEN.find(([ending]) => `_${key}`.endsWith(`_${ending}`)) ?? ["", plain];

// What the number is, in words and without its unit.
export const labelOf = (key) => {
  const [ending] = endingOf(key);
  const name = ending && ending !== key ? key.slice(0, -ending.length - 1) : key;
  return name.replaceAll("_", " ");
};

export const written = (key, value) => (value === null ? "unknown" : endingOf(key)[1](value));
