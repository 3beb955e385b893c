"""The world of a rig: kept, or its scale from a length or a body, up from the joints, the floor."""

import dataclasses

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# Fewest frames that show a length.
_LEAST_FRAMES = 5
# Fewest points that show how one world lies in another.
_LEAST_POINTS = 10
# Rounds of the alignment with another rig's world, and the distance, mm, that weighs most.
_ROUNDS, _NEAREST = 30, 0.1
# What a body measures, in shares of its size at full stretch.
_STRETCH = 0.8
# Parts of the names of joints that are low, and high, of a body that stands.
_LOW, _HIGH = ("ankle", "ank", "foot", "heel", "toe"), ("nose", "head", "neck", "eye", "sho")


def scaled(rig: Rig, factor: float) -> Rig:
  """The rig with all lengths multiplied, about the world's origin."""
  cameras = rig.cameras
  moved = dataclasses.replace(cameras, translation=factor * np.asarray(cameras.translation))
  return dataclasses.replace(rig, cameras=moved)


def kept(observations: Observations, before: Rig, after: Rig) -> tuple[Rig, float]:
  """Moves a rig as a whole so that its points lie nearest to those of the rig it was refined from.

  Keypoints do not tell where the world is. One rigid motion of all cameras, without scale, changes
  no projection; that of the least sum of distances is taken, so that gross errors hardly count.

  Args:
    observations: of one person (or animal, or board) a frame, px of the cameras' own images.
    before: rig whose world is to be kept.
    after: the same cameras, refined.

  Returns:
    The rig, and the median distance, mm, that is left; the rig as it is and NaN where too few
    points are triangulated with both.
  """
  old, new = (estimate.triangulate(observations, rig) for rig in (before, after))
  both = old.valid[:, 0] & new.valid[:, 0]
  a, b = new.points[:, 0][both].astype(np.float64), old.points[:, 0][both].astype(np.float64)
  if len(a) < _LEAST_POINTS:
    return after, float("nan")
  weight = np.ones(len(a))
  for _ in range(_ROUNDS):
    share = weight / weight.sum()
    middle, target = share @ a, share @ b
    u, size, vt = np.linalg.svd((share[:, None] * (b - target)).T @ (a - middle))
    if not size[1] > 1e-6 * size[0]:
      return after, float("nan")  # on one line: no turn is told
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    shift = target - turn @ middle
    off = np.linalg.norm(a @ turn.T + shift - b, axis=-1)
    weight = 1.0 / np.maximum(off, _NEAREST)
  rotation = np.asarray(after.cameras.rotation, np.float64) @ turn.T
  translation = np.asarray(after.cameras.translation, np.float64) - rotation @ shift
  moved = dataclasses.replace(after.cameras, rotation=rotation, translation=translation)
  return dataclasses.replace(after, cameras=moved), float(np.median(off))


def of_length(observations: Observations, rig: Rig, length: tuple[str, str, float]) -> float:
  """How many times longer a length should be."""
  *names, wanted = length
  missing = [name for name in names if name not in observations.joints]
  if missing:
    raise ValueError(
      f"no joint {', '.join(missing)} for the known length; there are "
      f"{', '.join(observations.joints)}"
    )
  if not 0 < wanted < float("inf"):
    raise ValueError(f"the known length between {' and '.join(names)} should be above 0 mm")
  found = estimate.triangulate(observations, rig)
  a, b = (observations.joints.index(name) for name in names)
  both = found.valid[:, 0, a] & found.valid[:, 0, b]
  if both.sum() < _LEAST_FRAMES:
    raise ValueError(
      f"the known length: {' and '.join(names)} are triangulated together in {both.sum()} frames, "
      f"at least {_LEAST_FRAMES} are needed"
    )
  apart = np.linalg.norm(found.points[both, 0, a] - found.points[both, 0, b], axis=-1)
  return float(wanted / np.median(apart))


def stand(
  observations: Observations,
  rig: Rig,
  *,
  size_mm: float | None = None,
  length: tuple[str, str, float] | None = None,
  up: tuple[str, str] | None = None,
) -> tuple[Rig, tuple[str, ...]]:
  """Gives a world of free scale and axes the scale of a body, z up, and the floor below it.

  Args:
    observations: of one person (or animal) a frame, px of the cameras' own images.
    rig: posed.
    size_mm: length of such a body at full stretch: a rough scale.
    length: two joints and the mm between them: a good one.
    up: a low and a high joint of a body that stands upright in most frames; None: by name.

  Returns:
    The rig, and what was assumed, in words.

  Raises:
    ValueError: joints that do not exist, or neither size nor length.
  """
  if length is not None:
    factor = of_length(observations, rig, length)
    said = f"scale from {length[0]} to {length[1]}: {length[2]:g} mm"
  elif size_mm is not None:
    factor = _STRETCH * size_mm / _extent(observations, rig)
    said = f"scale from a body of {size_mm:g} mm at full stretch: good to some 15 %"
  else:
    raise ValueError("the scale is not known: give a known length, or the size of the body")
  rig = scaled(rig, factor)
  low, high = _ends(observations.joints, up)
  found = estimate.triangulate(observations, rig)
  points = np.where(found.valid[:, 0, :, None], found.points[:, 0], np.nan)
  below, above = (np.nanmean(points[:, which], axis=1) for which in (low, high))
  upright = (above - below) / np.linalg.norm(above - below, axis=-1, keepdims=True)
  if not np.isfinite(upright).any():
    raise ValueError(f"up is not known: {' and '.join(up or ())} are never seen together")
  axis = np.nanmedian(upright, axis=0)
  axis /= np.linalg.norm(axis)
  side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
  side /= np.linalg.norm(side)
  turn = np.stack([side, np.cross(axis, side), axis])
  # The floor: the lowest of the low joints, but for the lowest twentieth.
  floor = np.nanpercentile(below @ axis, 5)
  middle = np.nanmedian(below, axis=0)
  origin = middle + (floor - middle @ axis) * axis
  cameras = rig.cameras
  rotation = np.asarray(cameras.rotation) @ turn.T
  shift = np.asarray(cameras.translation) + np.asarray(cameras.rotation) @ origin
  moved = Cameras(cameras.intrinsics, rotation, shift)
  names = [observations.joints[i] for i in (*low, *high)]
  return dataclasses.replace(rig, cameras=moved), (said, f"z is up by {', '.join(names)}")


def _extent(observations: Observations, rig: Rig) -> float:
  """Median over frames of the largest distance between two joints."""
  found = estimate.triangulate(observations, rig)
  points = np.where(found.valid[:, 0, :, None], found.points[:, 0], np.nan)
  apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
  widest = np.where(np.isfinite(apart), apart, 0.0).max(axis=(1, 2))
  return float(np.median(widest[widest > 0]))


def _ends(joints: tuple[str, ...], up: tuple[str, str] | None) -> tuple[list[int], list[int]]:
  """Indices of low and of high joints."""
  if up is not None:
    missing = [name for name in up if name not in joints]
    if missing:
      raise ValueError(f"up: no joint {', '.join(missing)}; there are {', '.join(joints)}")
    return [joints.index(up[0])], [joints.index(up[1])]
  low, high = (
    [i for i, name in enumerate(joints) if any(part in name.lower() for part in parts)]
    for parts in (_LOW, _HIGH)
  )
  if not low or not high:
    raise ValueError(
      "which way is up cannot be told from the names of the joints: name a low and a high one; "
      f"there are {', '.join(joints)}"
    )
  return low, high
