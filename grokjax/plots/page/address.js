// The address keeps what is shown: #tab=1&runs=3,4&steps=100,2000&show=test_loss+at+checkpoints

// Menus by the name that they have in the address.
const MENUS = { lines: ".mode", colour: ".hue", scale: ".scale", along: ".along-axis", across: ".diagram-x", up: ".diagram-y", run: ".one-run-menu", spectrum: ".spectrum-run" };

class Address {
  constructor(root, state, curves) {
    Object.assign(this, { root, state, curves });
    this.menus = Object.entries(MENUS).map(([name, css]) => [name, root.querySelector(css)]).filter(([, menu]) => menu);
    this.initial = new Map(this.menus.map(([name, menu]) => [name, menu.value]));
    for (const [, menu] of this.menus) menu.addEventListener("change", () => this.write());
  }

  write() {
    const words = new URLSearchParams(), tab = this.root.id.replace("sweep-", ""), { state, curves } = this;
    if (tab !== "0") words.set("tab", tab);
    if (state.picked.size) words.set("runs", [...state.picked].join());
    for (const [name, value] of Object.entries(state.filters)) if (value) words.set(`only ${name}`, value);
    if (curves.range) words.set("steps", curves.range.map(Math.round).join());
    const shown = curves.data.curves.variables.map((x) => x.key).filter((key) => curves.chosen.has(key));
    if (shown.join() !== this.standard()) words.set("show", shown.join());
    for (const [name, menu] of this.menus) if (menu.value !== this.initial.get(name)) words.set(name, menu.value);
    history.replaceState(null, "", `#${words}`);
  }

  standard() {
    const { shown, variables } = this.curves.data.curves;
    return variables.map((x) => x.key).filter((key) => shown.includes(key)).join();
  }

  // Apply an address before anything is drawn.
  read(words) {
    const { state, curves } = this, numbers = (name) => (words.get(name) ?? "").split(",").filter(Boolean).map(Number);
    const filters = Object.fromEntries(state.selects.map((select) => [select.dataset.filter, words.get(`only ${select.dataset.filter}`) ?? ""]));
    state.filter(Object.fromEntries(Object.entries(filters).filter(([, value]) => value)));
    state.picked = new Set(numbers("runs").filter((i) => i < state.data.runs.length));
    state.show();
    const steps = numbers("steps");
    if (steps.length === 2) curves.range = steps;
    if (words.has("show")) curves.choose(words.get("show").split(","));
    for (const [name, menu] of this.menus) if ([...menu.options].some((option) => option.value === words.get(name))) menu.value = words.get(name);
  }
}
