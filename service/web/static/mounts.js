// Every mount: how full it was, and the cone of its forecast.

import { ask, now } from "./api.js";
import { at, make } from "./dom.js";
import { DAY, HOUR, moment, quantity } from "./format.js";

// What is drawn: so many days back and ahead.
export const BACK = 30, AHEAD = 60;
const HIGH = 40;
const SVG = "http://www.w3.org/2000/svg";

// A row a mount and day; with each the newest forecast of its mount, where that is not old.
const statement = (until) => `SELECT past.mount, day, past.used_bytes, past.total_bytes, mounts.used_bytes, available_bytes, mounts.total_bytes, earliest_ts, middle_ts, latest_ts
FROM (
    SELECT mount, ts / ${DAY} * ${DAY} AS day, MAX(used_bytes) AS used_bytes, MAX(total_bytes) AS total_bytes
    FROM filesystems WHERE ts >= ${until - BACK * DAY} GROUP BY mount, day
) AS past
JOIN mounts ON mounts.mount = past.mount
LEFT JOIN forecasts ON forecasts.mount = past.mount AND is_full = 1 AND made_ts = (
    SELECT MAX(made_ts) FROM forecasts AS other WHERE other.mount = past.mount AND other.is_full = 1
) AND made_ts >= ${until - 2 * HOUR}
ORDER BY past.mount, day`;

// By mount: {mount, free, share, days: [{day, share}], forecast: null or {earliest, middle, latest}}; shares from 0 to 1.
export const mountsOf = (rows) => {
  const found = new Map();
  for (const [mount, day, used, total, usedNow, free, totalNow, earliest, middle, latest] of rows) {
    const each = found.get(mount) ?? { mount, days: [] };
    // By df's rule: of what users may fill, which is all but what is kept for root.
    each.days.push({ day, share: used / (total - (totalNow - usedNow - free)) });
    found.set(mount, Object.assign(each, { free, share: usedNow / (usedNow + free), forecast: middle === null ? null : { earliest, middle, latest } }));
  }
  return [...found.values()].sort((a, b) => b.share - a.share);
};

// Where the forecast leads from now on, in the units of the drawing; null where it is not within what is drawn.
export const coneOf = ({ share, forecast }, ts) => {
  if (!forecast) return null;
  const x = (moment_) => BACK + Math.max(0, (moment_ - ts) / DAY);
  if (x(forecast.earliest) > BACK + AHEAD) return null;
  const y = HIGH * (1 - share);
  return { cone: `M${BACK} ${y}L${x(forecast.earliest)} 0L${x(forecast.latest)} 0Z`, middle: `M${BACK} ${y}L${x(forecast.middle)} 0` };
};

const path = (className, d) => {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("class", className);
  element.setAttribute("d", d);
  return element;
};

const picture = (mount, ts) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${BACK + AHEAD} ${HIGH}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = mount.days.map(({ day, share }, n) =>
    `${n ? "L" : "M"}${(BACK + Math.min(0, (day + DAY / 2 - ts) / DAY)).toFixed(2)} ${(HIGH * (1 - share)).toFixed(2)}`).join("");
  const cone = coneOf(mount, ts);
  svg.append(path("limit", `M0 .3H${BACK + AHEAD}M0 ${HIGH - 0.3}H${BACK + AHEAD}M${BACK} 0V${HIGH}`), path("past", line));
  if (cone) svg.append(path("cone", cone.cone), path("middle", cone.middle));
  return svg;
};

const words = ({ forecast }) => {
  if (!forecast) return "no growth that would fill it";
  const { earliest, middle, latest } = forecast;
  const far = (latest - earliest) > 400 * DAY ? "later or never" : moment(latest, DAY);
  return `full in ${Math.max(0, Math.round((middle - now()) / DAY))} days (${moment(earliest, DAY)} – ${far})`;
};

export class Mounts {
  #asked = 0;
  #isSeen = false;

  constructor() {
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#isSeen = isIntersecting;
      this.refresh();
    }, { rootMargin: "100px" }).observe(at("mounts"));
  }

  // At most once an hour, and only where it is seen: each time costs a process.
  async refresh() {
    if (!this.#isSeen || now() - this.#asked < HOUR) return;
    this.#asked = now();
    const ts = Math.floor(now());
    try {
      const { rows } = await ask("sql", { query: statement(ts) }, "mounts");
      this.#show(mountsOf(rows), ts);
    } catch (error) {
      this.#asked = 0;
      if (error.name !== "AbortError") at("mounts").replaceChildren(make("h2", "Mounts"), make("p.note", `Not answered: ${error.message}.`));
    }
  }

  #show(mounts, ts) {
    at("mounts").replaceChildren(make("h2", "Mounts"), make("p.note", mounts.length
      ? `Used space, ${BACK} days back and ${AHEAD} ahead; the cone is where 8 of 10 forecasts end.` : "No mount is recorded yet."),
    make("ul", ...mounts.map((mount) => make("li", make("div", make("bdi", mount.mount), " ", make("b", quantity(mount.share * 100, "percent")),
      make("small", ` ${quantity(mount.free, "bytes")} free; ${words(mount)}`)), picture(mount, ts)))));
  }
}
