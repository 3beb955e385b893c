"""A 3D point from views of which some are wrong, with its covariance.

Least squares on pixels, but with a cost that levels off: a view further off than a few times the
pixel noise says nothing any more. Such a cost has many minima, so every pair of views proposes a
start, and the start that most views agree with is refined.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import cameras, linalg, triangulation

# Up to here every pair of views is tried; 28 of them.
_MOST_VIEWS_FOR_ALL_PAIRS = 8
# Squared tolerances beyond which a start is not told from a worse one.
_FARTHEST = 1e4
# Depth in camera distances below which a point counts as behind the camera.
_NEAREST = 1e-3


class Triangulated(NamedTuple):
  """One point.

  Attributes:
    point: [3], world, mm; zeros when not valid.
    covariance: [3, 3], mm²; zeros when not valid.
    inlier: [v], 0..1, how much each view agrees: 1 on the spot, 1/2 at the tolerance; 0 without
      weight.
    valid: [], bool.
  """

  point: jax.Array
  covariance: jax.Array
  inlier: jax.Array
  valid: jax.Array


class _Views(NamedTuple):
  """What the cost needs, with the world centred and scaled on the cameras.

  Attributes:
    xy: [v, 2], normalised image points.
    linear: [v, 2, 2], K's linear part over the tolerance: residuals are 1 at the tolerance.
    rotation: [v, 3, 3].
    shift: [v, 3], translations of the scaled world.
    strength: [v], weight² over the largest; 0 for a view that has no say.
  """

  xy: jax.Array
  linear: jax.Array
  rotation: jax.Array
  shift: jax.Array
  strength: jax.Array


def robust(
  points: jax.Array,
  intrinsics: jax.Array,
  rotation: jax.Array,
  translation: jax.Array,
  *,
  weight: jax.Array,
  sigma_px: float = 2.0,
  tolerance: float = 4.0,
  num_iterations: int = 10,
) -> Triangulated:
  """Triangulates one point from any number of views, some of which may be wrong.

  The cost of a view with a reprojection error of r px is weight² atan((r / (tolerance σ))²): half
  the squared error up to about the tolerance, constant beyond. The starts are the points nearest to
  the rays of two views: all pairs up to 8 views, three partners per view beyond, and that of all
  views together. Iteratively reweighted Gauss-Newton leads from the best of them to its minimum.
  The gradient is that of the minimum itself (implicit function theorem), whatever the number of
  iterations; it does not see that another start might win. Written for a single joint; vmap it.

  Args:
    points: [v, 2], px.
    intrinsics: [v, 3, 3], K of those pixels; may be that of a rotated crop.
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw, mm.
    weight: [v], at least 0; a view with weight 0 has no say. As in `dlt` it multiplies the view's
      equations: its noise is sigma_px / weight. The tolerance is in pixels for all views alike.
    sigma_px: standard deviation of u and of v in a view that is right and has weight 1; the
      covariance is proportional to its square.
    tolerance: reprojection error at which a view counts half, in sigma_px.
    num_iterations: Gauss-Newton steps; one that would raise the cost is not taken.

  Returns:
    The point; its covariance from the Gauss-Newton Hessian, which holds if the views that agree
    have Gaussian noise of that size. Not valid, with zeros, with fewer than two positive weights,
    with rays that do not meet (parallel, one and the same), or when fewer than two views have the
    point in front of them.

  References:
    Triggs et al., Bundle Adjustment: A Modern Synthesis, 2000, section 4; Hartley and Zisserman,
    Multiple View Geometry, 2nd ed., appendix 6.8. The cost is `loss="arctan"` of
    scipy.optimize.least_squares.
  """
  used = (weight > 0) & jnp.all(jnp.isfinite(points), axis=1)
  points = jnp.where(used[:, None], points, 0.0)
  weight = jnp.where(used, weight, 0.0)
  largest = jnp.max(weight)
  middle, scale, shift = triangulation.centred_world(rotation, translation)
  views = _Views(
    xy=jax.vmap(cameras.to_normalized)(points, intrinsics),
    linear=intrinsics[:, :2, :2] / (tolerance * sigma_px),
    rotation=rotation,
    shift=shift,
    strength=jnp.square(linalg.safe_divide(weight, largest, tiny=1e-30)),
  )
  fixed = jax.lax.stop_gradient(views)
  start, met = _best_start(fixed)
  x = _minimum(num_iterations, start, views)
  squared, depth = _squared_residuals(x, views)
  seen = (views.strength > 0) & (depth > _NEAREST)
  inlier = jnp.where(seen, _agreement(squared), 0.0)
  valid = met & (jnp.sum(seen) >= 2)
  normal_matrix = jnp.where(valid, _normal_equations(x, views)[0], jnp.eye(3))
  # Residuals are in tolerances and the world in camera distances: back to px and mm.
  unit = jnp.square(scale / (tolerance * jnp.maximum(largest, 1e-6)))
  covariance = jnp.where(valid, unit * _inverse(normal_matrix), 0.0)
  point = jnp.where(valid, middle + scale * x, 0.0)
  return Triangulated(point, covariance, jnp.where(valid, inlier, 0.0), valid)


def start_views(num_views: int) -> np.ndarray:
  """Which views propose a start together, [n, v], 0 or 1: pairs, and all of them as the last.

  All pairs up to 8 views; beyond, every view with those 1, v/4 and v/3 places further on, which in
  a ring of cameras are near, across at a right angle and beyond it. Pairs of views that are masked
  out propose nothing; the last row stands in when no pair is left.
  """
  if num_views <= _MOST_VIEWS_FOR_ALL_PAIRS:
    pairs = list(itertools.combinations(range(num_views), 2))
  else:
    steps = sorted({1, num_views // 4, num_views // 3})
    pairs = [(i, (i + step) % num_views) for step in steps for i in range(num_views)]
  chosen = np.zeros((len(pairs) + 1, num_views), np.float32)
  for row, pair in enumerate(pairs):
    chosen[row, list(pair)] = 1.0
  chosen[-1] = 1.0
  return chosen


def _best_start(views: _Views) -> tuple[jax.Array, jax.Array]:
  """The proposal with the least cost [3], and whether there is any whose rays meet [].

  A proposal is the point with the least sum of squared distances to the rays.
  """
  chosen = jnp.asarray(start_views(views.xy.shape[0]), views.xy.dtype)
  chosen = chosen * (views.strength > 0)[None, :]
  ones = jnp.ones_like(views.xy[:, :1])
  direction = linalg.einsum("vji,vj->vi", views.rotation, jnp.concatenate([views.xy, ones], 1))
  direction = direction / linalg.safe_norm(direction)[:, None]
  center = -linalg.einsum("vji,vj->vi", views.rotation, views.shift)
  across = jnp.eye(3)[None] - direction[:, :, None] * direction[:, None, :]
  matrix = linalg.einsum("nv,vij->nij", chosen, across)
  right = linalg.einsum("nv,vij,vj->ni", chosen, across, center)
  # Rays at an angle a have a determinant of 2 sin² a; a pixel is about 0.002 rad.
  meets = (jnp.sum(chosen, axis=1) >= 2) & (jax.vmap(_determinant)(matrix) > 1e-6)
  matrix = jnp.where(meets[:, None, None], matrix, jnp.eye(3)[None])
  proposals = jax.vmap(_solve)(matrix, right)
  proposals = jnp.where(meets[:, None], proposals, 0.0)
  costs = jnp.where(meets, jax.vmap(_start_cost, (0, None))(proposals, views), jnp.inf)
  return proposals[jnp.argmin(costs)], jnp.any(meets)


def _residuals(x: jax.Array, views: _Views) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Reprojection errors [v, 2] in tolerances, depths [v], image points [v, 2]; zeros behind."""
  x_c = linalg.einsum("vij,j->vi", views.rotation, x) + views.shift
  depth = x_c[:, 2]
  xy = x_c[:, :2] / jnp.where(depth > _NEAREST, depth, 1.0)[:, None]
  residual = linalg.einsum("vij,vj->vi", views.linear, xy - views.xy)
  return jnp.where((depth > _NEAREST)[:, None], residual, 0.0), depth, xy


