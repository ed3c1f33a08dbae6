// The page: one slider for all views, one pane or two, keyboard, address.

const VIEWS = [
  ["circles", Circles], ["neurons", Neurons], ["attention", AttentionMaps], ["answers", Answers],
  ["positions", Positions], ["progress", Progress],
  ...[...document.querySelectorAll("section[id^=custom-]")].map((section) => [section.id, CustomView]),
];
const PER_SECOND = 5; // checkpoints while playing

class App {
  constructor() {
    this.index = JSON.parse(document.querySelector("script.index").textContent);
    this.texts = [...document.querySelectorAll("script.run-data")];
    this.runs = new Map();
    Object.assign(this, { position: 0, neuron: 0, pair: { a: 3, b: 5 }, playing: false, frames: [] });
    for (const name of ["run", "other", "step", "play", "fixed", "fixed-step", "snippet"]) this[name] = document.querySelector(`.${name}`);
    this.fillMenus();
    this.listen();
    this.readAddress();
  }

  load(i) {
    if (!this.runs.has(i)) this.runs.set(i, new Run(JSON.parse(this.texts[i].textContent)));
    return this.runs.get(i);
  }

  fillMenus() {
    const names = this.index.map((run, i) => [String(i), `${run.name}${this.outcome(run)}`]);
    options(this.run, names, "0");
    options(this.other, [["", "nothing"], ["same", "this run at a fixed checkpoint"], ...names], "");
  }

  outcome(run) {
    if (run.outcome === "grokked") return ` (grokked at ${whole(run.step)})`;
    return { never: " (did not grok)", diverged: " (diverged)", unfinished: " (not yet)" }[run.outcome] ?? "";
  }

  listen() {
    this.run.addEventListener("change", () => this.show());
    this.other.addEventListener("change", () => this.show());
    this.step.addEventListener("input", () => this.move(Number(this.step.value)));
    this["fixed-step"].addEventListener("input", () => this.redraw());
    this.snippet.addEventListener("focus", () => this.snippet.select());
    this.play.addEventListener("click", () => this.toggle());
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("resize", () => this.redraw());
    window.addEventListener("hashchange", () => this.readAddress());
  }

