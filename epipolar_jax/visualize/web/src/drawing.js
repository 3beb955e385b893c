// One view: the image, a heatmap over it, and vector drawings in network pixels.
import { shape, element } from "./dom.js";

// Transparent to bright, evenly lighter, told apart by colour-blind readers (after inferno).
const RAMP = [
  [0, 0, 4, 0],
  [87, 16, 110, 0.55],
  [188, 55, 84, 0.75],
  [249, 142, 9, 0.85],
  [252, 255, 164, 0.92],
];

export class Drawing {
  /** size: [height, width] of the network input, px. */
  constructor(size) {
    [this.height, this.width] = size;
    this.image = element("img", { alt: "", draggable: "false" });
    this.heat = element("canvas", { class: "heat", "aria-hidden": "true" });
    this.svg = shape("svg", {
      viewBox: `-0.5 -0.5 ${this.width} ${this.height}`, // integers are pixel centres
      "aria-hidden": "true",
    });
    this.element = element("div", { class: "drawing" }, this.image, this.heat, this.svg);
    this.element.style.aspectRatio = `${this.width} / ${this.height}`;
  }

  show(image) {
    this.image.src = image.src;
    this.svg.replaceChildren();
    this.heat.hidden = true;
  }

  /** Network pixels a screen pixel. */
  get unit() {
    return this.width / Math.max(this.element.clientWidth, 1);
  }

  /** Screen position -> (u, v). */
  locate(event) {
    const box = this.element.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.width - 0.5,
      ((event.clientY - box.top) / box.height) * this.height - 0.5,
    ];
  }

  /** values: [h w] in 0..255 over the image. */
  drawHeat(values, height, width) {
    this.heat.hidden = false;
    [this.heat.height, this.heat.width] = [height, width];
    const context = this.heat.getContext("2d");
    const pixels = context.createImageData(width, height);
    values.forEach((value, i) => pixels.data.set(ramp(value / 255), 4 * i));
    context.putImageData(pixels, 0, 0);
  }

  /** A line with a dark casing, so that it shows on any image. */
  line(from, to, { stroke, width = 2, dash = null, name = null }) {
    const ends = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] };
    const fixed = { "vector-effect": "non-scaling-stroke", "stroke-linecap": "round" };
    this.svg.append(
      shape("line", { ...ends, ...fixed, stroke: "#000", "stroke-opacity": 0.55, "stroke-width": width + 2 }),
      shape("line", { ...ends, ...fixed, stroke, "stroke-width": width, "stroke-dasharray": dash, class: name }),
    );
  }

  /** A line through points, with a dark casing. */
  curve(points, { stroke, width = 2, name = null }) {
    const path = { points: points.map((at) => at.join(",")).join(" "), fill: "none", "vector-effect": "non-scaling-stroke" };
    this.svg.append(
      shape("polyline", { ...path, stroke: "#000", "stroke-opacity": 0.55, "stroke-width": width + 2 }),
      shape("polyline", { ...path, stroke, "stroke-width": width, class: name }),
    );
  }

  /** A disc or ring of a radius in screen pixels. */
  dot(at, radius, { fill = "none", stroke = "none", width = 2, opacity = 1, name = null }) {
    const place = { cx: at[0], cy: at[1], r: radius * this.unit, "vector-effect": "non-scaling-stroke" };
    if (stroke !== "none") {
      this.svg.append(
        shape("circle", { ...place, fill: "none", stroke: "#000", "stroke-opacity": 0.6, "stroke-width": width + 2.5 }),
      );
    }
    this.svg.append(
      shape("circle", { ...place, fill, stroke, "stroke-width": width, opacity, class: name }),
    );
  }

  /** A square on a corner. */
  diamond(at, radius, { stroke, name }) {
    const r = radius * this.unit;
    const points = [[0, -r], [r, 0], [0, r], [-r, 0]].map(([x, y]) => `${at[0] + x},${at[1] + y}`).join(" ");
    const common = { points, fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" };
    this.svg.append(
      shape("polygon", { ...common, stroke: "#000", "stroke-opacity": 0.6, "stroke-width": 5 }),
      shape("polygon", { ...common, stroke, "stroke-width": 2, class: name }),
    );
  }

  /** The square of a feature pixel. */
  cell(at, side, stroke) {
    const box = { x: at[0] - side / 2, y: at[1] - side / 2, width: side, height: side, fill: "none" };
    const fixed = { "vector-effect": "non-scaling-stroke" };
    this.svg.append(
      shape("rect", { ...box, ...fixed, stroke: "#000", "stroke-opacity": 0.6, "stroke-width": 5 }),
      shape("rect", { ...box, ...fixed, stroke, "stroke-width": 2, class: "cell" }),
    );
  }

  /** Small text with a dark outline beside a point, kept inside the image. */
  text(at, words) {
    const size = 12 * this.unit;
    const right = at[0] > this.width * 0.7;
    this.svg.append(
      shape(
        "text",
        {
          x: at[0] + (right ? -0.5 : 0.5) * size,
          y: Math.min(Math.max(at[1], 1.3 * size), this.height - 1.5 - 0.6 * size),
          "font-size": size,
          "text-anchor": right ? "end" : "start",
          class: "name",
        },
        words,
      ),
    );
  }

  /** Limbs of joints [j][2]; with `stroke` all alike, otherwise by side. */
  skeleton(joints, { limbs, colors, stroke = null, width = 2, name }) {
    for (const [parent, child] of limbs) {
      this.line(joints[parent], joints[child], { stroke: stroke ?? colors[child], width, name });
    }
  }
}

function ramp(value) {
  const place = Math.sqrt(Math.min(Math.max(value, 0), 1)) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  const mix = RAMP[low].map((x, c) => x + (RAMP[low + 1][c] - x) * (place - low));
  return [mix[0], mix[1], mix[2], 255 * mix[3]];
}
