// Elements by name or name.class, with properties and children. Text stays text: a process may be named like markup.

export const at = (id) => document.getElementById(id);

export const make = (name, ...parts) => {
  const [tag, className = ""] = name.split(".");
  const element = Object.assign(document.createElement(tag), { className });
  for (const part of parts) part.constructor === Object ? Object.assign(element, part) : element.append(part);
  return element;
};

// Setting the same text again would lay out the page.
export const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export const on = (target, name, react, options) => target.addEventListener(name, react, options);

export const button = (text, click, properties = {}) => {
  const element = make("button", { type: "button", ...properties }, text);
  on(element, "click", click);
  return element;
};
