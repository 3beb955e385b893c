"""Slow and plain float64 numpy: what the fast functions are compared with. One item each."""

import numpy as np


def fundamental(k1, r1, t1, k2, r2, t2) -> np.ndarray:
  """F = [e2]× P2 P1⁺ (Hartley and Zisserman, section 9.2.2), unit norm."""
  p1 = k1 @ np.column_stack([r1, t1])
  p2 = k2 @ np.column_stack([r2, t2])
  e = p2 @ np.append(-r1.T @ t1, 1.0)
  e /= np.linalg.norm(e)
  cross = np.array([[0, -e[2], e[1]], [e[2], 0, -e[0]], [-e[1], e[0], 0]])
  f = cross @ p2 @ np.linalg.pinv(p1)
  return f / np.linalg.norm(f)


def clip_line(line: np.ndarray, width: int, height: int) -> np.ndarray | None:
  """Ends [2, 2] of a x + b y + c = 0 in the map: its two most distant crossings of the border."""
  a, b, c = line
  hits = []
  for x in (0.0, width - 1.0):
    if b != 0:
      hits.append((x, -(a * x + c) / b))
  for y in (0.0, height - 1.0):
    if a != 0:
      hits.append((-(b * y + c) / a, y))
  inside = [
    h for h in hits if -1e-9 <= h[0] <= width - 1 + 1e-9 and -1e-9 <= h[1] <= height - 1 + 1e-9
  ]
  if not inside:
    return None
  pairs = [(np.hypot(p[0] - q[0], p[1] - q[1]), p, q) for p in inside for q in inside]
  return np.array(max(pairs)[1:])


def bilinear(feature: np.ndarray, u: float, v: float) -> np.ndarray:
  """Value [c] at one point of a map [h, w, c] that is zero outside."""
  height, width, channels = feature.shape
  total = np.zeros(channels)
  for x in (int(np.floor(u)), int(np.floor(u)) + 1):
    for y in (int(np.floor(v)), int(np.floor(v)) + 1):
      if 0 <= x < width and 0 <= y < height:
        total += feature[y, x] * (1 - abs(u - x)) * (1 - abs(v - y))
  return total


def dlt(points, intrinsics, rotation, translation, weight) -> np.ndarray:
  """Homogeneous DLT in raw pixels and mm by SVD; weights multiply the rows."""
  rows = []
  for uv, k, r, t, w in zip(points, intrinsics, rotation, translation, weight):
    p = k @ np.column_stack([r, t])
    rows += [w * (uv[0] * p[2] - p[0]), w * (uv[1] * p[2] - p[1])]
  x = np.linalg.svd(np.array(rows))[2][-1]
  return x[:3] / x[3]


def procrustes(source, target, with_scale=True) -> np.ndarray:
  """The source [n, 3] after the best similarity (Umeyama 1991, by SVD)."""
  x, y = source - source.mean(0), target - target.mean(0)
  u, s, vt = np.linalg.svd(y.T @ x)
  sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
  scale = np.sum(s * np.diag(sign)) / np.sum(x * x) if with_scale else 1.0
  return scale * x @ (u @ sign @ vt).T + target.mean(0)


def sample_lines(first, second, inverse, size, num_samples, dtype):
  """The samples of Epipolar.grid2sample_locs, step by step in one floating-point type.

  Args:
    first, second: [3, 4], projections P1, P2 in image px.
    inverse: [4, 3], pseudo-inverse of P1; in float32 it decides how wrong the lines are.
    size: of the square maps; 4 image px per map px.
    num_samples: k.
    dtype: np.float32, as the original, or np.float64.

  Returns:
    [p, k, 2] samples in map px; [p] False where the line misses the map.
  """
  first, second, inverse = (np.asarray(x, dtype) for x in (first, second, inverse))
  axis = np.arange(size, dtype=dtype) * dtype(4) + dtype(1.5)
  low, high, epsilon = axis[0], axis[-1], dtype(0.001)
  v, u = np.meshgrid(axis, axis, indexing="ij")
  x2 = second @ (inverse @ np.stack([u.ravel(), v.ravel(), np.ones(size * size, dtype)]))
  x2 = x2 / x2[2]
  center = -(np.linalg.inv(first[:, :3]) @ first[:, 3])
  epipole = second @ np.append(center, dtype(1)).astype(dtype)
  epipole = epipole / epipole[2]
  a, b, c = np.cross(epipole[None], x2.T).T
  safe_a, safe_b = (np.sign(x) * np.maximum(np.abs(x), epsilon) for x in (a, b))
  bottom, top = -(low * b + c) / safe_a, -(high * b + c) / safe_a
  left, right = -(low * a + c) / safe_b, -(high * a + c) / safe_b
  lows, highs = np.full_like(a, low), np.full_like(a, high)
  hits = np.stack([bottom, lows, lows, left, highs, right, top, highs], -1).reshape(-1, 4, 2)
  crossed = np.stack(
    [
      (bottom >= low + epsilon) & (bottom < high - epsilon),
      (left > low + epsilon) & (left <= high - epsilon),
      (right >= low + epsilon) & (right < high - epsilon),
      (top > low + epsilon) & (top <= high - epsilon),
    ],
    -1,
  )
  valid = crossed.sum(-1) >= 2
  row = np.arange(len(a))
  start, end = hits[row, crossed.argmax(-1)], hits[row, 3 - crossed[:, ::-1].argmax(-1)]
  start[~valid] = end[~valid] = low - dtype(10000)
  steps = np.linspace(0, 1, num_samples, dtype=dtype)[None, :, None]
  samples = start[:, None] + (end - start)[:, None] * steps
  return (samples - dtype(1.5)) / dtype(4), valid
