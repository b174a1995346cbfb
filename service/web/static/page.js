// The page: which view is shown and asked for, what arrives by itself, signing in. One timer, one request of each kind.

import { Refused, ask, health, now, sign } from "./api.js";
import { Board, CHARTS, METRICS } from "./board.js";
import { at, make } from "./dom.js";
import { DAY, HOUR, MINUTE, clock, duration, quantity, span, zone } from "./format.js";
import { TILE_METRICS, Tiles, showBanner, showGaps, showInsights, showStatus, showWho, stale } from "./panels.js";
import { Columns, Memory } from "./series.js";

const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 31556952 };
const USUAL = "24h";
const MOST_POINTS = 600;
// The longest pause between two looks, and the shortest.
const REST = 10, HASTE = 1;
const SETTLE = 150;
const PEAK_METRICS = { cpu: "cpu_percent", memory: "memory_percent" };

const memory = new Memory();
const requests = new Map();
const state = {
  view: null, who: null, sort: "cpu", isMoving: false, isWide: false, signedOut: false,
  deadSince: 0, newest: 0, appended: 0, minute: 0, failure: "", asked: false,
};

const board = new Board(at("charts"), at("readout"), {
  zoom: (start, end) => go({ start, end }),
  pan: (start, end) => move({ start, end }),
  who: (start, end, title) => askWho({ start, end, title, isMoment: true }),
  back: () => back(),
  source: ({ start, end }) => memory.best(start, end),
});
const tiles = new Tiles();

// -- views and their addresses

const live = (range) => ({ range, start: now() - RANGES[range], end: now() });

const viewOf = (address) => {
  const given = new URLSearchParams(address);
  const [start, end] = ["start", "end"].map((name) => Date.parse(given.get(name)) / 1000);
  if (end > start) return { start, end };
  return live(RANGES[given.get("range")] ? given.get("range") : USUAL);
};

const text = (ts) => new Date(ts * 1000).toISOString().replace(".000Z", "Z");
const addressOf = ({ range, start, end }) =>
  range ? `?range=${range}` : `?start=${text(Math.floor(start))}&end=${text(Math.ceil(end))}`;

const depth = () => history.state?.depth ?? 0;

const go = (view) => {
  history.pushState({ depth: depth() + 1 }, "", addressOf(view));
  state.isMoving = false;
  show(view);
};

const back = () => {
  if (depth()) history.back();
  else if (!state.view.range) go(live(USUAL));
};

// While a hand or a key moves the view it is drawn from memory; asked for and told is where it comes to rest.
let settling = 0;
const move = ({ start, end }) => {
  const latest = now() + (end - start) / 2;
  const shift = Math.min(0, latest - end);
  state.view = { start: start + shift, end: end + shift };
  board.show(state.view);
  tell();
  if (!state.isWide) around(state.view);
  clearTimeout(settling);
  settling = setTimeout(settle, SETTLE);
};

const settle = () => {
  const address = addressOf(state.view);
  if (state.isMoving) history.replaceState(history.state, "", address);
  else history.pushState({ depth: depth() + 1 }, "", address);
  state.isMoving = true;
  load();
};

const show = (view) => {
  clearTimeout(settling);
  state.view = view;
  board.show(view);
  tell();
  load();
};

const tell = () => {
  const { range, start, end } = state.view;
  for (const button of at("ranges").children) button.ariaPressed = String(button.dataset.range === range);
  at("shown").textContent = `${span(start, end)}${range ? ", live" : ""}`;
  at("back").disabled = !depth() && Boolean(range);
};

// -- asking

// The newest question of its kind; an older one that still waits is let go.
const newest = (kind, name, parameters) => {
  requests.get(kind)?.abort();
  const control = new AbortController();
  requests.set(kind, control);
  return ask(name, parameters, control.signal);
};

// Errors that have an answer: sign in, wait for the daemon, say what it says.
const heed = (error) => {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) signedOut();
  else if (error.status === 0) dead();
  else state.failure = error.message;
};

const guarded = (work) => async (...given) => {
  try {
    return await work(...given);
  } catch (error) {
    heed(error);
    return null;
  }
};

const edges = ({ range, start, end }) =>
  range ? { start: `-${range}`, end: "now" } : { start: Math.floor(start), end: Math.ceil(end) };
const points = () => Math.max(60, Math.min(MOST_POINTS, Math.round(board.width)));

const load = guarded(async () => {
  const { view } = state;
  const answer = await newest("view", "series", { metric: METRICS, ...edges(view), points: points() });
  state.failure = "";
  state.isWide = false;
  state.columns = memory.add(answer);
  state.appended = now();
  if (suits(view, state.columns)) return;
  board.show(state.view);
  board.redraw();
  await beside();
});

