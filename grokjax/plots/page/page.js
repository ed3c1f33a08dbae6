// The tables, the choice of runs by menus and clicks on rows, and the tabs.

class State {
  constructor(root, data) {
    Object.assign(this, { root, data, picked: new Set(), filters: {}, listeners: [] });
    this.rows = [...root.querySelectorAll("table.runs tbody tr")];
    this.selects = [...root.querySelectorAll("[data-filter]")];
    for (const select of this.selects) {
      const name = select.dataset.filter;
      const texts = name === "outcome" ? [...new Set(data.runs.map((run) => run.outcome))] : levels(data, name).map((level) => level.text);
      options(select, texts.map((text) => [text, ({ never: "not grokked", unfinished: "not yet" })[text] ?? text]), "");
      if (texts.length < 2) select.parentElement.hidden = true;
      select.addEventListener("change", () => { this.filters[name] = select.value; this.picked.clear(); this.changed(); });
    }
    for (const row of this.rows) row.addEventListener("click", (event) => { if (!event.target.closest("a")) this.toggle(Number(row.dataset.run)); });
    root.querySelector('[data-do="all"]').addEventListener("click", () => this.filter({}));
    for (const table of root.querySelectorAll("table")) sortable(table);
    this.show();
  }

  // The runs that match the menus.
  filtered() {
    const fits = (run, [name, value]) => !value || (name === "outcome" ? run.outcome : run.values[name]) === value;
    return this.data.runs.map((_, i) => i).filter((i) => Object.entries(this.filters).every((x) => fits(this.data.runs[i], x)));
  }

  visible() {
    const left = this.filtered();
    return this.picked.size ? left.filter((i) => this.picked.has(i)) : left;
  }

  toggle(i) {
    this.picked[this.picked.has(i) ? "delete" : "add"](i);
    this.changed(this.picked.has(i) ? i : null);
  }

  pick(runs) {
    this.picked = new Set(runs);
    this.changed(runs[0]);
  }

  filter(filters) {
    this.filters = filters;
    this.picked.clear();
    for (const select of this.selects) select.value = filters[select.dataset.filter] ?? "";
    this.changed(Object.keys(filters).length ? this.visible()[0] : null);
  }

  changed(last = null) {
    this.show();
    for (const listener of this.listeners) listener(last);
  }

  show() {
    const left = new Set(this.filtered()), count = this.visible().length, total = this.data.runs.length;
    for (const row of this.rows) {
      row.hidden = !left.has(Number(row.dataset.run));
      row.classList.toggle("picked", this.picked.has(Number(row.dataset.run)));
    }
    this.root.querySelector(".count").textContent = count === total ? `all ${total} shown` : `${count} of ${total} shown`;
  }
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (row) => { const text = row.cells[column].dataset.order; return text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text); };
      const rows = [...table.tBodies[0].rows].sort((a, b) => { const [x, y] = [order(a), order(b)]; return (x === y ? 0 : x < y ? -1 : 1) * (up ? 1 : -1); });
      table.tBodies[0].append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}

// The address keeps the tab, the chosen runs, the menus and the zoom: #tab=1&runs=3,4&steps=100,2000
function remember(root, state, curves) {
  const words = new URLSearchParams(), tab = root.id.replace("sweep-", "");
  if (tab !== "0") words.set("tab", tab);
  if (state.picked.size) words.set("runs", [...state.picked].join());
  for (const [name, value] of Object.entries(state.filters)) if (value) words.set(`only ${name}`, value);
  if (curves.range) words.set("steps", curves.range.map(Math.round).join());
  history.replaceState(null, "", `#${words}`);
}

// Apply an address to a sweep before it is drawn.
function recall(words, state, curves) {
  const numbers = (name) => (words.get(name) ?? "").split(",").filter(Boolean).map(Number);
  const filters = Object.fromEntries(state.selects.map((select) => [select.dataset.filter, words.get(`only ${select.dataset.filter}`) ?? ""]));
  state.filter(Object.fromEntries(Object.entries(filters).filter(([, value]) => value)));
  state.picked = new Set(numbers("runs").filter((i) => i < state.data.runs.length));
  state.show();
  const steps = numbers("steps");
  if (steps.length === 2) curves.range = steps;
}

function start(root, words = null) {
  if (root.started) return;
  root.started = true;
  const data = JSON.parse(root.querySelector("script.data").textContent);
  const state = new State(root, data), curves = new Curves(root, data, state), spectra = new Spectra(root, data), outcomes = new Outcomes(root, data, state);
  if (words) recall(words, state, curves);
  curves.remember = () => remember(root, state, curves);
  state.listeners.push((last) => {
    curves.remember();
    curves.draw();
    if (outcomes.along) outcomes.drawAlong();
    if (last !== null && last !== undefined) spectra.show(last);
  });
  outcomes.draw();
  curves.draw();
  spectra.draw();
}

function openTab(number, words = null) {
  for (const tab of document.querySelectorAll("[data-tab]")) tab.setAttribute("aria-selected", String(tab.dataset.tab === number));
  for (const root of document.querySelectorAll("main.sweep")) root.hidden = root.id !== `sweep-${number}`;
  start(document.getElementById(`sweep-${number}`), words);
}

for (const tab of document.querySelectorAll("[data-tab]")) tab.addEventListener("click", () => openTab(tab.dataset.tab));
const words = new URLSearchParams(location.hash.slice(1)), wanted = words.get("tab") ?? "0";
openTab(document.getElementById(`sweep-${wanted}`) ? wanted : "0", words);
