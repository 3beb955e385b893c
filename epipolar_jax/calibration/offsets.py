"""By how many frames each camera is behind the first, and whether its frame rate differs.

Only epipolar distances are compared, so that two cameras are enough and nothing has to be
triangulated while cameras are out of step.
"""

import itertools
import warnings

import numpy as np

from epipolar_jax.calibration.recording import jitter
from epipolar_jax.calibration.timing import Timing, rows
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import pinholes
from epipolar_jax.rigs.rig import Rig

# Offsets tried, frames, on points of so many frames; a search needs so many pairs of points.
MOST_OFFSET = 30
_MOST_FRAMES, _LEAST_POINTS = 200, 40
# Gauss-Newton's rounds, its tolerance in frames, and the Cauchy loss's scale in deviations.
_ROUNDS, _TOLERANCE, _CAUCHY = 40, 1e-4, 1.5
# Drift is given where it is so many of its standard deviations and adds up to so many frames.
_SURE, _LEAST_DRIFT = 5.0, 0.25
# Frames on each side that smoothing looks at; it makes neighbours' errors one: by the root of the
# sum of their correlations, 2 sqrt(pi), deviations are larger.
_REACH, _CORRELATED = 3, 1.88
# Noise looks like motion: variance of a smoothed point's speed in variances of its noise. Slow
# motion tells less about time than it seems to; of so small a share of the whole, nothing.
_SPEED_NOISE, _LEAST_MOTION = 0.125, 0.02
# Added to the normal matrix of eight columns of length 1.
_RIDGE = 1e-9
# Frames in a block whose errors are taken for one.
_BLOCK = 8
# A point so many medians from the median of the five frames around it is a gross error.
_JUMP = 6.0


def estimate(
  observations: Observations, rig: Rig, *, drift: bool = False, believed: bool = False
) -> Timing:
  """Estimates offsets of all cameras against the first, to parts of a frame.

  Pairs of views are searched frame by frame for the offset of the least median epipolar distance;
  robust Gauss-Newton steps over all pairs then find its parts, and the drift.

  Args:
    observations: of one person (or animal, or board) that moves, in the views' own px.
    rig: cameras by the views' names.
    drift: frame rates may differ. In short recordings errors of the calibration look like drift.
    believed: the cameras are right; else what small errors of theirs would explain is left out.

  Raises:
    ValueError: a view has no camera, or shares too few points with the others.
  """
  rig = rig.select(observations.views)
  ideal = _without_jumps(np.moveaxis(rig.undistort(observations.points[:, 0]), 1, 0))
  fundamentals = pinholes.fundamentals(rig)
  pairs = list(itertools.combinations(range(len(rig.names)), 2))
  found = {(a, b): _search(ideal[a], ideal[b], fundamentals[a, b]) for a, b in pairs}
  offset = _joined(found, len(rig.names), rig.names)
  fit = _Fit(ideal, fundamentals, pairs, believed)
  state = np.zeros((len(rig.names), 2))
  before = fit.median(state)
  state[:, 0] = offset
  state, spread = fit.solve(state, drift=False)
  gain = fit.gains(state)
  if drift:
    free, spread_free = fit.solve(state, drift=True)
    total = np.abs(free[:, 1]) * len(ideal[0])
    real = (np.abs(free[:, 1]) > _SURE * spread_free[:, 1]) & (total > _LEAST_DRIFT)
    if real.any():
      state, spread = free * np.stack([np.ones(len(real)), real], axis=-1), spread_free
  return Timing(
    rig.names,
    tuple(state[:, 0].tolist()),
    tuple(state[:, 1].tolist()),
    observations.first_frame + fit.middle,
    tuple(spread[:, 0].tolist()),
    before,
    fit.median(state),
    gain,
  )


