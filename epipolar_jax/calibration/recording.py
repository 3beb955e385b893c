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
# Points that the other views disagree on more than this many medians are left out.
_OUTLIER = 3.0
# Fewest points that a median is made of.
LEAST_POINTS = 12
# The first quartile of |x|, and the median, for a Gaussian of deviation 1.
_QUARTILE, _HALF = 0.3186, 0.6745


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
  """Errors of views; `given`: for each view the points [n, 3] that the others give."""

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
    left_out, others, given = np.full(count, np.nan), np.full(count, np.nan), []
    for view in range(count):
      rest = [i for i in range(count) if i != view]
      found = pinholes.locate(ideal[rest], matrices[rest])
      off = np.nanmean(distances(found, matrices[rest], ideal[rest]), axis=0)
      others[view] = median(off)
      found[~(off <= _OUTLIER * others[view] + 1e-6)] = np.nan
      left_out[view] = median(distances(found, matrices[[view]], ideal[[view]])[0])
      given.append(found + origin)
    return Judged(left_out, others, given)

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

  def jitter(self) -> np.ndarray:
    """[v], standard deviation, px, of what changes from frame to frame without being motion.

    From second differences over time, whose lower quartile neither gross errors nor fast moves
    reach; 0 where too few points follow each other.
    """
    found = np.zeros(len(self.views))
    for view, points in enumerate(self.points):
      bend = np.abs(points[:-2] - 2 * points[1:-1] + points[2:])
      bend = bend[np.isfinite(bend)]
      if len(bend) >= LEAST_POINTS:
        found[view] = np.percentile(bend, 25) / (_QUARTILE * np.sqrt(6))
    return found

  def expected(self) -> np.ndarray:
    """[v, v] median epipolar distances, px, that jitter alone makes; NaN on the diagonal."""
    count, jitter = len(self.views), self.jitter()
    found = np.full((count, count), np.nan)
    for a in range(count):
      for b in range(a + 1, count):
        fundamental = _fundamental(self.poses[a], self.poses[b])
        in_b = np.linalg.norm((_homogeneous(self.ideal[a]) @ fundamental.T)[:, :2], axis=-1)
        in_a = np.linalg.norm((_homogeneous(self.ideal[b]) @ fundamental)[:, :2], axis=-1)
        both = np.where((in_a > 0) & (in_b > 0), in_a * in_b, np.nan)
        mean = (in_a + in_b) / both / 2 * np.hypot(jitter[a] * in_a, jitter[b] * in_b)
        found[a, b] = found[b, a] = _HALF * median(mean)
    return found

  def body_mm(self) -> float:
    """Median over frames of the largest distance between two joints; NaN if there is none."""
    matrices, _ = projections(self.poses)
    points = pinholes.locate(self.ideal, matrices)
    off = np.nanmean(distances(points, matrices, self.ideal), axis=0)
    points[~(off <= _OUTLIER * median(off) + 1e-6)] = np.nan
    points = points.reshape(len(self.frames), -1, 3)
    apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    return median(np.nanmax(apart, axis=(1, 2)))


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
  fundamental = _fundamental(poses[a], poses[b])
  return median(pinholes.epipolar_distance(ideal[a], ideal[b], fundamental).mean(axis=0))


def _fundamental(a: mistakes.Pose, b: mistakes.Pose) -> np.ndarray:
  (k_a, r_a, t_a), (k_b, r_b, t_b) = a, b
  turn = r_b @ r_a.T
  x, y, z = t_b - turn @ t_a
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / max(np.linalg.norm([x, y, z]), 1e-12)
  return np.linalg.inv(k_b).T @ cross @ turn @ np.linalg.inv(k_a)


def median(off: np.ndarray) -> float:
  """Median of what is not NaN; NaN if that is too little. Infinite is far off, and counts."""
  known = np.sort(off[~np.isnan(off)])
  return float(known[len(known) // 2]) if len(known) >= LEAST_POINTS else float("nan")
