"""A 3D point from its image in two or more views."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg
from epipolar_jax.geometry import symmetric3 as s3

# Two rays meet in one point whatever their weights are; below this ratio float32 would lose it.
_LEAST_WEIGHT = 0.01
# In camera distances; beyond it a point counts as at infinity.
_FARTHEST = 1e6


def dlt(
  points: jax.Array,
  intrinsics: jax.Array,
  rotation: jax.Array,
  translation: jax.Array,
  *,
  weight: jax.Array,
  world_norm: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Triangulates one point linearly, weighted, from any number of views.

  Image points are taken in focal lengths and the world is centred and scaled on the cameras before
  the homogeneous least squares; in raw px and mm float32 would be off by 230 mm. The error that is
  minimised is the usual algebraic one, in pixels times depth. Written for a single joint; vmap it,
  frames inside and joints outside (see `symmetric3`).

  Args:
    points: [v, 2], px.
    intrinsics: [v, 3, 3], K of those pixels; may be that of a rotated crop.
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw, mm.
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
  used = (weight > 0) & jnp.isfinite(points[:, 0]) & jnp.isfinite(points[:, 1])
  points, weight = jnp.where(used[:, None], points, 0.0), jnp.where(used, weight, 0.0)
  share = weight / jnp.maximum(jnp.max(weight), 1e-30)
  strength = jnp.where(used, jnp.square(jnp.maximum(share, _LEAST_WEIGHT)), 0.0)
  rig = centred_world(rotation, translation)
  focal = jnp.mean(linalg.safe_norm(intrinsics[:, :2, :2].reshape(-1, 4)))
  one = functools.partial(_equations, focal=focal)
  equations = each_view(one, points, intrinsics, rotation, rig.shift, strength)
  zero = jnp.zeros_like(rig.scale)
  origin = tuple(m / rig.scale for m in rig.middle) if world_norm else (zero, zero, zero)
  unit = 1.0 / rig.scale if world_norm else zero + 1.0
  x, least = _nearest_to_null(equations, origin, unit)
  # Two rays that do not cross leave a line of points: its eigenvalue is what rounding leaves.
  determined = (jnp.sum(used) >= 2) & (least > 8 * jnp.finfo(least.dtype).eps)
  valid = determined & (s3.dot(x, x) < _FARTHEST**2)
  point = jnp.stack(s3.scaled_sum(rig.middle, rig.scale, x))
  return jnp.where(valid, point, 0.0), valid


class Rig(NamedTuple):
  """A world centred and scaled on the cameras.

  Attributes:
    middle: 3 scalars, mm, mean camera centre.
    scale: [], mm, distance of the cameras from it.
    shift: [v, 3], the translations of that world.
  """

  middle: s3.Vector
  scale: jax.Array
  shift: jax.Array


def centred_world(rotation: jax.Array, translation: jax.Array) -> Rig:
  """Puts the middle of the cameras R_cw [v, 3, 3], t_cw [v, 3] at the origin, 1 from them."""
  centers = each_view(_center, rotation, translation)
  middle = tuple(jnp.mean(centers[:, i]) for i in range(3))
  offsets = centers - jnp.stack(middle)[None]
  spread = jnp.sqrt(jnp.sum(offsets * offsets) / len(offsets) + 1e-12)
  scale = jnp.where(spread > 1e-3, spread, 1.0)
  turned = each_view(lambda r, o: jnp.stack([s3.dot(r[i], o) for i in range(3)]), rotation, offsets)
  return Rig(middle, scale, -turned / scale)


def _center(rotation: jax.Array, translation: jax.Array) -> jax.Array:
  return -jnp.stack([s3.dot(rotation[:, i], translation) for i in range(3)])


class _Equations(NamedTuple):
  """u (p3·X) - p1·X = 0 and v (p3·X) - p2·X = 0 of one view, divided by the mean focal length.

  The image point comes in focal lengths from the principal point, and K's linear part is in the
  lines: entries of order 1 and no cancellation.

  Attributes:
    image: 2 scalars.
    depth: 4.
    lines: 2 times 4.
    strength: [], weight², at least 0.
  """

  image: tuple[jax.Array, ...]
  depth: tuple[jax.Array, ...]
  lines: tuple[tuple[jax.Array, ...], ...]
  strength: jax.Array


def _equations(point, intrinsics, rotation, shift, strength, *, focal) -> _Equations:
  """Of one view's point [2], cameras and strength []."""
  linear = intrinsics[:2, :2]
  own = jnp.maximum(linalg.safe_norm(linear.reshape(4)), 1e-30)
  focal = jnp.maximum(focal, 1e-30)
  x, y, z = ((*rotation[i], shift[i]) for i in range(3))
  return _Equations(
    image=tuple((point[i] - intrinsics[i, 2]) / own for i in range(2)),
    depth=tuple(d * own / focal for d in z),
    lines=tuple(
      tuple((linear[i, 0] * a + linear[i, 1] * b) / focal for a, b in zip(x, y)) for i in range(2)
    ),
    strength=strength,
  )


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
  equations: _Equations, origin: s3.Vector, unit: jax.Array
) -> tuple[s3.Vector, jax.Array]:
  """The point x with the least Σ strength (row · (x, 1))² / (|x + origin|² + unit²).

  With origin 0 and unit 1 that is the last right singular vector of the rows; else the same in a
  world that lies elsewhere and has another scale, where float32 would not hold the equations.

  Args:
    equations: of v views, [v] each.
    origin: 3 scalars.
    unit: [], above 0.

  Returns:
    x: 3 scalars; zeros when the rows leave a line of points.
    share: [], the smallest over the largest eigenvalue of the equations for x; no gradient.
  """
  x, share, _ = _solve(equations, origin, unit)
  return x, share


