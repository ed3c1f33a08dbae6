// A strip for what was clicked: runs and a step, their explore page, and code that loads them.

const LISTED = 6; // links; more runs are counted

class Chosen {
  constructor(root, data) {
    Object.assign(this, { data, box: root.querySelector(".chosen") });
    this.code = this.box.querySelector("input");
    this.code.addEventListener("focus", () => this.code.select());
    this.box.querySelector(".copy").addEventListener("click", () => this.copy());
    this.box.querySelector(".close").addEventListener("click", () => { this.box.hidden = true; });
  }

  // The checkpoint nearest to a step; without one, the step at which the run grokked or ended.
  checkpoint(run, step) {
    const { checkpoints } = this.data, wanted = step ?? run.step ?? Infinity;
    if (!checkpoints.length) return null;
    return checkpoints.reduce((best, x) => (Math.abs(x - wanted) < Math.abs(best - wanted) ? x : best));
  }

  show(runs, step = null) {
    this.box.hidden = !runs.length;
    if (!runs.length) return;
    const first = this.data.runs[runs[0]], at = this.checkpoint(first, step);
    const title = this.box.querySelector(".what"), links = this.box.querySelector(".links");
    title.textContent = (runs.length === 1 ? first.name : `${runs.length} runs`) + (at === null ? "" : ` · step ${whole(at)}`);
    links.textContent = "";
    if (this.data.explore) this.addLinks(links, runs.map((i) => this.data.runs[i]), step);
    this.box.querySelector(".python").hidden = at === null || !(this.data.source || this.data.sources);
    this.code.value = `grokjax.open_sweep(${this.data.sources || `"${this.address()}"`}).params(run=${first.run}, step=${at})`;
  }

  addLinks(links, runs, step) {
    const there = runs.filter((run) => this.data.explored.includes(run.run));
    if (there.length) links.append("watch it grok: ");
    for (const run of there.slice(0, LISTED)) {
      const link = document.createElement("a"), at = this.checkpoint(run, step);
      link.href = `${this.data.explore}#run=${run.run}${at === null ? "" : `&step=${at}`}`;
      link.textContent = `run ${run.run}`;
      links.append(link, " ");
    }
    if (there.length > LISTED) links.append(`and ${there.length - LISTED} more`);
    const left = runs.filter((run) => !this.data.explored.includes(run.run)).map((run) => run.run);
    if (!there.length && this.data.source) links.append(`not in the explore page: grokjax explore ${this.data.source} --runs ${left.slice(0, LISTED).join()}`);
  }

  // A page that a server sends is opened from there.
  address() {
    return location.protocol.startsWith("http") ? new URL(".", location.href).href.replace(/\/$/, "") : this.data.source;
  }

  copy() {
    this.code.select();
    if (navigator.clipboard) navigator.clipboard.writeText(this.code.value).catch(() => document.execCommand("copy"));
    else document.execCommand("copy");
    const button = this.box.querySelector(".copy");
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }
}
