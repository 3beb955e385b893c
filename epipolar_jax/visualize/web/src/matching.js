// What a pixel of the reference view finds along its epipolar line: attention, and plain colour.
import { clippedLine, fundamental, imageToMap, sampleLine, toMap } from "./geometry.js";
import { part } from "./codec.js";

// Standard deviation of a colour difference, of 255: how alike two colours of one thing are.
const COLOR_SIGMA = 16;

/** Camera v of a frame; with a stride, that of its feature map. */
export function camera(frame, v, stride = 1) {
  return {
    intrinsics: stride === 1 ? frame.intrinsics[v] : toMap(frame.intrinsics[v], stride),
    rotation: frame.rotation[v],
    translation: frame.translation[v],
    distortion: frame.distortion?.[v],
  };
}

/**
 * The curves along the line of map pixel `point` in view `source`; null when the line misses.
 * `joint` matters where each joint has an attention of its own; -1 is the likeliest at the point.
 */
export function match(page, frame, reference, source, point, joint) {
  const [height, width] = page.map_size;
  const f = fundamental(
    camera(frame, reference, page.stride),
    camera(frame, source, page.stride),
  );
  const line = clippedLine(point, f, width, height);
  if (line === null) return null;
  const samples = sampleLine(line, page.num_samples);
  const asked = frame.others?.[reference].includes(source) ?? false;
  const attention = !asked
    ? null
    : frame.evidence
      ? jointAttention(frame, source, samples, joint < 0 ? likeliest(frame, reference, point) : joint)
      : attentionAt(page, frame, reference, source, point);
  const color = colorAt(frame, reference, source, point, samples);
  return { line, samples, attention, color };
}

/** Softmax along the line of a joint's evidence in the source view, as JointFusion does it. */
function jointAttention(frame, source, samples, joint) {
  const [height, width] = frame.evidence.shape.slice(2);
  const map = { data: part(frame.evidence, source, joint), height, width, channels: 1 };
  return softmax(samples.map((sample) => frame.sharpness[joint] * bilinear(map, sample)[0]));
}

/** The joint with the largest evidence at a map pixel. */
export function likeliest(frame, v, [x, y]) {
  const [count, , width] = frame.evidence.shape.slice(1);
  return argmax(Array.from({ length: count }, (_, j) => part(frame.evidence, v, j)[y * width + x]));
}

/** Attention weights [k] of the nearest stored pixel. */
function attentionAt(page, frame, reference, source, point) {
  const slot = frame.others[reference].indexOf(source);
  const columns = Math.ceil(page.map_size[1] / page.grid);
  const [column, row] = point.map((x) => Math.round(x / page.grid));
  const codes = part(frame.weights, reference, slot, row * columns + column);
  return Array.from(codes, (code) => decodeWeight(code, page.weight_code));
}

/** The other half of viewer.encode_weights. */
export function decodeWeight(code, { kind, per_decade: perDecade, low, high }) {
  if (kind === "linear") return low + ((high - low) * code) / 255;
  return code === 0 ? 0 : 10 ** ((code - 255) / perDecade);
}

/** Softmax along the line of minus the squared colour difference, cells of a feature pixel. */
function colorAt(frame, reference, source, point, samples) {
  const own = bilinear(frame.cells[reference], point);
  return softmax(
    samples.map((sample) => {
      const other = bilinear(frame.cells[source], sample);
      const square = own.slice(0, 3).reduce((sum, x, c) => sum + (x - other[c]) ** 2, 0);
      return -square / (2 * COLOR_SIGMA ** 2);
    }),
  );
}

function softmax(scores) {
  const top = Math.max(...scores);
  const raised = scores.map((s) => Math.exp(s - top));
  const total = raised.reduce((a, b) => a + b, 0);
  return raised.map((x) => x / total);
}

/** The channels of a map {width, height, channels, data} at (u, v), borders repeated. */
function bilinear({ width, height, channels, data }, [u, v]) {
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const found = Array(channels).fill(0);
  for (const [dy, wy] of [[0, 1 - v + top], [1, v - top]]) {
    for (const [dx, wx] of [[0, 1 - u + left], [1, u - left]]) {
      const x = Math.min(Math.max(left + dx, 0), width - 1);
      const y = Math.min(Math.max(top + dy, 0), height - 1);
      for (let c = 0; c < channels; c++) found[c] += wx * wy * data[channels * (y * width + x) + c];
    }
  }
  return found;
}

/** Mean colour of every feature pixel's square of the image. */
export function colorCells(image, [height, width]) {
  const full = document.createElement("canvas");
  [full.width, full.height] = [image.naturalWidth, image.naturalHeight];
  const context = full.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, full.width, full.height);
  const [sx, sy] = [full.width / width, full.height / height];
  const cells = { width, height, channels: 4, data: new Float32Array(4 * width * height) };
  for (let y = 0; y < full.height; y++) {
    for (let x = 0; x < full.width; x++) {
      const cell = 4 * (Math.floor(y / sy) * width + Math.floor(x / sx));
      for (let c = 0; c < 4; c++) {
        cells.data[cell + c] += data[4 * (y * full.width + x) + c] / (sx * sy);
      }
    }
  }
  return cells;
}

export const argmax = (values) => values.indexOf(Math.max(...values));

/** The nearest map pixel that the page holds weights for. */
export function snap(page, uv) {
  return uv.map((x, axis) => {
    const last = Math.ceil(page.map_size[1 - axis] / page.grid) - 1;
    const index = Math.round(imageToMap(x, page.stride) / page.grid);
    return Math.min(Math.max(index, 0), last) * page.grid;
  });
}
