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

function start(root, words = null) {
  if (root.started) return;
  root.started = true;
  const data = JSON.parse(root.querySelector("script.data").textContent);
  const state = new State(root, data), curves = new Curves(root, data, state), spectra = new Spectra(root, data), outcomes = new Outcomes(root, data, state), refined = new Refined(root, data, state);
  const oneRun = new OneRun(root, data, curves), chosen = new Chosen(root, data), address = new Address(root, state, curves);
  if (words) address.read(words);
  const show = (i) => { spectra.show(i); oneRun.show(i); };
  curves.remember = () => address.write();
  curves.onClick = (runs, step) => { chosen.show(runs, step); show(runs[0]); address.write(); };
  state.listeners.push((last) => {
    curves.draw();
    if (outcomes.along) outcomes.drawAlong();
    if (last !== null && last !== undefined) {
      show(last);
      chosen.show(state.visible().includes(last) && state.visible().length <= 60 ? [last, ...state.visible().filter((i) => i !== last)] : [last]);
    }
    address.write();
  });
  refined.draw();
  outcomes.draw();
  curves.draw();
  oneRun.draw();
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
