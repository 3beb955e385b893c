"""Of two cameras: how the image of one was scaled or cropped, or it was turned, by epipolar lines.

A scale about the epipole moves every point along its epipolar line, where two cameras do not see
it. So an image scaled by s looks exactly like one that was shifted by s - 1 times the epipole, and
a scale and a crop at once cannot be told. The mistake with the fewest numbers that explains the
points is taken: scaled has one, cropped two, turned three.
"""

import numpy as np
from scipy import optimize
from scipy.spatial.transform import Rotation

from epipolar_jax.calibration import estimated, mistakes
from epipolar_jax.calibration.recording import DOUBTLESS, LEAST_POINTS, Recording, fundamental

# Distances count less from this share of the body's size on.
_SCALE = 0.005
# Logarithms of scales that a search starts from, and the largest.
_STARTS, _LARGEST = (-0.9, -0.4, 0.4, 0.9), 1.3
# Parameters of 1 are so many px, and so many radians.
_PX, _RADIANS = 100.0, 0.1
_ROUNDS = 60


def of_camera(recording: Recording, view: int) -> tuple[mistakes.Mistake, ...]:
  """What one of two cameras' image or pose would have to be: one mistake, the likeliest."""
  one = _One(recording, view)
  if one.count < LEAST_POINTS:
    return ()
  # Fewer numbers first: more have to gain beyond doubt.
  fits = [
    one.fit(_scaled, [np.array([start]) for start in _STARTS]),
    one.fit(_cropped, [np.zeros(2)]),
    one.fit(_turned, [np.zeros(3)]),
  ]
  best = fits[0]
  for fit in fits[1:]:
    if fit[0] < best[0] - DOUBTLESS:
      best = fit
  return (best[1],)


class _One:
  """Signed epipolar distances of one camera's points from the other's lines, px of its own image.

  Attributes:
    count: of points that both see.
  """

  def __init__(self, recording: Recording, view: int):
    self._lens = recording.rig.lenses[view]
    self._pose, self._other = recording.poses[view], recording.poses[1 - view]
    seen = recording.points[view, recording.frames].reshape(-1, 2)
    lines = recording.ideal[1 - view]
    both = np.isfinite(seen).all(axis=-1) & np.isfinite(lines).all(axis=-1)
    self._seen, self._lines = seen[both], _homogeneous(lines[both])
    self._scale = max(_SCALE * recording.size_px, 1e-6)
    self.count = int(both.sum())

  def fit(self, make, starts: list[np.ndarray]) -> tuple[float, mistakes.Mistake]:
    """(cost, mistake) that fits best: minus log likelihood in units of the distances left."""
    found = []
    for start in starts:
      fit = optimize.least_squares(
        lambda x: self._distances(make(x)),
        start,
        loss="cauchy",
        f_scale=self._scale,
        max_nfev=_ROUNDS,
      )
      found.append((fit.cost, fit.x))
    mistake = make(min(found, key=lambda x: x[0])[1])
    off = self._distances(mistake)
    return float(np.log1p((off / self._scale) ** 2).sum()), mistake

  def _distances(self, mistake: mistakes.Mistake) -> np.ndarray:
    pose = mistake.pose(*self._pose) if mistake.pose else self._pose
    points, size = self._seen, 1.0
    if mistake.points:
      points = mistake.points(points, 0.0, 0.0)
      # By how much it makes the image larger: noise grows with it.
      ends = mistake.points(np.array([[0.0, 0.0], [1.0, 0.0]]), 0.0, 0.0)
      size = float(np.linalg.norm(ends[1] - ends[0]))
    ideal = _homogeneous(self._lens.undistort(points, pose[0]))
    matrix = fundamental(self._other, pose)
    here, there = self._lines @ matrix.T, ideal @ matrix
    slope = np.sum(here[:, :2] ** 2, -1) * size**2 + np.sum(there[:, :2] ** 2, -1)
    off = np.sum(here * ideal, axis=-1) / np.sqrt(np.where(slope > 0, slope, np.nan))
    return np.where(np.isfinite(off), off, 0.0)


def _scaled(x: np.ndarray) -> mistakes.Mistake:
  scale = float(np.exp(np.clip(x[0], -_LARGEST, _LARGEST)))
  return estimated.scaled(scale)


def _cropped(x: np.ndarray) -> mistakes.Mistake:
  return estimated.cropped(_PX * x)


def _turned(x: np.ndarray) -> mistakes.Mistake:
  return estimated.turned(Rotation.from_rotvec(_RADIANS * x).as_matrix())


def _homogeneous(points: np.ndarray) -> np.ndarray:
  return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
