// Elements by name, with properties and children. Text only as text: what a host calls its processes is no markup.

export const at = (id) => document.getElementById(id);

export const make = (name, ...parts) => {
  const element = document.createElement(name);
  for (const part of parts) part.constructor === Object ? Object.assign(element, part) : element.append(part);
  return element;
};

// The same text once more would have the page laid out again.
export const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export const button = (text, click, properties = {}) => {
  const element = make("button", { type: "button", ...properties }, text);
  element.addEventListener("click", click);
  return element;
};
