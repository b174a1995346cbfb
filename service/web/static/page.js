// The page: views, what arrives by itself, signing in.

import { Refused, ask, forget, health, now, sign } from "./api.js";
import { Board } from "./board.js";
import { chartWith, chartsOf } from "./charts.js";
import { at, button, write } from "./dom.js";
import { DAY, HOUR, MINUTE, clock, duration, span, zone } from "./format.js";
import { Tiles, showGaps, showInsights, showWho } from "./panels.js";
import { Memory } from "./series.js";
import { state } from "./state.js";

const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 31556952 };
const USUAL = "24h";
// About a chart's width; to ask for it would have the page laid out first.
const POINTS = screen.width < 600 ? 300 : 600;
const LONGEST_REST_SECONDS = 10, SETTLED_MILLISECONDS = 150;
const PEAKS = ["cpu_percent", "memory_percent"];
const TILES = 6;

const memory = new Memory();
const does = {
  zoom: (start, end) => show(push({ start, end })),
  pan: (start, end) => move(start, end),
  who: (start, end, title) => askWho({ start, end, title, isMoment: true }),
  back: () => back(),
  source: (view) => memory.best(view),
  close: () => {
    askWho({ ...state.view, isMoment: false });
    at("charts").focus({ preventScroll: true });
  },
  sort: (sort) => askWho({ ...state.who, sort }),
};

// Once, when the list of metrics has come.
const build = async () => {
  if (state.board) return;
  state.charts = chartsOf((await ask("metrics", {})).metrics);
  state.board = new Board(state.charts, at("charts"), at("readout"), does);
  state.tiles = new Tiles(state.charts.slice(0, TILES));
};

const live = (range) => ({ range, start: now() - RANGES[range], end: now() });

const viewOf = (address) => {
  const given = new URLSearchParams(address);
  const [start, end] = ["start", "end"].map((name) => Date.parse(given.get(name)) / 1000);
  return end > start ? { start, end } : live(RANGES[given.get("range")] ? given.get("range") : USUAL);
};

const text = (ts) => new Date(ts * 1000).toISOString().replace(".000", "");
const addressOf = ({ range, start, end }) =>
  range ? `?range=${range}` : `?start=${text(Math.floor(start))}&end=${text(Math.ceil(end))}`;

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
  if (!state.board) return;
  clearTimeout(state.settling);
  Object.assign(state, { view, isMoving: false });
  state.board.show(view);
  showView();
  load();
};

// A view in motion is drawn from memory; asked for is where it comes to rest.
const move = (start, end) => {
  const ahead = Math.max(0, end - now() - (end - start) / 2);
  state.view = { start: start - ahead, end: end - ahead };
  state.board.show(state.view);
  showView();
  if (!state.isWide) around(state.view);
  clearTimeout(state.settling);
  state.settling = setTimeout(() => {
    if (state.isMoving) history.replaceState(history.state, "", addressOf(state.view));
    else push(state.view);
    state.isMoving = true;
    load();
  }, SETTLED_MILLISECONDS);
};

const showView = () => {
  const { range, start, end } = state.view;
  for (const each of at("ranges").children) each.ariaPressed = String(each.dataset.range === range);
  write(at("shown"), `${span(start, end)}${range ? ", live" : ""}`);
  at("back").hidden = !depth() && range;
};

const handle = (error) => {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) signedOut();
  else if (error.status === 0) dead();
  else state.failure = `Tidemark answers: ${error.message}`;
};
const guarded = (work) => (...given) => work(...given).catch(handle);

const series = (start, end, points, kind) => {
  const metric = state.charts.flatMap(({ lines }) => lines.map((line) => line.metric));
  return ask("series", { metric, start, end, points }, kind);
};
const edges = ({ range, start, end }) => (range ? [`-${range}`, "now"] : [Math.floor(start), Math.ceil(end)]);

