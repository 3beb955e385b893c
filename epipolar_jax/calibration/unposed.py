"""Poses of cameras of which only the intrinsics are known, from keypoints of what moves.

The best pair of cameras is posed by its essential matrix; each other camera by the points that the
posed ones give; then bundle adjustment. Several first pairs are tried. The world's scale and which
way is up are not known then: see `world`.

References:
  Hartley and Zisserman, Multiple View Geometry, 2nd ed., sections 9.6 and 18.6; Nistér, An
  efficient solution to the five-point relative pose problem, PAMI 2004 (as OpenCV has it).
"""

import dataclasses
import itertools

import cv2
import numpy as np

from epipolar_jax.calibration import fitting, judging
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# Points of a pair, at least and at most; and of a camera that is to be posed.
_LEAST_POINTS, _MOST_POINTS, _LEAST_POSED = 50, 3000, 30
# Detections below this score are left out.
_LEAST_SCORE = 0.3
# Inliers lie within this share of the body's size in the image, and so many px.
_INLIER, _INLIER_PX = 0.01, 2.0
# Rays of a first pair meet at this angle at least, degrees; so many first pairs are tried.
_LEAST_ANGLE, _STARTS = 5.0, 4
# How much wider than for refining the prior is, and fits one after another.
LOOSE, _FITS = 20.0, 2
# Frames that the poses are started from.
_MOST_FRAMES = 150


@dataclasses.dataclass(frozen=True, eq=False)
class _Pair:
  """Two cameras posed by their essential matrix: x_b = rotation x_a + shift, |shift| = 1."""

  views: tuple[int, int]
  rotation: np.ndarray
  shift: np.ndarray
  inliers: int
  angle: float

  @property
  def worth(self) -> float:
    return self.inliers * min(self.angle, 30.0)


def pose(observations: Observations, rig: Rig) -> Rig:
  """Poses the cameras of a rig, whose own poses are not looked at.

  The world's unit, origin and axes mean nothing yet: see `world.stand`.

  Args:
    observations: of one person (or animal, or board) a frame, px of the cameras' own images.
    rig: K, lens and name of each view.

  Raises:
    ValueError: no two cameras, or a camera and the others, share enough points that agree.
  """
  few, best = start(observations, rig)
  for _ in range(_FITS):
    best = fitting.fit(few, best, loose=LOOSE).rig
  return best


def start(observations: Observations, rig: Rig) -> tuple[Observations, Rig]:
  """The frames that poses are started from, and the best chain of poses before any adjustment."""
  rig = rig.select(observations.views)
  seen = observations.score > _LEAST_SCORE
  observations = dataclasses.replace(observations, score=np.where(seen, observations.score, 0.0))
  few = _thinned(observations)
  ideal = np.moveaxis(rig.undistort(few.points)[:, 0], 1, 0).reshape(len(rig.names), -1, 2)
  tolerance = max(_INLIER_PX, _INLIER * naming.size_px(few.points))
  pairs = [
    _essential(ideal, rig, pair, tolerance)
    for pair in itertools.combinations(range(len(rig.names)), 2)
  ]
  pairs = sorted((x for x in pairs if x is not None), key=lambda x: -x.worth)
  wide = [x for x in pairs if x.angle >= _LEAST_ANGLE] or pairs
  found, faults = [], []
  for pair in wide[:_STARTS]:
    try:
      started = _chained(few, rig, ideal, pair, tolerance)
      found.append((error_px(few, started), len(found), started))
    except ValueError as error:
      faults.append(str(error))
  if not found:
    reason = faults[0] if faults else f"no two cameras share {_LEAST_POINTS} points that agree"
    raise ValueError(f"cameras cannot be posed from these keypoints: {reason}")
  return few, min(found)[2]


def _thinned(observations: Observations) -> Observations:
  """Evenly spaced frames of those that two views saw."""
  frames = np.flatnonzero(observations.seen.any(axis=(1, 3)).sum(axis=1) >= 2)
  if len(frames) > _MOST_FRAMES:
    frames = frames[np.linspace(0, len(frames) - 1, _MOST_FRAMES).astype(int)]
  return dataclasses.replace(
    observations, points=observations.points[frames], score=observations.score[frames]
  )


def _rays(ideal: np.ndarray, k: np.ndarray) -> np.ndarray:
  return (ideal - k[:2, 2]) @ np.linalg.inv(k[:2, :2]).T


