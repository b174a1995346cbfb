// Shows openapi.json as a page. Text is added by textContent only.
"use strict";

const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
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
  const link = make("a", "Try it");
  link.href = `..${path}${needed.length ? `?${needed.join("&")}` : ""}`;
  const { example } = get.responses["200"].content["application/json"];
  const shown = make("details", "", make("summary", "Example answer"));
  shown.append(make("pre", JSON.stringify(example, null, 2)));
  section.append(make("p", "", link), shown);
  return section;
};

const show = async () => {
  const state = document.getElementById("state");
  const response = await fetch("v1/openapi.json");
  if (!response.ok) {
    state.textContent = `openapi.json cannot be read: status ${response.status}`;
    return;
  }
  const api = await response.json();
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("paths").replaceChildren(...Object.entries(api.paths).map(route));
};

show().catch((error) => { document.getElementById("state").textContent = `openapi.json cannot be read: ${error}`; });