const load = guarded(async () => {
  const { view } = state;
  const columns = memory.add(await series(...edges(view), POINTS, "view"));
  Object.assign(state, { columns, appended: now(), isWide: false, failure: "" });
  state.board.redraw();
  // A history younger than an hour is a speck in a day that nobody asked for.
  const oldest = columns.ts.findIndex((_, n) => columns.isKnown(n));
  if (!location.search && view.range === USUAL && columns.ts[oldest] > now() - HOUR) show(live("1h"));
  else await beside();
});

// Coarse, and three times as wide, for moving on.
const around = guarded(async ({ start, end }) => {
  state.isWide = true;
  const wide = end - start;
  memory.add(await series(Math.floor(start - wide), Math.ceil(end + wide), POINTS, "wide"));
  state.board.redraw();
});

const seconds = (time) => Date.parse(time) / 1000;
const inSeconds = (each) => ({ ...each, start: seconds(each.start), end: seconds(each.end) });

const beside = guarded(async () => {
  const { board, view } = state;
  const [start, end] = edges(view);
  const [{ gaps }, ...peaks] = await Promise.all([ask("gaps", { start, end }), ...PEAKS.map(peaksOf)]);
  board.gaps = gaps.map(inSeconds);
  board.peaks = Object.fromEntries(PEAKS.map((metric, n) => [chartWith(state.charts, metric).id, peaks[n]]));
  showGaps(board.gaps);
  board.redraw();
  requestAnimationFrame(() => board.describe());
  if (!state.who?.isMoment) await askWho({ ...view, isMoment: false });
});

// The API knows those up to now; of the past the highest bucket is marked.
const peaksOf = async (metric) => {
  const { view: { range }, columns } = state;
  if (range) {
    const { peaks } = await ask("peaks", { metric, window: range }, `peaks ${metric}`);
    return peaks.map((peak) => ({ ...inSeconds(peak), at: seconds(peak.maximum_at ?? peak.start) }));
  }
  const most = columns.extreme(metric, state.view);
  const at = most?.at;
  return most ? [{ start: at, end: at + Math.max(MINUTE, columns.step), at, maximum: most.highest }] : [];
};

const askWho = guarded(async (asked) => {
  const { start, end, isMoment, sort = state.sort } = asked;
  Object.assign(state, { who: asked, sort });
  const answered = (answer, text) => showWho({ ...asked, sort }, answer, text, does);
  const gap = isMoment && state.board.gaps.find((each) => each.start <= start && each.end >= end);
  if (gap) answered(null, `Nothing was recorded then: ${gap.reason}, ${duration(gap.end - gap.start)}.`);
  else answered(await ask("processes", { start: Math.floor(start), end: Math.ceil(end), sort, count: 10 }));
  if (isMoment) at("who").focus({ preventScroll: true });
});

const check = async () => {
  clearTimeout(state.timer);
  if (document.hidden || state.isChecking) return;
  state.isChecking = true;
  let rest = 2;
  try {
    rest = await alive(await health());
  } catch (error) {
    handle(error);
  } finally {
    state.isChecking = false;
    state.timer = setTimeout(check, rest * 1000);
  }
};

