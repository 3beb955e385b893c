// What the network is given: the stages from stored image to augmented crop, joints projected
// from 3D, and the epipolar lines of every joint in every other view.
import { decodeImage, part } from "./codec.js";
import { color, dropdown, element, typing } from "./dom.js";
import { apply, bend, clippedLine, fundamental, project, sampleLine } from "./geometry.js";
import { camera } from "./matching.js";
import { Drawing } from "./drawing.js";

// A line further than this from its joint is a calibration or labelling error, not rounding.
const BAD_PX = 1.0;
// A barrel lens shows what lies this share of the image outside the image without distortion.
const LENS_MARGIN = 0.15;
const CURVE_POINTS = 48;
const TOGGLES = [
  ["lines", "Epipolar lines", "e"],
  ["joints", "Joints from 3D", "p"],
  ["labels", "2D labels", "t"],
  ["heatmap", "Target heatmaps", "h"],
];

export async function startInputs(app, page) {
  page.colors = page.skeleton.sides.map((side) => color(side));
  const inputs = new Inputs(app, page);
  await inputs.open(0, 0);
  window.inputs = inputs; // for the console, and for tests
}

class Inputs {
  constructor(app, page) {
    this.page = page;
    // One joint: the lines of all of them at once hide the person. A wrist, as in the viewer.
    const joint = Math.max(page.skeleton.joints.indexOf("right wrist"), 0);
    this.state = { frame: 0, stage: 0, joint, lines: true, joints: true, labels: true, heatmap: false };
    this.frameSelect = dropdown("Frame", page.frames.map((f, i) => [i, f.label]), (i) => this.open(i, this.state.stage));
    this.jointSelect = dropdown("Joint", [[-1, "all joints"], ...page.skeleton.joints.map((n, j) => [j, n])], (j) => this.pickJoint(j));
    this.boxes = Object.fromEntries(TOGGLES.map(([name]) => [name, this.checkbox(name)]));
    this.tabs = page.frames[0].stages.map((stage, i) =>
      element("button", { onclick: () => this.open(this.state.frame, i) }, stage.name),
    );
    this.explain = element("p", { class: "explain" });
    this.grid = element("main", { class: "inputs" });
    this.numbers = element("section", { class: "panel wide", "aria-live": "polite" });
    app.replaceChildren(
      element(
        "header",
        {},
        element("div", { class: "title" }, element("h1", {}, page.title), element("p", { title: page.subtitle }, page.subtitle)),
        element("label", { class: "field" }, "Frame", this.frameSelect),
        element("label", { class: "field" }, "Joint", this.jointSelect),
        element("div", { class: "toggles" }, ...TOGGLES.map(([name, text]) => element("label", { class: "toggle" }, this.boxes[name], text))),
      ),
      element("nav", { class: "head tabs", "aria-label": "Stages" }, ...this.tabs),
      this.explain,
      this.grid,
    );
    addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("resize", () => this.draw());
  }

  checkbox(name) {
    const box = element("input", {
      type: "checkbox",
      onchange: () => {
        this.state[name] = box.checked;
        this.draw();
      },
    });
    box.checked = this.state[name];
    return box;
  }

  onKey(event) {
    if (typing(event) || event.target.tagName === "SELECT") return;
    const { state, page } = this;
    const count = page.skeleton.joints.length;
    const stages = this.tabs.length;
    const actions = {
      j: () => this.pickJoint(state.joint + 1 >= count ? -1 : state.joint + 1),
      k: () => this.pickJoint(state.joint < 0 ? count - 1 : state.joint - 1),
      n: () => this.open((state.frame + 1) % page.frames.length, state.stage),
      b: () => this.open((state.frame + page.frames.length - 1) % page.frames.length, state.stage),
      arrowright: () => this.open(state.frame, (state.stage + 1) % stages),
      arrowleft: () => this.open(state.frame, (state.stage + stages - 1) % stages),
    };
    for (const [name, , key] of TOGGLES) actions[key] = () => this.boxes[name].click();
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }

