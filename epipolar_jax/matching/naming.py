"""Whether each view is of the camera of its name: tested by epipolar distance.

Keypoints are paired with cameras by name, and names are wrong now and then: two cables swapped, a
folder listed in another order. Points of one person that two cameras saw lie on each other's
epipolar lines, unless a camera is not the one that took them.
"""

import dataclasses
import itertools

import numpy as np
from scipy import optimize

from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import pinholes
from epipolar_jax.rigs.rig import Rig

# Frames looked at, evenly spaced; that is enough for a median.
_MOST_FRAMES = 60
# Another pairing counts as better if its distance is below this share of the given one's, and the
# given one's above this share of a person's size.
_SHARE, _LEAST_OFF = 1 / 2, 0.02
# If another is within this factor, the data do not tell them apart.
_UNCLEAR = 1.5
_LEAST_JOINTS = 3
# All permutations of up to so many views are tried; beyond, swaps and what most views agree on.
_MOST_PERMUTED, _MOST_ROUNDS = 6, 5


@dataclasses.dataclass(frozen=True)
class Pairing:
  """How well views fit cameras.

  Attributes:
    views: the views, as named.
    other: the cameras of the best other pairing, in the views' order.
    named_px: mean over pairs of views of the median epipolar distance, px, with the cameras named.
    other_px: the same of the best other pairing.
    verdict: "fits", "wrong" (the other is far better) or "unclear" (it is as good).
  """

  views: tuple[str, ...]
  other: tuple[str, ...]
  named_px: float
  other_px: float
  verdict: str

  def sentence(self) -> str:
    """What is found, in words."""
    moves = [f"{v} taken by {c}" for v, c in zip(self.views, self.other) if v != c]
    named, other = f"{self.named_px:.1f} px", f"{self.other_px:.1f} px with {', '.join(moves)}"
    if self.verdict == "fits":
      rest = f"any other pairing: {self.other_px:.1f} px"
      return f"views fit the cameras of their names: epipolar distance {named} ({rest})"
    if self.verdict == "unclear":
      return f"it is not clear that views are of the cameras of their names: {named}, and {other}"
    return (
      "the keypoints are not of the cameras whose names they have: the median epipolar distance is "
      f"{named}, but {other}"
    )


def check(observations: Observations, rig: Rig) -> Pairing | None:
  """Compares the named pairing of views and cameras with every other.

  People need not be matched: of two views in a frame, the two detections nearest to each other
  count. Views without a frame in common are left out.

  Args:
    observations: px of the views' own images.
    rig: cameras by the views' names; cameras of other names play no part.

  Returns:
    What is found; None with fewer than two views, or if no two have points in common.

  Raises:
    ValueError: a view has no camera.
  """
  count = len(observations.views)
  if count < 2:
    return None
  rig = rig.select(observations.views)
  chosen = _frames(observations)
  points = observations.points[chosen]
  table = _Table(points, rig)
  named = tuple(range(count))
  off = table.mean(named)
  if not np.isfinite(off):
    return None
  others = _permutations(count) if count <= _MOST_PERMUTED else _likely(table, named)
  best = min((x for x in others if x != named), key=table.mean)
  other = table.mean(best)
  verdict = "fits" if other > _UNCLEAR * off else "unclear"
  if off > _LEAST_OFF * size_px(points) and other < _SHARE * off:
    verdict = "wrong"
  return Pairing(
    observations.views, tuple(observations.views[i] for i in best), off, other, verdict
  )


class _Table:
  """Median epipolar distance of two views if they are taken by two cameras; each computed once."""

  def __init__(self, points: np.ndarray, rig: Rig):
    self._views = points.shape[2]
    self._fundamentals = pinholes.fundamentals(rig)
    # [camera][view]: the view's points without the lens of that camera.
    self._points = [
      [
        lens.undistort(points[:, :, view], rig.cameras.intrinsics[camera])
        for view in range(self._views)
      ]
      for camera, lens in enumerate(rig.lenses)
    ]
    self._found: dict[tuple[int, int, int, int], float] = {}

  def mean(self, cameras: tuple[int, ...]) -> float:
    """Over pairs of views that have points in common; infinite if none has."""
    pairs = itertools.combinations(range(self._views), 2)
    found = [self._median(a, cameras[a], b, cameras[b]) for a, b in pairs]
    found = [x for x in found if np.isfinite(x)]
    return float(np.mean(found)) if found else float("inf")

  def of_view(self, view: int, camera: int, cameras: tuple[int, ...]) -> float:
    """Median over the other views, with their cameras, if a view is taken by a camera."""
    found = [
      self._median(view, camera, other, cameras[other])
      for other in range(self._views)
      if other != view and cameras[other] != camera
    ]
    found = [x for x in found if np.isfinite(x)]
    return float(np.median(found)) if found else float("nan")

  def _median(self, a: int, camera_a: int, b: int, camera_b: int) -> float:
    key = (a, camera_a, b, camera_b)
    if key not in self._found:
      first, second = self._points[camera_a][a], self._points[camera_b][b]
      off = pinholes.epipolar_distance(
        first[:, :, None], second[:, None], self._fundamentals[camera_a, camera_b]
      ).mean(axis=0)
      nearest = pinholes.median(off, min(_LEAST_JOINTS, off.shape[-1])).min(axis=(1, 2))
      nearest = nearest[np.isfinite(nearest)]
      self._found[key] = float(np.median(nearest)) if len(nearest) else float("nan")
    return self._found[key]


def _permutations(count: int):
  return itertools.permutations(range(count))


def _likely(table: _Table, named: tuple[int, ...]):
  """Swaps of two, and the best camera of each view as most of the others, if right, see it."""
  count = len(named)
  for a, b in itertools.combinations(range(count), 2):
    other = list(named)
    other[a], other[b] = other[b], other[a]
    yield tuple(other)
  here = named
  for _ in range(_MOST_ROUNDS):
    cost = [[table.of_view(view, camera, here) for camera in range(count)] for view in range(count)]
    _, chosen = optimize.linear_sum_assignment(np.nan_to_num(np.array(cost), nan=1e9, posinf=1e9))
    if tuple(chosen.tolist()) == here:
      return
    here = tuple(chosen.tolist())
    yield here


def _frames(observations: Observations) -> np.ndarray:
  """Frames in which two views saw something, evenly spaced."""
  seen = np.flatnonzero(observations.seen.any(axis=(1, 3)).sum(axis=1) >= 2)
  if len(seen) <= _MOST_FRAMES:
    return seen
  return seen[np.linspace(0, len(seen) - 1, _MOST_FRAMES).round().astype(int)]


def size_px(points: np.ndarray) -> float:
  """Median diagonal, px, of the box around a person."""
  seen = np.isfinite(points)
  low = np.where(seen, points, np.inf).min(axis=3)
  high = np.where(seen, points, -np.inf).max(axis=3)
  size = np.linalg.norm(np.where(high >= low, high - low, np.nan), axis=-1)
  return float(np.nanmedian(size)) if np.isfinite(size).any() else 1.0
