"""A 3D point from views of which some are wrong, with its covariance.

Least squares on pixels, but with a cost that levels off: a view further off than a few times the
pixel noise gives no information. Such a cost has many minima, so every pair of views proposes a
start, and the start that most views agree with is refined.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import cameras as cameras_lib
from epipolar_jax.geometry import linalg
from epipolar_jax.triangulation import linear
from epipolar_jax.triangulation import symmetric3 as s3

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


class Place(NamedTuple):
  """Where a point may be expected.

  Attributes:
    middle: [3], world, mm.
    reach: [], mm, scale below which distance from it is not penalised; inf: none is.
  """

  middle: jax.Array
  reach: jax.Array


class _View(NamedTuple):
  """What the cost needs of one view, with the world centred and scaled on the cameras.

  Attributes:
    xy: 2 scalars, normalised image point.
    linear: 2 times 2, K's linear part over the tolerance: residuals are 1 at the tolerance.
    rotation: 3 times 3.
    shift: 3, translation of the scaled world.
    strength: [], weight² over the largest; 0 ignores the view.
  """

  xy: tuple[jax.Array, ...]
  linear: tuple[tuple[jax.Array, ...], ...]
  rotation: tuple[s3.Vector, ...]
  shift: s3.Vector
  strength: jax.Array


def robust(
  points: jax.Array,
  cameras: cameras_lib.Cameras,
  *,
  weight: jax.Array,
  sigma_px: float = 2.0,
  tolerance: float = 4.0,
  num_iterations: int = 10,
  place: Place | None = None,
  start: jax.Array | None = None,
) -> Triangulated:
  """Triangulates one point from any number of views, some of which may be wrong.

  The cost of a view with a reprojection error of r px is weight² atan((r / (tolerance σ))²): half
  the squared error up to about the tolerance, constant beyond. The starts are the points nearest to
  the rays of two views: all pairs up to 8 views, three partners per view beyond, and that of all
  views together. They are judged by a cost that goes on rising, and by the weights' first power: a
  wrong view may well have the largest. Iteratively reweighted Gauss-Newton leads from the best of
  them to its minimum. The gradient is that of the minimum itself (implicit function theorem),
  whatever the number of iterations; it does not see that another start might win. Written for a
  single joint; vmap it.

  Args:
    points: [v, 2], px.
    cameras: [v], of those pixels, t_cw in mm; K may be that of a rotated crop.
    weight: [v], at least 0; weight 0 ignores the view. As in `dlt` it multiplies the view's
      equations: its noise is sigma_px / weight. The tolerance is in pixels for all views alike.
    sigma_px: standard deviation of u and of v in a view that is right and has weight 1; the
      covariance is proportional to its square.
    tolerance: reprojection error at which a view counts half, in sigma_px.
    num_iterations: Gauss-Newton steps; one that would raise the cost is not taken.
    place: where to expect the point, None: anywhere. It only helps to choose the start, where views
      contradict each other: the minimum itself is that of the views.
    start: [3], world, mm, one more start, perhaps what an earlier call found; None or not finite:
      there is none.

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
  used = (weight > 0) & jnp.isfinite(points[:, 0]) & jnp.isfinite(points[:, 1])
  points, weight = jnp.where(used[:, None], points, 0.0), jnp.where(used, weight, 0.0)
  largest = jnp.max(weight)
  rig = linear.centred_world(cameras)
  strength = jnp.square(linalg.safe_divide(weight, largest, tiny=1e-30))
  one = functools.partial(_view, unit=tolerance * sigma_px)
  views = _each_view(one, points, cameras, rig.shift, strength)

  def inside(point):
    return tuple((point[i] - rig.middle[i]) / rig.scale for i in range(3))

  expected = None if place is None else (inside(place.middle), place.reach / rig.scale)
  own = None if start is None else inside(start)
  x, met = _best_start(*jax.lax.stop_gradient((views, expected, own)))
  x = _minimum(num_iterations, x, views)
  squared, in_front = _each_view(lambda view: _squared_residual(x, view), views)
  seen = (strength > 0) & in_front
  valid = met & (jnp.sum(seen) >= 2)
  inlier = jnp.where(seen & valid, _agreement(squared), 0.0)
  matrix = _sum_over_views(lambda view: _normal_equations(x, view), views).matrix
  diagonal = s3.Symmetric(1.0, 0.0, 0.0, 1.0, 0.0, 1.0)
  m = _inverse(s3.Symmetric(*(jnp.where(valid, a, b) for a, b in zip(matrix, diagonal))))
  # Residuals are in tolerances and the world in camera distances: back to px and mm.
  unit = jnp.square(rig.scale / (tolerance * jnp.maximum(largest, 1e-6)))
  covariance = unit * jnp.stack([m.xx, m.xy, m.xz, m.xy, m.yy, m.yz, m.xz, m.yz, m.zz])
  point = jnp.stack(s3.scaled_sum(rig.middle, rig.scale, x))
  covariance = jnp.where(valid, covariance, 0.0).reshape(3, 3)
  return Triangulated(jnp.where(valid, point, 0.0), covariance, inlier, valid)