def _squared_residuals(x: jax.Array, views: _Views) -> tuple[jax.Array, jax.Array]:
  residual, depth, _ = _residuals(x, views)
  # Bounded, so that its square is finite too.
  return jnp.minimum(jnp.sum(residual * residual, axis=1), 1e12), depth


def _agreement(squared: jax.Array) -> jax.Array:
  """The derivative of atan: 1 at 0, 1/2 at the tolerance."""
  return 1.0 / (1.0 + squared * squared)


def _cost(x: jax.Array, views: _Views) -> jax.Array:
  """Σ weight² atan(r²); a view with the point behind it costs the most there is."""
  squared, depth = _squared_residuals(x, views)
  cost = jnp.where(depth > _NEAREST, jnp.arctan(squared), 0.5 * jnp.pi)
  return jnp.sum(views.strength * cost)


def _start_cost(x: jax.Array, views: _Views) -> jax.Array:
  """Σ weight² log(1 + (4 r)²): a better judge of starts, since it goes on telling far from farther.

  Two rays from opposite sides nearly coincide, so there is always a point that both agree on,
  anywhere between the cameras; to the bounded cost it is as good as the right one.
  """
  squared, depth = _squared_residuals(x, views)
  squared = jnp.where(depth > _NEAREST, jnp.minimum(squared, _FARTHEST), _FARTHEST)
  return jnp.sum(views.strength * jnp.log1p(16.0 * squared))


