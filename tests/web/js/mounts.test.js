// Mounts from the rows of their statement, and where a forecast leads.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AHEAD, BACK, coneOf, mountsOf } from "../../../service/web/static/mounts.js";

const DAY = 86400;

test("mounts come the fullest first, each with its days and its forecast", () => {
  const mounts = mountsOf([
    ["/", 0, 10, 100, 10, 90, 100, null, null, null], ["/srv", 0, 40, 100, 60, 20, 100, 5, 6, 7],
    ["/srv", DAY, 60, 100, 60, 20, 100, 5, 6, 7],
  ]);
  assert.deepEqual(mounts.map(({ mount, share }) => [mount, share]), [["/srv", 0.75], ["/", 0.1]]);
  assert.deepEqual(mounts[0].days, [{ day: 0, share: 0.5 }, { day: DAY, share: 0.75 }]);
  assert.deepEqual(mounts.map(({ forecast }) => forecast), [{ earliest: 5, middle: 6, latest: 7 }, null]);
});

test("a cone leads from now to its early and its late end", () => {
  const mount = { share: 0.5, forecast: { earliest: 10 * DAY, middle: 12 * DAY, latest: 20 * DAY } };
  assert.deepEqual(coneOf(mount, 0), { cone: `M${BACK} 20L${BACK + 10} 0L${BACK + 20} 0Z`, middle: `M${BACK} 20L${BACK + 12} 0` });
});

test("what is far away, or is not foreseen, has no cone", () => {
  const far = (AHEAD + 1) * DAY;
  assert.equal(coneOf({ share: 0.5, forecast: { earliest: far, middle: far, latest: far } }, 0), null);
  assert.equal(coneOf({ share: 0.5, forecast: null }, 0), null);
});
