// The weights along the epipolar line as curves, linear or logarithmic, with joints marked.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { color } from "./dom.js";

const FLOOR = 1e-5;
const DECADES = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1];

export class Curve {
  /** onHover is called with the index of the sample under the cursor, or null. */
  constructor(container, onHover) {
    this.container = container;
    this.onHover = onHover;
    this.plot = null;
    this.marks = [];
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(container);
  }

  size() {
    const box = this.container.getBoundingClientRect();
    return { width: Math.max(Math.floor(box.width), 200), height: Math.max(Math.floor(box.height), 120) };
  }

  /**
   * x: [k] px along the line; attention, colors: [k] or null; marks: [{x, label, stroke}].
   * `key` says what is shown; the chart is made anew only when it changes shape.
   */
  draw({ x, attention, colors, marks, log }) {
    this.marks = marks;
    const signed = attention !== null && Math.min(...attention) < 0;
    const floor = (values) => values && values.map((w) => (log && !signed ? Math.max(w, FLOOR) : w));
    const empty = x.map(() => null);
    const data = [x, floor(attention) ?? empty, floor(colors) ?? empty];
    const form = `${log && !signed}`;
    if (this.plot && this.form === form) {
      this.plot.setData(data);
      return;
    }
    this.plot?.destroy();
    this.form = form;
    this.plot = new uPlot(this.options(log && !signed), data, this.container);
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
  }

  options(log) {
    const [text, grid] = [color("muted"), color("rule")];
    const font = "12px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif";
    const axis = { stroke: text, font, labelFont: font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    return {
      ...this.size(),
      padding: [20, 14, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false },
        y: log
          ? { distr: 3, range: [FLOOR, 1] }
          : { range: (_, low, high) => [Math.min(low ?? 0, 0), Math.max((high ?? 1) * 1.08, 1e-6)] },
      },
      axes: [
        { ...axis, label: "along the epipolar line, px", labelSize: 22, size: 34 },
        { ...axis, label: "weight", labelSize: 22, size: 58, values: (_, ticks) => ticks.map(log ? power : plain), ...(log ? { splits: () => DECADES } : {}) },
      ],
      series: [
        {},
        { label: "attention", stroke: color("attention"), width: 2.5, points: { show: true, size: 5, fill: color("attention") } },
        { label: "colour", stroke: color("matching"), width: 2, dash: [6, 4], points: { show: false } },
      ],
      cursor: { drag: { x: false, y: false }, points: { size: 9 } },
      hooks: {
        setCursor: [(plot) => this.onHover(plot.cursor.idx ?? null)],
        draw: [(plot) => this.drawMarks(plot)],
      },
    };
  }

  drawMarks(plot) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.font = `${12 * scale}px system-ui, 'Segoe UI', 'Noto Sans', sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    // Two marks may be close: the left one's name ends at it, the right one's begins at it.
    const sorted = [...this.marks].sort((a, b) => a.x - b.x);
    sorted.forEach(({ x, label, stroke }, i) => {
      const at = plot.valToPos(x, "x", true);
      ctx.strokeStyle = ctx.fillStyle = stroke;
      ctx.lineWidth = 1.5 * scale;
      ctx.setLineDash([2 * scale, 3 * scale]);
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(label).width;
      const wanted = i === 0 && sorted.length > 1 ? at - width - 4 * scale : at + 4 * scale;
      const left = Math.min(Math.max(wanted, bbox.left), bbox.left + bbox.width - width);
      ctx.fillText(label, left, bbox.top - 3 * scale);
    });
    ctx.restore();
  }
}

const plain = (w) => String(Number(w.toPrecision(3)));

function power(w) {
  const exponent = Math.round(Math.log10(w));
  const digits = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵" };
  return exponent === 0 ? "1" : `10${[...String(exponent)].map((c) => digits[c]).join("")}`;
}
