// The epipolar viewer: pick a point in one view, see what the network finds along its line.
import { decodeImage, part } from "./codec.js";
import { Curve } from "./curve.js";
import { color, dropdown, element, typing } from "./dom.js";
import { clippedLine, fundamental, mapToImage } from "./geometry.js";
import { argmax, camera, colorCells, likeliest, match, snap } from "./matching.js";
import { Drawing } from "./drawing.js";
import { Stage } from "./scene.js";

const TOGGLES = [
  ["heatmap", "Heatmap", "h"],
  ["predicted", "Prediction", "p"],
  ["truth", "Truth", "t"],
  ["colors", "Colour match", "c"],
  ["log", "Log scale", "l"],
];
const KEYS = [
  ["← ↑ ↓ →", "move the point by one feature pixel (Shift: five)"],
  ["J  K", "next, previous joint"],
  ["1 … 9", "look into that view"],
  ["Shift 1 … 9", "pick points in that view"],
  ["X", "swap the two views"],
  ["N  B", "next, previous frame"],
  ["H  P  T  C  L", "heatmap, prediction, truth, colour match, log scale"],
  ["A  D  W  S", "turn the 3D scene"],
  ["R", "let the 3D scene turn by itself, or stop"],
  ["0", "3D scene as at the start"],
  ["?", "this list"],
];

export async function startViewer(app, page) {
  page.colors = page.skeleton.sides.map((side) => color(side));
  const viewer = new Viewer(app, page);
  await viewer.open(0);
  window.viewer = viewer; // for the console, and for tests
}

