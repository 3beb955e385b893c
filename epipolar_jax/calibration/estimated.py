"""Mistakes with numbers of their own: how an image was scaled or cropped, how a camera was turned.

Estimated from where the other cameras say that the points are.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from epipolar_jax.calibration import mistakes
from epipolar_jax.rigs.lenses import Lens

# Fewest points, pairs of points whose distances show a scale, and rounds of reweighting.
_LEAST_POINTS, _PAIRS, _ROUNDS = 12, 2000, 10
# A scale nearer to 1 than this is none.
_LEAST_SCALE = 0.01


def of_camera(
  given: np.ndarray, seen: np.ndarray, pose: mistakes.Pose, lens: Lens
) -> Iterator[mistakes.Mistake]:
  """What one camera's image or pose would have to be.

  Args:
    given: [n, 3], mm, points from the other cameras; NaN where they give none.
    seen: [n, 2], px of the camera's own image; NaN where not seen.
    pose: K, R, t of the file.
    lens: of the camera.

  Yields:
    Mistakes with the numbers that fit best: scaled, cropped, both, turned.
  """
  k, r, t = pose
  x = given @ r.T + t
  front = x[:, 2:] > 0
  ideal = (x / np.where(front, x[:, 2:], np.nan) @ k.T)[:, :2]
  expected = lens.distort(ideal, k)
  known = np.isfinite(expected).all(axis=-1) & np.isfinite(seen).all(axis=-1)
  if known.sum() >= _LEAST_POINTS:
    yield from _image(expected[known], seen[known])
  rays = lens.undistort(seen, k)
  known = np.isfinite(x).all(axis=-1) & np.isfinite(rays).all(axis=-1)
  if known.sum() >= _LEAST_POINTS:
    homogeneous = np.concatenate([rays[known], np.ones((known.sum(), 1))], axis=-1)
    yield _turned(x[known], homogeneous @ np.linalg.inv(k).T)


def _image(expected: np.ndarray, seen: np.ndarray) -> Iterator[mistakes.Mistake]:
  """Scaled, cropped, and both, from pixels [n, 2] expected and seen."""
  corner, from_corner = expected + 0.5, seen + 0.5
  scale = _weighted_median(
    (from_corner / np.where(corner == 0, 1e-9, corner)).ravel(), np.abs(corner).ravel()
  )
  if scale > 0 and abs(scale - 1) > _LEAST_SCALE:
    yield scaled(scale)
  yield cropped(np.median(seen - expected, axis=0))
  rng = np.random.default_rng(0)
  first, second = rng.integers(0, len(seen), (2, _PAIRS))
  before, after = (np.linalg.norm(p[first] - p[second], axis=-1) for p in (expected, seen))
  scale = _weighted_median(after / np.maximum(before, 1e-9), before)
  if scale > 0 and abs(scale - 1) > _LEAST_SCALE:
    shift = np.median(seen - scale * expected, axis=0)
    text = f"an image of {scale:.3f} times the size, then cropped or padded: {_where(-shift)}"
    yield _moved("scaled and cropped", text, scale, shift)


def scaled(scale: float) -> mistakes.Mistake:
  """An image of so many times the size."""
  return _moved("scaled", f"an image of {scale:.3f} times the size", scale, 0.5 * scale - 0.5)


def cropped(shift: np.ndarray) -> mistakes.Mistake:
  """An image whose pixels lie [2] px further right and down."""
  return _moved("cropped", f"an image cropped or padded: {_where(-shift)}", 1.0, shift)


def _where(shift: np.ndarray) -> str:
  return f"its corner at ({shift[0]:.0f}, {shift[1]:.0f}) px"


def _moved(name: str, text: str, scale: float, shift) -> mistakes.Mistake:
  """A mistake whose image is scale · x + shift of the calibrated one."""
  return mistakes.Mistake(name, text, points=lambda x, w, h: (x - shift) / scale)


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
  order = np.argsort(values)
  total = np.cumsum(weight[order])
  return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _turned(x: np.ndarray, rays: np.ndarray) -> mistakes.Mistake:
  """The rotation about its centre after which a camera sees points x [n, 3] along rays [n, 3]."""
  x, rays = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (x, rays))
  weight = np.ones(len(x))
  for _ in range(_ROUNDS):
    turn = Rotation.align_vectors(rays, x, weight)[0].as_matrix()
    off = np.linalg.norm(x @ turn.T - rays, axis=-1)
    weight = 1.0 / (1.0 + (off / max(float(np.median(off)), 1e-9)) ** 2)
  return turned(turn)


def turned(turn: np.ndarray) -> mistakes.Mistake:
  """A camera that was turned by a rotation [3, 3] about its centre."""
  angle = np.degrees(Rotation.from_matrix(turn).magnitude())
  return mistakes.Mistake(
    "turned",
    f"turned by {angle:.1f}° since its calibration",
    lambda k, r, t: (k, turn @ r, turn @ t),
  )