  async open(frame, stage) {
    const chosen = this.page.frames[frame].stages[stage];
    const images = await Promise.all(chosen.images.map(decodeImage));
    Object.assign(this.state, { frame, stage });
    this.stage = chosen;
    this.images = images;
    this.frameSelect.value = frame;
    this.tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === stage)));
    this.explain.textContent = chosen.note;
    const hasTargets = Boolean(chosen.heatmaps);
    this.boxes.heatmap.disabled = !hasTargets;
    this.drawings = images.map(() => new Drawing(chosen.size));
    this.grid.replaceChildren(
      ...this.drawings.map((drawing, v) =>
        element("section", { class: "panel" }, element("div", { class: "head" }, element("h2", {}, `view ${v}`), element("span", { class: "note" }, this.page.frames[frame].occluded[v] ? "an object hides the person" : "")), drawing.element),
      ),
      this.numbers,
    );
    this.draw();
  }

  pickJoint(joint) {
    this.state.joint = joint;
    this.draw();
  }

  get shown() {
    const { joint } = this.state;
    return joint >= 0 ? [joint] : this.page.skeleton.joints.map((_, j) => j);
  }

  projected(v) {
    return this.stage.joints_3d.map((x) => project(x, camera(this.stage, v)).slice(0, 2));
  }

  draw() {
    if (!this.stage) return;
    const { state, stage, page } = this;
    this.jointSelect.value = state.joint;
    const alone = state.joint >= 0;
    this.drawings.forEach((drawing, v) => {
      drawing.show(this.images[v]);
      const points = this.projected(v);
      if (state.heatmap && stage.heatmaps) {
        const [height, width] = stage.heatmaps.shape.slice(2);
        drawing.drawHeat(largest(this.shown.map((j) => part(stage.heatmaps, v, j))), height, width);
      }
      if (stage.boxes && state.joints) this.drawBox(drawing, stage.boxes[v]);
      if (state.lines) {
        for (const other of this.images.keys()) if (other !== v) this.drawLines(drawing, v, other, alone);
      }
      if (state.joints) {
        drawing.skeleton(points, { limbs: page.skeleton.limbs, colors: page.colors, width: alone ? 1.2 : 2.2, name: "projected" });
      }
      for (const j of this.shown) {
        if (state.labels) drawing.dot(stage.joints_2d[v][j], alone ? 6 : 4.5, { stroke: color("truth"), width: 1.5, name: "label" });
        if (state.joints) drawing.dot(points[j], alone ? 4 : 2.5, { fill: page.colors[j], name: "joint" });
      }
    });
    this.drawNumbers();
  }

  drawBox(drawing, { center: [u, v], side }) {
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => [u + (x * side) / 2, v + (y * side) / 2]);
    corners.forEach((corner, i) => drawing.line(corner, corners[(i + 1) % 4], { stroke: color("muted"), width: 1.2, dash: "5 4", name: "box" }));
  }

  drawLines(drawing, v, other, alone) {
    const f = fundamental(camera(this.stage, other), camera(this.stage, v));
    for (const j of this.shown) {
      const ends = this.epipolarCurve(this.straight[other][j], f, v, drawing);
      if (!ends) continue;
      drawing.curve(ends, { stroke: alone ? color("attention") : this.page.colors[j], width: alone ? 1.8 : 0.7, name: "epipolar" });
      if (alone) drawing.text(ends.at(-1), `from view ${other}`);
    }
  }

  /** 2D labels [v][j] as they would be without lens distortion: epipolar geometry holds for these. */
  get straight() {
    return this.stage.straight_2d ?? this.stage.joints_2d;
  }

  /** The epipolar line of a point in view v: its two ends, or a curve where a lens bends it. */
  epipolarCurve(point, f, v, { width, height }) {
    const seen = camera(this.stage, v);
    const margin = seen.distortion ? LENS_MARGIN * Math.max(width, height) : 0;
    const line = clippedLine(point, f, width, height, margin);
    if (!line) return null;
    if (!seen.distortion) return [line.start, line.end];
    const inside = ([x, y]) => x >= 0 && y >= 0 && x <= width - 1 && y <= height - 1;
    const bent = sampleLine(line, CURVE_POINTS).map((at) => bend(at, seen)).filter(inside);
    return bent.length > 1 ? bent : null;
  }

  /** Mean distance of some joints' labels in view b to the epipolar lines of those in view a, px. */
  lineError(a, b, joints) {
    const f = fundamental(camera(this.stage, a), camera(this.stage, b));
    const distances = joints.map((j) => {
      const line = apply(f, [...this.straight[a][j], 1]);
      const [u, v] = this.straight[b][j];
      return Math.abs(line[0] * u + line[1] * v + line[2]) / Math.hypot(line[0], line[1]);
    });
    return mean(distances);
  }

  drawNumbers() {
    const views = [...this.images.keys()];
    const errors = (joints) => {
      const lines = views.map((a) => views.map((b) => (a === b ? null : this.lineError(a, b, joints))));
      const projections = views.map((v) => {
        const points = this.projected(v);
        return mean(joints.map((j) => Math.hypot(points[j][0] - this.stage.joints_2d[v][j][0], points[j][1] - this.stage.joints_2d[v][j][1])));
      });
      return { lines, projections, worst: Math.max(...lines.flat().filter((x) => x !== null), ...projections) };
    };
    // The verdict is on all joints, the tables on those that are shown.
    const { worst } = errors(this.page.skeleton.joints.map((_, j) => j));
    const { lines, projections } = errors(this.shown);
    const bad = worst > BAD_PX;
    const cell = (x) => element("td", { class: x > BAD_PX ? "bad" : null }, x === null ? "–" : x.toFixed(2));
    const what = this.state.joint >= 0 ? this.page.skeleton.joints[this.state.joint] : "all joints";
    this.numbers.replaceChildren(
      element(
        "p",
        { class: bad ? "verdict bad" : "verdict" },
        bad
          ? `Cameras and labels disagree by up to ${worst.toFixed(1)} px, mean over all joints: look at all joints, and the views marked below.`
          : `Cameras and labels agree: every mean distance over all joints is below ${BAD_PX} px (largest ${worst.toFixed(2)}).`,
      ),
      element(
        "div",
        { class: "numbers" },
        element(
          "table",
          {},
          element("caption", {}, `2D label to epipolar line, mean px, ${what}`),
          element("tr", {}, element("th", {}, ""), ...views.map((v) => element("th", { scope: "col" }, `in view ${v}`))),
          ...views.map((a) => element("tr", {}, element("th", { scope: "row" }, `from view ${a}`), ...lines[a].map(cell))),
        ),
        element(
          "table",
          {},
          element("caption", {}, `2D label to joint projected from 3D, mean px, ${what}`),
          element("tr", {}, ...views.map((v) => element("th", { scope: "col" }, `view ${v}`))),
          element("tr", {}, ...projections.map(cell)),
        ),
      ),
    );
  }
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function largest(maps) {
  return Array.from(maps[0], (_, i) => Math.max(...maps.map((m) => m[i])));
}
