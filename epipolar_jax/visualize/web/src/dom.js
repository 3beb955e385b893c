// Small helpers for elements, and the palette that the page's style sheet holds.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with attributes and children; `on…` attributes are listeners. */
export function element(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function shape(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** A <select> of [value, text] pairs. */
export function dropdown(label, options, onchange) {
  const select = element("select", { "aria-label": label, onchange: () => onchange(Number(select.value)) });
  for (const [value, text] of options) select.append(element("option", { value }, text));
  return select;
}

const style = () => getComputedStyle(document.documentElement);

/** A colour of the palette, such as "left" or "attention". */
export const color = (name) => style().getPropertyValue(`--${name}`).trim();

/** Whether the reader types into a field, where single keys are not commands. */
export const typing = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "TEXTAREA"].includes(event.target.tagName);
