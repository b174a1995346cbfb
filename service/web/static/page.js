// The page: views, what arrives by itself, signing in.

import { Refused, ask, forget, health, now, sign } from "./api.js";
import { Board } from "./board.js";
import { chartsOf } from "./chart.js";
import { at, button, on, write } from "./dom.js";
import { DAY, HOUR, MINUTE, clock, duration, span, zone } from "./format.js";
import { Tiles, showGaps, showInsights, showWho } from "./panels.js";
import { Memory } from "./series.js";
import { state } from "./state.js";

const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 31556952 };
const USUAL = "24h";
// About a chart's width; reading it would lay out the page.
const POINTS = screen.width < 600 ? 300 : 600;
const LONGEST_REST_SECONDS = 10, SETTLED_MILLISECONDS = 150;
const PEAK_METRICS = ["cpu_percent", "memory_percent"];
const TILES = 6;

const memory = new Memory();
const tiles = new Tiles();

const seconds = (time) => Date.parse(time) / 1000;
const inSeconds = (each) => ({ ...each, start: seconds(each.start), end: seconds(each.end) });

const live = (range) => ({ range, start: now() - RANGES[range], end: now() });

const viewOf = (address) => {
  const { start, end, range } = Object.fromEntries(new URLSearchParams(address));
  const view = inSeconds({ start, end });
  return view.end > view.start ? view : live(Object.hasOwn(RANGES, range) ? range : USUAL);
};

const text = (ts) => new Date(ts * 1000).toISOString().replace(".000", "");
const addressOf = (view) => {
  const { start, end } = windowOf(view);
  return view.range ? `?range=${view.range}` : `?start=${text(start)}&end=${text(end)}`;
};

const depth = () => history.state?.depth ?? 0;
const push = (view) => {
  history.pushState({ depth: depth() + 1 }, "", addressOf(view));
  return view;
};

const back = () => {
  if (depth()) history.back();
  else if (!state.view.range) show(push(live(USUAL)));
};

const show = (view) => {
  clearTimeout(state.settling);
  state.isMoving = false;
  showView(view);
  load();
};

// A moving view is drawn from memory, and asked for where it rests.
const move = (start, end) => {
  const ahead = Math.max(0, end - now() - (end - start) / 2);
  showView({ start: start - ahead, end: end - ahead });
  if (!state.isWide) loadAround(state.view);
  clearTimeout(state.settling);
  state.settling = setTimeout(() => {
    if (state.isMoving) history.replaceState(history.state, "", addressOf(state.view));
    else push(state.view);
    state.isMoving = true;
    load();
  }, SETTLED_MILLISECONDS);
};

const showView = (view) => {
  const { range, start, end } = state.view = view;
  board.show(view);
  for (const each of at("ranges").children) each.ariaPressed = each.textContent === range;
  // In whole seconds, like the address, which others open.
  write(at("shown"), `${span(Math.floor(start), Math.ceil(end))}${range ? ", live" : ""}`);
  at("back").hidden = !depth() && range;
};

const handle = (error) => {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) signedOut();
  else if (error.status === 0) showDead();
  else state.failure = `Tidemark answered: ${error.message}`;
};
const guarded = (work) => (...given) => work(...given).catch(handle);

// Builds what is drawn on. Returns the names of all metrics.
const prepare = async () => {
  const { metrics } = await ask("metrics");
  const charts = chartsOf(metrics);
  board.build(charts);
  tiles.build(charts.slice(0, TILES));
  return metrics.map(({ name }) => name);
};
const series = async (window, points, kind) => {
  state.metrics ??= prepare().catch((error) => {
    state.metrics = null;
    throw error;
  });
  return ask("series", { metric: await state.metrics, ...window, points }, kind);
};
const windowOf = ({ range, start, end }) =>
  range ? { start: `-${range}`, end: "now" } : { start: Math.floor(start), end: Math.ceil(end) };

const load = guarded(async () => {
  const { view } = state;
  const columns = memory.add(await series(windowOf(view), POINTS, "view"));
  Object.assign(state, { columns, appended: now(), isWide: false, failure: "" });
  board.redraw();
  // A history younger than an hour would be a speck in a day.
  const oldest = columns.ts.findIndex((_, n) => columns.isKnown(n));
  if (!location.search && view.range === USUAL && columns.ts[oldest] > now() - HOUR) show(live("1h"));
  else await loadBeside();
});

