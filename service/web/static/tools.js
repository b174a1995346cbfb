// What stands above the charts: comparing, going to a time, a link, CSV.

import { now } from "./api.js";
import { at, make, on, write } from "./dom.js";
import { parseMoment } from "./format.js";
import { COLUMNS } from "./series.js";
import { copy, csv, save } from "./sql.js";
import { state } from "./state.js";
import { COMPARED, addressOf } from "./views.js";

const saveSeries = ({ columns, view }) => {
  if (!columns) return;
  const [first, last] = columns.within(view);
  const names = Object.keys(columns.series).flatMap((metric) => COLUMNS.map((column) => [metric, column]));
  const rows = columns.ts.slice(first, last).map((ts, n) => [new Date(ts * 1000).toISOString(), ts,
    ...names.map(([metric, column]) => columns.value(metric, column, first + n))]);
  save("series.csv", csv(["time", "ts", ...names.map(([metric, column]) => `${metric} ${column}`)], rows));
};

// `compare(word)`, `goTo(ts)`: what is done; `box`: for SQL.
export const listenTools = ({ board, box, goTo, compare }) => {
  at("compare").append(...Object.keys(COMPARED).map((word) => make("option", word)));
  on(at("compare"), "change", () => compare(at("compare").value));
  on(at("go"), "submit", (event) => {
    event.preventDefault();
    const ts = parseMoment(at("goal").value, now());
    write(at("astray"), ts === null ? "Like 03:12, 24 Nov 03:12 or 2026-11-24 03:12" : "");
    if (ts !== null) goTo(ts);
  });
  // The same moments for whoever opens it, and not up to their now.
  on(at("link"), "click", ({ target }) => {
    const { start, end } = state.view;
    copy(target, at("shown"), new URL(addressOf({ start, end }, state.compared), location.href).href);
  });
  on(at("to-sql"), "click", () => box.edit(at("statement").value));
  on(at("csv"), "click", () => saveSeries(board));
};
