"""What the multi-view network is trained for: heatmaps, and lines that agree with each other."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import heatmaps, losses, models
from epipolar_jax.models import fusion
from epipolar_jax.tasks import task
from epipolar_jax.tasks.multiview import reconstruction


def heatmap_loss(config: ml_collections.ConfigDict) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """From maps [b v j h w], joints uv [b v j 2] px, seen [b v j] and known to (sum, weight).

  `known` is [b v j], or [b j] where all views have the same joints; both may be weights, 0..1.

  Their quotient is the original's loss of the same name: `joint` counts unseen joints as zeros,
  `smooth_mse` averages over the seen ones, `mse` compares the maps of all known joints.
  """
  names = {
    "joint": (losses.mse, True, False),
    "smooth_mse": (losses.smooth_mse, True, True),
    "mse": (losses.mse, False, False),
    "cross_entropy": (losses.heatmap_cross_entropy, True, True),
  }
  compare, only_seen, per_seen = task.choose(names, config.train.loss, "train.loss")
  floor = config.parity.target_floor
  if floor and config.train.loss == "cross_entropy":
    raise ValueError("parity.target_floor is for squared losses: a distribution has no floor")

  def one_joint(heatmap: jax.Array, uv: jax.Array) -> jax.Array:
    target = heatmaps.gaussian_target(
      uv, size_hw=heatmap.shape, stride=models.STRIDE, sigma=config.heatmap.sigma, floor=floor
    )
    return compare(heatmap.astype(jnp.float32), target)

  def loss(maps: jax.Array, uv: jax.Array, seen: jax.Array, known: jax.Array):
    values = reconstruction.map_joints(one_joint)(maps, uv)
    known = known[:, None] if known.ndim < seen.ndim else known
    every = jnp.broadcast_to(known, seen.shape).astype(jnp.float32)
    seen = seen.astype(jnp.float32)
    weight = jnp.sum(seen if per_seen else every)
    factor = values.shape[-1] if config.train.loss_per_joint else 1
    return factor * jnp.sum(values * (seen if only_seen else every)), weight

  return loss


def consistency_loss(
  config: ml_collections.ConfigDict,
) -> Callable[..., tuple[jax.Array, jax.Array]] | None:
  """From the network's outputs and valid [b] to (sum, count) of the weighted consistency losses.

  None when both weights are 0.
  """
  train = config.train
  if not (train.reprojection_weight or train.similarity_weight):
    return None
  if not fusion.of_model(config.model).matches:
    raise ValueError(
      "train.reprojection_weight and train.similarity_weight look at fused features: "
      f"model.fusion.merge must be early, late or both, not {config.model.fusion.merge!r}"
    )

  def loss(outputs: dict[str, jax.Array], valid: jax.Array):
    size_hw = outputs["heatmaps"].shape[2:4]
    distance = functools.partial(losses.reprojection, size_hw=size_hw)
    values = train.reprojection_weight * reconstruction.map_joints(distance)(outputs["returned"])
    values += train.similarity_weight * (1.0 - outputs["similarity"])
    mask = outputs["valid"] & valid[:, None, None, None]
    return jnp.sum(jnp.where(mask, values, 0.0)), jnp.sum(mask.astype(jnp.float32))

  return loss
