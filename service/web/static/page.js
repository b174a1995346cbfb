// The page: what it shows and what arrives by itself.

import { Refused, ask, forget, health, now } from "./api.js";
import { Board } from "./board.js";
import { Calendar } from "./calendar.js";
import { chartsOf } from "./chart.js";
import { Devices } from "./devices.js";
import { at, button, make, on, write } from "./dom.js";
import { DAY, HOUR, MINUTE, clock, duration, span, zone } from "./format.js";
import { Mounts } from "./mounts.js";
import { Tiles, showEvents, showGaps, showHost, showInsights, showWho } from "./panels.js";
import { Columns, Memory } from "./series.js";
import { kept, listen, showSignedIn, showSignedOut } from "./signing.js";
import { Shares } from "./stacking.js";
import { SqlBox } from "./sql.js";
import { state } from "./state.js";
import { listenTools } from "./tools.js";
import { COMPARED, RANGES, USUAL, addressOf, comparedOf, inSeconds, live, seconds, viewOf, windowOf } from "./views.js";

// About a chart's width; reading it would lay out the page.
const POINTS = screen.width < 600 ? 300 : 600;
const LAYER_POINTS = screen.width < 600 ? 100 : 200;
const LONGEST_REST_SECONDS = 10, SETTLED_MILLISECONDS = 150;
const PEAK_METRICS = ["cpu_percent", "memory_percent"];
const TILES = 6;
// Between two requests for who used the machine in a view that follows the present.
const LAYERS_REST_SECONDS = 30;

const memory = new Memory();
const layers = new Memory(Shares);
const tiles = new Tiles();

const depth = () => history.state?.depth ?? 0;
const push = (view) => {
  history.pushState({ depth: depth() + 1 }, "", addressOf(view, state.compared));
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
    if (state.isMoving) history.replaceState(history.state, "", addressOf(state.view, state.compared));
    else push(state.view);
    state.isMoving = true;
    load();
  }, SETTLED_MILLISECONDS);
};

// In whole seconds, like the address, which others open.
const showSpan = ({ range, start, end }) => {
  write(at("shown"), `${span(Math.floor(start), Math.ceil(end))}${range && !state.deadSince ? ", live" : ""}`);
};

