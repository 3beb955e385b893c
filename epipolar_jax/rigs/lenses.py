"""Lens distortion: from ideal pinhole pixels to those of real images and back, float64, host.

`distort` is the formula of the model, as OpenCV evaluates it, at any point. `undistort` inverts it
on the branch around the image centre, where the model is one-to-one: a strong lens folds the image
over beyond some radius, and a pixel that has no ideal point inside that radius becomes NaN.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np

_COUNTS = (4, 5, 8, 12, 14)
# How exactly an ideal point must reproduce its pixel, px.
_ROUND_TRIP_PX = 1e-6
# Points on the way from the centre at which a lens is checked for folds.
_CHECKS = np.linspace(0.0, 1.0, 17)[1:]


class Lens(Protocol):
  """What a rig asks of a lens; K [3, 3] is the camera's, points are [..., 2] px."""

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray: ...

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Pinhole:
  """No distortion."""

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    return np.array(points, np.float64)

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    return np.array(points, np.float64)


@dataclasses.dataclass(frozen=True)
class OpenCV:
  """OpenCV's lens: radial (polynomial or rational), tangential, thin prism, tilted sensor.

  Attributes:
    coefficients: 4, 5, 8, 12 or 14 numbers, k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [τx τy]]]],
      in any shape ([1, 5] and [5, 1] too). τ in radians.

  Raises:
    ValueError: another number of coefficients, or one that is not finite.

  References:
    OpenCV, module calib3d, section "Detailed Description".
  """

  coefficients: tuple[float, ...]

  def __post_init__(self):
    _set_coefficients(self, "OpenCV's lens", _COUNTS)

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels of an ideal pinhole to those of the image; NaN stays NaN."""

    def one(pixels: np.ndarray) -> np.ndarray:
      xy = self._tilt(self._untilted(_normalize(pixels, intrinsics))[0])
      return _pixels(xy, intrinsics)

    return _where_finite(one, points)

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels of the image to those of an ideal pinhole; NaN where there is none."""

    def one(pixels: np.ndarray) -> np.ndarray:
      seen = self._tilt(_normalize(pixels, intrinsics), inverse=True)
      ideal, found = self._solve(np.where(np.isfinite(seen), seen, 0.0))
      found &= np.isfinite(seen).all(-1)
      found &= _agree(self.distort(_pixels(ideal, intrinsics), intrinsics), pixels)
      return np.where(found[:, None], _pixels(ideal, intrinsics), np.nan)

    return _where_finite(one, points)

  def _all(self) -> np.ndarray:
    return np.pad(np.array(self.coefficients), (0, 14 - len(self.coefficients)))

  def _untilted(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distorted normalised points [n, 2] before the tilt, and the Jacobian [n, 2, 2]."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = self._all()[:12]
    x, y = xy[:, 0], xy[:, 1]
    s = x * x + y * y
    above, below = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
    above_s = k1 + s * (2 * k2 + s * 3 * k3)
    below_s = k4 + s * (2 * k5 + s * 3 * k6)
    g = above / below
    g_s = (above_s - g * below_s) / below
    distorted = np.stack(
      [
        x * g + 2 * p1 * x * y + p2 * (s + 2 * x * x) + s * (s1 + s * s2),
        y * g + p1 * (s + 2 * y * y) + 2 * p2 * x * y + s * (s3 + s * s4),
      ],
      axis=-1,
    )
    mixed = 2 * x * y * g_s + 2 * p1 * x + 2 * p2 * y
    prism_x, prism_y = 2 * (s1 + 2 * s * s2), 2 * (s3 + 2 * s * s4)
    jacobian = np.stack(
      [
        g + 2 * x * x * g_s + 2 * p1 * y + 6 * p2 * x + x * prism_x,
        mixed + y * prism_x,
        mixed + x * prism_y,
        g + 2 * y * y * g_s + 6 * p1 * y + 2 * p2 * x + y * prism_y,
      ],
      axis=-1,
    )
    return distorted, jacobian.reshape(-1, 2, 2)

  def _tilt(self, xy: np.ndarray, *, inverse: bool = False) -> np.ndarray:
    """The homography of a sensor that is not parallel to the lens; NaN behind it."""
    tilt_x, tilt_y = self._all()[12:]
    if not tilt_x and not tilt_y:
      return xy
    cx, sx, cy, sy = np.cos(tilt_x), np.sin(tilt_x), np.cos(tilt_y), np.sin(tilt_y)
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]) @ about_x
    onto = np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]])
    matrix = np.linalg.inv(onto @ turn) if inverse else onto @ turn
    matrix = matrix / matrix[2, 2]
    homogeneous = xy @ matrix[:, :2].T + matrix[:, 2]
    depth = homogeneous[:, 2:]
    return homogeneous[:, :2] / np.where(depth > 0 if inverse else depth != 0, depth, np.nan)

  def _solve(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised ideal points [n, 2] of distorted ones, and whether each was found, [n]."""
    c = self._all()
    above = np.polynomial.Polynomial([1, c[0], c[1], c[4]])
    below = np.polynomial.Polynomial([1, c[5], c[6], c[7]])
    s = np.polynomial.Polynomial([0, 1])
    # The numerator of d(r g(r²))/dr.
    rising = (above + 2 * s * above.deriv()) * below - 2 * s * above * below.deriv()
    limit = np.sqrt(min(_first_root(rising), _first_root(below)))
    radius = np.linalg.norm(seen, axis=-1)
    start = _invert_rising(
      lambda r: r * above(r * r) / below(r * r),
      lambda r: rising(r * r) / below(r * r) ** 2,
      radius,
      limit,
    )
    ideal = seen * (start / np.where(radius > 0, radius, 1.0))[:, None]
    purely_radial = not np.any(c[[2, 3, 8, 9, 10, 11]])
    if not purely_radial:
      ideal = self._newton(ideal, seen)
    # Tangential terms move the fold a little away from its circle.
    within = np.linalg.norm(ideal, axis=-1) < limit * (1 if purely_radial else 1.05)
    determinants = [np.linalg.det(self._untilted(ideal * t)[1]) for t in _CHECKS]
    return ideal, within & (np.min(determinants, axis=0) > 0)

  def _newton(self, ideal: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Newton's iteration, its steps halved while they leave the branch or lead away."""
    distorted, jacobian = self._untilted(ideal)
    error = np.linalg.norm(distorted - seen, axis=-1)
    alive = np.full(len(ideal), True)
    for _ in range(50):
      alive &= (error > 1e-15) & (np.abs(np.linalg.det(jacobian)) > 1e-12)
      if not alive.any():
        break
      safe = np.where(alive[:, None, None], jacobian, np.eye(2))
      step = np.linalg.solve(safe, (seen - distorted)[..., None])[..., 0]
      waiting = alive.copy()
      for factor in 0.5 ** np.arange(12):
        trial = np.where(waiting[:, None], ideal + factor * step, ideal)
        new, slope = self._untilted(trial)
        new_error = np.linalg.norm(new - seen, axis=-1)
        better = waiting & (new_error < error) & (np.linalg.det(slope) > 0)
        ideal = np.where(better[:, None], trial, ideal)
        distorted = np.where(better[:, None], new, distorted)
        jacobian = np.where(better[:, None, None], slope, jacobian)
        error = np.where(better, new_error, error)
        waiting &= ~better
        if not waiting.any():
          break
      alive &= ~waiting
    return ideal


@dataclasses.dataclass(frozen=True)
class Fisheye:
  """cv2.fisheye: the angle from the axis θ is seen at θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸).

  Pixels that look sideways or backwards (θ ≥ 90°) have no ideal pinhole pixel.

  Attributes:
    coefficients: k1 k2 k3 k4, in any shape.

  Raises:
    ValueError: another number of coefficients, or one that is not finite.
  """

  coefficients: tuple[float, ...]

  def __post_init__(self):
    _set_coefficients(self, "the fisheye lens", (4,))

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels of an ideal pinhole to those of the image; NaN stays NaN."""

    def one(pixels: np.ndarray) -> np.ndarray:
      xy = _normalize(pixels, intrinsics)
      radius = np.linalg.norm(xy, axis=-1)
      theta = np.arctan(radius)
      factor = theta * self._polynomial()(theta**2) / np.where(radius > 0, radius, 1.0)
      return _pixels(xy * np.where(radius > 0, factor, 1.0)[:, None], intrinsics)

    return _where_finite(one, points)

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels of the image to those of an ideal pinhole; NaN where there is none."""

    def one(pixels: np.ndarray) -> np.ndarray:
      seen = _normalize(pixels, intrinsics)
      radius = np.linalg.norm(seen, axis=-1)
      p, s = self._polynomial(), np.polynomial.Polynomial([0, 1])
      rising = p + 2 * s * p.deriv()
      limit = min(np.sqrt(_first_root(rising)), np.pi / 2)
      theta = _invert_rising(lambda a: a * p(a * a), lambda a: rising(a * a), radius, limit)
      inside = (theta < limit) & (theta * p(theta**2) > 0)
      factor = np.tan(np.where(inside, theta, 0.0)) / np.where(radius > 0, radius, 1.0)
      ideal = _pixels(seen * np.where(radius > 0, factor, 1.0)[:, None], intrinsics)
      found = (inside | (radius == 0)) & _agree(self.distort(ideal, intrinsics), pixels)
      return np.where(found[:, None], ideal, np.nan)

    return _where_finite(one, points)

  def _polynomial(self) -> np.polynomial.Polynomial:
    return np.polynomial.Polynomial([1, *self.coefficients])


@dataclasses.dataclass(frozen=True)
class ViconRadial:
  """Vicon's three radial terms about a centre of their own: (p - c) (1 + r1 d² + r2 d⁴ + r3 d⁶).

  d is the distance from c in px. Which way the formula goes is not documented by Vicon; MAMMA takes
  it from ideal to image pixels, and so does the default. Neither was tested on a recording.

  Attributes:
    centre: c, (u, v) px.
    coefficients: r1 r2 r3, px⁻², px⁻⁴, px⁻⁶.
    from_ideal: the formula turns ideal pixels into those of the image; False: the other way.

  Raises:
    ValueError: another number of coefficients, or one that is not finite.
  """

  centre: tuple[float, float]
  coefficients: tuple[float, ...]
  from_ideal: bool = True

  def __post_init__(self):
    _set_coefficients(self, "Vicon's radial lens", (3,))
    centre = np.asarray(self.centre, np.float64).ravel()
    if centre.shape != (2,) or not np.isfinite(centre).all():
      raise ValueError(f"Vicon's radial lens: its centre should be two numbers, not {self.centre}")
    object.__setattr__(self, "centre", tuple(centre.tolist()))

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels of an ideal pinhole to those of the image; K is not used."""
    return _where_finite(self._forward if self.from_ideal else self._backward, points)

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels of the image to those of an ideal pinhole; NaN where there is none."""
    return _where_finite(self._backward if self.from_ideal else self._forward, points)

  def _polynomial(self) -> np.polynomial.Polynomial:
    return np.polynomial.Polynomial([1, *self.coefficients])

  def _forward(self, pixels: np.ndarray) -> np.ndarray:
    offset = pixels - self.centre
    return self.centre + offset * self._polynomial()(np.sum(offset**2, -1))[:, None]

  def _backward(self, pixels: np.ndarray) -> np.ndarray:
    offset = pixels - self.centre
    radius = np.linalg.norm(offset, axis=-1)
    p, s = self._polynomial(), np.polynomial.Polynomial([0, 1])
    rising = p + 2 * s * p.deriv()
    limit = np.sqrt(_first_root(rising))
    start = _invert_rising(lambda d: d * p(d * d), lambda d: rising(d * d), radius, limit)
    found = self.centre + offset * (start / np.where(radius > 0, radius, 1.0))[:, None]
    good = (start < limit) & _agree(self._forward(found), pixels)
    return np.where(good[:, None], found, np.nan)


def _set_coefficients(lens: Lens, what: str, counts: tuple[int, ...]) -> None:
  """Makes the coefficients a flat tuple of floats, or says what is wrong with them."""
  given = np.asarray(lens.coefficients, np.float64)
  if given.size not in counts or given.size != max(given.shape, default=0):
    allowed = ", ".join(map(str, counts[:-1])) + (" or " if counts[1:] else "") + str(counts[-1])
    shape = f" in the shape {list(given.shape)}" if given.ndim != 1 else ""
    raise ValueError(f"{what} has {allowed} coefficients; got {given.size}{shape}")
  if not np.isfinite(given).all():
    raise ValueError(f"{what}: a coefficient is not finite: {given.ravel().tolist()}")
  object.__setattr__(lens, "coefficients", tuple(given.ravel().tolist()))


def _where_finite(function: Callable[[np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
  """function [n, 2] → [n, 2] on the finite points of [..., 2]; NaN for the others."""
  points = np.asarray(points, np.float64)
  flat = points.reshape(-1, 2)
  finite = np.isfinite(flat).all(-1)
  result = np.full_like(flat, np.nan)
  if finite.any():
    with np.errstate(all="ignore"):
      result[finite] = function(flat[finite])
  return result.reshape(points.shape)


def _normalize(pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
  return np.linalg.solve(intrinsics[:2, :2], (pixels - intrinsics[:2, 2]).T).T


def _pixels(xy: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
  return xy @ np.asarray(intrinsics)[:2, :2].T + intrinsics[:2, 2]


def _agree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[n], whether pixels [n, 2] are the same."""
  return np.linalg.norm(a - b, axis=-1) <= _ROUND_TRIP_PX * (1 + 1e-6 * np.linalg.norm(b, axis=-1))


def _first_root(polynomial: np.polynomial.Polynomial) -> float:
  """The smallest positive real root; inf if there is none."""
  roots = polynomial.trim().roots()
  real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
  return float(real.min()) if real.size else np.inf


def _invert_rising(
  function: Callable[[np.ndarray], np.ndarray],
  slope: Callable[[np.ndarray], np.ndarray],
  target: np.ndarray,
  limit: float,
) -> np.ndarray:
  """x in [0, limit] with function(x) = target ≥ 0: Newton within a shrinking bracket.

  Args:
    function: rises from 0 at 0 up to the limit.
    slope: its derivative.
    target: [n].
    limit: end of the bracket; may be inf.

  Returns:
    [n]; the limit itself (or some 1e6-fold target) where the function does not get that far.
  """
  low = np.zeros_like(target)
  high = np.full_like(target, limit)
  if np.isinf(limit):
    high = np.maximum(target, 1e-6)
    for _ in range(40):
      short = function(high) < target
      if not short.any():
        break
      high = np.where(short, 2 * high, high)
  x = np.minimum(target, high)
  for _ in range(100):
    value = function(x) - target
    low, high = np.where(value < 0, x, low), np.where(value > 0, x, high)
    new = x - value / slope(x)
    new = np.where((new > low) & (new < high), new, (low + high) / 2)
    new = np.where(value == 0, x, new)
    if np.all(np.abs(new - x) <= 4e-16 * np.abs(x)):
      break
    x = new
  return x
