// The SQL box: a statement, its rows, and files and links of what is shown.

import { ask } from "./api.js";
import { at, button, make, on, write } from "./dom.js";

// RFC 4180; what a spreadsheet would take for a formula stays text.
const field = (value) => {
  const text = value === null || value === undefined ? "" : `${value}`;
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export const csv = (columns, rows) => [columns, ...rows].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";

export const save = (name, text) => {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};

// Without https there is no clipboard: the text is selected. `target`: the button, which says what was done.
export const copy = async (target, element, text = element.textContent) => {
  if (element.select) element.select();
  else getSelection().selectAllChildren(element);
  await navigator.clipboard?.writeText(text);
  target.textContent = navigator.clipboard ? "Copied" : "Selected";
};

export class SqlBox {
  #statement = at("statement");
  #found = null;
  #isOwn = false;

  constructor() {
    const saved = button("CSV", () => save("rows.csv", csv(this.#found.columns, this.#found.rows)), { hidden: true, id: "rows-csv" });
    at("sql-tools").append(button("Run", () => this.run(), { id: "run" }),
      button("Copy", ({ target }) => copy(target, this.#statement, this.#statement.value)), saved);
    on(this.#statement, "input", () => { this.#isOwn = true; });
    on(this.#statement, "keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.run();
    });
  }

  // The query of what is shown, unless somebody has written one.
  offer(statement) {
    if (!this.#isOwn) this.#statement.value = statement;
  }

  // Opens the box with a statement to change and run.
  edit(statement) {
    this.#isOwn = true;
    this.#statement.value = statement;
    at("sql").open = true;
    this.#statement.focus({ preventScroll: true });
    this.#stay();
  }

  // What lies above it fills once it is near, and would push it away: until somebody scrolls or types.
  #stay() {
    const watch = new ResizeObserver(() => at("sql").scrollIntoView({ block: "center" }));
    for (const id of ["mounts", "year"]) watch.observe(at(id));
    const stop = () => watch.disconnect();
    for (const name of ["wheel", "touchmove", "keydown"]) on(window, name, stop, { once: true });
    setTimeout(stop, 10000);
  }

  async run() {
    write(at("sql-says"), "running");
    try {
      this.#found = await ask("sql", { query: this.#statement.value.trim().replace(/;$/, "") });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#found = null;
      write(at("sql-says"), error.message);
    }
    this.#show();
  }

  #show() {
    const found = this.#found;
    at("rows-csv").hidden = !found;
    if (!found) return at("rows").replaceChildren();
    const { columns, rows, is_cut: isCut } = found;
    write(at("sql-says"), `${rows.length} row${rows.length === 1 ? "" : "s"}${isCut ? ", and more that are not shown" : ""}`);
    at("rows").replaceChildren(make("table", make("thead", make("tr", ...columns.map((name) => make("th", name)))),
      make("tbody", ...rows.map((row) => make("tr", ...row.map((cell) => make("td", cell === null ? "–" : `${cell}`)))))));
  }
}