def _normal_equations(x: jax.Array, views: _Views) -> tuple[jax.Array, jax.Array]:
  """Σ w JᵀJ [3, 3] and Σ w Jᵀr [3], w = weight² · agreement; views behind count nothing."""
  residual, depth, xy = _residuals(x, views)
  in_front = depth > _NEAREST
  squared = jnp.minimum(jnp.sum(residual * residual, axis=1), 1e12)
  strength = jnp.where(in_front, views.strength * _agreement(squared), 0.0)
  slope = views.rotation[:, :2, :] - xy[:, :, None] * views.rotation[:, 2:, :]
  slope = slope / jnp.where(in_front, depth, 1.0)[:, None, None]
  jacobian = linalg.einsum("vij,vjk->vik", views.linear, slope)
  weighted = strength[:, None, None] * jacobian
  matrix = linalg.einsum("vij,vik->jk", weighted, jacobian)
  return matrix, linalg.einsum("vij,vi->j", weighted, residual)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimum(num_iterations: int, start: jax.Array, views: _Views) -> jax.Array:
  """The minimum of the cost next to a start, [3]."""

  def step(_, state):
    x, cost = state
    matrix, right = _normal_equations(x, views)
    moved = x - linalg.matmul(_inverse(matrix), right)
    moved_cost = _cost(moved, views)
    # Near the minimum the cost is flat to rounding while the step is still good to a digit or two.
    better = moved_cost <= cost + 1e-5 * jnp.minimum(cost, 1.0)
    return jnp.where(better, moved, x), jnp.where(better, moved_cost, cost)

  return jax.lax.fori_loop(0, num_iterations, step, (start, _cost(start, views)))[0]


@_minimum.defjvp
def _minimum_jvp(num_iterations, primals, tangents):
  """dx = -H⁻¹ d(gradient of the cost); the start has no say."""
  start, views = primals
  x = _minimum(num_iterations, start, views)
  gradient = jax.grad(_cost)
  hessian = jax.jacfwd(gradient)(x, views)
  # At the edge of its basin a minimum may have no curvature: there Gauss-Newton's always has.
  curved = (hessian[0, 0] > 0) & (_minor(hessian) > 0) & (_determinant(hessian) > 0)
  hessian = jnp.where(curved, hessian, 2.0 * _normal_equations(x, views)[0])
  _, change = jax.jvp(functools.partial(gradient, x), (views,), (tangents[1],))
  return x, -linalg.matmul(_inverse(hessian), change)


def _inverse(matrix: jax.Array) -> jax.Array:
  """Inverse of a positive semidefinite [3, 3]; a millionth of its size is added where it is flat.

  Finite for zeros too.
  """
  size = jnp.trace(matrix) + 1e-12
  matrix = matrix / size
  flat = _determinant(matrix) < 1e-7
  matrix = jnp.where(flat, matrix + 1e-6 * jnp.eye(3), matrix)
  return _adjugate(matrix) / (_determinant(matrix) * size)


def _solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
  return linalg.matmul(_adjugate(matrix), right) / _determinant(matrix)


def _adjugate(m: jax.Array) -> jax.Array:
  """The inverse of [3, 3] times its determinant: cross products of its rows, as columns."""
  return jnp.stack([jnp.cross(m[1], m[2]), jnp.cross(m[2], m[0]), jnp.cross(m[0], m[1])], axis=1)


def _determinant(m: jax.Array) -> jax.Array:
  return jnp.sum(m[0] * jnp.cross(m[1], m[2]))


def _minor(m: jax.Array) -> jax.Array:
  return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
