// The page's state is declared in one place.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { state } from "../../../service/web/static/state.js";

const page = readFileSync(new URL("../../../service/web/static/page.js", import.meta.url), "utf8");

test("a field that is not declared cannot be set", () => {
  assert.throws(() => { state.another = 1; }, TypeError);
});

test("every field is used, and every field that is used is declared", () => {
  const used = [...page.matchAll(/(?<!\.)\bstate\.(?!js)(\w+)/g)].map(([, name]) => name);
  const together = [...page.matchAll(/Object\.assign\(state, \{(.*?)\}\)/g)].map(([, fields]) => fields).join();
  assert.ok(used.length > 20);
  for (const name of used) assert.ok(name in state, name);
  for (const name of Object.keys(state)) assert.ok(used.includes(name) || together.includes(name), name);
});

test("the page remembers nothing beside its state", () => assert.doesNotMatch(page, /^(let|var) /m));