// A history that is younger than an hour is a speck in a day: where nobody asked for a day, show the hour.
const suits = (view, columns) => {
  const { oldest } = columns;
  if (location.search || view.range !== USUAL || oldest < 0 || columns.ts[oldest] < now() - HOUR) return false;
  show(live("1h"));
  return true;
};

// Coarse, and three times as wide as the view, for moving on.
const around = guarded(async ({ start, end }) => {
  state.isWide = true;
  const wide = end - start;
  const sides = { start: Math.floor(start - wide), end: Math.ceil(end + wide) };
  memory.add(await newest("wide", "series", { metric: METRICS, ...sides, points: MOST_POINTS }));
  board.redraw();
});

const seconds = (time) => Date.parse(time) / 1000;
const window_ = (each) => ({ ...each, start: seconds(each.start), end: seconds(each.end) });

// What belongs to the view and may come after its first picture.
const beside = guarded(async () => {
  const { view } = state;
  const [gaps] = await Promise.all([newest("gaps", "gaps", edges(view)), peaks(view)]);
  if (view !== state.view && !view.range) return;
  board.gaps = gaps.gaps.map(window_);
  showGaps(board.gaps);
  board.redraw();
  requestAnimationFrame(() => board.describe());
  if (!state.who?.isMoment) await askWho({ start: view.start, end: view.end, title: "", isMoment: false });
});

// Up to now the API knows them; of the past the highest bucket is marked.
const peaks = async (view) => {
  const found = await Promise.all(Object.entries(PEAK_METRICS).map(async ([chart, metric]) => {
    if (view.range) {
      const answer = await newest(`peaks ${chart}`, "peaks", { metric, window: view.range });
      return [chart, answer.peaks.map((peak) => ({ ...window_(peak), at: seconds(peak.maximum_at ?? peak.start) }))];
    }
    const most = state.columns.extreme(metric, view.start, view.end);
    const step = Math.max(MINUTE, state.columns.step);
    return [chart, most ? [{ start: most.at, end: most.at + step, at: most.at, maximum: most.highest }] : []];
  }));
  board.peaks = Object.fromEntries(found);
};

// -- who

const does = {
  close: () => closeWho(),
  sort: (sort) => {
    state.sort = sort;
    askWho(state.who);
  },
};

const askWho = async (asked) => {
  state.who = asked;
  const told = { ...asked, sort: state.sort };
  const gap = asked.isMoment && board.gaps.find((each) => each.start <= asked.start && each.end >= asked.end);
  if (gap) return showWho(told, null, `Nothing was recorded then: ${gap.reason}, ${duration(gap.end - gap.start)}.`, does);
  try {
    const parameters = { start: Math.floor(asked.start), end: Math.ceil(asked.end), sort: state.sort, count: 10 };
    showWho(told, await newest("who", "processes", parameters), "", does);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) heed(error);
    else showWho(told, null, `Cannot be told: ${error.message}.`, does);
  }
  if (asked.isMoment) at("who").focus({ preventScroll: true });
};

const closeWho = () => {
  const { view } = state;
  askWho({ start: view.start, end: view.end, title: "", isMoment: false });
  at("charts").focus({ preventScroll: true });
};

// -- what arrives by itself

let timer = 0;
let isLooking = false;

const look = async () => {
  clearTimeout(timer);
  if (document.hidden || isLooking) return;
  isLooking = true;
  let rest = HASTE;
  try {
    const told = await health();
    rest = await alive(told);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    dead();
    rest = HASTE * 2;
  } finally {
    isLooking = false;
    timer = setTimeout(look, rest * 1000);
  }
};

// After a sign of life: take over what is new. Says when to look again: just after the next sample is due.
const alive = async (told) => {
  const wasDead = state.deadSince;
  state.deadSince = 0;
  document.body.classList.remove("stale");
  const age = told.newest_sample_age_seconds;
  const stored = age === null ? 0 : now() - age;
  if (!state.signedOut) {
    if (wasDead) load();
    if (stored > state.newest + 0.5) await arrived(told.interval, stored);
    if (now() - state.minute >= MINUTE) await minutely();
  }
  status(told, age, stored);
  return Math.min(REST, Math.max(HASTE, age === null || age > told.interval ? HASTE : told.interval - age + 0.2));
};

const status = (told, age, stored) => {
  const when = stored ? `newest sample ${clock(stored, true)}` : "no sample yet";
  const late = age > 2 * told.interval ? `, ${duration(age)} old` : "";
  showStatus(told.status, `${told.status} · ${when}${late}`);
  const failing = told.status === "failing" ? `Tidemark stores no samples${late}. ${told.last_error ?? ""}` : "";
  const degraded = told.status === "degraded" ? `Tidemark records, but: ${told.last_error ?? "readings fail"}` : "";
  showBanner(failing || degraded || state.failure);
};

