// The API's description as a page: reads openapi.json and writes it down. Text goes in by textContent only.
"use strict";

const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

// An example in the shape of a schema, so that people see the answer and not its grammar.
const example = (schema) => {
  const type = [schema.type].flat()[0];
  if (schema.enum) return schema.enum.join(" | ");
  if (type === "object") {
    const known = Object.entries(schema.properties ?? {}).map(([key, value]) => [key, example(value)]);
    return schema.additionalProperties ? { NAME: example(schema.additionalProperties) } : Object.fromEntries(known);
  }
  if (type === "array") return [example(schema.items)];
  if (type === "string") return schema.format === "date-time" ? "2026-01-31T12:00:00Z" : "...";
  return type === "boolean" ? true : 0;
};

const parameterTable = (parameters) => {
  const rows = parameters.map((p) => {
    const name = make("td", "", make("code", p.name));
    return make("tr", "", name, make("td", p.required ? "required" : ""), make("td", p.description ?? ""));
  });
  const head = make("tr", "", make("th", "parameter"), make("th"), make("th", "takes"));
  return make("table", "", make("thead", "", head), make("tbody", "", ...rows));
};

const route = ([path, { get }]) => {
  const section = make("section", "", make("h2", `GET ${path}`), make("p", get.summary));
  const parameters = get.parameters ?? [];
  if (parameters.length) section.append(parameterTable(parameters));
  const needed = parameters.filter((p) => p.required).map((p) => `${p.name}=cpu_percent`);
  const link = make("a", "Ask for it");
  link.href = `..${path}${needed.length ? `?${needed.join("&")}` : ""}`;
  const answer = get.responses["200"].content["application/json"].schema;
  const shape = make("details", "", make("summary", "The answer's shape"));
  shape.append(make("pre", JSON.stringify(example(answer), null, 2)));
  section.append(make("p", "", link), shape);
  return section;
};

const show = async () => {
  const state = document.getElementById("state");
  const response = await fetch("v1/openapi.json");
  if (!response.ok) {
    state.textContent = `The description cannot be read: ${response.status}`;
    return;
  }
  const api = await response.json();
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("paths").replaceChildren(...Object.entries(api.paths).map(route));
};

show().catch((error) => { document.getElementById("state").textContent = `The description cannot be read: ${error}`; });
