// Pinhole cameras and epipolar lines in float64, as epipolar_jax/geometry does them.
// Pixels are OpenCV's: integers are pixel centres. x_c = R x_w + t, lengths in mm.

export const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
export const add = (a, b, scale = 1) => a.map((x, i) => x + scale * b[i]);
export const norm = (a) => Math.sqrt(dot(a, a));
export const transpose = (m) => m[0].map((_, j) => m.map((row) => row[j]));
export const apply = (m, x) => m.map((row) => dot(row, x));
export const multiply = (a, b) => {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
};
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

/** Inverse of [[A, b], [0, 0, 1]]: a crop may be turned or mirrored, so K is not triangular. */
export function invertIntrinsics([[a, b, u], [c, d, v]]) {
  const det = a * d - b * c;
  const linear = [
    [d / det, -b / det],
    [-c / det, a / det],
  ];
  const shift = linear.map((row) => -(row[0] * u + row[1] * v));
  return [[...linear[0], shift[0]], [...linear[1], shift[1]], [0, 0, 1]];
}

/** K of an image -> K of its feature map: map index i is image pixel s i + (s - 1) / 2. */
export function toMap(k, stride) {
  const offset = (stride - 1) / (2 * stride);
  const scale = [
    [1 / stride, 0, -offset],
    [0, 1 / stride, -offset],
    [0, 0, 1],
  ];
  return multiply(scale, k);
}

export const mapToImage = (x, stride) => x * stride + (stride - 1) / 2;
export const imageToMap = (x, stride) => (x - (stride - 1) / 2) / stride;

/** Camera centre in the world, -Rᵀ t. */
export const center = (camera) => apply(transpose(camera.rotation), camera.translation.map((x) => -x));

/** World point -> [u, v, depth], through the lens if the camera has one. */
export function project(point, camera) {
  const x = add(apply(camera.rotation, point), camera.translation);
  const straight = apply(camera.intrinsics, [x[0] / x[2], x[1] / x[2], 1]);
  return [...bend(straight, camera), x[2]];
}

/** Where a lens, OpenCV's (k1, k2, p1, p2, k3), puts a pixel of the image without distortion. */
export function bend([u, v], { intrinsics, distortion }) {
  if (!distortion) return [u, v];
  const [k1, k2, p1, p2, k3] = distortion;
  const [x, y] = apply(invertIntrinsics(intrinsics), [u, v, 1]);
  const r2 = x * x + y * y;
  const radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3));
  return apply(intrinsics, [
    x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
    y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    1,
  ]).slice(0, 2);
}

/** Unit direction in the world of the ray through a pixel. */
export function ray([u, v], camera) {
  const x = apply(transpose(camera.rotation), apply(invertIntrinsics(camera.intrinsics), [u, v, 1]));
  return x.map((c) => c / norm(x));
}

/** F with l2 = F x1, from the relative pose; zeros when the centres coincide. */
export function fundamental(first, second) {
  const rotation = multiply(second.rotation, transpose(first.rotation));
  const baseline = add(second.translation, apply(rotation, first.translation), -1);
  const length = norm(baseline);
  if (length < 1e-6) return [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
  const essential = transpose(
    transpose(rotation).map((column) => cross(baseline.map((x) => x / length), column)),
  );
  return multiply(
    transpose(invertIntrinsics(second.intrinsics)),
    multiply(essential, invertIntrinsics(first.intrinsics)),
  );
}

/**
 * The epipolar line of a point, cut to [0, w-1] x [0, h-1], larger by a margin, or null.
 * Same direction as epipolar.sample_line: samples run from `start` to `end`.
 */
export function clippedLine(point, f, width, height, margin = 0) {
  const line = apply(f, [...point, 1]);
  const length = Math.hypot(line[0], line[1]);
  if (length < 1e-12) return null;
  const normal = [line[0] / length, line[1] / length];
  const direction = [normal[1], -normal[0]];
  const near = -margin;
  const far = [width - 1 + margin, height - 1 + margin];
  const middle = far.map((x) => (x + near) / 2);
  const gap = dot(normal, middle) + line[2] / length;
  const foot = middle.map((m, i) => m - normal[i] * gap);
  let [start, end] = [-Infinity, Infinity];
  for (const i of [0, 1]) {
    if (Math.abs(direction[i]) < 1e-9) {
      if (foot[i] < near - 1e-4 || foot[i] > far[i] + 1e-4) return null;
      continue;
    }
    const a = (near - 1e-4 - foot[i]) / direction[i];
    const b = (far[i] + 1e-4 - foot[i]) / direction[i];
    start = Math.max(start, Math.min(a, b));
    end = Math.min(end, Math.max(a, b));
  }
  if (start > end) return null;
  const at = (s) => foot.map((x, i) => Math.min(Math.max(x + s * direction[i], near), far[i]));
  return { start: at(start), end: at(end), normal, offset: line[2] / length };
}

/** k points from one end of a clipped line to the other. */
export function sampleLine(line, k) {
  return Array.from({ length: k }, (_, i) =>
    line.start.map((x, axis) => x + ((line.end[axis] - x) * i) / Math.max(k - 1, 1)),
  );
}

/** The world point closest to two rays (centre, unit direction), or null when they are parallel. */
export function meet(c1, d1, c2, d2) {
  const between = add(c2, c1, -1);
  const c = dot(d1, d2);
  const det = 1 - c * c;
  if (det < 1e-9) return null;
  const s = (dot(between, d1) - c * dot(between, d2)) / det;
  const t = (c * dot(between, d1) - dot(between, d2)) / det;
  return add(add(c1, d1, s), add(c2, d2, t)).map((x) => x / 2);
}
