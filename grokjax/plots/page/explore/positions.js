// Sequence tasks: loss by scored position, and mean attention by position and head, as bars.

class Positions {
  constructor(pane, run) {
    this.run = run;
    const { loss_by_position: loss, attention_by_position: attention } = run.positions;
    this.charts = [];
    if (loss && loss.shape[0] > 1) this.add(pane, "Loss by scored position (nats)", loss, 0, loss.shape[0]);
    if (!attention) addTo(pane, "p", "reason", "No attention by head: this network has none.");
    const box = addTo(pane, "div", "heads");
    for (let h = 0; attention && h < attention.shape[0]; h++) this.add(box, `Attention of head ${h}`, attention, h, attention.shape[1]);
  }

  add(parent, title, { shape, values }, row, width) {
    const box = addTo(parent, "div"), size = shape.reduce((a, b) => a * b, 1), all = floats(values);
    const largest = all.reduce((a, b) => Math.max(a, b), 0);
    addTo(box, "h3", "", `${title}, up to ${shortNumber(largest)}`);
    const canvas = addTo(box, "canvas", "bars");
    const value = (index, i) => all[index * size + row * width + i];
    hover(canvas, (event) => {
      const at = canvas.getBoundingClientRect(), i = Math.min(width - 1, Math.floor(((event.clientX - at.left) / at.width) * width));
      return `position ${i}: ${shortNumber(value(this.index, i))}`;
    });
    this.charts.push({ canvas, value, width, largest: largest || 1 });
  }

  draw(position) {
    this.index = Math.round(position);
    for (const { canvas, value, width, largest } of this.charts) {
      const { context, w, h } = fitted(canvas);
      context.fillStyle = "#f3f5f8";
      context.fillRect(0, 0, w, h);
      context.fillStyle = "#0072b2";
      for (let i = 0; i < width; i++) {
        const size = Math.max(0, value(this.index, i) / largest) * (h - 4);
        context.fillRect((i * w) / width, h - size, Math.max(1, w / width - 1), size);
      }
    }
  }
}