// Three times as wide.
const loadAround = guarded(async ({ start, end }) => {
  state.isWide = true;
  const wide = end - start;
  memory.add(await series(windowOf({ start: start - wide, end: end + wide }), POINTS, "wide"));
  board.redraw();
});

const loadBeside = guarded(async () => {
  const { view } = state;
  const [{ gaps }, ...peaks] = await Promise.all([ask("gaps", windowOf(view)), ...PEAK_METRICS.map(peaksOf)]);
  board.gaps = gaps.map(inSeconds);
  PEAK_METRICS.forEach((metric, n) => { board.peaks[metric] = peaks[n]; });
  showGaps(board.gaps);
  board.redraw();
  requestAnimationFrame(() => board.describe());
  if (!state.who?.isMoment) await askWho(view);
});

// The API finds those up to now. In a view of the past, the highest bucket is marked.
const peaksOf = async (metric) => {
  const { view: { range }, columns } = state;
  if (range) {
    const { peaks } = await ask("peaks", { metric, window: range }, `peaks ${metric}`);
    return peaks.filter(({ prominence }) => prominence >= 5).map((peak) => ({ ...inSeconds(peak), at: seconds(peak.maximum_at ?? peak.start) }));
  }
  const most = columns.extreme(metric, state.view);
  if (!most) return [];
  const { at: start, highest: maximum } = most;
  return [{ start, end: start + Math.max(MINUTE, columns.step), at: start, maximum }];
};

const board = new Board({
  zoom: (start, end) => show(push({ start, end })),
  pan: move,
  who: (start, end, title) => askWho({ start, end, title, isMoment: true }),
  back,
  source: (view) => memory.best(view),
});

const actions = {
  close: () => {
    askWho(state.view);
    at("charts").focus({ preventScroll: true });
  },
  sort: (sort) => askWho({ ...state.who, sort }),
  by: (by) => askWho({ ...state.who, by }),
};

const askWho = guarded(async (asked) => {
  const who = state.who = { sort: state.who?.sort ?? "cpu", by: state.who?.by ?? "name", ...asked };
  const { start, end, isMoment, sort, by } = who;
  const gap = isMoment && board.gaps.find((each) => each.start <= start && each.end >= end);
  const answer = gap ? `Nothing was recorded: ${gap.reason}, ${duration(gap.end - gap.start)}.`
    : await ask("processes", { ...windowOf({ start, end }), sort, by, count: 10 });
  showWho(who, answer, actions);
  if (isMoment) at("who").focus({ preventScroll: true });
});

const check = async () => {
  clearTimeout(state.timer);
  if (document.hidden || state.isChecking) return;
  state.isChecking = true;
  let rest = 2;
  try {
    rest = await update(await health());
  } catch (error) {
    handle(error);
  } finally {
    state.isChecking = false;
    state.timer = setTimeout(check, rest * 1000);
  }
};

// Shows what is new. Returns the seconds until just after the next sample is due.
const update = async (answer) => {
  const { newest_sample_age_seconds: age, interval } = answer;
  const stored = age === null ? 0 : now() - age;
  const wasDead = state.deadSince;
  state.deadSince = 0;
  document.body.classList.remove("stale");
  if (!state.isSignedOut) {
    if (wasDead) load();
    if (stored > state.newest + 0.5) await arrived(interval, stored);
    if (now() - state.minute >= MINUTE) await minutely();
  }
  if (!state.deadSince) showHealth(answer, stored);
  return Math.min(LONGEST_REST_SECONDS, Math.max(1, age === null ? 0 : interval - age + 0.2));
};

const showStatus = (word, text) => {
  at("status").dataset.word = word;
  write(at("status").lastChild, text);
};

const showBanner = (text) => {
  write(at("banner"), text);
  at("banner").hidden = !text;
};

const showHealth = ({ status, newest_sample_age_seconds: age, interval, last_error: error }, stored) => {
  const late = age > 2 * interval ? `, ${duration(age)} old` : "";
  showStatus(status, `${status} · ${stored ? `newest sample ${clock(stored, 1)}${late}` : "no sample yet"}`);
  const texts = { failing: `No samples are being stored${late}.`, degraded: "Something is wrong:" };
  showBanner(texts[status] ? `${texts[status]} ${error ?? ""}` : state.failure);
};

const showDead = () => {
  state.deadSince ||= now();
  document.body.classList.add("stale");
  const seen = state.newest ? `; the page shows the state at ${clock(state.newest, 1)}` : "";
  showStatus("dead", "no answer");
  showBanner(`Tidemark has not answered since ${clock(state.deadSince)}${seen}.`);
};

