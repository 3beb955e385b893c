"""A 3D point from its image in two or more views."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.triangulation import symmetric3 as s3

# Two rays meet in one point whatever their weights are; below this ratio float32 would lose it.
_LEAST_WEIGHT = 0.01
# What stands for no weight, and the variance of a view without a say: their squares are finite too.
_NO_WEIGHT, _NO_SAY = 1e-18, 1e18
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
  by 230 mm. The error that is
  minimised is the usual algebraic one, in pixels times depth. Written for a single joint; vmap it,
  frames inside and joints outside (see `symmetric3`).

  Args:
    points: [v, 2], px.
    cameras: [v], of those pixels, t_cw in mm; K may be that of a rotated crop.
    weight: [v], at least 0; a view with weight 0 has no say. Only ratios matter, and a positive
      weight counts for at least 1 % of the largest.
    world_norm: True keeps the length of the homogeneous vector 1 in the world's mm, False in the
      centred world. The reference's DLT is the former; on noisy points it lies a little further
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
  world = centred_world(cameras)
  variances = _variances(points, weight)
  equations = _equations(points, cameras, world.shift, variances)
  middle = tuple(m / world.scale for m in world.middle)
  zero = jnp.zeros_like(world.scale)
  origin, unit = (middle, 1.0 / world.scale) if world_norm else ((zero,) * 3, zero + 1.0)
  x, least = _nearest_to_null(equations, origin, unit)
  # Two rays that do not cross leave a line of points: its eigenvalue is what rounding leaves.
  crossing = least > 8 * jnp.finfo(least.dtype).eps
  used = sum((variance < _NO_SAY).astype(jnp.int32) for variance in variances)
  valid = (used >= 2) & crossing & (s3.dot(x, x) < _FARTHEST**2)
  point = [jnp.where(valid, world.scale * (a + m), 0.0) for a, m in zip(x, middle)]
  # Not jnp.stack: XLA would work out each number in a branch of its own.
  axis = jnp.arange(3)
  return jnp.where(axis == 0, point[0], jnp.where(axis == 1, point[1], point[2])), valid


def _variances(points: jax.Array, weight: jax.Array) -> list[jax.Array]:
  """1 / weight² of v views, 1 for the best, in v scalars; `_NO_SAY` where there is no point."""
  deviations = []
  for (x, y), w in zip(points, weight):
    used = (w > 0) & jnp.isfinite(x) & jnp.isfinite(y)
    deviations.append(1.0 / jnp.where(used, w, _NO_WEIGHT))
  least = functools.reduce(jnp.minimum, deviations)

  def one(deviation):
    share = jnp.minimum(deviation / least, 1.0 / _LEAST_WEIGHT)
    return jnp.where(deviation < 0.5 / _NO_WEIGHT, share * share, _NO_SAY)

  return [one(deviation) for deviation in deviations]


class CentredWorld(NamedTuple):
  """A world centred and scaled on the cameras.

  Attributes:
    middle: 3 scalars, mm, mean camera centre.
    scale: [], mm, distance of the cameras from it.
    shift: [v, 3], the translations of that world.
  """

  middle: s3.Vector
  scale: jax.Array
  shift: jax.Array


def centred_world(cameras: Cameras) -> CentredWorld:
  """Puts the middle of the cameras [v] at the origin, 1 from them."""
  rotation, translation = cameras.rotation, cameras.translation
  count = len(rotation)
  columns = [tuple(zip(*view)) for view in rotation]
  centers = [[-s3.dot(c, t) for c in view] for view, t in zip(columns, translation)]
  middle = tuple(sum(c) / count for c in zip(*centers))
  offsets = [s3.scaled_sum(center, -1.0, middle) for center in centers]
  spread = jnp.sqrt(sum(s3.dot(o, o) for o in offsets) / count + 1e-12)
  scale = jnp.where(spread > 1e-3, spread, 1.0)
  near = tuple(m / scale for m in middle)
  shift = [
    [x / scale + s3.dot(r, near) for r, x in zip(*view)] for view in zip(rotation, translation)
  ]
  return CentredWorld(middle, scale, jnp.array(shift))


class _Equations(NamedTuple):
  """u (p3·X) - p1·X = 0 and v (p3·X) - p2·X = 0 of one view, divided by the mean focal length.

  The image point is relative to the principal point and K's linear part is in the lines: entries of
  order 1 and no cancellation.

  Attributes:
    image: 2 scalars, px.
    depth: 4, the depth in focal lengths of that mean, per px.
    lines: 2 times 4.
    variance: [], 1 / weight², at least 1.
  """

  image: tuple[jax.Array, ...]
  depth: tuple[jax.Array, ...]
  lines: tuple[tuple[jax.Array, ...], ...]
  variance: jax.Array


def _equations(points, cameras, shift, variances) -> list[_Equations]:
  """Of v views: points [v, 2], cameras [v], translations of the centred world, v variances []."""
  intrinsics, rotation = cameras.intrinsics, cameras.rotation
  linear = [[tuple(k[i, :2]) for i in range(2)] for k in intrinsics]
  lengths = [linalg.safe_sqrt(s3.dot((*k[0], *k[1]), (*k[0], *k[1]))) for k in linear]
  focal = jnp.maximum(sum(lengths) / len(lengths), 1e-30)
  equations = []
  for number, variance in enumerate(variances):
    x, y, z = ((*rotation[number, i], shift[number, i]) for i in range(3))
    offset = [points[number, i] - intrinsics[number, i, 2] for i in range(2)]
    equations.append(
      _Equations(
        image=tuple(jnp.where(variance < _NO_SAY, o, 0.0) for o in offset),
        depth=tuple(d / focal for d in z),
        lines=tuple(
          tuple((row[0] * a + row[1] * b) / focal for a, b in zip(x, y)) for row in linear[number]
        ),
        variance=variance,
      )
    )
  return equations


def each_view(function, *views):
  """A function of one view for all views: trees of [v, ...] in, trees of [v, ...] out.

  A loop over views, so that views are the outermost axis of what comes out whatever is vmapped, and
  so that XLA does not work it out again in all that it is used for.
  """
  return jax.lax.map(lambda view: function(*view), views)


def sum_over_views(function, *views):
  """Σ function(one view), a tree, as a loop; views as in `each_view`."""

  def add(total, view):
    return jax.tree.map(jnp.add, total, function(*view)), None

  one = jax.tree.map(lambda x: x[0], views)
  start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *one))
  return jax.lax.scan(add, start, views)[0]


@jax.custom_jvp
def _nearest_to_null(
  equations: list[_Equations], origin: s3.Vector, unit: jax.Array
) -> tuple[s3.Vector, jax.Array]:
  """The point x with the least Σ (row · (x, 1))² / variance / (|x + origin|² + unit²).

  With origin 0 and unit 1 that is the last right singular vector of the rows; else the same in a
  world that lies elsewhere and has another scale, where float32 would not hold the equations.

  Args:
    equations: of v views.
    origin: 3 scalars.
    unit: [], above 0.

  Returns:
    x: 3 scalars; zeros when the rows leave a line of points.
    share: [], the smallest over the largest eigenvalue of the equations for x, exact where it is
      small; no gradient.
  """
  x, share, _ = _solve(equations, origin, unit)
  return x, share


class _Inverse(NamedTuple):
  """adjugate / determinant, the inverse of a matrix that is not to be singular."""

  adjugate: s3.Symmetric
  determinant: jax.Array


def _solve(equations, origin, unit) -> tuple[s3.Vector, jax.Array, _Inverse]:
  """The point, its share, and the inverse of M - λ.

  M = AᵀA of the rows' first three columns, λ the quotient. The point solves (M - λ) (x - x₀) =
  λ (x₀ + origin), x₀ the solution of the plain least squares; λ is the smallest root of a function
  of itself (Golub and Van Loan, Matrix Computations, 4th ed., section 6.3). Both steps from x₀ take
  the rows' own residuals: M has lost what is small beside its largest value, they have not.

  XLA cuts this into loops over all frames and joints, with one result each, and in each works out
  again what it has not stored. It stores what is expensive, as quotients are: so squares are
  divided by the sum of the weights, residuals by variances, right sides by the determinant.
  """
  normal = _mean_squares(equations)
  trace = jnp.maximum(normal.matrix.xx + normal.matrix.yy + normal.matrix.zz, 1e-30)
  size = 1.0 / trace
  matrix, right = jax.tree.map(lambda x: x * size, (normal.matrix, normal.right))
  adjugate, determinant = s3.adjugate(matrix)
  pairs = adjugate.xx + adjugate.yy + adjugate.zz
  eps = jnp.finfo(pairs.dtype).eps
  # Newton's first step towards the smallest eigenvalue; beside it, the others make a quadratic.
  least = determinant / jnp.maximum(pairs, 1e-30)
  share = least / (0.5 + 0.5 * jnp.sqrt(jnp.maximum(1.0 - 4.0 * pairs, 0.0)))
  determined = least > eps
  divisor = jnp.where(determined, determinant, 1.0)
  x = tuple(a / divisor for a in s3.times(adjugate, right))
  down, squared = _fall(x, equations)
  all_weight = normal.weight / size
  from_origin = s3.scaled_sum(x, 1.0, origin)
  quotient = _least_root(matrix, squared / all_weight, from_origin, unit)
  quotient = jnp.where(determined, quotient, 0.0)
  inner = matrix._replace(xx=matrix.xx - quotient, yy=matrix.yy - quotient, zz=matrix.zz - quotient)
  adjugate, determinant = s3.adjugate(inner)
  rounding = eps * (adjugate.xx + adjugate.yy + adjugate.zz)
  divisor = jnp.where(determined, jnp.maximum(determinant, rounding), 1.0)
  inverse = _Inverse(adjugate, divisor * all_weight)
  first = s3.scaled_sum(down, -quotient * all_weight, from_origin)
  x = s3.scaled_sum(x, -1.0, _times(inverse, first))
  x = s3.scaled_sum(x, -1.0, _times(inverse, _slope(x, equations, origin, unit)))
  return tuple(jnp.where(determined, a, 0.0) for a in x), share, inverse


class _Normal(NamedTuple):
  """Weighted means over views of row rowᵀ: the first three columns, the fourth with them.

  Attributes:
    matrix: AᵀA.
    right: Aᵀb, 3 scalars.
    weight: [], sum of the weights.
  """

  matrix: s3.Symmetric
  right: s3.Vector
  weight: jax.Array


def _mean_squares(equations: list[_Equations]) -> _Normal:
  rows, weights = [], []
  for view in equations:
    weights += [1.0 / view.variance] * 2
    for image, line in zip(view.image, view.lines):
      rows.append([image * d - side for d, side in zip(view.depth, line)])
  total = sum(weights)
  last = [weight * row[3] for weight, row in zip(weights, rows)]
  columns = list(zip(*rows))
  matrix = s3.gram([row[:3] for row in rows], weights)
  return _Normal(
    s3.Symmetric(*(x / total for x in matrix)),
    tuple(-s3.dot(columns[i], last) / total for i in range(3)),
    total,
  )


def _times(inverse: _Inverse, vector: s3.Vector) -> s3.Vector:
  return s3.times(inverse.adjugate, tuple(x / inverse.determinant for x in vector))


def _fall(x: s3.Vector, equations: list[_Equations]) -> tuple[s3.Vector, jax.Array]:
  """Aᵀ residual, 3 scalars, and |residual|² [], weighted."""
  down, squared = (0.0, 0.0, 0.0), 0.0
  for view in equations:
    depth = s3.dot(view.depth[:3], x) + view.depth[3]
    residual = [
      (image * depth - s3.dot(line[:3], x) - line[3]) / view.variance
      for image, line in zip(view.image, view.lines)
    ]
    squared = squared + view.variance * s3.dot(residual, residual)
    down = s3.scaled_sum(down, s3.dot(view.image, residual), view.depth[:3])
    for r, line in zip(residual, view.lines):
      down = s3.scaled_sum(down, -r, line[:3])
  return down, squared


def _slope(
  x: s3.Vector, equations: list[_Equations], origin: s3.Vector, unit: jax.Array
) -> s3.Vector:
  """What is zero at the least quotient: Aᵀ residual - λ (x + origin)."""
  down, squared = _fall(x, equations)
  from_origin = s3.scaled_sum(x, 1.0, origin)
  quotient = squared / (s3.dot(from_origin, from_origin) + unit * unit)
  return s3.scaled_sum(down, -quotient, from_origin)


def _least_root(
  matrix: s3.Symmetric, squared: jax.Array, from_origin: s3.Vector, unit: jax.Array
) -> jax.Array:
  """The smallest λ with squared - λ (unit² + |y|²) = λ² yᵀ (M - λ)⁻¹ y, [].

  Times the determinant of M - λ that is a polynomial with four real roots. Laguerre's iteration
  from 0 rises to the smallest and never passes it (Press et al., Numerical Recipes, 3rd ed.,
  section 9.5).

  Args:
    matrix: M, of trace 1.
    squared: [], mean squared residual at the point of the plain least squares.
    from_origin: y, 3 scalars, that point plus the origin.
    unit: [].
  """
  adjugate, determinant = s3.adjugate(matrix)
  pairs = adjugate.xx + adjugate.yy + adjugate.zz
  along = s3.dot(from_origin, s3.times(matrix, from_origin))
  across = s3.dot(from_origin, s3.times(adjugate, from_origin))
  length = s3.dot(from_origin, from_origin) + unit * unit
  a = squared * determinant
  b = -(squared * pairs + length * determinant)
  c = squared + length * pairs - across
  d = -(squared + unit * unit + along)
  e = unit * unit
  root = jnp.zeros_like(a)
  # It triples the digits: four are enough where the next root is close, rays that contradict.
  for _ in range(4):
    value = (((e * root + d) * root + c) * root + b) * root + a
    slope = ((4.0 * e * root + 3.0 * d) * root + 2.0 * c) * root + b
    bend = (12.0 * e * root + 6.0 * d) * root + 2.0 * c
    under = jnp.maximum(9.0 * slope * slope - 12.0 * value * bend, 0.0)
    fall = jnp.maximum(jnp.sqrt(under) - slope, 1e-30)
    root = root + 4.0 * jnp.maximum(value, 0.0) / fall
  return root


@_nearest_to_null.defjvp
def _nearest_to_null_jvp(primals, tangents):
  """dx = -(M - λ)⁻¹ d(slope): λ is least, so that it does not change with x."""
  x, share, inverse = _solve(*primals)
  _, change = jax.jvp(functools.partial(_slope, x), primals, tangents)
  determined = share > jnp.finfo(share.dtype).eps
  moved = tuple(jnp.where(determined, -m, 0.0) for m in _times(inverse, change))
  return (x, share), (moved, jnp.zeros_like(share))


def select_views(scores: jax.Array, *, threshold: float) -> jax.Array:
  """The reference's choice of views: scores above a threshold that sinks until two views pass it.

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
