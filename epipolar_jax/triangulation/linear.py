"""DLT: the 3D point of one joint by linear least squares on its 2D points in two or more views."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg
from epipolar_jax.geometry.cameras import Cameras

# Two rays meet in one point whatever their weights are; below this ratio float32 would lose it.
_LEAST_WEIGHT = 0.01
# In camera distances; beyond it a point counts as at infinity.
_FARTHEST = 1e6


def dlt(
  points: jax.Array,
  cameras: Cameras,
  *,
  weight: jax.Array,
  world_norm: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Triangulates one point linearly, weighted, from any number of views.

  Image points are taken from the principal point, in focal lengths, and the world is centred and
  scaled on the cameras before the homogeneous least squares; in raw px and mm float32 would be off
  by 230 mm. The error that is minimised is the usual algebraic one, in pixels times depth. Written
  for a single joint; vmap it, frames inside and joints outside.

  Args:
    points: [v, 2], px.
    cameras: [v], of those pixels, t_cw in mm; K may be that of a rotated crop.
    weight: [v], at least 0; weight 0 ignores the view. Only ratios matter, and a positive weight
      counts for at least 1 % of the largest.
    world_norm: True keeps the length of the homogeneous vector 1 in the world's mm, False in the
      centred world. The original's DLT is the former; on noisy points it lies a little further
      from the world's origin, wherever that happens to be, and far off where rays contradict each
      other.

  Returns:
    point: [3], world, mm; zeros when not valid.
    valid: [], False with fewer than two positive weights, with rays that do not meet (parallel,
      one and the same) or when the point is at infinity. Whether it lies in front of the cameras
      is not checked.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., sections 4.4 and 12.2.
  """
  used = (weight > 0) & jnp.all(jnp.isfinite(points), axis=-1)
  points, weight = jnp.where(used[:, None], points, 0.0), jnp.where(used, weight, 0.0)
  share = jnp.maximum(weight / jnp.maximum(jnp.max(weight), 1e-30), _LEAST_WEIGHT) * used
  world = centred_world(cameras)
  rows = share[:, None, None] * _equations(points, cameras, world.shift)
  near = world.middle / world.scale
  origin, unit = (near, 1.0 / world.scale) if world_norm else (0.0 * near, jnp.ones_like(share[0]))
  x, met = _nearest_to_null(rows.reshape(-1, 4), origin, unit)
  valid = (jnp.sum(used) >= 2) & met & (_dot(x, x) < _FARTHEST**2)
  return jnp.where(valid, world.scale * (x + near), 0.0), valid


class CentredWorld(NamedTuple):
  """A world centred and scaled on the cameras.

  Attributes:
    middle: [3], mm, mean camera centre.
    scale: [], mm, distance of the cameras from it.
    shift: [v, 3], the translations of that world.
  """

  middle: jax.Array
  scale: jax.Array
  shift: jax.Array


def centred_world(cameras: Cameras) -> CentredWorld:
  """Puts the middle of the cameras [v] at the origin, 1 from them."""
  centres = cameras.centre()
  middle = jnp.mean(centres, axis=0)
  offset = centres - middle[None]
  spread = jnp.sqrt(jnp.mean(jnp.sum(offset * offset, axis=-1)) + 1e-12)
  scale = jnp.where(spread > 1e-3, spread, 1.0)
  shift = (cameras.translation + _dot(cameras.rotation, middle[None, None])) / scale
  return CentredWorld(middle, scale, shift)


def _equations(points: jax.Array, cameras: Cameras, shift: jax.Array) -> jax.Array:
  """Rows [v, 2, 4] of u (p3·X) - p1·X = 0 and v (p3·X) - p2·X = 0, over the mean focal length.

  The image point is relative to the principal point and K's linear part is in p1 and p2: entries of
  order 1 and no cancellation.
  """
  pose = jnp.concatenate([cameras.rotation, shift[..., None]], axis=-1)
  linear = cameras.intrinsics[:, :2, :2]
  lengths = linalg.safe_sqrt(jnp.sum(linear * linear, axis=(1, 2)))
  focal = jnp.maximum(jnp.mean(lengths), 1e-30)
  offset = (points - cameras.intrinsics[:, :2, 2]) / focal
  linear = linear / focal
  across = linear[:, :, :1] * pose[:, None, 0] + linear[:, :, 1:] * pose[:, None, 1]
  return offset[..., None] * pose[:, 2:] - across


