// Elements by name or name.class, with properties and children. Text stays text: a process may be named like markup, and
// what would turn its line around (U+202E) or hide in it is shown as its number. Code keeps its line breaks.

const shown = (text, isCode) => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (sign) => isCode && sign === "\n" ? sign
  : `\\x${sign.codePointAt(0).toString(16).padStart(2, "0")}`);

export const at = (id) => document.getElementById(id);

export const make = (name, ...parts) => {
  const [tag, className = ""] = name.split(".");
  const element = Object.assign(document.createElement(tag), { className });
  const safe = (part) => typeof part === "string" ? shown(part, tag === "code") : part;
  for (const part of parts) {
    if (part.constructor !== Object) element.append(safe(part));
    else for (const [key, value] of Object.entries(part)) element[key] = safe(value);
  }
  return element;
};

// Setting the same text again would lay out the page.
export const write = (element, raw) => {
  const text = shown(raw);
  if (element.textContent !== text) element.textContent = text;
};

export const on = (target, name, react, options) => target.addEventListener(name, react, options);

export const button = (text, click, properties = {}) => {
  const element = make("button", { type: "button", ...properties }, text);
  on(element, "click", click);
  return element;
};
