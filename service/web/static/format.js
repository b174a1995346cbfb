// Numbers, units and times as people read them.

export const MINUTE = 60, HOUR = 3600, DAY = 86400;

const date = (ts) => new Date(ts * 1000);
// In every language like Tue Nov 24 2026 03:12:59 GMT+0100.
const text = (ts) => `${date(ts)}`;

export const clock = (ts, step = MINUTE) => text(ts).slice(16, step < MINUTE ? 24 : 21);
export const day = (ts) => `${date(ts).getDate()} ${text(ts).slice(4, 7)}`;
const year = (ts) => date(ts).getFullYear();

// As exact as buckets of `step` seconds, with the year where it is not this one.
export const moment = (ts, step = MINUTE) => {
  const years = year(ts) === year(Date.now() / 1000) ? "" : ` ${year(ts)}`;
  return `${text(ts).slice(0, 3)} ${day(ts)}${years}${step < DAY ? ` ${clock(ts, step)}` : ""}`;
};

// As short as a view of these seconds allows.
export const brief = (ts, seconds) => (seconds > 1.5 * DAY ? day(ts) : clock(ts));

export const span = (start, end) => {
  const isDay = end - start < DAY && day(start) === day(end);
  return `${moment(start)} – ${isDay ? clock(end) : moment(end)}`;
};

// Seconds, in the two largest units that they fill.
export const duration = (seconds) => {
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [size, name] of [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [1, "s"]]) {
    if (rest >= size && parts.length < 2) parts.push(`${Math.floor(rest / size)} ${name}`);
    rest %= size;
  }
  return parts.join(" ") || "0 s";
};

const STAMP = /\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)/g;
// A text of the API with its times as the page writes them; days where they are more than a day away.
export const localTimes = (text) => text.replace(STAMP, (stamp) => {
  const ts = Date.parse(stamp) / 1000;
  return moment(ts, ts - Date.now() / 1000 > DAY ? DAY : MINUTE);
});

// Like Europe/Berlin (GMT+0100).
export const zone = () => `${Intl.DateTimeFormat().resolvedOptions().timeZone} (${text(Date.now() / 1000).slice(25, 33)})`;

const isBytes = (unit) => unit.startsWith("bytes");

const PREFIXES = ["", "k", "M", "G", "T"];
const powerOf = (value) => Math.max(0, Math.min(4, Math.floor(Math.log10(Math.abs(value) * 1.0005) / 3) || 0));
const SIGNS = { percent: "%", "degrees Celsius": "°C" };
const bytesUnit = (unit) => `B${unit.slice(5).replace(" per ", "/").replace("second", "s")}`;

// Three figures, or all before the point, in groups of three.
const figures = (value) => {
  const size = Math.abs(value);
  const digits = Number.isInteger(value) || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return value.toFixed(digits).replace(/\B(?=(\d{3})+$)/g, ",");
};

// With its unit; processes without, as that stands beside them.
export const quantity = (value, unit) => {
  if (value === null || value === undefined) return "–";
  if (unit === "percent") return `${value.toFixed(value >= 99.95 ? 0 : 1)} %`;
  if (unit === "processes") return figures(value);
  if (!isBytes(unit)) return `${figures(value)} ${SIGNS[unit] ?? unit}`;
  const power = powerOf(value);
  return `${figures(value / 1000 ** power)} ${PREFIXES[power]}${bytesUnit(unit)}`;
};

const WORDS = { cpu: "CPU", cpus: "CPUs", io: "I/O" };
// Keys that are only a unit.
const ALONE = { ts: "time", seconds: "duration", percent: "share", bytes: "size" };
const KEY = /^(?:(.*)_)?(ts|seconds|percent|bytes(?:_per_[a-z]+)?)$/;

// The name of a number of evidence, and its value in the unit in which its key ends.
export const evidence = (key, value) => {
  const [, name = key, unit] = KEY.exec(key) ?? [];
  const words = (ALONE[name] ?? name).split("_").map((word) => WORDS[word] ?? word).join(" ");
  if (value === null) return [words, "unknown"];
  if (key === "hour") return [words, `${value}`.padStart(2, "0") + ":00"];
  if (unit === "ts") return [words, moment(value, value - Date.now() / 1000 > DAY ? DAY : MINUTE)];
  if (unit === "seconds") return [words, duration(value)];
  if (unit) return [words, quantity(value, unit.replaceAll("_", " "))];
  return [words, /(^|_)p?id$/.test(key) ? `${value}` : figures(value)];
};

