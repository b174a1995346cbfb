// The calendar of a year, a square a day, and weekday by hour.

import { ask, now } from "./api.js";
import { LEVELS, after, byDay, byWeekday, daysOf, hoursOf, levelOf } from "./days.js";
import { at, button, make, on } from "./dom.js";
import { DAY, HOUR, day as dayText, moment, quantity } from "./format.js";
import { Palette } from "./stacking.js";

// The API gives hours of a year in two answers.
const HALF = 183 * DAY, POINTS = 4400;
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const KINDS = {
  CPU: { metrics: ["cpu_percent"], unit: "percent" },
  Memory: { metrics: ["memory_percent"], unit: "percent" },
  Network: { metrics: ["network_sent_bytes", "network_received_bytes"], unit: "bytes per second" },
  Who: { metrics: ["cpu_percent"], unit: "percent" },
};

// Hourly averages of a year: {ts, averages}, of several metrics their sum.
const hourly = async (metrics) => {
  const end = Math.ceil(now() / HOUR) * HOUR;
  const halves = [];
  for (const half of [2, 1]) {
    const window = { start: end - half * HALF, end: end - (half - 1) * HALF };
    halves.push(await ask("series", { metric: metrics, ...window, points: POINTS }, `hours ${half}`));
  }
  const all = (pick) => halves.flatMap(pick);
  const averages = metrics.map((metric) => all(({ series }) => series[metric].average));
  const sum = (n) => averages.reduce((total, each) => (total === null || each[n] === null ? null : total + each[n]), 0);
  const ts = all((half) => half.ts);
  return { ts, averages: ts.map((_, n) => sum(n)) };
};

// Of each day, by the number of days since 1970 in UTC, who used most CPU.
const dominant = async () => {
  const { ts, series } = await ask("who", { start: "-1y", points: 368, top: 8 }, "dominant");
  const most = (n) => Object.entries(series).reduce((best, [name, values]) => (values[n] > best[1] ? [name, values[n]] : best), ["", 0])[0];
  return new Map(ts.map((at, n) => [Math.floor(at / DAY), most(n)]));
};

export class Calendar {
  #kind = "CPU";
  #palette = new Palette();
  #choices = Object.keys(KINDS).map((kind) => button(kind, () => this.#choose(kind), { ariaPressed: kind === "CPU" }));
  #grid = make("div.days", { role: "group", ariaLabel: "Days; arrow keys move, Enter shows a day" });
  #week = make("div.week", { role: "img", ariaLabel: "Weekday by hour" });
  #scale = make("p.note");
  #open;