def _without_jumps(ideal: np.ndarray) -> np.ndarray:
  """Points [v, f, j, 2] without those far from the median of five frames: they have no speed."""
  padded = np.pad(ideal, [(0, 0), (2, 2), (0, 0), (0, 0)], constant_values=np.nan)
  near = np.stack([padded[:, i : i + ideal.shape[1]] for i in range(5)])
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
    off = np.linalg.norm(ideal - np.nanmedian(near, axis=0), axis=-1)
    usual = np.nanmedian(off, axis=(1, 2), keepdims=True)
  return np.where((off <= _JUMP * np.maximum(usual, 0.1))[..., None], ideal, np.nan)


def _search(a: np.ndarray, b: np.ndarray, fundamental: np.ndarray) -> tuple[int, float]:
  """Offset of b in frames and its median distance, px; of points [f, j, 2]."""
  both = np.isfinite(a).all(axis=-1).any(axis=1)
  frames = np.flatnonzero(both)
  frames = frames[np.unique(np.linspace(0, len(frames) - 1, _MOST_FRAMES).astype(int))]
  best = 0, np.inf
  for offset in sorted(range(-MOST_OFFSET, MOST_OFFSET + 1), key=abs):
    off = pinholes.epipolar_distance(a[frames], rows(b, frames + offset), fundamental)
    off = off.mean(axis=0)
    off = off[np.isfinite(off)]
    if len(off) >= _LEAST_POINTS and np.median(off) < best[1]:
      best = offset, float(np.median(off))
  return best


def _joined(found, count: int, names: tuple[str, ...]) -> np.ndarray:
  """Offsets [v] from those of pairs: along the tree of pairs that agree best."""
  offset, done = np.zeros(count), {0}
  while len(done) < count:
    open_pairs = {p: x for p, x in found.items() if (p[0] in done) != (p[1] in done)}
    pair = min(open_pairs, key=lambda p: open_pairs[p][1])
    if not np.isfinite(open_pairs[pair][1]):
      rest = ", ".join(n for i, n in enumerate(names) if i not in done)
      raise ValueError(
        f"time offsets: camera {rest} shares fewer than {_LEAST_POINTS} points with the others"
      )
    a, b = pair
    if a in done:
      offset[b] = offset[a] + open_pairs[pair][0]
    else:
      offset[a] = offset[b] - open_pairs[pair][0]
    done |= {a, b}
  return offset


def _without_cameras(pair, off, by_a, by_b, wrong, frames, seem):
  """The same with what errors of the two cameras explain taken out.

  Where a body is, and how fast it moves there, are two things: time is left over.

  Returns:
    The pair, distances [n], a function from times [n] since the middle to the derivatives [n, 4] by
    offset of a, of b, drift of a, of b; the frames; the variances of noise.
  """
  size = np.linalg.norm(wrong, axis=0)
  wrong = wrong / np.where(size > 0, size, 1.0)
  weight = np.ones(len(off))
  for _ in range(3):
    normal = wrong.T @ (weight[:, None] * wrong) + _RIDGE * np.eye(8)
    left = off - wrong @ np.linalg.solve(normal, wrong.T @ (weight * off))
    scale = max(1.4826 * float(np.median(np.abs(left))), 1e-3)
    weight = 1.0 / (1.0 + (left / scale / _CAUCHY) ** 2)

  def speed(since: np.ndarray) -> np.ndarray:
    slope = np.stack([by_a, by_b, by_a * since, by_b * since], axis=-1)
    return slope - wrong @ np.linalg.solve(normal, wrong.T @ (weight[:, None] * slope))

  return pair, left, speed, frames, seem


def _near(points: np.ndarray) -> np.ndarray:
  known = points[np.isfinite(points).all(axis=-1)]
  centre = known.mean(axis=0) if len(known) else np.zeros(2)
  scale = max(float(known.std()), 1e-6) if len(known) else 1.0
  return np.array([[1, 0, 0], [0, 1, 0], [*-centre, scale]]) / scale