  key(event) {
    if (event.target.matches("select, input:not([type=range])") || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.panes[0].run.count - 1, moves = { ArrowLeft: Math.ceil(this.position) - 1, ArrowRight: Math.floor(this.position) + 1, Home: 0, End: last };
    if (event.key === " " && !event.target.matches("button")) this.toggle();
    else if (event.key in moves && !event.target.matches(".fixed-step")) this.move(moves[event.key]);
    else return;
    event.preventDefault();
  }

  // Build the views of the chosen runs, and go to a step of the first.
  show(step = null) {
    const first = this.load(Number(this.run.value)), { value } = this.other, before = this.panes?.[0].run.steps[Math.round(this.position)];
    const second = value === "" ? null : value === "same" ? first : this.load(Number(value));
    this.panes = [{ run: first }, ...(second ? [{ run: second, fixed: value === "same" }] : [])];
    this.fixed.hidden = value !== "same";
    this.step.max = this["fixed-step"].max = first.count - 1;
    if (value === "same" && !Number(this["fixed-step"].value)) this["fixed-step"].value = first.count - 1;
    for (const [name, View] of VIEWS) this.build(name, View);
    this.clock();
    this.prepare(first);
    document.querySelector(".spacing").textContent = `${first.count} checkpoints: ${first.spacing}.`;
    this.move(first.nearest(step ?? before ?? first.steps[0]));
  }

  // Networks are computed from their weights before they are needed, while nothing plays.
  prepare(run) {
    clearTimeout(this.preparing);
    if (!run.weights) return;
    const left = run.snapshots.map((_, i) => i);
    const next = () => {
      if (!this.playing) run.network(left.shift());
      if (left.length) this.preparing = setTimeout(next, 40);
    };
    this.preparing = setTimeout(next, 100);
  }

  build(name, View) {
    const section = document.getElementById(name), panes = section.querySelector(".panes");
    panes.textContent = "";
    panes.classList.toggle("two", this.panes.length > 1);
    const relevant = this.panes.some((pane) => !this.reason(name, pane.run)) || name !== "positions";
    section.hidden = !relevant;
    section.classList.toggle("left-out", this.panes.every((pane) => this.reason(name, pane.run)));
    for (const pane of this.panes) {
      const box = addTo(panes, "div", "pane");
      if (this.panes.length > 1) pane[`${name}Title`] = addTo(box, "p", "pane-name");
      const why = this.reason(name, pane.run);
      pane[name] = why ? null : new View(box, pane.run, this, name);
      if (why) addTo(box, "p", "reason", `Left out: ${why}.`);
    }
  }

  reason(name, run) {
    return name === "progress" ? "" : run.missing[name] ?? "";
  }

  clock() {
    const { run } = this.panes[0], lines = [], colours = { train_loss: "#56606c", test_loss: "#0072b2" };
    for (const name of ["train_loss", "test_loss"]) {
      const values = run.curve(name);
      if (values) lines.push({ values, colour: colours[name], dash: name === "train_loss" ? [5, 3] : [], width: 1.8, label: name.replace("_", " ") });
    }
    const old = document.querySelector(".clock-losses"), fresh = old.cloneNode();
    old.replaceWith(fresh);
    this.losses = new Timeline(fresh, run, lines, { log: true, names: true, onScrub: (i) => this.move(i) });
  }

  // For charts of the second run: its checkpoint nearest to a step is found from the first's.
  scrubber(run) {
    return (i) => this.move(this.panes[0].run === run ? i : this.panes[0].run.nearest(run.steps[i]));
  }

  move(position) {
    const last = this.panes[0].run.count - 1;
    this.position = Math.max(0, Math.min(last, position));
    this.step.value = String(Math.round(this.position));
    this.redraw();
    if (!this.playing) this.writeAddress();
  }

  // The position of a pane: the second shows its checkpoint at the nearest step, or a fixed one.
  positionOf(pane) {
    const { run } = this.panes[0];
    if (pane.fixed) return Number(this["fixed-step"].value);
    if (pane.run === run) return this.position;
    return pane.run.nearest(run.steps[Math.round(this.position)]);
  }

  redraw() {
    const start = performance.now();
    for (const pane of this.panes) {
      const position = this.positionOf(pane);
      for (const [name] of VIEWS) {
        const view = pane[name];
        if (view && this.isVisible(name)) view.draw(position);
        if (pane[`${name}Title`]) pane[`${name}Title`].textContent = `${pane.run.name}, step ${whole(pane.run.steps[Math.round(position)])}`;
      }
    }
    this.losses.draw(this.position);
    this.say();
    this.frames.push(performance.now() - start);
    if (this.frames.length > 600) this.frames.shift();
  }

  // Sections out of sight are drawn when they scroll into view.
  isVisible(name) {
    const box = document.getElementById(name).getBoundingClientRect();
    return box.height > 0 && box.bottom > -200 && box.top < innerHeight + 200;
  }

  say() {
    const { run } = this.panes[0], i = Math.round(this.position), phase = run.phaseName(i);
    const texts = [`step ${whole(run.steps[i])}`, phase];
    for (const [name, label] of [["train_loss", "train loss"], ["test_loss", "test loss"], ["test_accuracy", "test accuracy"]]) {
      const values = run.curve(name);
      if (values && Number.isFinite(values[i])) texts.push(`${label} ${shortNumber(values[i])}`);
    }
    this.snippet.value = `sweep.params(run=${run.run}, step=${run.steps[i]})`;
    document.querySelector(".now").textContent = texts.filter(Boolean).join(" · ");
    const at = Number(this["fixed-step"].value);
    this.fixed.querySelector("output").textContent = whole(run.steps[Math.min(at, run.count - 1)]);
  }

  pick(a, b) { this.pair = { a, b }; this.redraw(); }

  // The chosen pair within 0 .. p - 1.
  pairOf(p) { return { a: this.pair.a % p, b: this.pair.b % p }; }

  toggle() {
    this.playing = !this.playing;
    this.play.textContent = this.playing ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", this.playing ? "pause" : "play");
    if (!this.playing) { this.move(Math.round(this.position)); return; }
    if (this.position >= this.panes[0].run.count - 1) this.position = 0;
    this.before = null;
    requestAnimationFrame((now) => this.frame(now));
  }

  frame(now) {
    if (!this.playing) return;
    const passed = this.before === null ? 0 : Math.min(now - this.before, 100) / 1000;
    this.before = now;
    this.move(this.position + passed * PER_SECOND);
    if (this.position >= this.panes[0].run.count - 1) this.toggle();
    else requestAnimationFrame((later) => this.frame(later));
  }

  // explore.html#run=3&step=10000
  readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1)), run = wanted.get("run"), step = wanted.get("step");
    const at = this.index.findIndex((one) => String(one.run) === run), warning = document.querySelector(".warning");
    if (at >= 0) this.run.value = String(at);
    warning.hidden = run === null || at >= 0;
    if (!warning.hidden) warning.textContent = `Run ${run} is not in this page, which has ${this.index.map((one) => `run ${one.run}`).join(", ")}: write it with grokjax explore WORKDIR --runs ${Number(run) || 0}.`;
    this.show(step === null ? null : Number(step));
  }

  writeAddress() {
    const { run } = this.panes[0];
    history.replaceState(null, "", `#run=${run.run}&step=${run.steps[Math.round(this.position)]}`);
  }
}

const explore = new App();
window.explore = explore; // for tests and the console
document.addEventListener("scroll", () => explore.redraw(), { passive: true });