// Writes the ticks of an axis up to `top`, all in one prefix and with the unit.
export const axisUnit = (top, unit) => {
  const power = isBytes(unit) ? powerOf(top) : 0;
  const word = isBytes(unit) ? `${PREFIXES[power]}${bytesUnit(unit)}` : SIGNS[unit] ?? "";
  return (value) => `${Number((value / 1000 ** power).toFixed(2))}${word && ` ${word}`}`;
};

// From 0 to at least `top`, at most five steps of 1, 2 or 5 times a power of ten.
export const niceTicks = (top) => {
  const power = 10 ** Math.floor(Math.log10(top / 5));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= top / 5.001);
  return Array.from({ length: Math.ceil(top / step - 1e-3) + 1 }, (_, n) => n * step);
};

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];

// Where the x axis is labelled: about `most` pairs of ts and label, at whole local times, days or months.
export const timeTicks = (start, end, most) => {
  const least = (end - start) / most;
  const step = STEPS.find((n) => n >= least);
  const found = [];
  if (step) {
    const offset = date(start).getTimezoneOffset() * MINUTE;
    for (let ts = Math.ceil((start - offset) / step) * step + offset; ts < end; ts += step) {
      found.push([ts, clock(ts, step).replace(/^00:00(:00)?$/, day(ts))]);
    }
    return found;
  }
  const d = date(start);
  d.setHours(0, 0, 0, 0);
  const days = [1, 2, 7, 14].find((n) => n * DAY >= least);
  const months = [1, 2, 3, 6].find((n) => n * 31 * DAY >= least) ?? 12;
  // Weeks begin on Mondays.
  if (days) d.setDate(d.getDate() - (days < 7 ? (d.getDate() - 1) % days : (d.getDay() + 6) % 7));
  else d.setMonth(d.getMonth() - (d.getMonth() % months), 1);
  for (let ts = d / 1000; ts < end; ts = d / 1000) {
    if (ts >= start) found.push([ts, days ? day(ts) : d.getMonth() ? text(ts).slice(4, 7) : `${year(ts)}`]);
    if (days) d.setDate(d.getDate() + days);
    else d.setMonth(d.getMonth() + months);
  }
  return found;
};

const MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const GOAL = /^(?:(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2}) ([a-z]{3})[a-z]*(?: (\d{4}))?|(today|yesterday))(?:[t ]+|$))?(?:(\d{1,2}):(\d{2}))?$/;

// The newest moment not after `now` that a text means, like 03:12, yesterday 03:12, 24 Nov 03:12, 2026-11-24; null if none.
export const parseMoment = (text, now) => {
  const [whole, year_, month, day_, only, name, other, word, hours, minutes] = GOAL.exec(text.trim().toLowerCase()) ?? [];
  if (!whole) return null;
  const found = date(now);
  const at = name === undefined ? month - 1 : MONTHS.indexOf(name);
  if (at < 0 || hours > 23 || minutes > 59) return null;
  found.setHours(hours ?? (word || day_ || only ? 0 : found.getHours()), minutes ?? 0, 0, 0);
  const has = (n) => n !== undefined;
  if (has(day_) || has(only)) found.setFullYear(year_ ?? other ?? found.getFullYear(), at, day_ ?? only);
  if ((has(day_) || has(only)) && (found.getMonth() !== at || found.getDate() !== Number(day_ ?? only))) return null;
  if (word === "yesterday") found.setDate(found.getDate() - 1);
  if (found / 1000 > now && !has(year_) && !has(other)) {
    if (has(only)) found.setFullYear(found.getFullYear() - 1);
    else if (!word) found.setDate(found.getDate() - 1);
  }
  return found / 1000;
};

// One event in words: when, what, and what is known of it.
export const happening = ({ ts, kind, detail }) => `${moment(ts)} ${kind.replaceAll("_", " ")}: ${detail}`;
