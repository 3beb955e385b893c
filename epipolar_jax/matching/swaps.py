"""Left and right exchanged by a detector in some frames of some views: found and mended.

Of two views, the epipolar distances are taken as they are and with the pairs of a region (legs,
arms) exchanged in one of them: that says whether the two agree about the sides. Which views are
exchanged in which frames is the most likely sequence of such states over time; views are rather
right than exchanged, and seldom change. Then each view is compared with the points of the others in
the same way. What does not make the 3D points fit better is taken back.
"""

import dataclasses
import itertools

import numpy as np

from epipolar_jax.keypoints import gaps
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming, pinholes, sides
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# In nats: of a view exchanged in a frame, of a view that changes between two frames, and the most
# that one epipolar distance may count.
_EXCHANGED, _CHANGES, _MOST = 0.5, 8.0, 4.0
# All states of so many views are weighed together; of more views, some given the others.
_TOGETHER = 6
# Noise of an epipolar distance in medians, and at least this share of the person's size.
_NOISE, _LEAST_NOISE = 1.5, 0.003
# A stretch of exchanged frames is kept if errors fall below this share; one counts up to a share of
# the person's size.
_BETTER, _FARTHEST = 0.8, 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Mended:
  """Keypoints with left and right where they belong.

  Attributes:
    observations: the keypoints.
    exchanged: bool [f, p, v] by region ("legs", "arms", "body"): where left and right were
      exchanged.
  """

  observations: Observations
  exchanged: dict[str, np.ndarray]

  def sentences(self) -> list[str]:
    """What was mended, a sentence for each view."""
    found = []
    for view, name in enumerate(self.observations.views):
      counts = {part: int(x[:, :, view].any(axis=1).sum()) for part, x in self.exchanged.items()}
      parts = [f"{part} in {n}" for part, n in counts.items() if n]
      if parts:
        frames = len(self.observations.points)
        found.append(
          f"camera {name} had left and right exchanged: {', '.join(parts)} of {frames} frames"
        )
    return found


def mend(observations: Observations, rig: Rig) -> Mended:
  """Exchanges left and right back where a view contradicts the others.

  Args:
    observations: of one person, or of several that are matched, px of the views' own images.
    rig: cameras, with their lenses, by the views' names.

  Returns:
    The keypoints. Nothing is changed with fewer than three views (two contradict each other, but
    not which of them is wrong) or without pairs of joints.

  Raises:
    ValueError: a view has no camera.
  """
  regions = sides.regions(observations.joints)
  points, rig = pinholes.prepare(observations, rig)
  nothing = np.zeros(points.shape[:3], bool)
  exchanged = {part: nothing.copy() for part in regions}
  if len(rig.names) < 3:
    return Mended(observations, exchanged)
  fundamentals = pinholes.fundamentals(rig)
  for person in range(points.shape[1]):
    noise = _noise(points[:, person], fundamentals)
    for part, pairs in regions.items():
      votes = _votes(points[:, person], fundamentals, pairs, noise)
      exchanged[part][:, person] = _states(votes)
  ideal = dataclasses.replace(observations, points=points)
  so_far = _exchanged(ideal, regions, exchanged)
  for view in range(len(rig.names)):
    for part, votes in _votes_of_others(so_far, rig, regions, view).items():
      for person in range(points.shape[1]):
        alone = votes[:, person, None] + _EXCHANGED
        exchanged[part][:, person, view] ^= _sequence(alone[..., None] * 0.0, alone)[:, 0]
  if any(x.any() for x in exchanged.values()):
    _take_back(ideal, rig, regions, exchanged)
  return Mended(_exchanged(observations, regions, exchanged), exchanged)


def _noise(points: np.ndarray, fundamentals: np.ndarray) -> np.ndarray:
  """[v, v], px: usual epipolar distance of two views in points [f, v, j, 2]."""
  count = points.shape[1]
  size = naming.size_px(points[:, None])
  found = np.zeros((count, count))
  for a, b in itertools.combinations(range(count), 2):
    off = pinholes.epipolar_distance(points[:, a], points[:, b], fundamentals[a, b]).mean(axis=0)
    off = off[np.isfinite(off)]
    usual = np.median(off) if len(off) else 0.0
    found[a, b] = found[b, a] = max(_NOISE * usual, _LEAST_NOISE * size)
  return found


def _votes(points, fundamentals, pairs, noise) -> np.ndarray:
  """[f, v, v], nats: how much better two views agree as they are than with one exchanged."""
  left, right = (points[:, :, list(x)] for x in zip(*pairs))
  votes = np.zeros((len(points), points.shape[1], points.shape[1]))
  for a, b in itertools.combinations(range(points.shape[1]), 2):

    def cost(first, second, a=a, b=b):
      off = pinholes.epipolar_distance(first[:, a], second[:, b], fundamentals[a, b]).mean(axis=0)
      return np.minimum(0.5 * np.square(off / noise[a, b]), _MOST)

    crossed = cost(left, right) + cost(right, left)
    straight = cost(left, left) + cost(right, right)
    votes[:, a, b] = votes[:, b, a] = _mean(crossed - straight)
  return votes


