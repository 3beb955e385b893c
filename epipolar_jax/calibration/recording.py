"""The points of a recording that cameras are compared on, and how well cameras agree on them.

Plain NumPy on some hundreds of points: seconds, no compilation.
"""

import dataclasses

import numpy as np

from epipolar_jax.calibration import mistakes
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming, pinholes
from epipolar_jax.rigs.rig import Rig

# Points looked at, from evenly spaced frames; enough for medians.
_MOST_POINTS, _LEAST_FRAMES = 400, 12
# Points whose score is below this share of the median score of their view are not looked at.
_LEAST_SCORE = 0.5
# Points that the other views disagree on more than this many medians are left out, and so is what
# one view saw of a point that the others agree on better.
_OUTLIER = 3.0
# Rounds of locating points without the views that are far from them.
_ROUNDS = 2
# Fewest points that a median is made of.
LEAST_POINTS = 12
# A difference in log likelihood that leaves no doubt, neighbours' errors being alike.
DOUBTLESS = 10.0
# The first quartile of |x|, and the median, for a Gaussian of deviation 1.
_QUARTILE, _HALF = 0.3186, 0.6745


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
  """How well views agree.

  Attributes:
    left_out: [v], median distance, px, of what a view saw from where the points of the others
      project; with two views their epipolar distance.
    others: [v], the same of the worst of the other views from the points that they give without
      this one; NaN with two views.
    given: for each view the points [n, 3] that the others give.
  """

  left_out: np.ndarray
  others: np.ndarray
  given: list[np.ndarray]


