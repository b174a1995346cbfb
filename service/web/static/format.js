// Numbers, units and times as people read them; times in the zone of who looks.

export const MINUTE = 60, HOUR = 3600, DAY = 86400;

const two = (number) => String(number).padStart(2, "0");
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const DAYS = "Sun Mon Tue Wed Thu Fri Sat".split(" ");
const date = (ts) => new Date(ts * 1000);

export const clock = (ts, seconds = false) => {
  const d = date(ts);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ""}`;
};
export const day = (ts) => `${date(ts).getDate()} ${MONTHS[date(ts).getMonth()]}`;
export const year = (ts) => date(ts).getFullYear();

// A moment as exactly as buckets of `step` seconds allow, with the year where it is not this one.
export const moment = (ts, step = 1) => {
  const years = year(ts) === year(Date.now() / 1000) ? "" : ` ${year(ts)}`;
  const weekday = DAYS[date(ts).getDay()];
  return `${weekday} ${day(ts)}${years}${step < DAY ? ` ${clock(ts, step < MINUTE)}` : ""}`;
};

export const span = (start, end, step = 1) => {
  const last = day(start) === day(end) && year(start) === year(end) ? clock(end, step < MINUTE) : moment(end, step);
  return `${moment(start, step)} – ${last}`;
};

// Seconds in the two largest units that they fill.
export const duration = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const units = [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  let rest = whole;
  const parts = units.slice(first, first + 2).map(([size, name]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count ? `${count} ${name}` : "";
  });
  return parts.filter(Boolean).join(" ");
};

export const zone = () => {
  const minutes = -new Date().getTimezoneOffset();
  const [sign, size] = [minutes < 0 ? "−" : "+", Math.abs(minutes)];
  const offset = minutes ? ` (UTC${sign}${Math.floor(size / 60)}${size % 60 ? `:${two(size % 60)}` : ""})` : "";
  return `${Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC"}${offset}`;
};

const scaled = (value, base, names) => {
  let [rest, number] = [Math.abs(value), 0];
  while (rest >= base * 0.9995 && number < names.length - 1) [rest, number] = [rest / base, number + 1];
  return [rest, names[number]];
};

const digits = (value) => (value >= 100 || value === 0 ? 0 : value >= 10 ? 1 : 2);

// Three figures, whichever the unit.
export const quantity = (value, unit) => {
  if (value === null || value === undefined) return "–";
  if (unit === "percent") return `${value.toFixed(value >= 99.95 ? 0 : 1)} %`;
  if (unit === "bytes" || unit === "bytes per second") {
    const [rest, prefix] = scaled(value, 1000, ["B", "kB", "MB", "GB", "TB"]);
    return `${rest.toFixed(prefix === "B" ? 0 : digits(rest))} ${prefix}${unit === "bytes" ? "" : "/s"}`;
  }
  return value.toFixed(Number.isInteger(value) && value >= 10 ? 0 : digits(value));
};

// The label of a tick: no more digits than the ticks' distance needs.
export const tickLabel = (value, step, unit) => {
  if (unit === "bytes per second") {
    const [rest, prefix] = scaled(value, 1000, ["", "k", "M", "G", "T"]);
    return `${Number(rest.toFixed(2))}${prefix}`;
  }
  return `${Number(value.toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0))}${unit === "percent" ? "%" : ""}`;
};

// Ticks from 0 to at least `top`, at most five, at 1, 2 or 5 of a power of ten.
export const niceTicks = (top) => {
  const rough = top / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  return Array.from({ length: Math.ceil(top / step - 1e-6) + 1 }, (_, n) => n * step);
};

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const DAY_STEPS = [1, 2, 7, 14];
const MONTH_STEPS = [1, 2, 3, 6, 12];

// Where the x axis is labelled: at whole local times, days, months. At most `most` pairs of ts and label.
export const timeTicks = (start, end, most) => {
  const least = (end - start) / most;
  const step = TIME_STEPS.find((n) => n >= least);
  if (step) return clockTicks(start, end, step);
  const d = date(start);
  d.setHours(0, 0, 0, 0);
  const days = DAY_STEPS.find((n) => n * DAY >= least);
  const months = MONTH_STEPS.find((n) => n * 31 * DAY >= least) ?? 12;
  // Weeks begin on Mondays, other steps where the month does.
  if (days >= 7) d.setDate(d.getDate() - ((d.getDay() + 6) % 7));
  else if (!days) d.setMonth(Math.floor(d.getMonth() / months) * months, 1);
  else d.setDate(d.getDate() - ((d.getDate() - 1) % days));
  const found = [];
  for (; d.getTime() / 1000 < end; days ? d.setDate(d.getDate() + days) : d.setMonth(d.getMonth() + months)) {
    const ts = d.getTime() / 1000;
    if (ts < start) continue;
    const isYear = !days && d.getMonth() === 0;
    found.push([ts, days ? day(ts) : isYear ? String(year(ts)) : MONTHS[d.getMonth()]]);
  }
  return found;
};

const clockTicks = (start, end, step) => {
  const offset = -date(start).getTimezoneOffset() * 60;
  const first = Math.ceil((start + offset) / step) * step - offset;
  const found = [];
  for (let ts = first; ts < end; ts += step) {
    const isDay = date(ts).getHours() === 0 && date(ts).getMinutes() === 0 && date(ts).getSeconds() === 0;
    found.push([ts, isDay ? day(ts) : clock(ts, step < MINUTE)]);
  }
  return found;
};
