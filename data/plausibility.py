"""Are these the poses of people, in millimetres and in the order that we take them for?

Single poses are odd now and then; so medians over a split are judged.
"""

import numpy as np

from epipolar_jax import skeletons

# Largest distance between two joints of a person, mm: crouched or with arms spread. A ball of
# 300 mm holds nobody, and metres, centimetres and micrometres are far outside.
_EXTENT_MM = (300.0, 4000.0)
_USUAL_MM = 1700.0
_UNITS = {"m": 1e3, "cm": 10.0, "inches": 25.4, "um": 1e-3}
# COCO's order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left, then right.
_COCO_PAIRS = (
  *(((5, 7), (6, 8)), ((7, 9), (8, 10))),
  *(((11, 13), (12, 14)), ((13, 15), (14, 16))),
)
_COCO_NAME = "COCO's"
_MOST_POSES = 2000


class Poses:
  """Collects poses [j, 3] mm of one split, NaN where a joint has no label."""

  def __init__(self):
    self._poses: list[np.ndarray] = []
    self._first = ""

  def add(self, joints: np.ndarray, where: str) -> None:
    """Adds a pose; a few thousand are enough."""
    if len(self._poses) < _MOST_POSES:
      self._poses.append(joints)
      self._first = self._first or where

  def doubt(self) -> str:
    """A sentence about what is odd in them; empty when nothing is."""
    shapes = {pose.shape for pose in self._poses}
    if len(shapes) != 1 or len(self._poses[0]) != skeletons.H36M_17.num_joints:
      return ""
    poses = np.stack(self._poses).astype(np.float64)
    return wrong_unit(poses) or coco_order(poses)


def wrong_unit(poses: np.ndarray) -> str:
  """A sentence when poses [n, j, 3] are not as large as people in mm; empty when they are."""
  with np.errstate(invalid="ignore"):
    low = np.nanmin(np.where(np.isfinite(poses), poses, np.inf), axis=1)
    high = np.nanmax(np.where(np.isfinite(poses), poses, -np.inf), axis=1)
  sizes = np.linalg.norm(high - low, axis=-1)
  sizes = sizes[np.isfinite(sizes)]
  if not sizes.size:
    return ""
  extent = float(np.median(sizes))
  if _EXTENT_MM[0] <= extent <= _EXTENT_MM[1]:
    return ""
  unit = min(_UNITS, key=lambda name: abs(np.log(max(extent, 1e-9) * _UNITS[name] / _USUAL_MM)))
  fits = _EXTENT_MM[0] <= extent * _UNITS[unit] <= _EXTENT_MM[1]
  hint = f": are they in {unit}? Multiply all lengths by {_UNITS[unit]:g}" if fits else ""
  return (
    f"poses measure {extent:.3g} from joint to joint (median of the largest extent), allowed: "
    f"{_EXTENT_MM[0]:g} to {_EXTENT_MM[1]:g} mm. joints_3d, translation and T must be in mm{hint}"
  )


def coco_order(poses: np.ndarray) -> str:
  """A sentence when 17 joints [n, 17, 3] fit COCO's order better than Human3.6M's.

  In the right order left and right bones are equally long in every pose, and every bone is equally
  long in all poses of a person.
  """
  skeleton = skeletons.H36M_17
  ours, coco = _asymmetry(poses, _pairs(skeleton)), _asymmetry(poses, _COCO_PAIRS)
  if not coco < 0.5 * ours:
    return ""
  return (
    f"left and right bones differ by {100 * ours:.0f} % (median) in the order of Human3.6M, by "
    f"{100 * coco:.0f} % in {_COCO_NAME} (nose, eyes, ears, shoulders, ...): put the joints into "
    f"the order of skeletons.H36M_17: {', '.join(skeleton.joints)}"
  )


def _pairs(skeleton: skeletons.Skeleton) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
  """Bones of the one side and those of the other."""
  flip = skeleton.flip_order
  pairs = []
  for b, a in enumerate(skeleton.parents):
    if a < 0:
      continue
    other = (flip[a], flip[b])
    if other != (a, b) and (other, (a, b)) not in pairs:
      pairs.append(((a, b), other))
  return tuple(pairs)


def _asymmetry(poses: np.ndarray, pairs) -> float:
  """Median over poses and pairs of |left - right| / mean of the two; infinite without any."""
  left, right = (
    np.stack([np.linalg.norm(poses[:, p[i][0]] - poses[:, p[i][1]], axis=-1) for p in pairs])
    for i in (0, 1)
  )
  with np.errstate(invalid="ignore", divide="ignore"):
    share = np.abs(left - right) / (0.5 * (left + right))
  share = share[np.isfinite(share)]
  return float(np.median(share)) if share.size else np.inf