def _solve(equations, origin, unit) -> tuple[s3.Vector, jax.Array, s3.Eigen]:
  """The point, its share, and M - λ, the matrix to be inverted around it.

  M = AᵀA of the rows' first three columns, λ the quotient. The point solves (M - λ) (x - x₀) =
  λ (x₀ + origin), x₀ the solution of the plain least squares; λ is the smallest root of a function
  of itself (Golub and Van Loan, Matrix Computations, 4th ed., section 6.3).
  """

  def normal_equations(view):
    rows = [
      [x * d - line for d, line in zip(view.depth, lines)]
      for x, lines in zip(view.image, view.lines)
    ]
    weighted = [view.strength * row[3] for row in rows]
    right = tuple(s3.dot([row[i] for row in rows], weighted) for i in range(3))
    return s3.gram([row[:3] for row in rows], [view.strength, view.strength]), right

  matrix, right = sum_over_views(normal_equations, equations)
  values, vectors = s3.eigen(matrix)
  least, most = (functools.reduce(f, values) for f in (jnp.minimum, jnp.maximum))
  rounding = jnp.finfo(least.dtype).eps * jnp.maximum(most, 1e-30)
  share = least / jnp.maximum(most, 1e-30)
  determined = least > rounding
  values = tuple(jnp.where(determined, jnp.maximum(x, rounding), 1.0) for x in values)

  def step(x, by, gaps):
    """x - (Σ v vᵀ / gap) by."""
    for gap, vector in zip(gaps, vectors):
      x = s3.scaled_sum(x, -s3.dot(vector, by) / gap, vector)
    return x

  x = step((jnp.zeros_like(least),) * 3, right, values)
  down, squared = sum_over_views(functools.partial(_fall, x), equations)
  from_origin = s3.scaled_sum(x, 1.0, origin)
  shares = [s3.dot(vector, from_origin) for vector in vectors]
  quotient = _least_root(squared, values, shares, unit)
  gaps = tuple(jnp.maximum(value - quotient, rounding) for value in values)
  # The rows' own residuals: M has lost what is small beside its largest value, they have not.
  x = step(x, s3.scaled_sum(down, -quotient, from_origin), gaps)
  x = step(x, _slope(x, equations, origin, unit), gaps)
  x = tuple(jnp.where(determined, a, 0.0) for a in x)
  return x, share, s3.Eigen(gaps, vectors)


def _fall(x: s3.Vector, view: _Equations) -> tuple[s3.Vector, jax.Array]:
  """Aᵀ residual, 3 scalars, and |residual|² of one view, weighted."""
  depth = s3.dot(view.depth[:3], x) + view.depth[3]
  sides = [s3.dot(line[:3], x) + line[3] for line in view.lines]
  residual = [image * depth - side for image, side in zip(view.image, sides)]
  weighted = [view.strength * r for r in residual]
  along = s3.dot(view.image, weighted)
  lines = list(zip(*view.lines))
  down = tuple(view.depth[i] * along - s3.dot(lines[i], weighted) for i in range(3))
  return down, s3.dot(residual, weighted)


def _slope(x, equations, origin, unit) -> s3.Vector:
  """What is zero at the least quotient: Aᵀ residual - λ (x + origin)."""
  down, squared = sum_over_views(functools.partial(_fall, x), equations)
  from_origin = s3.scaled_sum(x, 1.0, origin)
  quotient = squared / (s3.dot(from_origin, from_origin) + unit * unit)
  return s3.scaled_sum(down, -quotient, from_origin)


def _least_root(
  least_squares: jax.Array, values: s3.Vector, shares: list[jax.Array], unit: jax.Array
) -> jax.Array:
  """The λ below all values with λ (unit² + Σ value share² / (value - λ)) = least_squares, [].

  The term of the smallest value is kept, the others taken at the last λ: a quadratic equation.
  """
  parts = [(value, value * share * share) for value, share in zip(values, shares)]
  for i, j in ((0, 1), (0, 2)):
    (a, b), (c, d) = parts[i], parts[j]
    first = a <= c
    parts[i] = jnp.where(first, a, c), jnp.where(first, b, d)
    parts[j] = jnp.where(first, c, a), jnp.where(first, d, b)
  (smallest, own), *others = parts
  root = jnp.zeros_like(smallest)
  tiny = jnp.finfo(root.dtype).eps * smallest
  for _ in range(5):
    rest = unit * unit + sum(part / jnp.maximum(value - root, tiny) for value, part in others)
    middle = rest * smallest + own + least_squares
    under = jnp.maximum(middle * middle - 4.0 * rest * least_squares * smallest, 0.0)
    root = 2.0 * least_squares * smallest / (middle + jnp.sqrt(under))
  return jnp.minimum(root, smallest)


@_nearest_to_null.defjvp
def _nearest_to_null_jvp(primals, tangents):
  """dx = -(M - λ)⁻¹ d(slope): λ is least, so that it does not change with x."""
  x, share, (gaps, vectors) = _solve(*primals)
  _, change = jax.jvp(functools.partial(_slope, x), primals, tangents)
  moved = (jnp.zeros_like(share),) * 3
  for gap, vector in zip(gaps, vectors):
    moved = s3.scaled_sum(moved, -s3.dot(vector, change) / gap, vector)
  determined = share > jnp.finfo(share.dtype).eps
  moved = tuple(jnp.where(determined, m, 0.0) for m in moved)
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
