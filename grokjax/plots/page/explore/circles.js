// Circles: tokens and classes in the planes of their waves, a card for each frequency.

class Circles {
  constructor(pane, run, app) {
    Object.assign(this, { run, app, cards: [] });
    const { frequencies, keys } = run.circles, standing = keys.length > 0;
    addTo(pane, "p", "note", standing ? `Key frequencies ${keys.join(", ")} in colour; the strongest others in grey.` : "No frequency stands out at the last checkpoint; the strongest are shown.");
    this.kinds = ["embedding", "logit"].filter((kind) => run.circles[kind]);
    const cards = addTo(pane, "div", "cards");
    for (const k of frequencies) this.addCard(cards, k);
    const lines = addTo(pane, "div", "timelines");
    this.timelines = this.kinds.map((kind) => this.race(lines, kind));
  }

  points(kind) {
    return this.run.once(`points ${kind}`, () => {
      const { points, low, high } = this.run.circles[kind], raw = codes(points), scale = (high - low || 1) / (NO_NUMBER - 1);
      return Float32Array.from(raw, (x) => (x === NO_NUMBER ? NaN : low + x * scale));
    });
  }

  addCard(parent, k) {
    const { run } = this, card = addTo(parent, "div", "card"), key = run.isKey(k), row = element("div", "pair");
    card.style.borderTopColor = run.hue(k);
    addTo(card, "h3", "", key ? `k = ${k}, key` : `k = ${k}${run.circles.keys.length ? ", not key" : ""}`);
    card.append(row);
    const parts = this.kinds.map((kind) => {
      const figure = addTo(row, "figure"), canvas = addTo(figure, "canvas", "square");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${kind} in the plane of frequency ${k}`);
      const caption = addTo(figure, "figcaption"), part = { kind, canvas, caption, k, number: run.circles.frequencies.indexOf(k) };
      hover(canvas, (event) => this.textAt(part, event));
      return part;
    });
    this.cards.push(...parts);
  }

  // Shares of the variance by frequency over all checkpoints: who wins, who loses.
  race(parent, kind) {
    const { run } = this, box = addTo(parent, "div"), share = floats(run.circles[kind].share), count = share.length / run.count;
    addTo(box, "h3", "", kind === "embedding" ? "Share of the embedding's variance by frequency" : "Share of W_L's variance by frequency");
    const canvas = addTo(box, "canvas", "timeline"), lines = [];
    for (let f = 0; f < count; f++) {
      const k = f + 1, values = Array.from({ length: run.count }, (_, t) => share[t * count + f]);
      lines.push({ values, colour: run.hue(k), width: run.isKey(k) ? 2.2 : 0.8, label: `k = ${k}` });
    }
    lines.sort((a, b) => a.width - b.width);
    return new Timeline(canvas, run, lines, { share: true, onScrub: this.app.scrubber(this.run) });
  }

  // Points of a card between two checkpoints move in straight lines.
  place(part, position) {
    const { run } = this, all = this.points(part.kind), n = run.circles.order.length, size = 2 * n, cards = run.circles.frequencies.length;
    const first = Math.floor(position), t = position - first, next = Math.min(first + 1, run.count - 1);
    const from = (first * cards + part.number) * size, to = (next * cards + part.number) * size;
    return (i, axis) => (1 - t) * all[from + axis * n + i] + t * all[to + axis * n + i];
  }

  extent(kind) {
    return this.run.once(`extent ${kind}`, () => {
      const all = this.points(kind);
      let most = 0;
      for (const x of all) if (Math.abs(x) > most) most = Math.abs(x);
      return most;
    });
  }

  textAt(part, event) {
    const box = part.canvas.getBoundingClientRect(), at = this.place(part, this.position), n = this.run.circles.order.length, scale = this.scaleOf(part, box.width);
    const [x, y] = [event.clientX - box.left - box.width / 2, box.height / 2 - (event.clientY - box.top)];
    let best = -1, least = 100;
    for (let i = 0; i < n; i++) {
      const distance = (at(i, 0) * scale - x) ** 2 + (at(i, 1) * scale - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best < 0 ? "" : `${part.kind === "embedding" ? "token" : "class"} ${this.run.circles.order[best]}, k x mod n = ${(part.k * best) % n}`;
  }

  scaleOf(part, w) { return (w / 2 - 6) / (this.extent(part.kind) || 1); }

  draw(position) {
    this.position = position;
    const index = Math.round(position), { run } = this, n = run.circles.order.length;
    for (const part of this.cards) {
      const { context, w, h } = fitted(part.canvas), at = this.place(part, position), scale = this.scaleOf(part, w);
      context.strokeStyle = "#e3e6ea";
      context.beginPath();
      context.moveTo(0, h / 2); context.lineTo(w, h / 2); context.moveTo(w / 2, 0); context.lineTo(w / 2, h);
      context.stroke();
      const radius = w > 120 ? 2.6 : 2;
      for (let i = 0; i < n; i++) {
        context.fillStyle = this.colour((part.k * i) % n, n);
        context.beginPath();
        context.arc(w / 2 + at(i, 0) * scale, h / 2 - at(i, 1) * scale, radius, 0, 7);
        context.fill();
      }
      if (part.shown !== index) {
        part.shown = index;
        const rounds = run.once(`circularity ${part.kind}`, () => floats(run.circles[part.kind].circularity));
        part.caption.textContent = `${part.kind === "embedding" ? "embedding" : "W_L"}, circularity ${rounds[index * run.circles.frequencies.length + part.number].toFixed(2)}`;
      }
    }
    for (const timeline of this.timelines) timeline.draw(position);
  }

  colour(turns, n) {
    this.colours ??= Array.from({ length: n }, (_, i) => rgb(wheel(i / n)));
    return this.colours[turns];
  }
}