class _Fit:
  """Least squares of signed epipolar distances over offsets and drifts [v, 2] of all views."""

  def __init__(self, ideal: np.ndarray, fundamentals: np.ndarray, pairs, believed: bool):
    self._ideal, self._fundamentals, self._pairs = ideal, fundamentals, pairs
    self._believed = believed
    self._frames = np.arange(ideal.shape[1], dtype=np.float64)
    self.middle = (len(self._frames) - 1) / 2
    # Homogeneous px (as rows) to coordinates of order 1 around the middle of a view's points.
    self._near = [_near(points) for points in ideal]
    self._speed_noise = _SPEED_NOISE * jitter(ideal) ** 2

  def _moved(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [v, f, j, 2] at their times, and their velocities, px a frame."""
    points, speed = [], []
    for table, (offset, drift) in zip(self._ideal, state):
      times = self._frames + offset + drift * (self._frames - self.middle)
      points.append(smooth(table, times))
      speed.append(smooth(table, times + 0.5) - smooth(table, times - 0.5))
    return np.stack(points), np.stack(speed)

  def _residuals(self, state: np.ndarray, pairs):
    """Of all pairs: the pair, and of n points the distances [n], their derivatives by the time of a
    and of b [n], by the fundamental matrix [n, 8], the frames [n], and the variances [n, 2] that
    noise has in the derivatives by time.
    """
    points, speed = self._moved(state)
    for a, b in pairs:
      one, other = (np.concatenate([x, np.ones_like(x[..., :1])], axis=-1) for x in points[[a, b]])
      line = one @ self._fundamentals[a, b].T
      back = other @ self._fundamentals[a, b]
      # Sampson's distance; its denominator hardly changes with time.
      length = np.sqrt(np.sum(line[..., :2] ** 2, -1) + np.sum(back[..., :2] ** 2, -1))
      length = np.where(length > 0, length, np.nan)
      off = np.sum(line * other, axis=-1) / length
      by_a = np.sum(back[..., :2] * speed[a], axis=-1) / length
      by_b = np.sum(line[..., :2] * speed[b], axis=-1) / length
      known = np.isfinite(off) & np.isfinite(by_a) & np.isfinite(by_b)
      # What small errors of the two cameras would add: the eight numbers of F but its size.
      near_a, near_b = one @ self._near[a], other @ self._near[b]
      own = np.linalg.inv(self._near[b]) @ self._fundamentals[a, b] @ np.linalg.inv(self._near[a]).T
      eight = np.linalg.svd(own.reshape(1, 9))[2][1:].T
      wrong = (near_b[..., :, None] * near_a[..., None, :]).reshape(*off.shape, 9)
      wrong = wrong @ eight / length[..., None]
      wrong = 0.0 * wrong if self._believed else wrong
      seem = [np.sum(x[..., :2] ** 2, -1) / length**2 for x in (back, line)]
      seem = np.stack(seem, axis=-1) * self._speed_noise[[a, b]]
      frames = np.nonzero(known)[0]
      yield (a, b), off[known], by_a[known], by_b[known], wrong[known], frames, seem[known]

  def median(self, state: np.ndarray) -> float:
    """Median epipolar distance over all pairs, px."""
    points, _ = self._moved(state)
    off = [
      pinholes.epipolar_distance(points[a], points[b], self._fundamentals[a, b]).mean(axis=0)
      for a, b in self._pairs
    ]
    off = np.stack(off)
    off = off[np.isfinite(off)]
    return float(np.median(off)) if len(off) else float("nan")

  def solve(self, state: np.ndarray, *, drift: bool) -> tuple[np.ndarray, np.ndarray]:
    """The state after Gauss-Newton, and its standard deviations [v, 2]."""
    count = len(state)
    # The first camera is the clock.
    free = np.array([i for i in range(2 * count) if i >= 2 and (drift or i % 2 == 0)])
    for _ in range(_ROUNDS):
      matrix, gradients, seeming = self._normal(state)
      right = gradients.sum(axis=0)
      inverse = np.linalg.inv(matrix[np.ix_(free, free)] + 1e-9 * np.eye(len(free)))
      step = np.zeros(2 * count)
      step[free] = -inverse @ right[free]
      step = step.reshape(count, 2)
      step /= max(1.0, np.abs(step[:, 0]).max())
      state = state + step
      if np.abs(step[:, 0]).max() < _TOLERANCE:
        break
    spread = np.zeros(2 * count)
    # Errors of neighbouring frames, and of all joints of one, are not independent: the spread is
    # that of the gradients of blocks of frames (a sandwich), or of independent ones if larger.
    moved = gradients[:, free] @ inverse
    blocks = np.sqrt(np.sum(moved * moved, axis=0))
    spread[free] = np.maximum(blocks, _CORRELATED * np.sqrt(np.diag(inverse)))
    motion = 1.0 - np.diag(seeming)[free] / np.maximum(np.diag(matrix)[free], 1e-300)
    moves = motion > _LEAST_MOTION
    spread[free] = np.where(moves, spread[free] / np.where(moves, motion, 1.0), np.inf)
    return state, spread.reshape(count, 2)

  def gains(self, state: np.ndarray) -> tuple[float, ...]:
    """[v], log likelihood that each view's offset gains over none, the others as they are."""
    scale = max(float(np.median(np.abs(self._left(state, None)))), 1e-3)

    def cost(moved: np.ndarray, view: int) -> float:
      left = self._left(moved, view)
      return float(np.log1p((left / scale) ** 2).mean()) if len(left) else 0.0

    found = [0.0]
    for view in range(1, len(state)):
      still = state.copy()
      still[view] = 0.0
      # Smoothing makes neighbours' errors one.
      count = len(self._left(state, view)) / _CORRELATED**2
      found.append(count * (cost(still, view) - cost(state, view)))
    return tuple(found)

  def _left(self, state: np.ndarray, view: int | None) -> np.ndarray:
    """Distances [n] without what errors of the cameras explain; of one view's pairs, or all."""
    pairs = self._pairs if view is None else [pair for pair in self._pairs if view in pair]
    found = [_without_cameras(*part)[1] for part in self._residuals(state, pairs)]
    return np.concatenate(found)

  def _normal(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal matrix [2v, 2v], and gradients [blocks of frames, 2v], in units of the noise.

    The last is what noise that looks like motion adds to the normal matrix.
    """
    size = 2 * len(state)
    matrix, seeming = np.zeros((size, size)), np.zeros((size, size))
    right = np.zeros((len(self._frames) // _BLOCK + 1, size))
    parts = [_without_cameras(*part) for part in self._residuals(state, self._pairs)]
    every = np.concatenate([np.abs(off) for _, off, *_ in parts])
    noise = max(1.4826 * float(np.median(every)), 1e-3)
    since = self._frames - self.middle
    for (a, b), off, speed, frames, seem in parts:
      residual = off / noise
      slope = np.zeros((len(residual), size))
      slope[:, [2 * a, 2 * b, 2 * a + 1, 2 * b + 1]] = speed(since[frames]) / noise
      weight = 1.0 / (1.0 + (residual / _CAUCHY) ** 2)
      matrix += slope.T @ (weight[:, None] * slope)
      np.add.at(right, frames // _BLOCK, slope * (weight * residual)[:, None])
      seem = weight[:, None] * seem / noise**2
      seem = np.concatenate([seem, seem * since[frames, None] ** 2], axis=1).sum(axis=0)
      at = [2 * a, 2 * b, 2 * a + 1, 2 * b + 1]
      seeming[at, at] += seem
    return matrix, right, seeming


def smooth(table: np.ndarray, times: np.ndarray) -> np.ndarray:
  """Rows [n, ...] of a table [f, ...] at times, Gaussian weights of one frame.

  Linear interpolation is noisiest at whole frames, which repels a fit from them; here the noise is
  the same everywhere. NaN outside, or beside NaN; neighbours farther away may be missing.
  """
  low = np.floor(times).astype(int)
  total, weight = 0.0, 0.0
  for place in range(-_REACH, _REACH + 2):
    share = np.exp(-0.5 * (times - low - place) ** 2).reshape(-1, *[1] * (table.ndim - 1))
    found = rows(table, low + place)
    if place not in (0, 1):
      share, found = np.where(np.isnan(found), 0.0, share), np.nan_to_num(found)
    total, weight = total + share * found, weight + share
  return total / weight
