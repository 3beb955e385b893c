"""Metrics of one pose as (sum, count), so that padding and invalid joints cannot bias a mean.

Add both up over frames and devices, divide once. `valid` is bool, True = counts. Distances keep
the unit of what goes in: mm in 3D, px in 2D. Keywords reproduce the original's protocol where it
differs; the defaults are right.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg, rigid

SumCount = tuple[jax.Array, jax.Array]


def position_errors(
  prediction: jax.Array, target: jax.Array, *, clamp: float | None = None
) -> jax.Array:
  """Euclidean distance of every joint.

  Args:
    prediction, target: [j, d].
    clamp: largest distance that is returned; the original clamps at 150 mm and counts every
      joint, invisible ones too. None: as it is.

  Returns:
    [j]; infinite where a coordinate is not a number, unless clamped.
  """
  known = jnp.all(jnp.isfinite(prediction) & jnp.isfinite(target), axis=-1)
  errors = jnp.where(known, linalg.safe_norm(prediction - target), jnp.inf)
  return errors if clamp is None else jnp.minimum(errors, clamp)


def masked_each(values: jax.Array, valid: jax.Array) -> SumCount:
  """[j] values, zero where not valid (they may be NaN), and [j] ones where they count.

  Added up over frames and divided they are the means of the joints, added up over joints as well
  the mean of all.
  """
  return jnp.where(valid, values, 0.0), valid.astype(values.dtype)


def align_root(
  prediction: jax.Array, target: jax.Array, valid: jax.Array, *, root: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Both poses with their roots at the origin.

  Args:
    prediction, target: [j, 3], mm.
    valid: [j].
    root: index of the root.

  Returns:
    prediction, target: [j, 3]; finite also when what came in is not.
    valid: [j]; nothing is valid when the root is not.
  """
  valid = valid & jnp.broadcast_to(valid[root], valid.shape)
  prediction = jnp.where(valid[:, None], prediction, 0.0)
  target = jnp.where(valid[:, None], target, 0.0)
  prediction = jnp.where(valid[:, None], prediction - prediction[root : root + 1], 0.0)
  target = jnp.where(valid[:, None], target - target[root : root + 1], 0.0)
  return prediction, target, valid


def align_scale(
  prediction: jax.Array, target: jax.Array, valid: jax.Array, *, root: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """As `align_root`, with the prediction's size fitted.

  The factor is the one with the least squared error over the valid joints, at least 0: a mirrored
  pose is not turned inside out.

  References:
    Rhodin et al., Learning Monocular 3D Human Pose Estimation from Multi-view Images, CVPR 2018.
  """
  prediction, target, valid = align_root(prediction, target, valid, root=root)
  scale = linalg.safe_divide(jnp.sum(prediction * target), jnp.sum(prediction * prediction))
  return jnp.maximum(scale, 0.0) * prediction, target, valid


def align_similarity(
  prediction: jax.Array, target: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The prediction after the best rotation, translation and scale of its valid joints.

  Args:
    prediction, target: [j, 3], mm.
    valid: [j].
  """
  prediction = jnp.where(valid[:, None], prediction, 0.0)
  target = jnp.where(valid[:, None], target, 0.0)
  weight = valid.astype(prediction.dtype)
  rotation, translation, scale = rigid.procrustes(
    prediction, target, with_scale=True, weight=weight
  )
  aligned = scale * linalg.einsum("ij,nj->ni", rotation, prediction) + translation[None]
  return aligned, target, valid


def pck(
  prediction: jax.Array,
  target: jax.Array,
  valid: jax.Array,
  *,
  thresholds: tuple[float, ...],
  x_only: bool = False,
) -> SumCount:
  """Joints closer than each threshold; 2D or 3D.

  Args:
    prediction, target: [j, d].
    valid: [j].
    thresholds: k distances, in the unit of the points.
    x_only: reproduces the original, whose distance is that of the first coordinate.

  Returns:
    sum: [k], joints within (at most at) each threshold.
    count: [], valid joints.
  """
  if x_only:
    prediction, target = prediction[:, :1], target[:, :1]
  errors = position_errors(prediction, target)
  near = errors[None, :] <= jnp.asarray(thresholds, errors.dtype)[:, None]
  near = near & jnp.broadcast_to(valid[None, :], near.shape)
  return jnp.sum(near, axis=1).astype(errors.dtype), jnp.sum(valid).astype(errors.dtype)


def pck_auc(
  prediction: jax.Array,
  target: jax.Array,
  valid: jax.Array,
  *,
  max_distance: float = 150.0,
  num_thresholds: int = 31,
) -> SumCount:
  """Area under the PCK curve: Σ over joints of the share of thresholds passed, and their number.

  The default is the custom for 3D: thresholds 0, 5, ..., 150 mm.
  """
  step = max_distance / (num_thresholds - 1)
  thresholds = tuple(i * step for i in range(num_thresholds))
  near, count = pck(prediction, target, valid, thresholds=thresholds)
  return jnp.mean(near), count


def jdr(
  prediction: jax.Array, target: jax.Array, valid: jax.Array, *, size_wh: tuple[int, int]
) -> SumCount:
  """Joint detection rate: the maxima of two heatmaps lie within half a tenth of the map's size.

  Per joint, because the original averages over frames first and over joints after.

  Args:
    prediction, target: [j, 2], places of the maxima, whole map px.
    valid: [j]; targets in the first two columns or rows do not count either.
    size_wh: (width, height) of the map; the original exchanges them, which only matters for maps
      that are not square.

  Returns:
    sum: [j], 1 where the joint is detected.
    count: [j], 1 where the joint counts.
  """
  unit = jnp.array(size_wh, prediction.dtype)[None] / 10.0
  distance = linalg.safe_norm((prediction - target) / jnp.broadcast_to(unit, prediction.shape))
  counts = valid & (target[:, 0] > 1) & (target[:, 1] > 1)
  return ((distance < 0.5) & counts).astype(distance.dtype), counts.astype(distance.dtype)
