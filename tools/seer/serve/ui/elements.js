// Elements of the page. A text always becomes a text node: no function here reads HTML.

const byId = (id) => document.getElementById(id);

// make('p', {class: 'hint'}, 'some text', anotherElement)
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Shows a message at the foot of the page, and has screen readers read it aloud.
function announce(text) {
  byId('status').textContent = text;
}

const integer = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const showCount = (n) => integer.format(n);
const showMs = (ms) => (ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`);
const showShare = (share) => `${(100 * share).toFixed(1)}%`;
const plural = (n, name) => `${showCount(n)} ${name}${n === 1 ? '' : 's'}`;