def _votes_of_others(observations, rig: Rig, regions, view: int) -> dict[str, np.ndarray]:
  """[f, p], nats, by region: how much better a view agrees with the others' points as it is.

  Two views' epipolar lines do not tell apart what lies in a plane with both cameras; three do.
  """
  # Not selected but unseen: one program for all views, which the final triangulation has too.
  out = (np.arange(len(rig.names)) == view)[:, None]
  rest = dataclasses.replace(observations, score=np.where(out, 0.0, observations.score))
  found = estimate.triangulate(rest, rig.cameras)
  cameras, origin = pinholes.matrices(rig)
  points = np.where(found.valid[..., None], found.points - origin, np.nan)
  expected = pinholes.project(points, cameras[view : view + 1])[:, :, 0]
  seen = observations.points[:, :, view]
  off = np.linalg.norm(seen - expected, axis=-1)
  known = off[np.isfinite(off)]
  usual = np.median(known) if len(known) else 0.0
  noise = max(_NOISE * usual, _LEAST_NOISE * naming.size_px(observations.points))
  votes = {}
  for part, pairs in regions.items():
    left, right = (list(x) for x in zip(*pairs))

    def cost(a, b):
      off = np.linalg.norm(seen[..., a, :] - expected[..., b, :], axis=-1)
      return np.minimum(0.5 * np.square(off / noise), _MOST)

    better = cost(left, right) + cost(right, left) - cost(left, left) - cost(right, right)
    votes[part] = (len(rig.names) - 1) * _mean(better)
  return votes


def _mean(votes: np.ndarray) -> np.ndarray:
  """Over the last axis, of those that are known; 0 of none.

  What the joints of one limb contradict is one mistake: their mean counts, not their sum.
  """
  known = np.isfinite(votes)
  return np.where(known, votes, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)


def _states(votes: np.ndarray) -> np.ndarray:
  """[f, v], bool: the most likely views that are exchanged."""
  found = np.zeros(votes.shape[:2], bool)
  if (votes >= 0).all():
    return found
  doubted = np.argsort(np.minimum(votes, 0.0).sum(axis=(0, 2)), kind="stable")
  for start in range(0, len(doubted), _TOGETHER):
    block = doubted[start : start + _TOGETHER]
    others = np.setdiff1d(doubted, block)
    inside, outside = votes[:, block][:, :, block], votes[:, block][:, :, others]
    # Views that are not weighed now, as they were found or as they are.
    ahead = np.where(found[:, None, others], -outside, outside).sum(axis=-1)
    found[:, block] = _sequence(inside, ahead + _EXCHANGED)
  return found


def _sequence(votes: np.ndarray, alone: np.ndarray) -> np.ndarray:
  """Viterbi's states [f, n] of n views, given their votes [f, n, n] and what each costs alone."""
  count = votes.shape[1]
  states = np.array(list(itertools.product((0, 1), repeat=count)))
  differ = states[:, :, None] != states[:, None, :]
  cost = 0.5 * np.einsum("fab,sab->fs", votes, differ) + alone @ states.T
  change = _CHANGES * np.abs(states[:, None] - states[None]).sum(axis=-1)
  best = cost.copy()
  for frame in range(1, len(cost)):
    best[frame] += (best[frame - 1][:, None] + change).min(axis=0)
  chosen = np.empty(len(cost), int)
  chosen[-1] = np.argmin(best[-1])
  for frame in range(len(cost) - 2, -1, -1):
    chosen[frame] = np.argmin(best[frame] + change[:, chosen[frame + 1]])
  return states[chosen].astype(bool)


def _take_back(ideal: Observations, rig: Rig, regions, exchanged: dict[str, np.ndarray]) -> None:
  """Clears stretches of frames in `exchanged` that do not make the 3D points fit better."""
  before = estimate.triangulate(ideal, rig.cameras)
  after = estimate.triangulate(_exchanged(ideal, regions, exchanged), rig.cameras)
  most = _FARTHEST * naming.size_px(ideal.points)
  for part, where in exchanged.items():
    joints = sorted(itertools.chain(*regions[part]))
    errors = [_errors(x, joints, most) for x in (before, after)]  # [f, p]
    for person, view in np.ndindex(where.shape[1:]):
      for start, end in gaps.runs(where[:, person, view]):
        was, now = (x[start:end, person].sum() for x in errors)
        if now > _BETTER * was:
          where[start:end, person, view] = False


def _errors(found: estimate.Estimate, joints, most: float) -> np.ndarray:
  """[f, p], px: sum of the bounded reprojection errors of some joints; not triangulated: bound."""
  off = np.minimum(np.nan_to_num(found.reprojection_px[..., joints], nan=0.0), most)
  lost = ~found.valid[..., joints]
  return off.sum(axis=(2, 3)) + most * lost.sum(axis=2)


def _exchanged(observations: Observations, regions, exchanged) -> Observations:
  points, score = observations.points.copy(), observations.score.copy()
  for part, where in exchanged.items():
    for left, right in regions[part]:
      order, other = [left, right], [right, left]
      points[..., order, :] = np.where(
        where[..., None, None], points[..., other, :], points[..., order, :]
      )
      score[..., order] = np.where(where[..., None], score[..., other], score[..., order])
  return dataclasses.replace(observations, points=points, score=score)