def _view(point, camera, shift, strength, *, unit) -> _View:
  """Of one view's point [2], camera and strength []."""
  intrinsics, rotation = camera.intrinsics, camera.rotation
  xy = cameras_lib.to_normalized(point, intrinsics)
  return _View(
    xy=(xy[0], xy[1]),
    linear=tuple(tuple(intrinsics[i, k] / unit for k in range(2)) for i in range(2)),
    rotation=tuple(tuple(rotation[i]) for i in range(3)),
    shift=tuple(shift),
    strength=strength,
  )


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


def _best_start(
  views: _View, place: tuple[s3.Vector, jax.Array] | None, own: s3.Vector | None
) -> tuple[s3.Vector, jax.Array]:
  """The proposal with the least cost, and whether there is any whose rays meet [].

  A proposal is the point with the least sum of squared distances to the rays.
  """
  distances = _each_view(_ray_distance, views)
  zero = jnp.zeros_like(views.strength[0])

  def cost_of(x):
    cost = _sum_over_views(lambda view: _start_cost(x, view), views)
    return cost if place is None else cost + _place_cost(x, *place)

  def one(best, chosen):
    def of_view(chosen, distance, view):
      share = jnp.where(view.strength > 0, chosen, 0.0)
      return jax.tree.map(lambda x: share * x, (distance, jnp.ones_like(share)))

    chosen = jnp.asarray(chosen, zero.dtype)
    parts = _sum_over_views(of_view, chosen, distances, views)
    (matrix, right), number = parts
    adjugate, determinant = s3.adjugate(matrix)
    # Two rays at an angle a have a determinant of 2 sin² a; a pixel is about 0.002 rad. It grows as
    # the cube of the number of rays, and so does its rounding in float32, a third of this.
    meets = (number >= 2) & (determinant > 3e-6 * (0.5 * number) ** 3)
    divisor = jnp.where(meets, determinant, 1.0)
    x = tuple(jnp.where(meets, a / divisor, 0.0) for a in s3.times(adjugate, right))
    cost = jnp.where(meets, cost_of(x), jnp.inf)
    return _cheaper((x, cost), best), None

  nothing = (zero, zero, zero), zero + jnp.inf
  (x, cost), _ = jax.lax.scan(one, nothing, start_views(len(views.strength)))
  met = cost < jnp.inf
  if own is None:
    return x, met
  there = functools.reduce(jnp.logical_and, map(jnp.isfinite, own))
  own = tuple(jnp.where(there, a, 0.0) for a in own)
  return _cheaper((own, jnp.where(there, cost_of(own), jnp.inf)), (x, cost))[0], met


def _cheaper(new, best):
  """Of two pairs of a point and its cost; of equals the latter."""
  return jax.tree.map(lambda a, b: jnp.where(new[1] < best[1], a, b), new, best)


