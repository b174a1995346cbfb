// Elements by name, properties and children. Text only as text: what a host calls its processes is no markup.

export const at = (id) => document.getElementById(id);

export const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
