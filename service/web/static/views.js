// The time that the charts show, its address, and what the API is asked for it.

import { now } from "./api.js";
import { DAY, HOUR, MINUTE } from "./format.js";

export const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 31556952 };
export const USUAL = "24h";
// What a view can be compared with, by the words of the choice: seconds earlier.
export const COMPARED = { none: 0, yesterday: DAY, "last week": 7 * DAY };

export const seconds = (time) => Date.parse(time) / 1000;
export const inSeconds = (each) => ({ ...each, start: seconds(each.start), end: seconds(each.end) });

// What it shows in its first minute, so that a line has room to be seen.
const LEAST_YOUNG = MINUTE;
// The last so much time; of a history that began at `since`, no more than that.
export const live = (range, since = null) => {
  const end = now();
  const start = since === null ? 0 : Math.min(since - 5, end - LEAST_YOUNG);
  return { range, since, start: Math.max(start, end - RANGES[range]), end };
};

export const viewOf = (address) => {
  const { start, end, range } = Object.fromEntries(new URLSearchParams(address));
  const view = inSeconds({ start, end });
  return view.end > view.start ? view : live(Object.hasOwn(RANGES, range) ? range : USUAL);
};

export const comparedOf = (address) => {
  const word = new URLSearchParams(address).get("compare");
  return Object.hasOwn(COMPARED, word) ? word : "none";
};

const text = (ts) => new Date(ts * 1000).toISOString().replace(".000", "");

export const windowOf = ({ range, start, end }) =>
  range ? { start: `-${range}`, end: "now" } : { start: Math.floor(start), end: Math.ceil(end) };

// `compared`: a word of COMPARED.
export const addressOf = ({ range, start, end }, compared) => {
  const compare = compared === "none" ? "" : `&compare=${encodeURIComponent(compared)}`;
  const view = range ? `?range=${range}` : `?start=${text(Math.floor(start))}&end=${text(Math.ceil(end))}`;
  return view + compare;
};