const showView = (view) => {
  const { range } = state.view = view;
  board.show(view);
  for (const each of at("ranges").children) each.ariaPressed = each.textContent === range;
  showSpan(view);
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

const names = (metrics) => metrics.map(({ name }) => name);

// Builds what is drawn on. Returns the names of the metrics that are shown first.
const prepare = async () => {
  const { metrics } = await ask("metrics");
  const headlines = metrics.filter(({ is_headline: isFirst }) => isFirst);
  const charts = chartsOf(headlines);
  board.build(charts, at("lines"));
  at("details").hidden = headlines.length === metrics.length;
  on(at("details"), "toggle", () => {
    // Only then are they asked for.
    board.build(chartsOf(metrics.filter((each) => !headlines.includes(each))), at("more"));
    state.metrics = names(metrics);
    memory.clear();
    load();
  }, { once: true });
  tiles.build(charts.slice(0, TILES));
  // Below the charts, so that they are near only for those who come near.
  state.calendar ??= new Calendar(openDay);
  state.mounts ??= new Mounts();
  state.devices ??= new Devices(board, loadDevices);
  return names(headlines);
};
const series = async (window, points, kind) => {
  state.metrics ??= prepare().catch((error) => {
    state.metrics = null;
    throw error;
  });
  return ask("series", { metric: await state.metrics, ...window, points }, kind);
};
const load = guarded(async () => {
  const { view } = state;
  loadLayers();
  const columns = memory.add(await series(windowOf(view), POINTS, "view"));
  Object.assign(state, { columns, appended: now(), isWide: false, failure: "" });
  board.redraw();
  loadBefore();
  loadDevices();
  // A history younger than an hour would be a speck in a day.
  const oldest = columns.ts.findIndex((_, n) => columns.isKnown(n));
  if (!location.search && view.range === USUAL && columns.ts[oldest] > now() - HOUR && view.since === null) show(live("1h", columns.ts[oldest]));
  else await loadBeside();
});

// Who used the machine over that time.
const loadLayers = guarded(async () => {
  const { view, by, key } = state;
  const asked = { points: LAYER_POINTS, by, metric: key };
  layers.add(await ask("who", { ...windowOf(view), ...asked }, "layers"));
  state.layered = now();
  noteLayers();
  if (waitsForWho() && isSomebody()) askWho(state.view);
  board.redraw();
  requestAnimationFrame(() => board.describe());
});

const isSomebody = () => {
  const shares = layers.best(state.view);
  return !!shares?.ts.some((_, n) => shares.isKnown(n));
};
const noteLayers = () => {
  const [waiting, note] = [waitsForWho(), isSomebody() ? "" : nothingYet()];
  board.stack.note = note;
  if (waiting && note) write(waiting, note);
};
// Where a text stands in the place of who used the machine in the view.
const waitsForWho = () => (state.who?.isMoment ? null : at("who").querySelector(".waiting"));

// Why nobody is known to have used the machine. The first capture is of the time since the one that begins it.
const nothingYet = () => {
  const rest = state.firstCapture === null ? -Infinity : state.firstCapture - now();
  if (rest > 0) return `First capture in at most ${Math.ceil(rest)} s.`;
  return rest > -HOUR ? "No capture yet: one comes every sampling.processes_interval." : "Nobody was captured in this time.";
};

// The same time a day or a week earlier, moved to where the view is.
const loadBefore = guarded(async () => {
  const { view, by, key, compared } = state;
  const earlier = COMPARED[compared];
  if (!earlier) {
    board.before = board.sharesBefore = null;
    return board.redraw();
  }
  const window = windowOf({ start: view.start - earlier, end: view.end - earlier });
  const [lines, who] = await Promise.all([series(window, POINTS, "before"),
    ask("who", { ...window, points: LAYER_POINTS, by, metric: key }, "who before")]);
  const moved = (answer) => ({ ...answer, ts: answer.ts.map((ts) => ts + earlier) });
  Object.assign(board, { before: new Columns(moved(lines)), sharesBefore: new Shares(moved(who)) });
  board.redraw();
});

const loadDevices = guarded(async () => { await state.devices?.load(state.view, COMPARED[state.compared]); });

// Three times as wide.
const loadAround = guarded(async ({ start, end }) => {
  state.isWide = true;
  const wide = end - start;
  memory.add(await series(windowOf({ start: start - wide, end: end + wide }), POINTS, "wide"));
  board.redraw();
});

const loadBeside = guarded(async () => {
  const { view } = state;
  const window = windowOf(view);
  const [{ gaps }, { events }, ...peaks] = await Promise.all([ask("gaps", window), ask("events", window), ...PEAK_METRICS.map(peaksOf)]);
  board.gaps = gaps.map(inSeconds);
  board.events = events;
  PEAK_METRICS.forEach((metric, n) => { board.peaks[metric] = peaks[n]; });
  showGaps(board.gaps);
  showEvents(events);
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

const openDay = (start, end) => {
  show(push({ start, end: Math.min(end, Math.ceil(now())) }));
  at("charts").scrollIntoView();
};

const choice = (name, title, isChosen) => button(title, () => choose(name), { ariaPressed: isChosen, value: name });
const choices = [
  make("span", { role: "group", ariaLabel: "Of what" }, choice("cpu", "CPU", true), choice("memory", "Memory", false)),
  make("span", { role: "group", ariaLabel: "By what" }, choice("name", "By name", true), choice("service", "By service", false)),
];
const choose = (name) => {
  if (name === "cpu" || name === "memory") state.key = name;
  else state.by = name;
  const chosen = [state.key, state.by];
  for (const each of choices.flatMap(({ children }) => [...children])) each.ariaPressed = chosen.includes(each.value);
  layers.clear();
  board.sharesBefore = null;
  loadLayers();
  loadBefore();
  askWho({ ...(state.who ?? state.view), sort: state.key, by: state.by });
};

const board = new Board({
  zoom: (start, end) => show(push({ start, end })),
  pan: move,
  who: (start, end, title) => askWho({ start, end, title, isMoment: true }),
  back,
  source: (view) => memory.best(view),
  shares: (view) => layers.best(view),
}, ...choices);

const box = new SqlBox();
const actions = {
  close: () => {
    askWho({ ...state.view, isMoment: false, title: "" });
    at("charts").focus({ preventScroll: true });
  },
  edit: (sql) => box.edit(sql),
  sort: (sort) => askWho({ ...state.who, sort }),
  // A finding's chart, over the time that it is about.
  show: ({ id, range, device }) => {
    show(push(live(range)));
    const scroll = () => (at(id) ?? at(`chart-${id}`)).scrollIntoView({ block: "center" });
    if (device) state.devices.choose(device, scroll);
    else scroll();
  },
};

const WEEK = 7 * DAY;
const askWho = guarded(async (asked) => {
  const who = state.who = { sort: state.who?.sort ?? state.key, by: state.by, ...asked };
  const { start, end, isMoment, sort, by } = who;
  board.pinned = isMoment ? { start, end } : null;
  board.redraw();
  const gap = isMoment && board.gaps.find((each) => each.start <= start && each.end >= end);
  if (gap) {
    showWho(who, `Nothing was recorded: ${gap.reason}, ${duration(gap.end - gap.start)}.`, null, actions);
  } else {
    const asking = (earlier, count, kind) =>
      ask("processes", { ...windowOf({ start: start - earlier, end: end - earlier }), sort, by, count }, kind);
    const [answer, before] = await Promise.all([asking(0, 10, "processes"), isMoment ? asking(WEEK, 100, "a week ago") : null]);
    const isNobody = by === "name" && !answer.processes.length;
    showWho(who, isNobody ? nothingYet() : answer, before, actions);
    box.offer(answer.sql);
  }
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
  if (state.view) showSpan(state.view);
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
  showView(live(view.range, view.since));
  const rest = isSomebody() ? Math.max(LAYERS_REST_SECONDS, layers.best(state.view).step) : LAYERS_REST_SECONDS / 2;
  if (now() - state.layered > rest) {
    loadLayers();
    loadDevices();
  }
  noteLayers();
};

const minutely = guarded(async () => {
  const isFirst = !state.minute;
  state.minute = now();
  const { since, firstCapture } = showHost(await ask("host"));
  board.since = since;
  state.firstCapture = firstCapture;
  noteLayers();
  state.mounts?.refresh();
  const hour = series(windowOf({ range: "1h" }), 61, "hour");
  tiles.hour(...await Promise.all([hour, ask("summary", { window: "1h" })]));
  if (state.view.range && !isFirst) await loadBeside();
  showInsights(await ask("insights"), actions);
});

const signedOut = () => {
  state.isSignedOut = true;
  memory.clear();
  layers.clear();
  state.devices?.clear();
  showSignedOut();
};

const begin = () => {
  forget();
  Object.assign(state, { isSignedOut: false, minute: 0, newest: 0, who: null, failure: "" });
  showSignedIn();
  at("compare").value = state.compared = comparedOf(location.search);
  show(viewOf(location.search));
  check();
};

listen(begin, handle);

at("ranges").append(...Object.keys(RANGES).map((range) => button(range, () => show(push(live(range))))));
at("moves").append(
  button("◀", () => board.panBy(-0.5), { ariaLabel: "Earlier" }),
  button("▶", () => board.panBy(0.5), { ariaLabel: "Later" }),
  button("+", () => board.zoomBy(0.5), { ariaLabel: "Zoom in" }),
  button("−", () => board.zoomBy(2), { ariaLabel: "Zoom out" }),
  button("Back", back, { id: "back" }),
);
// A moment in the middle of as much time as is shown, at most a day; or later in it, where the middle is not over.
const goTo = (ts) => {
  const half = Math.min(state.view.end - state.view.start, DAY) / 2;
  const ahead = Math.max(0, ts + half - now());
  show(push({ start: ts - half - ahead, end: ts + half - ahead }));
  board.cursor = ts;
  const step = Math.max(MINUTE, (2 * half) / LAYER_POINTS);
  askWho({ start: Math.floor(ts), end: Math.floor(ts + step), title: "", isMoment: true });
};
listenTools({ board, box, goTo, compare: (word) => {
  state.compared = word;
  show(push(state.view));
} });
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
on(window, "popstate", () => {
  at("compare").value = state.compared = comparedOf(location.search);
  show(viewOf(location.search));
});

// Who used the machine at a moment that was clicked far below is shown there.
new IntersectionObserver(([{ isIntersecting }]) => document.body.classList.toggle("far", !isIntersecting),
  { rootMargin: "-150px 0px 0px" }).observe(at("chart-stack"));

// Earlier it would take a connection from the modules.
at("icon").src = "static/icon.svg";
write(at("zone"), zone());
showTheme();
