// Lines over the slider's positions, with the phases behind them and a cursor. Scrubs by drag.

class Timeline {
  constructor(canvas, run, lines, { log = false, onScrub, names = false, share = false } = {}) {
    Object.assign(this, { canvas, run, lines, log, names, share, onScrub });
    this.back = document.createElement("canvas");
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.scrub(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) this.scrub(event); });
    hover(canvas, (event) => this.textAt(event));
    this.range();
  }

  range() {
    let low = Infinity, high = -Infinity;
    for (const { values } of this.lines)
      for (const x of values) if (Number.isFinite(x) && (!this.log || x > 0)) { low = Math.min(low, x); high = Math.max(high, x); }
    if (this.log) [low, high] = [Math.log10(low), Math.log10(high)];
    if (this.share) low = 0;
    if (!(high > low)) high = low + 1;
    this.ends = [low, high + 0.04 * (high - low)];
  }

  x(position, w) { return 8 + ((w - 16) * position) / Math.max(1, this.run.count - 1); }

  y(value, h) {
    const at = this.log ? Math.log10(Math.max(value, 1e-30)) : value, [low, high] = this.ends;
    return h - 5 - ((h - 10 - (this.names ? 14 : 0)) * (at - low)) / (high - low);
  }

  indexAt(event) {
    const box = this.canvas.getBoundingClientRect(), at = ((event.clientX - box.left - 8) / (box.width - 16)) * (this.run.count - 1);
    return Math.max(0, Math.min(this.run.count - 1, Math.round(at)));
  }

  scrub(event) { this.onScrub?.(this.indexAt(event)); }

  textAt(event) {
    const i = this.indexAt(event), shown = this.lines.filter((line) => line.label && Number.isFinite(line.values[i]));
    shown.sort((a, b) => b.values[i] - a.values[i]);
    return `step ${whole(this.run.steps[i])}: ${shown.slice(0, 6).map((line) => `${line.label} ${shortNumber(line.values[i])}`).join(", ")}`;
  }

  bands(context, w, h) {
    const { run } = this;
    for (let i = 0, start = 0; i < run.count; i++) {
      if (i < run.count - 1 && run.phase(i + 1) === run.phase(start)) continue;
      const from = start ? this.x(start - 0.5, w) : 0, to = i < run.count - 1 ? this.x(i + 0.5, w) : w, phase = run.phase(start);
      context.fillStyle = phase === null ? PHASE_SHADES[3] : PHASE_SHADES[phase];
      context.fillRect(from, 0, to - from, h);
      if (this.names && phase !== null) {
        context.fillStyle = "#60656c";
        context.font = "11px system-ui, sans-serif";
        if (context.measureText(PHASE_NAMES[phase]).width < to - from - 6) context.fillText(PHASE_NAMES[phase], from + 4, 12);
      }
      start = i + 1;
    }
  }

  // Everything but the cursor, drawn once for a size.
  background(w, h) {
    const ratio = this.canvas.width / w, key = `${this.canvas.width} ${this.canvas.height}`;
    if (this.key === key) return;
    this.key = key;
    this.back.width = this.canvas.width;
    this.back.height = this.canvas.height;
    const context = this.back.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.bands(context, w, h);
    for (const { values, colour, width = 1.5, dash = [] } of this.lines) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(dash);
      context.beginPath();
      let pen = false;
      values.forEach((value, i) => {
        if (!Number.isFinite(value)) { pen = false; return; }
        context[pen ? "lineTo" : "moveTo"](this.x(i, w), this.y(value, h));
        pen = true;
      });
      context.stroke();
    }
  }

  draw(position) {
    const { context, w, h } = fitted(this.canvas);
    if (!w) return;
    this.background(w, h);
    context.drawImage(this.back, 0, 0, w, h);
    context.fillStyle = "#1c2024";
    context.fillRect(this.x(position, w) - 1, 0, 2, h);
  }
}