class Recording:
  """Points of chosen frames in all views, and the cameras as K [v, 3, 3], R, t near the origin.

  Attributes:
    points: [v, f, j, 2] px of the views' own images, all frames; NaN where not looked at.
    frames: [n] chosen.
    ideal: [v, n·j, 2] of the chosen frames, without lens distortion.
    poses: v of (K, R, t).
  """

  def __init__(self, observations: Observations, rig: Rig):
    self.views, self.rig = observations.views, rig
    points, score = observations.points[:, 0], observations.score[:, 0]
    usual = [np.median(x[x > 0]) if (x > 0).any() else 1.0 for x in np.moveaxis(score, 1, 0)]
    good = score >= _LEAST_SCORE * np.array(usual)[:, None]
    self.points = np.moveaxis(np.where(good[..., None], points, np.nan), 1, 0)
    self.frames = _frames(np.isfinite(self.points).all(axis=-1))
    if not len(self.frames):
      raise ValueError(f"no frame has points in two of the views {', '.join(self.views)}")
    self.joints = observations.joints
    self.size_px = naming.size_px(observations.points[self.frames])
    cameras = rig.cameras
    arrays = (cameras.intrinsics, cameras.rotation, cameras.translation)
    self.poses = list(zip(*(np.asarray(x, np.float64) for x in arrays)))
    self.sizes = [
      size or tuple(2 * k[:2, 2] + 1) for size, (k, _, _) in zip(rig.sizes_wh, self.poses)
    ]
    chosen = self.points[:, self.frames]
    self.ideal = np.stack([self.undistort(v, chosen[v]) for v in range(len(self.views))])

  def undistort(self, view: int, points: np.ndarray, k: np.ndarray | None = None) -> np.ndarray:
    """Pixels [n, j, 2] of a view's image to [n·j, 2] of its pinhole."""
    k = self.poses[view][0] if k is None else k
    return self.rig.lenses[view].undistort(points, k).reshape(-1, 2)

  def judge(self, poses: list[mistakes.Pose], ideal: np.ndarray) -> Judged:
    """How well views agree with each other if the cameras were these and the points those."""
    count = len(poses)
    if count == 2:
      off = epipolar_px(poses, ideal, 0, 1)
      return Judged(np.full(2, off), np.full(2, np.nan), [np.empty((0, 3))] * 2)
    matrices, origin = projections(poses)
    found = _agreed(ideal, matrices, ~np.eye(count, dtype=bool))
    left_out, others, given = np.full(count, np.nan), np.full(count, np.nan), []
    for view, points in enumerate(found):
      off = distances(points, matrices, ideal)
      rest = np.delete(off, view, axis=0)
      others[view] = np.fmax.reduce([median(x) for x in rest])
      points = _without_outliers(points, rest)
      left_out[view] = median(np.where(np.isfinite(points[:, 0]), off[view], np.nan))
      given.append(points + origin)
    return Judged(left_out, others, given)

  def off(self, given: Judged, view: int, pose: mistakes.Pose, ideal: np.ndarray) -> np.ndarray:
    """Distances [n], px, of a view's points from those of the others, if its pose were this.

    With two views they are epipolar.
    """
    if len(self.poses) > 2:
      k, r, t = pose
      camera = np.concatenate([k, np.zeros((3, 1))], axis=1)
      return distances(given.given[view] @ r.T + t, camera[None], ideal[None])[0]
    matrix = fundamental(pose, self.poses[1 - view])
    return pinholes.epipolar_distance(ideal, self.ideal[1 - view], matrix).mean(axis=0)

  def pairs(self, poses: list[mistakes.Pose], ideal: np.ndarray) -> np.ndarray:
    """[v, v] median epipolar distances, px, if the cameras were these and the points those."""
    count = len(poses)
    found = np.full((count, count), np.nan)
    for a in range(count):
      for b in range(a + 1, count):
        found[a, b] = found[b, a] = epipolar_px(poses, ideal, a, b)
    return found

  def neighbours_px(self, poses: list[mistakes.Pose], ideal: np.ndarray) -> float:
    """Mean of the median epipolar distances of each view and the two listed after it, px."""
    count = len(poses)
    pairs = {tuple(sorted((i, (i + n) % count))) for i in range(count) for n in (1, 2)}
    off = [epipolar_px(poses, ideal, a, b) for a, b in pairs if a != b]
    known = [x for x in off if np.isfinite(x)]
    return float(np.mean(known)) if known else float("inf")

  def expected(self) -> np.ndarray:
    """[v, v] median epipolar distances, px, that jitter alone makes; NaN on the diagonal."""
    count, noise = len(self.views), jitter(self.points)
    found = np.full((count, count), np.nan)
    for a in range(count):
      for b in range(a + 1, count):
        matrix = fundamental(self.poses[a], self.poses[b])
        in_b = np.linalg.norm((_homogeneous(self.ideal[a]) @ matrix.T)[:, :2], axis=-1)
        in_a = np.linalg.norm((_homogeneous(self.ideal[b]) @ matrix)[:, :2], axis=-1)
        both = np.where((in_a > 0) & (in_b > 0), in_a * in_b, np.nan)
        mean = (in_a + in_b) / both / 2 * np.hypot(noise[a] * in_a, noise[b] * in_b)
        found[a, b] = found[b, a] = _HALF * median(mean)
    return found

  def body_mm(self) -> float:
    """Median over frames of the largest distance between two joints; NaN if there is none."""
    matrices, _ = projections(self.poses)
    points = _agreed(self.ideal, matrices, np.ones((1, len(self.views)), bool))[0]
    points = _without_outliers(points, distances(points, matrices, self.ideal))
    points = points.reshape(len(self.frames), -1, 3)
    apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    return median(np.nanmax(apart, axis=(1, 2)))


def jitter(points: np.ndarray) -> np.ndarray:
  """[v], standard deviation, px, of what changes from frame to frame without being motion.

  From second differences over time of points [v, f, j, 2], whose lower quartile neither gross
  errors nor fast moves reach; 0 where too few points follow each other.
  """
  found = np.zeros(len(points))
  for view, own in enumerate(points):
    bend = np.abs(own[:-2] - 2 * own[1:-1] + own[2:])
    bend = bend[np.isfinite(bend)]
    if len(bend) >= LEAST_POINTS:
      found[view] = np.percentile(bend, 25) / (_QUARTILE * np.sqrt(6))
  return found


