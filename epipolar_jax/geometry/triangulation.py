"""A 3D point from its image in two or more views."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import cameras, linalg

# Two rays meet in one point whatever their weights are; below this ratio float32 would lose it.
_LEAST_WEIGHT = 0.01


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

  Image points go through K⁻¹ and the world is centred and scaled on the cameras before the
  homogeneous least squares; in raw px and mm float32 would be off by 230 mm. The error that is
  minimised is the usual algebraic one, in pixels times depth. Written for a single joint; vmap it.

  Args:
    points: [v, 2], px.
    intrinsics: [v, 3, 3], K of those pixels; may be that of a rotated crop.
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw, mm.
    weight: [v], at least 0; a view with weight 0 has no say. Only ratios matter, and a positive
      weight counts for at least 1 % of the largest.
    world_norm: True keeps the length of the homogeneous vector 1 in the world's mm, False in the
      centred world. The reference's DLT is the former; on noisy points it lies a little nearer to
      the world's origin, wherever that happens to be.

  Returns:
    point: [3], world, mm; zeros when not valid.
    valid: [], False with fewer than two positive weights, with rays that do not meet (parallel,
      one and the same) or when the point is at infinity. Whether it lies in front of the cameras
      is not checked.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., sections 4.4 and 12.2.
  """
  used = (weight > 0) & jnp.all(jnp.isfinite(points), axis=1)
  points = jnp.where(used[:, None], points, 0.0)
  weight = jnp.where(used, weight, 0.0)
  weight = linalg.safe_divide(weight, jnp.max(weight), tiny=1e-30)
  weight = jnp.where(used, jnp.maximum(weight, _LEAST_WEIGHT), 0.0)
  middle, scale, shift = centred_world(rotation, translation)
  rows = _rows(points, intrinsics, rotation, shift, weight)
  values, solution = linalg.null_vector(rows)
  # Two zero singular values: a whole line of points fits. Zero is what rounding leaves.
  rounding = 16.0 * jnp.finfo(values.dtype).eps * values[3]
  determined = (jnp.sum(used) >= 2) & (values[1] > rounding)
  if world_norm:
    rows = jnp.where(determined, rows, jnp.eye(*rows.shape, dtype=rows.dtype))
    solution = _renormalize(solution, rows, middle, scale)
  finite = jnp.abs(solution[3]) > 1e-6
  valid = determined & finite
  point = solution[:3] / jnp.where(finite, solution[3], 1.0)
  return jnp.where(valid, middle + scale * point, 0.0), valid


def centred_world(
  rotation: jax.Array, translation: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Mean camera centre [3], distance scale [] and the translations [v, 3] in that world."""
  centers = jax.vmap(cameras.center)(rotation, translation)
  middle = jnp.mean(centers, axis=0)
  offsets = centers - middle[None]
  spread = jnp.sqrt(jnp.mean(jnp.sum(offsets * offsets, axis=1)) + 1e-12)
  scale = jnp.where(spread > 1e-3, spread, 1.0)
  return middle, scale, -linalg.einsum("vij,vj->vi", rotation, offsets) / scale


def _rows(
  points: jax.Array,
  intrinsics: jax.Array,
  rotation: jax.Array,
  shift: jax.Array,
  weight: jax.Array,
) -> jax.Array:
  """The equations u (p3·X) - (p1·X) = 0, v (p3·X) - (p2·X) = 0 of every view, [2 v, 4].

  Written with normalised image points and multiplied by K's linear part, which is the same without
  the cancellation; divided by the mean focal length, so that entries are of order 1.
  """
  xy = jax.vmap(cameras.to_normalized)(points, intrinsics)
  extrinsics = jnp.concatenate([rotation, shift[:, :, None]], axis=2)
  rows = xy[:, :, None] * extrinsics[:, 2:3, :] - extrinsics[:, :2, :]
  linear = intrinsics[:, :2, :2]
  focal = jnp.mean(linalg.safe_norm(linear.reshape(-1, 4)))
  gain = linalg.safe_divide(linear, focal) * weight[:, None, None]
  return linalg.einsum("vij,vjk->vik", gain, rows).reshape(-1, 4)


def _renormalize(
  solution: jax.Array, rows: jax.Array, middle: jax.Array, scale: jax.Array
) -> jax.Array:
  """From the least |rows y| at |y| = 1 to that at |T y| = 1, T back to the world's mm; [4].

  A generalised eigenproblem, solved in the centred world by inverse iteration: in the world's own
  coordinates float32 would not hold the equations. Squaring makes it 2⁸ iterations, enough for two
  views that hardly meet.
  """
  columns = [jnp.eye(4, 3, dtype=rows.dtype) * scale, jnp.append(middle, 1.0)[:, None]]
  to_world = jnp.concatenate(columns, axis=1) / scale
  residual = linalg.matmul(rows, solution)
  least = jnp.sum(residual * residual)
  own = solution[:, None] * solution[None, :]
  # least · (rowsᵀ rows)⁻¹, by lifting the solution's own eigenvalue first: fine for least = 0 too.
  normal_matrix = linalg.matmul(rows.T, rows)
  lift = jnp.trace(normal_matrix)
  others = jnp.linalg.inv(normal_matrix + lift * own) - own / (least + lift)
  step = linalg.matmul(own + least * others, linalg.matmul(to_world.T, to_world))
  power = step
  for _ in range(8):
    power = power / jnp.sqrt(jnp.sum(power * power))
    power = linalg.matmul(power, power)
  solution = linalg.matmul(step, linalg.matmul(power, solution))
  return linalg.safe_divide(solution, linalg.safe_norm(solution), tiny=1e-30)


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
  passed = scores[None, :] > lowered[:, None]
  enough = jnp.sum(passed, axis=1) >= 2
  step = jnp.where(jnp.any(enough), jnp.argmax(enough), num_steps - 1)
  return passed[step]