const dead = () => {
  state.deadSince ||= now();
  document.body.classList.add("stale");
  showStatus("dead", `does not answer · newest sample ${state.newest ? clock(state.newest, true) : "unknown"}`);
  showBanner(stale(state.deadSince, state.newest));
};

const arrived = guarded(async (interval, stored) => {
  const start = (Math.floor(now() / interval) - 2) * interval;
  const asked = { metric: TILE_METRICS, start, end: start + 3 * interval, points: 4 };
  const columns = new Columns(await newest("now", "series", asked));
  tiles.values({ average: (metric) => columns.series[metric].average.findLast((value) => value !== null) ?? null });
  state.newest = stored;
  state.failure = "";
  title(columns);
  await append();
});

const title = (columns) => {
  const cpu = columns.series.cpu_percent.average.findLast((value) => value !== null);
  document.title = `${quantity(cpu, "percent")} · Tidemark ${location.host}`;
};

// The buckets since the newest known one; a view of a year gains nothing from every sample.
const append = async () => {
  const { view, columns } = state;
  if (!view.range || !columns) return;
  const { step } = columns;
  if (now() - state.appended < step / 20) return slide(view);
  const from = Math.max(0, columns.newest < 0 ? columns.ts.length - 2 : columns.newest);
  const start = columns.ts[from];
  const count = Math.ceil(now() / step) - start / step;
  if (count > 120 || count < 1) return load();
  const answer = await newest("append", "series", { metric: METRICS, start, end: start + count * step, points: count + 1 });
  if (state.columns !== columns || state.view !== view) return;
  state.appended = now();
  if (!columns.merge(answer, now() - RANGES[view.range] - step)) return load();
  slide(view);
};

const slide = ({ range }) => {
  state.view = live(range);
  board.show(state.view);
  tell();
};

const minutely = guarded(async () => {
  const isFirst = !state.minute;
  state.minute = now();
  const hour = { metric: TILE_METRICS, start: "-1h", end: "now", points: 61 };
  const [summary, curve] = await Promise.all([newest("summary", "summary", { window: "1h" }), newest("hour", "series", hour)]);
  tiles.trends(summary);
  tiles.hour(curve);
  if (state.view.range && !isFirst) await beside();
  try {
    showInsights((await newest("insights", "insights")).insights);
  } catch (error) {
    if (error.status !== 404) heed(error);
  }
});

// -- signing in and out

const mark = `tidemark-signed-in ${location.pathname}`;
const kept = (name, value) => {
  try {
    if (value === undefined) return localStorage.getItem(name);
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Without storage the page forgets, and works.
  }
  return null;
};

const signedOut = () => {
  if (!state.signedOut) kept(mark, null);
  state.signedOut = true;
  memory.clear();
  at("sign-in").hidden = false;
  at("main").hidden = true;
  at("sign-out").hidden = true;
  at("token").focus();
};

const begin = () => {
  Object.assign(state, { signedOut: false, minute: 0, newest: 0, who: null });
  at("sign-in").hidden = true;
  at("main").hidden = false;
  at("sign-out").hidden = !kept(mark);
  show(viewOf(location.search));
  look();
};

at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("refused").textContent = "";
  try {
    await sign("in", { token: at("token").value });
    kept(mark, "yes");
    at("token").value = "";
    begin();
  } catch (error) {
    at("refused").textContent = error.status === 401 ? "This is not the token." : error.message;
  }
});

at("sign-out").addEventListener("click", async () => {
  await sign("out").catch(heed);
  kept(mark, null);
  location.reload();
});

// -- buttons, keys, what the browser tells

at("ranges").append(...Object.keys(RANGES).map((range) => {
  const button = make("button", { type: "button" }, range);
  button.dataset.range = range;
  button.addEventListener("click", () => go(live(range)));
  return button;
}));
at("earlier").addEventListener("click", () => board.panBy(-0.5));
at("later").addEventListener("click", () => board.panBy(0.5));
at("closer").addEventListener("click", () => board.zoomBy(0.5));
at("farther").addEventListener("click", () => board.zoomBy(2));
at("back").addEventListener("click", back);

const THEMES = ["", "light", "dark"];
const theme = (chosen) => {
  document.documentElement.dataset.theme = chosen;
  at("theme").textContent = `Theme: ${chosen || "system"}`;
  board.recolour();
};
at("theme").addEventListener("click", () => {
  const chosen = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  kept("tidemark-theme", chosen);
  theme(chosen);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => board.recolour());

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || state.signedOut) return;
  if (state.who?.isMoment) closeWho();
  else back();
});
document.addEventListener("visibilitychange", look);
addEventListener("popstate", () => {
  state.isMoving = false;
  show(viewOf(location.search));
});

at("host").textContent = location.host;
at("zone").textContent = zone();
theme(THEMES.includes(document.documentElement.dataset.theme) ? document.documentElement.dataset.theme : "");
begin();
