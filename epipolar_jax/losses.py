"""Losses of one joint's heatmap, unreduced: means over joints and devices are the caller's."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg


def heatmap_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
  """Cross-entropy between the softmax over all pixels and a target that is scaled to sum to one.

  Args:
    logits: [h, w].
    target: [h, w], at least 0 (`heatmaps.gaussian_target` without floor).

  Returns:
    [], in nats; 0, with zero gradient, when the target is empty (joint outside the map).
  """
  total = jnp.sum(target)
  share = linalg.safe_divide(target, total, tiny=1e-6)
  log_probability = jax.nn.log_softmax(logits.reshape(-1))
  return -jnp.sum(share.reshape(-1) * log_probability)


def mse(prediction: jax.Array, target: jax.Array, weight: jax.Array | None = None) -> jax.Array:
  """Mean over pixels of the squared difference of weighted maps, the original's `joint` loss.

  The original averages this over the batch, adds the joints up, and divides by their number when
  LOSS_PER_JOINT is False; its `mse` loss is the mean of it over everything.

  Args:
    prediction, target: [h, w].
    weight: [], multiplies both maps, so it counts squared; or [h, w], a mask. None is 1.

  Returns:
    [].
  """
  difference = prediction - target
  return jnp.mean(jnp.square(difference if weight is None else difference * weight))


def reprojection(returned: jax.Array, *, size_hw: tuple[int, int]) -> jax.Array:
  """Cycle-consistency error: from every pixel to its match's match, squared, in half map sizes.

  Args:
    returned: [p, 2], (u, v) in feature pixels, p = h·w in row order (`fusion.Consistency`).
    size_hw: (height, width) of the map.

  Returns:
    [p], means over the two axes. The original has the two positions, but no loss that uses them.
  """
  h, w = size_hw
  v, u = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
  pixels = jnp.stack([u, v], axis=-1).reshape(h * w, 2).astype(returned.dtype)
  half = jnp.array([[(w - 1) / 2, (h - 1) / 2]], returned.dtype)
  return jnp.mean(jnp.square((returned - pixels) / half), axis=-1)


def smooth_mse(
  prediction: jax.Array,
  target: jax.Array,
  weight: jax.Array | None = None,
  *,
  threshold: float = 400.0,
) -> jax.Array:
  """Squared difference that grows only as its 0.1th power above a threshold; mean over pixels.

  The original adds up the joints and divides by max(1, Σ weights).

  Args:
    prediction, target: [h, w].
    weight: [], multiplies the squared difference before it meets the threshold. None is 1.
    threshold: of the weighted squared difference.

  Returns:
    [].

  References:
    Iskakov et al., Learnable Triangulation of Human Pose, ICCV 2019, section 3.1.
  """
  squared = jnp.square(prediction - target)
  if weight is not None:
    squared = squared * weight
  large = squared > threshold
  # The power's slope is infinite at zero, where it is not used: keep it away from there.
  tail = jnp.where(large, squared, threshold) ** 0.1 * threshold**0.9
  return jnp.mean(jnp.where(large, tail, squared))