  // `open(start, end)`: shows a day.
  constructor(open) {
    this.#open = open;
    at("year").append(make("header", make("h2", "A year"), make("span.choice", { role: "group", ariaLabel: "Days by" }, ...this.#choices)),
      make("div.both", make("div", make("div.scroll", this.#grid), this.#scale), make("div", make("h3", "Weekday by hour"), this.#week)));
    on(this.#grid, "keydown", (event) => this.#key(event));
    // What is far below is not asked for until somebody comes near.
    const sight = new IntersectionObserver(([{ isIntersecting }]) => {
      if (!isIntersecting) return;
      sight.disconnect();
      this.#load();
    }, { rootMargin: "200px" });
    sight.observe(at("year"));
  }

  #choose(kind) {
    this.#kind = kind;
    for (const each of this.#choices) each.ariaPressed = each.textContent === kind;
    this.#load();
  }

  async #load() {
    const kind = this.#kind;
    const { metrics, unit } = KINDS[kind];
    try {
      const [{ ts, averages }, names] = await Promise.all([hourly(metrics), kind === "Who" ? dominant() : null]);
      if (kind !== this.#kind) return;
      this.#show(byDay(ts, averages), unit, names);
      this.#showWeek(byWeekday(ts, averages), unit);
    } catch (error) {
      if (error.name !== "AbortError") this.#scale.textContent = `The year was not answered: ${error.message}.`;
    }
  }

  #show(known, unit, names) {
    const averages = [...known.values()].map(({ average }) => average);
    const [least, most] = [Math.min(...averages), Math.max(...averages)];
    const shown = names && [...new Set(names.values())].filter(Boolean);
    const colours = names && new Map(this.#palette.assign(shown).map((number, n) => [shown[n], `stack${number}`]));
    const days = daysOf(now() - 365 * DAY, now());
    const isFirst = !this.#grid.childElementCount;
    this.#grid.replaceChildren(...days.map((day, n) => {
      const found = known.get(day);
      const whole = hoursOf(day);
      const isToday = after(day, 1) > now();
      const name = names?.get(Math.floor((day + DAY / 2) / DAY)) ?? "";
      const words = !found ? "nothing recorded" : `${names && name ? `${name} most; ` : ""}${quantity(found.average, unit)}${
        found.hours < whole && !isToday ? `, ${found.hours} of ${whole} h recorded` : ""}`;
      const level = !found ? "none" : names ? colours.get(name) ?? "rest1" : `heat${levelOf(found.average, least, most)}`;
      const square = button("", () => this.#open(day, after(day, 1)), {
        title: `${moment(day, DAY)}: ${words}`, ariaLabel: `${moment(day, DAY)}: ${words}`, tabIndex: n === days.length - 1 ? 0 : -1 });
      square.className = `${level}${found && found.hours < whole && !isToday ? " part" : ""}`;
      return square;
    }), ...this.#months(days));
    // Where a year is wider than the screen, its newest days are in sight.
    if (isFirst) this.#grid.parentElement.scrollLeft = this.#grid.scrollWidth;
    const scale = names ? shown.map((name) => make("span", make(`i.${colours.get(name)}`), make("bdi", name)))
      : Array.from({ length: LEVELS }, (_, n) => make("span", make(`i.heat${n + 1}`),
        n === 0 ? quantity(least, unit) : n === LEVELS - 1 ? quantity(most, unit) : ""));
    this.#scale.replaceChildren(...(known.size ? scale : ["Nothing is recorded yet."]), make("span", make("i.none part"), "not all recorded"));
  }

  // Above the week in which one begins.
  #months(days) {
    return days.flatMap((day, n) => {
      if (new Date(day * 1000).getDate() !== 1) return [];
      const label = make("small", dayText(day).split(" ")[1]);
      label.style.gridColumn = `${Math.floor(n / 7) + 1} / span 4`;
      return [label];
    });
  }

  #showWeek(averages, unit) {
    const cells = averages.flatMap((hours, weekday) => hours.map((average, hour) => ({ weekday, hour, average })));
    const known = cells.filter(({ average }) => average !== null);
    const values = known.map(({ average }) => average);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const word = ({ weekday, hour, average }) => `${WEEKDAYS[weekday]} ${`${hour}`.padStart(2, "0")}:00, ${quantity(average, unit)}`;
    const busiest = known.find(({ average }) => average === most);
    this.#week.ariaLabel = busiest ? `Weekday by hour: most on ${word(busiest)}` : "Weekday by hour: nothing recorded";
    this.#week.replaceChildren(...averages.flatMap((_, weekday) => [make("small", WEEKDAYS[weekday]),
      ...cells.filter((cell) => cell.weekday === weekday).map((cell) => make(
        `i.${cell.average === null ? "none" : `heat${levelOf(cell.average, least, most)}`}`, { title: word(cell) }))]),
    make("small"), ...Array.from({ length: 24 }, (_, hour) => make("small", hour % 3 ? "" : `${hour}`.padStart(2, "0"))));
  }

  #key(event) {
    const way = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 }[event.key];
    const squares = [...this.#grid.querySelectorAll("button")];
    const from = squares.indexOf(event.target);
    if (!way || from < 0) return;
    const to = squares[Math.max(0, Math.min(squares.length - 1, from + way))];
    [squares[from].tabIndex, to.tabIndex] = [-1, 0];
    to.focus();
    event.preventDefault();
  }
}