def _ray_distance(view: _View) -> tuple[s3.Symmetric, s3.Vector]:
  """A and b of the squared distance x·Ax - 2 b·x + const of a point to the view's ray."""
  columns = list(zip(*view.rotation))
  direction = [s3.dot(column, (*view.xy, 1.0)) for column in columns]
  squared = s3.dot(direction, direction)
  center = tuple(-s3.dot(column, view.shift) for column in columns)
  outer = s3.gram([direction])
  across = [-x / squared for x in outer]
  across = s3.Symmetric(*(x + float(i in (0, 3, 5)) for i, x in enumerate(across)))
  return across, s3.times(across, center)


def _each_view(function, *views):
  """A function of one view for all views: trees of [v, ...] in, trees of [v, ...] out.

  A loop over views, so that views are the outermost axis of what comes out whatever is vmapped, and
  so that XLA does not work it out again in all that it is used for.
  """
  return jax.lax.map(lambda view: function(*view), views)


def _sum_over_views(function, *views):
  """Σ function(one view), a tree, as a loop; views as in `_each_view`."""

  def add(total, view):
    return jax.tree.map(jnp.add, total, function(*view)), None

  one = jax.tree.map(lambda x: x[0], views)
  start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *one))
  return jax.lax.scan(add, start, views)[0]


class _Seen(NamedTuple):
  """A point in one view: its reprojection error (2, in tolerances; zeros behind), depth, xy (2)."""

  residual: tuple[jax.Array, jax.Array]
  depth: jax.Array
  xy: tuple[jax.Array, jax.Array]


def _see(x: s3.Vector, view: _View) -> _Seen:
  at = [s3.dot(row, x) + shift for row, shift in zip(view.rotation, view.shift)]
  in_front = at[2] > _NEAREST
  xy = tuple(a / jnp.where(in_front, at[2], 1.0) for a in at[:2])
  off = [a - b for a, b in zip(xy, view.xy)]
  residual = tuple(jnp.where(in_front, s3.dot(row, off), 0.0) for row in view.linear)
  return _Seen(residual, at[2], xy)


def _squared_residual(x: s3.Vector, view: _View) -> tuple[jax.Array, jax.Array]:
  """In squared tolerances [], and whether the point is in front of the camera []."""
  seen = _see(x, view)
  # Bounded, so that its square is finite too.
  return jnp.minimum(s3.dot(seen.residual, seen.residual), 1e12), seen.depth > _NEAREST


def _agreement(squared: jax.Array) -> jax.Array:
  """The derivative of atan: 1 at 0, 1/2 at the tolerance."""
  return 1.0 / (1.0 + squared * squared)


def _view_cost(x: s3.Vector, view: _View) -> jax.Array:
  """weight² atan(r²); a view with the point behind it costs the most there is."""
  squared, in_front = _squared_residual(x, view)
  return view.strength * jnp.where(in_front, jnp.arctan(squared), 0.5 * jnp.pi)


def _cost(x: s3.Vector, views: _View) -> jax.Array:
  return _sum_over_views(lambda view: _view_cost(x, view), views)


def _start_cost(x: s3.Vector, view: _View) -> jax.Array:
  """weight log(1 + (4 r)²): a better judge of starts, since it goes on telling far from farther.

  Two rays from opposite sides nearly coincide, so there is always a point that both agree on,
  anywhere between the cameras; to the bounded cost it is as good as the right one.
  """
  squared, in_front = _squared_residual(x, view)
  squared = jnp.where(in_front, jnp.minimum(squared, _FARTHEST), _FARTHEST)
  return jnp.sqrt(view.strength) * jnp.log1p(16.0 * squared)