def _essential(ideal: np.ndarray, rig: Rig, views: tuple[int, int], tolerance: float):
  """Two cameras' relative pose; None where too few points agree."""
  a, b = views
  both = np.flatnonzero(np.isfinite(ideal[[a, b]]).all(axis=(0, 2)))
  if len(both) < _LEAST_POINTS:
    return None
  if len(both) > _MOST_POINTS:
    both = both[np.linspace(0, len(both) - 1, _MOST_POINTS).astype(int)]
  k = np.asarray(rig.cameras.intrinsics, np.float64)
  first, second = (_rays(ideal[view, both], k[view]) for view in views)
  focal = float(np.sqrt(k[a, 0, 0] * k[b, 0, 0]))
  # The generator of its samples is OpenCV's own: the same points give the same pose.
  cv2.setRNGSeed(0)
  essential, inlier = cv2.findEssentialMat(
    first, second, np.eye(3), method=cv2.RANSAC, prob=0.9999, threshold=tolerance / focal
  )
  if essential is None or essential.shape != (3, 3):
    return None
  count, rotation, shift, front = cv2.recoverPose(
    essential, first, second, np.eye(3), mask=inlier.copy()
  )
  if count < _LEAST_POINTS:
    return None
  front = front.ravel() > 0
  one = np.concatenate([first[front], np.ones((front.sum(), 1))], axis=-1) @ rotation.T
  other = np.concatenate([second[front], np.ones((front.sum(), 1))], axis=-1)
  cosine = np.sum(one * other, -1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
  angle = float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))
  # Rays that meet head-on are as flat as those that are parallel.
  return _Pair(views, rotation, shift.ravel(), count, min(angle, 180.0 - angle))


def _chained(
  observations: Observations, rig: Rig, ideal: np.ndarray, pair: _Pair, tolerance: float
) -> Rig:
  """All cameras posed, one after another, the one that sees the most known points first."""
  rotation = np.stack([np.eye(3)] * len(rig.names))
  shift = np.zeros((len(rig.names), 3))
  a, b = pair.views
  rotation[b], shift[b] = pair.rotation, pair.shift
  # Lengths of a body's order, so that tolerances in mm are not met by everything.
  shift[b] *= 1000.0
  done = [a, b]
  k = np.asarray(rig.cameras.intrinsics, np.float64)
  while len(done) < len(rig.names):
    names = tuple(rig.names[i] for i in done)
    cameras = Cameras(k[done], rotation[done], shift[done])
    part = observations.select(views=names)
    part = dataclasses.replace(part, points=rig.select(names).undistort(part.points))
    given = estimate.triangulate(part, cameras)
    # A point that its own views disagree on poses nothing.
    off = np.nanmax(np.nan_to_num(given.reprojection_px[:, 0]), axis=1)
    good = given.valid[:, 0] & (off < 2 * tolerance)
    points = np.where(good[..., None], given.points[:, 0], np.nan).reshape(-1, 3)
    known = np.isfinite(points).all(axis=-1) & np.isfinite(ideal).all(axis=-1)
    rest = [i for i in range(len(rig.names)) if i not in done]
    view = max(rest, key=lambda i: known[i].sum())
    if known[view].sum() < _LEAST_POSED:
      raise ValueError(
        f"camera {rig.names[view]} shares {known[view].sum()} points with those already posed "
        f"({', '.join(names)}), at least {_LEAST_POSED} are needed"
      )
    cv2.setRNGSeed(0)
    found, turn, move, _ = cv2.solvePnPRansac(
      points[known[view]],
      ideal[view, known[view]],
      k[view],
      None,
      iterationsCount=2000,
      reprojectionError=2 * tolerance,
      flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found:
      raise ValueError(f"no pose of camera {rig.names[view]} agrees with {', '.join(names)}")
    rotation[view], shift[view] = cv2.Rodrigues(turn)[0], move.ravel()
    done.append(view)
  return dataclasses.replace(rig, cameras=Cameras(k, rotation, shift))


def error_px(observations: Observations, rig: Rig) -> float:
  """Median error of a view against the others', px (of two views, of reprojection)."""
  if len(rig.names) == 2:
    return float(np.nanmedian(estimate.triangulate(observations, rig).reprojection_px))
  ideal = dataclasses.replace(observations, points=rig.undistort(observations.points))
  return float(np.nanmedian(judging.leave_one_out(ideal, rig.cameras)))