class Viewer {
  constructor(app, page) {
    this.page = page;
    this.state = {
      frame: 0,
      reference: 0,
      source: 1,
      joint: -1,
      point: [0, 0],
      hover: null,
      heatmap: true,
      predicted: true,
      truth: true,
      colors: true,
      log: true,
    };
    this.build(app);
    addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.frame && this.draw()).observe(this.reference.element);
  }

  // --- The page -------------------------------------------------------------------------------

  build(app) {
    const { page } = this;
    this.reference = new Drawing(page.size);
    this.source = new Drawing(page.size);
    this.reference.element.classList.add("target");
    this.reference.element.tabIndex = 0;
    this.reference.element.setAttribute("role", "application");
    this.reference.element.setAttribute("aria-label", "Reference view: arrow keys move the point");
    this.follow(this.reference.element);

    this.frameSelect = dropdown("Frame", page.frames.map((f, i) => [i, f.label]), (i) => this.open(i));
    this.jointSelect = dropdown(
      "Joint",
      [[-1, "all joints"], ...page.skeleton.joints.map((name, j) => [j, name])],
      (j) => this.pickJoint(j),
    );
    const views = page.frames[0].images.map((_, v) => [v, `view ${v}`]);
    this.referenceSelect = dropdown("Reference view", views, (v) => this.pickReference(v));
    this.sourceSelect = dropdown("Source view", views, (v) => this.pickSource(v));
    this.boxes = Object.fromEntries(TOGGLES.map(([name, , key]) => [name, this.checkbox(name, key)]));
    this.help = this.helpDialog();
    this.referenceNote = element("span", { class: "note" });
    this.sourceNote = element("span", { class: "note" });
    this.strip = element("div", { class: "strip" });
    this.facts = element("table", { class: "facts", "aria-live": "polite" });
    this.curveJoint = element("span", { class: "note" });
    this.curveNote = element("p", { class: "empty", hidden: true });
    const chart = element("div", { class: "chart" });
    const stageBox = element("div", { class: "stage", role: "img", "aria-label": "Skeletons and cameras in 3D" });

    app.replaceChildren(
      element(
        "header",
        {},
        element("div", { class: "title" }, element("h1", {}, page.title), element("p", { title: page.subtitle }, page.subtitle)),
        element("label", { class: "field" }, "Frame", this.frameSelect),
        element("label", { class: "field" }, "Joint", this.jointSelect),
        element(
          "div",
          { class: "toggles" },
          ...TOGGLES.map(([name, text]) => element("label", { class: `toggle ${name}` }, this.boxes[name], text)),
        ),
        element("button", { class: "help", "aria-label": "Keyboard and legend", onclick: () => this.help.showModal() }, "?"),
      ),
      element(
        "main",
        { class: "viewer" },
        panel("reference", [element("h2", {}, "Pick a point"), this.referenceSelect, this.referenceNote], this.reference.element),
        panel("source", [element("h2", {}, "See its line"), this.sourceSelect, this.sourceNote], this.source.element),
        panel("space", [element("h2", {}, "In space"), this.turnButton(), element("span", { class: "note" }, "drag to turn, scroll to zoom")], stageBox),
        panel("curve", [element("h2", {}, "Weights along the line"), this.curveJoint, this.legend()], chart, this.curveNote),
        panel("rest", [element("h2", {}, "All views"), element("span", { class: "note" }, "click: look into that view")], this.strip, this.facts),
      ),
      this.help,
    );
    this.curve = new Curve(chart, (index) => this.hover(index));
    this.thumbs = page.frames[0].images.map((_, v) => this.thumb(v));
    this.strip.append(...this.thumbs.map((t) => t.button));
    this.stage = makeStage(stageBox);
  }

  checkbox(name, key) {
    const box = element("input", {
      type: "checkbox",
      "aria-keyshortcuts": key,
      onchange: () => {
        this.state[name] = box.checked;
        this.redrawAll();
      },
    });
    box.checked = this.state[name];
    return box;
  }

  turnButton() {
    const button = element("button", { class: "quiet", "aria-pressed": "false", onclick: () => this.turn() }, "Turn");
    this.turning = button;
    return button;
  }

  turn() {
    const on = this.turning.getAttribute("aria-pressed") !== "true";
    this.turning.setAttribute("aria-pressed", String(on));
    this.stage?.turn(on);
  }

  legend() {
    return element(
      "span",
      { class: "legend" },
      element("span", { class: "key attention" }, "attention of the network"),
      element("span", { class: "key matching" }, "plain colour matching"),
    );
  }

  helpDialog() {
    const rows = KEYS.map(([keys, text]) => element("tr", {}, element("th", {}, keys), element("td", {}, text)));
    const colors = [
      ["left", "left limbs"],
      ["right", "right limbs"],
      ["middle", "trunk and head"],
      ["truth", "the truth (thin)"],
      ["attention", "picked point, its line, attention"],
      ["matching", "colour matching"],
    ].map(([name, text]) => element("span", { class: `key ${name}` }, text));
    const dialog = element(
      "dialog",
      { onclick: (event) => event.target === dialog && dialog.close() },
      element(
        "form",
        { method: "dialog" },
        element("h2", {}, "Keyboard"),
        element("table", {}, ...rows),
        element("h2", {}, "Colours"),
        element("p", { class: "legend" }, ...colors),
        element("h2", {}, "What is shown"),
        ...this.page.notes.map((text) => element("p", {}, text)),
        element("button", {}, "Close"),
      ),
    );
    return dialog;
  }

  thumb(v) {
    const drawing = new Drawing(this.page.size);
    const button = element(
      "button",
      { class: "thumb", onclick: () => this.pickSource(v), "aria-label": `Look into view ${v}` },
      drawing.element,
      element("span", {}, `view ${v}`),
    );
    drawing.element.append(element("em", {}, "hidden"));
    return { drawing, button };
  }

  /** Click and drag, with mouse, pen or finger. */
  follow(target) {
    const move = (event) => {
      this.movePoint(snap(this.page, this.reference.locate(event)));
    };
    target.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      target.setPointerCapture(event.pointerId);
      target.focus({ preventScroll: true });
      move(event);
    });
    target.addEventListener("pointermove", (event) => {
      if (target.hasPointerCapture(event.pointerId)) move(event);
    });
  }

  onKey(event) {
    if (typing(event) || this.help.open) return;
    const { state, page } = this;
    const count = page.skeleton.joints.length;
    const step = (event.shiftKey ? 5 : 1) * page.grid;
    const digit = /^Digit([0-9])$/.exec(event.code)?.[1];
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const actions = {
      j: () => this.pickJoint(state.joint + 1 >= count ? 0 : state.joint + 1),
      k: () => this.pickJoint(state.joint <= 0 ? count - 1 : state.joint - 1),
      n: () => this.open((state.frame + 1) % page.frames.length),
      b: () => this.open((state.frame + page.frames.length - 1) % page.frames.length),
      x: () => this.pickReference(state.source),
      r: () => this.turn(),
      a: () => this.stage?.orbit(-10, 0),
      d: () => this.stage?.orbit(10, 0),
      w: () => this.stage?.orbit(0, 8),
      s: () => this.stage?.orbit(0, -8),
      0: () => this.stage?.home(this.frame),
      "?": () => this.help.showModal(),
    };
    for (const [name, , key] of TOGGLES) actions[key] = () => this.boxes[name].click();
    if (arrows[event.key] && event.target.tagName !== "SELECT") {
      this.movePoint(this.within(state.point.map((x, i) => x + arrows[event.key][i])));
    } else if (digit > 0 && digit <= this.thumbs.length) {
      if (event.shiftKey) this.pickReference(digit - 1);
      else this.pickSource(digit - 1);
    } else if (actions[event.key.toLowerCase()] && event.target.tagName !== "SELECT") {
      actions[event.key.toLowerCase()]();
    } else {
      return;
    }
    event.preventDefault();
  }

  within(point) {
    return snap(this.page, point.map((x) => mapToImage(x, this.page.stride)));
  }

  // --- What is picked -------------------------------------------------------------------------

  async open(index) {
    const frame = this.page.frames[index];
    const images = await Promise.all(frame.images.map(decodeImage));
    frame.cells ??= images.map((image) => colorCells(image, this.page.map_size));
    const first = this.frame === undefined;
    [this.frame, this.images, this.state.frame] = [frame, images, index];
    this.frameSelect.value = index;
    if (first) {
      // A wrist says more than the hip: it moves, and it is easily hidden.
      this.state.source = this.preferredSource();
      this.state.joint = Math.max(this.page.skeleton.joints.indexOf("right wrist"), 0);
    }
    this.stage?.home(frame);
    this.pickJoint(this.state.joint);
  }

  preferredSource() {
    const { reference } = this.state;
    return this.frame.source?.[reference][0] ?? (reference === 0 ? 1 : 0);
  }

  pickJoint(joint) {
    this.state.joint = joint;
    if (joint >= 0) {
      this.state.point = snap(this.page, this.frame.joints_2d[this.state.reference][joint]);
    }
    this.redrawAll();
  }

  pickReference(v) {
    const { state } = this;
    if (v === state.reference) return;
    const old = state.reference;
    state.reference = v;
    if (v === state.source) state.source = old;
    this.pickJoint(state.joint);
  }

  pickSource(v) {
    const { state } = this;
    if (v === state.reference) state.reference = state.source;
    state.source = v;
    this.pickJoint(state.joint);
  }

  /** To another pixel: no joint's any more, unless each joint has an attention of its own. */
  movePoint(point) {
    this.state.point = point;
    if (!this.frame.evidence) this.state.joint = -1;
    this.redrawAll();
  }

  hover(index) {
    if (this.state.hover === index || !this.frame) return;
    this.state.hover = index;
    this.drawSource();
  }

  // --- Drawing --------------------------------------------------------------------------------

  redrawAll() {
    this.state.hover = null;
    this.stage?.drawFrame(this.page, this.frame, this.images, this.state);
    this.draw();
  }

  draw() {
    const { state, frame } = this;
    this.jointSelect.value = state.joint;
    this.referenceSelect.value = state.reference;
    this.sourceSelect.value = state.source;
    this.uv = state.point.map((x) => mapToImage(x, this.page.stride));
    this.found = match(this.page, frame, state.reference, state.source, state.point, state.joint);
    this.referenceNote.textContent = this.viewNote(state.reference);
    this.sourceNote.textContent = this.sourceText();
    this.curveJoint.textContent = this.lookedFor();
    this.drawReference();
    this.drawSource();
    this.thumbs.forEach((thumb, v) => this.drawThumb(thumb, v));
    this.drawCurve();
    this.drawFacts();
    const matched = this.found && this.matchOf(this.found.attention ?? this.found.color);
    this.stage?.drawPointer(frame, state, this.uv, matched);
  }

  viewNote(v) {
    return this.frame.occluded[v] ? "an object hides the person" : "";
  }

  sourceText() {
    const { state, frame } = this;
    const hidden = this.viewNote(state.source);
    if (!frame.source) return hidden;
    const own = frame.source[state.reference].includes(state.source);
    return [own ? "the network looks here" : "not what the network fuses", hidden].filter(Boolean).join(" · ");
  }

  /** Whose attention is shown, where each joint has its own. */
  lookedFor() {
    const { state, frame, page } = this;
    if (!frame.evidence) return "";
    const joint = state.joint < 0 ? likeliest(frame, state.reference, state.point) : state.joint;
    return `of the ${page.skeleton.joints[joint]}`;
  }

  /** Image pixel of the heaviest sample. */
  matchOf(weights) {
    return weights && this.found.samples[argmax(weights)].map((x) => mapToImage(x, this.page.stride));
  }

  paint(drawing, v, wide) {
    const { state, frame, page } = this;
    drawing.show(this.images[v]);
    if (state.heatmap) {
      const [height, width] = page.map_size;
      drawing.drawHeat(heat(frame, v, state.joint, page.skeleton.joints.length), height, width);
    }
    const { limbs } = page.skeleton;
    if (state.truth) drawing.skeleton(frame.true_2d[v], { limbs, stroke: color("truth"), width: wide ? 1.2 : 0.6, name: "true" });
    if (state.predicted) {
      drawing.skeleton(frame.joints_2d[v], { limbs, colors: page.colors, width: wide ? 2.6 : 1.2, name: "predicted" });
    }
    if (state.joint >= 0 && wide) {
      if (state.truth) drawing.dot(frame.true_2d[v][state.joint], 4, { fill: color("truth"), name: "true-joint" });
      if (state.predicted) drawing.dot(frame.joints_2d[v][state.joint], 5, { fill: page.colors[state.joint], stroke: color("ink"), width: 1.5, name: "predicted-joint" });
    }
  }

  drawReference() {
    this.paint(this.reference, this.state.reference, true);
    this.reference.cell(this.uv, this.page.stride * this.page.grid, color("attention"));
    this.reference.dot(this.uv, 3, { fill: color("attention"), stroke: color("ink"), width: 1, name: "picked" });
  }

  drawSource() {
    const { state, found, source } = this;
    this.paint(source, state.source, true);
    if (!found) return;
    source.line(...this.lineEnds(state.source), { stroke: color("attention"), width: 1.4, name: "epipolar" });
    const { attention, color: plain } = found;
    if (attention) {
      const top = Math.max(...attention.map(Math.abs), 1e-12);
      found.samples.forEach((sample, i) => {
        const share = Math.max(attention[i], 0) / top;
        source.dot(this.toImage(sample), 1.2 + 6.5 * Math.sqrt(share), { fill: color("attention"), opacity: 0.25 + 0.7 * share, name: "sample" });
      });
      source.dot(this.matchOf(attention), 10, { stroke: color("attention"), width: 2.5, name: "match" });
    }
    if (state.colors) source.diamond(this.matchOf(plain), 9, { stroke: color("matching"), name: "color-match" });
    if (state.hover !== null && found.samples[state.hover]) {
      source.dot(this.toImage(found.samples[state.hover]), 6, { stroke: color("truth"), width: 2, name: "hovered" });
    }
  }

  drawThumb({ drawing, button }, v) {
    const { state, frame, page } = this;
    this.paint(drawing, v, false);
    const role = v === state.reference ? "reference" : v === state.source ? "source" : "";
    button.dataset.role = role;
    drawing.element.lastChild.hidden = !frame.occluded[v];
    if (v === state.reference) {
      drawing.dot(this.uv, 3.5, { fill: color("attention"), stroke: color("ink"), width: 1 });
      return;
    }
    const ends = this.lineEnds(v);
    if (ends === null) return;
    drawing.line(...ends, { stroke: color("attention"), width: 1.2, name: "epipolar" });
    const found = match(page, frame, state.reference, v, state.point, state.joint);
    if (found?.attention) {
      drawing.dot(this.toImage(found.samples[argmax(found.attention)]), 4, { stroke: color("attention"), width: 1.8 });
    }
  }

  toImage(sample) {
    return sample.map((x) => mapToImage(x, this.page.stride));
  }

  /** Both ends of the point's line over the whole image of a view, or null. */
  lineEnds(v) {
    const f = fundamental(camera(this.frame, this.state.reference), camera(this.frame, v));
    const line = clippedLine(this.uv, f, this.page.size[1], this.page.size[0]);
    return line && [line.start, line.end];
  }

  drawCurve() {
    const { found, state, page, frame } = this;
    const missing = !found
      ? "The epipolar line of this point does not meet the other view. Pick another point, or another view."
      : found.attention === null && !frame.source
        ? "This network has no fusion layer: the curve is plain colour matching."
        : found.attention === null
          ? "This network was not asked about this pair of views."
          : "";
    this.curveNote.textContent = missing;
    this.curveNote.hidden = !missing;
    if (!found) {
      this.curve.clear();
      return;
    }
    const along = found.samples.map((sample) => page.stride * Math.hypot(...sample.map((x, i) => x - found.samples[0][i])));
    const marks = [];
    if (state.joint >= 0) {
      const place = (uv) => this.placeOn(uv, along[along.length - 1]);
      const name = page.skeleton.joints[state.joint];
      if (state.truth) marks.push({ x: place(this.frame.true_2d[state.source][state.joint]), label: `true ${name}`, stroke: color("truth") });
      if (state.predicted) marks.push({ x: place(this.frame.joints_2d[state.source][state.joint]), label: "predicted", stroke: page.colors[state.joint] });
    }
    this.curve.draw({ x: along, attention: found.attention, colors: state.colors ? found.color : null, marks, log: state.log });
  }

  /** Where along the line, in px, an image point is nearest to it. */
  placeOn(uv, length) {
    const [start, end] = [this.found.samples[0], this.found.samples[this.found.samples.length - 1]].map((s) => this.toImage(s));
    const direction = end.map((x, i) => (x - start[i]) / Math.max(length, 1e-9));
    return uv.reduce((sum, x, i) => sum + (x - start[i]) * direction[i], 0);
  }

  drawFacts() {
    const { state, found, frame, page } = this;
    const joint = state.joint >= 0 ? page.skeleton.joints[state.joint] : null;
    const row = (name, uv, weights) => {
      const cells = [place(uv), weights ? Math.max(...weights).toFixed(2) : ""];
      if (joint) {
        const target = frame.true_2d[weights ? state.source : state.reference][state.joint];
        cells.push(Math.hypot(uv[0] - target[0], uv[1] - target[1]).toFixed(1));
      }
      return element("tr", {}, element("th", {}, name), ...cells.map((text) => element("td", {}, text)));
    };
    const rows = [row("picked point", this.uv, null)];
    if (found?.attention) rows.push(row("attention's best", this.matchOf(found.attention), found.attention));
    if (found) rows.push(row("colour's best", this.matchOf(found.color), found.color));
    const head = ["", "at, px", "weight", ...(joint ? ["to truth, px"] : [])];
    const error = joint === null ? null : frame.errors[state.joint];
    const whole = frame.mpjpe === null ? "no joint could be triangulated" : `${frame.mpjpe.toFixed(1)} mm over all joints`;
    const one = joint === null ? "" : error === null ? `${joint} could not be triangulated; ` : `${joint} ${error.toFixed(0)} mm, `;
    this.facts.replaceChildren(
      element("caption", {}, `3D error: ${one}${whole}`),
      element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))),
      ...rows,
    );
  }
}

function panel(name, head, ...body) {
  return element("section", { class: `panel ${name}` }, element("div", { class: "head" }, ...head), ...body);
}

function makeStage(container) {
  try {
    return new Stage(container);
  } catch {
    container.append(element("p", { class: "empty" }, "The 3D scene needs WebGL, which this browser does not offer."));
    return null;
  }
}

/** [h w] in 0..255 of a joint; of all joints their maximum. */
function heat(frame, v, joint, count) {
  const all = part(frame.heatmaps, v);
  const size = all.length / count;
  if (joint >= 0) return Array.from(all.subarray(joint * size, (joint + 1) * size));
  return Array.from({ length: size }, (_, i) => {
    let top = 0;
    for (let j = 0; j < count; j++) top = Math.max(top, all[j * size + i]);
    return top;
  });
}

const place = ([u, v]) => `(${u.toFixed(1)}, ${v.toFixed(1)})`;
