// The page's script over a document of our own that knows text and elements, and nothing that makes
// HTML of a text: whoever uses that fails here. Prints what it shows and what it sends as JSON.
'use strict';
const fs = require('fs');
const vm = require('vm');

class Node {
  constructor(name) {
    Object.assign(this, { name, children: [], listeners: {}, style: {}, own: '', hidden: false, value: '', open: false });
  }
  get textContent() { return this.own + this.children.map((c) => c.textContent).join(''); }
  set textContent(text) { this.children = []; this.own = String(text); }
  appendChild(child) {
    this.children.push(...(child.name === '#fragment' ? child.children : [child]));
    return child;
  }
  replaceChildren(...children) { this.children = []; this.own = ''; children.forEach((c) => this.appendChild(c)); }
  insertCell() { return this.appendChild(new Node('td')); }
  get tBodies() { return [this.body ??= new Node('tbody')]; }
  addEventListener(kind, f) { this.listeners[kind] = f; }
  showModal() { this.open = true; }
  close() { this.open = false; }
  set innerHTML(_) { throw new Error('HTML made of a text'); }
  set outerHTML(_) { throw new Error('HTML made of a text'); }
  insertAdjacentHTML() { throw new Error('HTML made of a text'); }
  find(name, text) {
    if (this.name === name && this.textContent === text) return this;
    for (const child of this.children) {
      const found = child.find(name, text);
      if (found) return found;
    }
    return undefined;
  }
}

const ids = {};
const document = {
  getElementById: (id) => ids[id] ??= new Node(id),
  createElement: (name) => new Node(name),
  createDocumentFragment: () => new Node('#fragment'),
};

const answers = JSON.parse(fs.readFileSync(0, 'utf8'));
const sent = [];
async function fetch(path, { method, headers, body }) {
  if (method === 'POST') {
    sent.push({ path, headers, body: JSON.parse(body) });
    return { status: answers.decision.status, json: async () => answers.decision.body };
  }
  return { status: 200, json: async () => ({ status: 'success', data: answers.get[path.split('?')[0]] }) };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

async function main() {
  vm.runInNewContext(fs.readFileSync(process.argv[2], 'utf8'), { document, fetch, JSON, encodeURIComponent,
    sessionStorage: { getItem: () => 'the-token', setItem() {} }, setInterval() {} });
  await settled();
  const shown = ids.pending.textContent;
  const before = { hidden: ids.approvals.hidden, shown, status: ids.status.textContent };
  ids.pending.find('button', answers.press).listeners.click();
  const asked = { open: ids.decision.open, title: ids['decision-title'].textContent, what: ids['decision-what'].textContent };
  const sentBefore = sent.length;
  ids['decision-reason'].value = '  because  ';
  await ids['decision-yes'].onclick();
  await settled();
  console.log(JSON.stringify({ before, asked, sentBefore, sent, open: ids.decision.open,
    error: ids['decision-error'].textContent }));
}
main();