def _place_cost(x: s3.Vector, middle: s3.Vector, reach: jax.Array) -> jax.Array:
  """4 log(1 + (distance / reach)⁴): little within the reach, three views' contradiction beyond."""
  off = s3.scaled_sum(x, -1.0, middle)
  ratio = s3.dot(off, off) / jnp.square(reach)
  return 4.0 * jnp.log1p(jnp.square(jnp.minimum(ratio, _FARTHEST)))


class _Normal(NamedTuple):
  """w JᵀJ, w Jᵀr and the cost of one view or of several, w = weight² · agreement."""

  matrix: s3.Symmetric
  right: s3.Vector
  cost: jax.Array


def _normal_equations(x: s3.Vector, view: _View) -> _Normal:
  """Of one view; one that has the point behind it counts nothing, but costs."""
  seen = _see(x, view)
  in_front = seen.depth > _NEAREST
  squared = jnp.minimum(s3.dot(seen.residual, seen.residual), 1e12)
  strength = jnp.where(in_front, view.strength * _agreement(squared), 0.0)
  depth = jnp.where(in_front, seen.depth, 1.0)
  r = view.rotation
  slope = [[(r[i][k] - seen.xy[i] * r[2][k]) / depth for k in range(3)] for i in range(2)]
  jacobian = [tuple(s3.dot(row, column) for column in zip(*slope)) for row in view.linear]
  right = tuple(strength * s3.dot(column, seen.residual) for column in zip(*jacobian))
  return _Normal(s3.gram(jacobian, [strength, strength]), right, _view_cost(x, view))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimum(num_iterations: int, start: s3.Vector, views: _View) -> s3.Vector:
  """The minimum of the cost next to a start."""

  def around(x):
    return _sum_over_views(lambda view: _normal_equations(x, view), views)

  def step(_, state):
    x, found = state
    change = s3.times(_inverse(found.matrix), found.right)
    moved = s3.scaled_sum(x, -1.0, change)
    there = around(moved)
    # Near the minimum the cost is flat to rounding while the step is still good to a digit or two.
    better = there.cost <= found.cost + 1e-5 * jnp.minimum(found.cost, 1.0)
    return jax.tree.map(lambda a, b: jnp.where(better, a, b), (moved, there), state)

  return jax.lax.fori_loop(0, num_iterations, step, (start, around(start)))[0]


@_minimum.defjvp
def _minimum_jvp(num_iterations, primals, tangents):
  """dx = -H⁻¹ d(gradient of the cost); the start does not enter."""
  start, views = primals
  x = _minimum(num_iterations, start, views)
  gradient = jax.grad(_cost)
  rows = jax.jacfwd(gradient)(x, views)
  hessian = s3.Symmetric(rows[0][0], rows[0][1], rows[0][2], rows[1][1], rows[1][2], rows[2][2])
  # At the edge of its basin a minimum may have no curvature: there Gauss-Newton's always has.
  adjugate, determinant = s3.adjugate(hessian)
  curved = (hessian.xx > 0) & (adjugate.zz > 0) & (determinant > 0)
  plain = _sum_over_views(lambda view: _normal_equations(x, view), views).matrix
  hessian = s3.Symmetric(*(jnp.where(curved, h, 2.0 * m) for h, m in zip(hessian, plain)))
  _, change = jax.jvp(functools.partial(gradient, x), (views,), (tangents[1],))
  return x, tuple(-d for d in s3.times(_inverse(hessian), change))


def _inverse(matrix: s3.Symmetric) -> s3.Symmetric:
  """Inverse of a positive semidefinite matrix; a millionth of its size is added where it is flat.

  Finite for zeros too.
  """
  size = matrix.xx + matrix.yy + matrix.zz + 1e-12
  small = s3.Symmetric(*(m / size for m in matrix))
  flat = jnp.where(s3.adjugate(small)[1] < 1e-7, 1e-6, 0.0)
  small = small._replace(xx=small.xx + flat, yy=small.yy + flat, zz=small.zz + flat)
  adjugate, determinant = s3.adjugate(small)
  return s3.Symmetric(*(a / (determinant * size) for a in adjugate))