// Takes over what is new. Returns the seconds until just after the next sample is due.
const alive = async (answer) => {
  const { newest_sample_age_seconds: age, interval } = answer;
  const stored = age === null ? 0 : now() - age;
  const wasDead = state.deadSince;
  state.deadSince = 0;
  document.body.classList.remove("stale");
  if (!state.isSignedOut && !state.board) await open();
  else if (!state.isSignedOut) {
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
  const texts = { failing: `No sample is stored${late}.`, degraded: "It records, but something is wrong:" };
  showBanner(texts[status] ? `${texts[status]} ${error ?? ""}` : state.failure);
};

const dead = () => {
  state.deadSince ||= now();
  document.body.classList.add("stale");
  const seen = state.newest ? `; what you see is as of ${clock(state.newest, 1)}` : "";
  showStatus("dead", "does not answer");
  showBanner(`Tidemark does not answer since ${clock(state.deadSince)}${seen}.`);
};

const arrived = guarded(async (interval, stored) => {
  const start = (Math.floor(now() / interval) - 2) * interval;
  const { series: known } = await series(start, start + 3 * interval, 4, "now");
  const newest = (metric) => known[metric].average.findLast((value) => value !== null) ?? null;
  Object.assign(state, { newest: stored, failure: "" });
  state.tiles.values(newest);
  await append();
});

// The buckets since the newest known one; a year gains nothing from every sample.
const append = async () => {
  const { view, columns } = state;
  if (!view.range || !columns) return;
  const { step, ts } = columns;
  if (now() - state.appended > step / 20) {
    const known = ts.findLastIndex((_, n) => columns.isKnown(n));
    const start = ts[Math.max(0, known < 0 ? ts.length - 2 : known)];
    const count = Math.ceil(now() / step) - start / step;
    if (count > 120) return load();
    const answer = await series(start, start + count * step, count + 1, "append");
    if (state.view !== view || state.columns !== columns) return;
    state.appended = now();
    if (!columns.merge(answer, now() - RANGES[view.range] - step)) return load();
  }
  state.view = live(view.range);
  state.board.show(state.view);
  showView();
};

const minutely = guarded(async () => {
  const isFirst = !state.minute;
  state.minute = now();
  const [summary, curve] = await Promise.all([
    ask("summary", { window: "1h" }), series("-1h", "now", 61, "hour"),
  ]);
  state.tiles.hour(curve, summary);
  if (state.view.range && !isFirst) await beside();
  showInsights((await ask("insights", {})).insights);
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

const open = guarded(async () => {
  await build();
  show(viewOf(location.search));
});

const begin = () => {
  forget();
  Object.assign(state, { isSignedOut: false, minute: 0, newest: 0, who: null, failure: "" });
  reveal(true);
  open().then(check);
};

at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  write(at("refused"), "");
  try {
    await sign("in", { token: at("token").value });
    at("token").value = "";
    kept((storage) => storage.setItem(SIGNED_IN, "yes"));
    begin();
  } catch (error) {
    write(at("refused"), error.status === 401 ? "This is not the token." : `Not signed in: ${error.message}.`);
  }
});

at("sign-out").addEventListener("click", async () => {
  await sign("out").catch(handle);
  kept((storage) => storage.removeItem(SIGNED_IN));
  location.reload();
});

at("ranges").append(...Object.keys(RANGES).map((range) => {
  const each = button(range, () => show(push(live(range))));
  each.dataset.range = range;
  return each;
}));
at("moves").append(
  button("◀", () => state.board.panBy(-0.5), { ariaLabel: "Earlier" }),
  button("▶", () => state.board.panBy(0.5), { ariaLabel: "Later" }),
  button("+", () => state.board.zoomBy(0.5), { ariaLabel: "Zoom in" }),
  button("−", () => state.board.zoomBy(2), { ariaLabel: "Zoom out" }),
  button("Back", back, { id: "back" }),
);
begin();

const THEMES = ["system", "light", "dark"];
const { dataset } = document.documentElement;
const showTheme = () => write(at("theme"), `Theme: ${dataset.theme}`);
at("theme").addEventListener("click", () => {
  dataset.theme = THEMES[(THEMES.indexOf(dataset.theme) + 1) % 3];
  kept((storage) => storage.setItem("tidemark-theme", dataset.theme));
  showTheme();
  state.board?.recolour();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.board?.recolour());

document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || state.isSignedOut) return;
  if (state.who?.isMoment) does.close();
  else back();
});
document.addEventListener("visibilitychange", check);
addEventListener("popstate", () => show(viewOf(location.search)));

write(at("host"), location.host);
document.title += ` ${location.host}`;
write(at("zone"), zone());
showTheme();
