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

// Like Europe/Berlin (GMT+0100).
export const zone = () => `${Intl.DateTimeFormat().resolvedOptions().timeZone} (${text(Date.now() / 1000).slice(25, 33)})`;

const isBytes = (unit) => unit.startsWith("bytes");

const scaled = (value) => {
  const power = Math.max(0, Math.min(4, Math.floor(Math.log10(Math.abs(value) * 1.0005) / 3) || 0));
  return [value / 1000 ** power, ["", "k", "M", "G", "T"][power]];
};

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
  if (!isBytes(unit)) return `${figures(value)} ${unit}`;
  const [rest, prefix] = scaled(value);
  return `${figures(rest)} ${prefix}B${unit.slice(5).replace(" per ", "/").replace("second", "s")}`;
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
  if (unit === "ts") return [words, moment(value)];
  if (unit === "seconds") return [words, duration(value)];
  if (unit) return [words, quantity(value, unit.replaceAll("_", " "))];
  return [words, /(^|_)p?id$/.test(key) ? `${value}` : figures(value)];
};

export const tickLabel = (value, unit) => {
  const [rest, prefix] = isBytes(unit) ? scaled(value) : [value, ""];
  return `${Number(rest.toFixed(2))}${prefix}${unit === "percent" ? "%" : ""}`;
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