def _agreed(seen: np.ndarray, matrices: np.ndarray, taken: np.ndarray) -> np.ndarray:
  """Points [l, n, 3] from what most views agree on, for l choices of views.

  Textbook DLT by normal matrices, which are added up. Of many views one is nearly always wrong
  about a point, and pulls it away from the others; of three, none can be told from the others.

  Args:
    seen: [v, n, 2], px; NaN where not seen.
    matrices: [v, 3, 4].
    taken: [l, v], views that count.
  """
  known = np.isfinite(seen).all(axis=-1)
  rows = np.where(known[..., None], seen, 0.0)[..., None] * matrices[:, None, None, 2]
  # |P_i x P_3| is the focal length: divided by it, rows are those of normalised coordinates.
  focal = np.linalg.norm(np.cross(matrices[:, :2, :3], matrices[:, 2:, :3]), axis=-1)
  rows = (rows - matrices[:, None, :2]) / focal[:, None, :, None]
  normal = np.swapaxes(rows, -1, -2) @ rows
  weight = taken[:, :, None] & known
  found = _located(normal, weight)
  for _ in range(_ROUNDS if taken[0].sum() > 3 else 0):
    off = np.stack([distances(points, matrices, seen) for points in found])
    off = np.where(taken[:, :, None], off, np.nan)
    usual = np.nanmedian(off, axis=1)
    limit = _OUTLIER * np.maximum(usual, np.nanmedian(usual, axis=1, keepdims=True))
    found = _located(normal, weight & (off <= limit[:, None]))
  return found


def _located(normal: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Points [l, n, 3] of normal matrices [v, n, 4, 4] of views that count [l, v, n]; else NaN."""
  matrix = np.einsum("lvn,vnab->lnab", weight.astype(np.float64), normal)
  x = np.linalg.eigh(matrix)[1][..., 0]
  depth = x[..., 3]
  good = (weight.sum(axis=1) >= 2) & (np.abs(depth) > 1e-12 * np.abs(x).max(axis=-1))
  return np.where(good[..., None], x[..., :3] / np.where(good, depth, 1.0)[..., None], np.nan)


def _without_outliers(points: np.ndarray, off: np.ndarray) -> np.ndarray:
  """Points [n, 3], NaN where the views [v, n] that give one are far from it."""
  usual = np.nanmedian(off, axis=0)
  return np.where((usual <= _OUTLIER * median(usual) + 1e-6)[:, None], points, np.nan)


def _homogeneous(points: np.ndarray) -> np.ndarray:
  return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def _frames(seen: np.ndarray) -> np.ndarray:
  """Frames, evenly spaced, of those in which the most views saw something; seen [v, f, j]."""
  views = seen.any(axis=2).sum(axis=0)
  most = max(_LEAST_FRAMES, _MOST_POINTS // seen.shape[2])
  for least in (len(seen), min(3, len(seen)), 2):
    frames = np.flatnonzero(views >= least)
    if len(frames) >= most or least == 2:
      break
  return frames[
    np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round()).astype(int)
  ]


def projections(poses: list[mistakes.Pose]) -> tuple[np.ndarray, np.ndarray]:
  """K [R | t] [v, 3, 4] in a world whose origin is amid the cameras, one far away or not."""
  origin = np.median([-r.T @ t for _, r, t in poses], axis=0)
  found = [k @ np.concatenate([r, (t + r @ origin)[:, None]], axis=1) for k, r, t in poses]
  return np.stack(found), origin


def distances(points: np.ndarray, matrices: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """Distances [v, n], px, of projected points [n, 3] from [v, n, 2]; infinite behind a camera."""
  off = np.linalg.norm(pinholes.project(points, matrices) - seen, axis=-1)
  both = np.isfinite(points).all(axis=-1) & np.isfinite(seen).all(axis=-1)
  return np.where(both & np.isnan(off), np.inf, off)


def epipolar_px(poses: list[mistakes.Pose], ideal: np.ndarray, a: int, b: int) -> float:
  """Median epipolar distance of two views, px."""
  matrix = fundamental(poses[a], poses[b])
  return median(pinholes.epipolar_distance(ideal[a], ideal[b], matrix).mean(axis=0))


def fundamental(a: mistakes.Pose, b: mistakes.Pose) -> np.ndarray:
  """F [3, 3] with x_b^T F x_a = 0."""
  (k_a, r_a, t_a), (k_b, r_b, t_b) = a, b
  turn = r_b @ r_a.T
  x, y, z = t_b - turn @ t_a
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / max(np.linalg.norm([x, y, z]), 1e-12)
  return np.linalg.inv(k_b).T @ cross @ turn @ np.linalg.inv(k_a)


def median(off: np.ndarray) -> float:
  """Median of what is not NaN; NaN if that is too little. Infinite is far off, and counts."""
  known = np.sort(off[~np.isnan(off)])
  return float(known[len(known) // 2]) if len(known) >= LEAST_POINTS else float("nan")