@jax.custom_jvp
def _nearest_to_null(
  rows: jax.Array, origin: jax.Array, unit: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The point x with the least Σ (row · (x, 1))² / (|x + origin|² + unit²).

  With origin 0 and unit 1 that is the last right singular vector of the rows; else the same in a
  world that lies elsewhere and has another scale, where float32 would not hold the equations.

  Args:
    rows: [n, 4].
    origin: [3].
    unit: [], above 0.

  Returns:
    x: [3]; zeros when the rows leave a line of points.
    met: [] bool, False when they do; no gradient.
  """
  return _solve(rows, origin, unit)[:2]


def _solve(rows, origin, unit) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The point, whether there is one, and (AᵀA - λ)⁻¹ [3, 3].

  A is the rows' first three columns and λ the quotient. Least squares first; then inverse
  iteration, which ends in the smallest λ wherever it starts; then three of Rayleigh's steps, which
  triple the digits and take the rows' own residuals, so that what float32 lost in AᵀA comes back
  (Golub and Van Loan, Matrix Computations, 4th ed., sections 7.6 and 8.2).
  """
  # Else XLA works the equations out again for every use of a row.
  rows = jax.lax.optimization_barrier(rows)
  columns = rows[:, :3]
  normal = _sum(columns[:, :, None] * columns[:, None, :])
  size = jnp.maximum(normal[0, 0] + normal[1, 1] + normal[2, 2], 1e-30)
  normal = normal / size
  adjugate, determinant = _adjugate(normal)
  pairs = adjugate[0, 0] + adjugate[1, 1] + adjugate[2, 2]
  eps = jnp.finfo(rows.dtype).eps
  # Two rays that do not cross leave a line of points: determinant / pairs is what rounding leaves.
  met = determinant > 8 * eps * pairs
  inverse = adjugate / (jnp.where(met, determinant, 1.0) * size)
  x = -_times(inverse, _sum(columns * rows[:, 3:]))
  x = x - _times(inverse, _sum(columns * _residual(x, rows)[:, None]))
  least = _residual(x, rows)
  square, start = _dot(least, least), x + origin

  def inverse_iteration(_, state):
    # (AᵀA)⁻¹ of all four columns times (y, unit h), by its Schur complement.
    y, h = state
    h = unit * unit * h + _dot(start, y)
    y = square * _times(inverse, y) + h * start
    length = jnp.maximum(jnp.sqrt(_dot(y, y) + h * h), 1e-30)
    return y / length, h / length

  def rayleigh(_, state):
    x, _ = state
    slope, quotient = _slope(x, rows, origin, unit)
    shifted = normal - (quotient / size) * jnp.eye(3, dtype=rows.dtype)
    adjugate, determinant = _adjugate(shifted)
    determined = met & (jnp.abs(determinant) > 1e-30)
    inverse = adjugate / (jnp.where(determined, determinant, 1.0) * size)
    return x - _times(inverse, slope), inverse

  y, h = jax.lax.fori_loop(0, 30, inverse_iteration, (start, jnp.ones_like(unit)))
  x = y / jnp.where(jnp.abs(h) > 1e-12, h, 1.0) - origin
  x, inverse = jax.lax.fori_loop(0, 3, rayleigh, (x, inverse))
  return jnp.where(met, x, 0.0), met, inverse


def _slope(x, rows, origin, unit) -> tuple[jax.Array, jax.Array]:
  """What is zero at the least quotient λ: Aᵀ residual - λ (x + origin), [3]; and λ []."""
  residual, from_origin = _residual(x, rows), x + origin
  quotient = _dot(residual, residual) / (_dot(from_origin, from_origin) + unit * unit)
  return _sum(rows[:, :3] * residual[:, None]) - quotient * from_origin, quotient


@_nearest_to_null.defjvp
def _nearest_to_null_jvp(primals, tangents):
  """dx = -(AᵀA - λ)⁻¹ d(slope): λ is least, so that it does not change with x."""
  x, met, inverse = _solve(*primals)
  _, change = jax.jvp(lambda *inputs: _slope(x, *inputs)[0], primals, tangents)
  moved = jnp.where(met, -_times(inverse, change), 0.0)
  return (x, met), (moved, jnp.zeros((), jax.dtypes.float0))


# Sums written out: a batch of them is plain vector arithmetic, which `jnp.sum` over so few is not.


def _sum(x: jax.Array) -> jax.Array:
  """Over the first axis."""
  return sum(x[i] for i in range(1, len(x))) + x[0]


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
  """Over the last axis."""
  return _sum(jnp.moveaxis(a * b, -1, 0))


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
  return _dot(matrix, vector[None])


def _residual(x: jax.Array, rows: jax.Array) -> jax.Array:
  """rows · (x, 1), [n]."""
  return _dot(rows[:, :3], x[None]) + rows[:, 3]


def _cross(a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.stack(
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
  )


def _adjugate(symmetric: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The inverse [3, 3] times the determinant, and the determinant []."""
  a, b, c = symmetric
  rows = jnp.stack([_cross(b, c), _cross(c, a), _cross(a, b)])
  return rows, _dot(a, rows[0])


def select_views(scores: jax.Array, *, threshold: float) -> jax.Array:
  """The original's choice of views: scores above a threshold that sinks until two views pass it.

  Args:
    scores: [v], one joint's score in every view, at least 0 where usable.
    threshold: 0.05 in the released evaluation; it sinks in steps of 0.05.

  Returns:
    [v], bool. With fewer than two views at any threshold, what is above the lowest one tried.
  """
  # Enough steps to bring the threshold below -1, where every softmax or sigmoid score passes.
  num_steps = int((threshold + 1.0) / 0.05) + 2
  lowered = threshold - 0.05 * jnp.arange(num_steps)
  best, second = -jnp.inf, -jnp.inf
  for score in scores:
    best, second = jnp.maximum(best, score), jnp.maximum(second, jnp.minimum(best, score))
  chosen = lowered[-1]
  for step in lowered[::-1]:
    chosen = jnp.where(second > step, step, chosen)
  return scores > chosen
