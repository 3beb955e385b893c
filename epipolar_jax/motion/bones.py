"""Constant lengths of bones over time: estimated from the recording, then kept by every frame.

A frame's joints are moved by as little as their covariances allow so that each bone has its length:
the mean of the Gaussian of the points, given the lengths (Kalman's update with the lengths as
measurements, iterated since they are not linear). A joint that is known well stays where it is.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from epipolar_jax.skeletons import Skeleton
from epipolar_jax.triangulation.estimate import Estimate

# Joints between which a human's bones run; of skeletons without these all limbs are bones.
_HUMAN = (("sho", "elb"), ("elb", "wri"), ("hip", "kne"), ("kne", "ank"))
# Standard deviation that is left to a length, and what a frame may be off to be corrected at all: a
# bone that is so wrong ends in a wrong joint, and would move the right one.
_EXACT, _GROSS = 1e-3, 0.35
# A length needs so many frames, or it is not known.
_LEAST_FRAMES = 5
_ROUNDS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
  """Joints whose bones keep their lengths.

  Attributes:
    estimate: the joints.
    bones: b pairs of joints.
    length_mm: [p, b], of each person; NaN where too few frames have the bone.
    before_mm, after_mm: [p, b], standard deviations of the lengths over the frames.
    left: [f, p, b], bool: so wrong that the bone was left as it is.
  """

  estimate: Estimate
  bones: tuple[tuple[int, int], ...]
  length_mm: np.ndarray
  before_mm: np.ndarray
  after_mm: np.ndarray
  left: np.ndarray


def rigid(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
  """The limbs that are bones: of a human the two of each arm and leg, of others all."""
  human = [
    (skeleton.joints.index(side + a), skeleton.joints.index(side + b))
    for side in "lr"
    for a, b in _HUMAN
    if side + a in skeleton.joints and side + b in skeleton.joints
  ]
  return tuple(human or skeleton.limbs)


def constant(estimate: Estimate, bones: Sequence[tuple[int, int]]) -> Constant:
  """Gives each bone one length in all frames.

  Args:
    estimate: of any number of people.
    bones: pairs of joints; they may form chains and trees.

  Returns:
    The joints with covariances given the lengths. A joint that is not there is not made up,
    and a bone without both ends constrains nothing; reprojection errors stay those of the
    triangulation.
  """
  bones = tuple(bones)
  frames, people = estimate.valid.shape[:2]
  points, covariance = estimate.points.copy(), estimate.covariance.copy()
  shape = people, len(bones)
  length, before, after = (np.full(shape, np.nan) for _ in range(3))
  left = np.zeros((frames, *shape), bool)
  for person in range(people):
    of = np.s_[:, person]
    there = np.stack([estimate.valid[of][:, list(bone)].all(axis=1) for bone in bones], axis=1)
    length[person] = [
      _length(points[of], covariance[of], there[:, i], bone) for i, bone in enumerate(bones)
    ]
    measured = _measured(points[of], bones)
    before[person] = _spread(measured, there)
    known = there & np.isfinite(length[person])
    gross = known & (np.abs(measured - length[person]) > _GROSS * length[person])
    left[of] = gross
    for chain in _chains(bones):
      joints = sorted({joint for i in chain for joint in bones[i]})
      local = [tuple(joints.index(joint) for joint in bones[i]) for i in chain]
      points[:, person, joints], covariance[:, person, joints] = _mended(
        points[:, person, joints],
        covariance[:, person, joints],
        local,
        length[person, chain],
        (known & ~gross)[:, chain],
      )
    after[person] = _spread(_measured(points[of], bones), there)
  mended = dataclasses.replace(estimate, points=points, covariance=covariance)
  return Constant(mended, bones, length, before, after, left)


def _length(points, covariance, there, bone) -> float:
  """The length of a bone over the frames where it is there, mm; NaN with too few.

  A weighted median. Noise across a bone makes it look longer, by its variance over twice the
  length, which is taken off.
  """
  if there.sum() < _LEAST_FRAMES:
    return np.nan
  a, b = bone
  way = points[there, b] - points[there, a]
  found = np.maximum(np.linalg.norm(way, axis=-1), 1e-9)
  way = way / found[:, None]
  noise = covariance[there, a] + covariance[there, b]
  along = np.einsum("fi,fij,fj->f", way, noise, way)
  across = np.trace(noise, axis1=-2, axis2=-1) - along
  # Not more than a tenth: of a frame that is so uncertain little is known.
  found = found - np.minimum(across / (2 * found), 0.1 * found)
  order = np.argsort(found)
  # A frame of exceptional agreement of its views does not outvote the others.
  weight = 1.0 / np.maximum(along, np.median(along) + 1e-12)[order]
  total = np.cumsum(weight)
  return float(found[order][np.searchsorted(total, total[-1] / 2)])


def _measured(points: np.ndarray, bones) -> np.ndarray:
  """Lengths [f, b] of the bones of points [f, j, 3]."""
  a, b = (list(x) for x in zip(*bones))
  return np.linalg.norm(points[:, b] - points[:, a], axis=-1)


def _spread(lengths: np.ndarray, there: np.ndarray) -> np.ndarray:
  """Standard deviations [b] of lengths [f, b] where the bones are there; NaN of fewer than two."""
  each = (x[y] for x, y in zip(lengths.T, there.T))
  return np.array([x.std() if len(x) > 1 else np.nan for x in each])


def _chains(bones) -> list[list[int]]:
  """Indices of bones that hang together."""
  chains: list[tuple[set[int], list[int]]] = []
  for i, bone in enumerate(bones):
    touching = [chain for chain in chains if chain[0] & set(bone)]
    chains = [chain for chain in chains if not chain[0] & set(bone)]
    joints = set(bone).union(*(chain[0] for chain in touching))
    chains.append((joints, sorted([i, *(k for chain in touching for k in chain[1])])))
  return [chain for _, chain in chains]


def _mended(points, covariance, bones, length, use):
  """Points [f, n, 3] and covariances of the joints of a chain, given lengths [b] where `use`."""
  frames, count = points.shape[:2]
  mean = points.reshape(frames, -1)
  prior = np.zeros((frames, count, 3, count, 3))
  every = np.arange(count)
  prior[:, every, :, every] = np.moveaxis(covariance, 1, 0)
  prior = prior.reshape(frames, 3 * count, 3 * count)
  length = np.where(np.isfinite(length), length, 1.0)
  noise = np.eye(len(bones)) * (_EXACT * length) ** 2
  x = mean
  for _ in range(_ROUNDS):
    at = x.reshape(points.shape)
    slope = np.zeros((frames, len(bones), count, 3))
    off = np.zeros((frames, len(bones)))
    for i, (a, b) in enumerate(bones):
      way = at[:, b] - at[:, a]
      now = np.maximum(np.linalg.norm(way, axis=-1), 1e-9)
      slope[:, i, b] = way / now[:, None] * use[:, i, None]
      slope[:, i, a] = -slope[:, i, b]
      off[:, i] = np.where(use[:, i], length[i] - now, 0.0)
    slope = slope.reshape(frames, len(bones), -1)
    gain = (
      prior
      @ np.swapaxes(slope, -1, -2)
      @ np.linalg.inv(slope @ prior @ np.swapaxes(slope, -1, -2) + noise)
    )
    expected = off - (slope @ (mean - x)[..., None])[..., 0]
    x = mean + (gain @ expected[..., None])[..., 0]
  posterior = (prior - gain @ slope @ prior).reshape(frames, count, 3, count, 3)
  return x.reshape(points.shape), np.moveaxis(posterior[:, every, :, every], 0, 1)