const arrived = guarded(async (interval, stored) => {
  const start = (Math.floor(now() / interval) - 2) * interval;
  const { series: known } = await series({ start, end: start + 3 * interval }, 4, "now");
  Object.assign(state, { newest: stored, failure: "" });
  tiles.values((metric) => known[metric].average.findLast((value) => value !== null) ?? null);
  await append();
});

// The buckets since the newest known one; seldom where a sample changes little.
const append = async () => {
  const { view, columns } = state;
  if (!view.range || !columns) return;
  const { step, ts } = columns;
  if (now() - state.appended > step / 20) {
    const known = ts.findLastIndex((_, n) => columns.isKnown(n));
    const start = ts[Math.max(0, known < 0 ? ts.length - 2 : known)];
    const count = Math.ceil(now() / step) - start / step;
    if (count > 120) return load();
    const answer = await series({ start, end: start + count * step }, count + 1, "append");
    if (state.view !== view || state.columns !== columns) return;
    state.appended = now();
    if (!columns.merge(answer, now() - RANGES[view.range] - step)) return load();
  }
  showView(live(view.range));
};

const minutely = guarded(async () => {
  const isFirst = !state.minute;
  state.minute = now();
  const hour = series(windowOf({ range: "1h" }), 61, "hour");
  tiles.hour(...await Promise.all([hour, ask("summary", { window: "1h" })]));
  if (state.view.range && !isFirst) await loadBeside();
  showInsights((await ask("insights")).insights);
});

const SIGNED_IN = `tidemark-signed-in ${location.pathname}`;
// Storage may be forbidden.
const kept = (work) => {
  try {
    return work(localStorage);
  } catch {
    return null;
  }
};

const signedOut = () => {
  kept((storage) => storage.removeItem(SIGNED_IN));
  state.isSignedOut = true;
  memory.clear();
  reveal(false);
  at("token").focus();
};

const reveal = (isOpen) => {
  at("sign-in").hidden = isOpen;
  at("main").hidden = at("time").hidden = !isOpen;
  at("sign-out").hidden = !kept((storage) => storage.getItem(SIGNED_IN));
};

const begin = () => {
  forget();
  Object.assign(state, { isSignedOut: false, minute: 0, newest: 0, who: null, failure: "" });
  reveal(true);
  show(viewOf(location.search));
  check();
};

on(at("sign-in"), "submit", async (event) => {
  event.preventDefault();
  write(at("refused"), "");
  try {
    await sign("in", { token: at("token").value });
    at("token").value = "";
    kept((storage) => storage.setItem(SIGNED_IN, "yes"));
    begin();
  } catch (error) {
    write(at("refused"), error.status === 401 ? "Wrong token." : `Sign-in failed: ${error.message}.`);
  }
});

on(at("sign-out"), "click", async () => {
  await sign("out").catch(handle);
  location.reload();
});

at("ranges").append(...Object.keys(RANGES).map((range) => button(range, () => show(push(live(range))))));
at("moves").append(
  button("◀", () => board.panBy(-0.5), { ariaLabel: "Earlier" }),
  button("▶", () => board.panBy(0.5), { ariaLabel: "Later" }),
  button("+", () => board.zoomBy(0.5), { ariaLabel: "Zoom in" }),
  button("−", () => board.zoomBy(2), { ariaLabel: "Zoom out" }),
  button("Back", back, { id: "back" }),
);
begin();

const NEXT_THEME = { system: "light", light: "dark", dark: "system" };
const { dataset } = document.documentElement;
const showTheme = () => write(at("theme"), `Theme: ${dataset.theme}`);
on(at("theme"), "click", () => {
  dataset.theme = NEXT_THEME[dataset.theme];
  kept((storage) => storage.setItem("tidemark-theme", dataset.theme));
  showTheme();
  board.recolour();
});
on(matchMedia("(prefers-color-scheme: dark)"), "change", () => board.recolour());

on(document, "keydown", ({ key }) => {
  if (key !== "Escape" || state.isSignedOut) return;
  if (state.who?.isMoment) actions.close();
  else back();
});
on(document, "visibilitychange", check);
on(window, "popstate", () => show(viewOf(location.search)));

// Earlier it would take a connection from the modules.
at("icon").src = "static/icon.svg";
write(at("host"), location.host);
document.title += ` ${location.host}`;
write(at("zone"), zone());
showTheme();
