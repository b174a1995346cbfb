// Elements by name, with properties and children. Text only as text: what a host calls its processes is no markup.

export const at = (id) => document.getElementById(id);

export const make = (name, ...parts) => {
  const element = document.createElement(name);
  for (const part of parts) part.constructor === Object ? Object.assign(element, part) : element.append(part);
  return element;
};

export const button = (text, click, properties = {}) => {
  const element = make("button", { type: "button", ...properties }, text);
  element.addEventListener("click", click);
  return element;
};
