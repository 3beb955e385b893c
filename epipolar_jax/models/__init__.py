"""Networks, built from the `model` and `parity` groups of a config."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from epipolar_jax import skeletons
from epipolar_jax.models import (
  attention,
  epipolar_pose,
  fusion,
  joint_fusion,
  placement,
  pose_resnet,
)

# What only fusion of features reads, and its default.
_FEATURE_FUSION = {
  "attention": "avg",
  "similarity": "dot",
  "softmax": True,
  "scale": 0.125,
  "pooling": False,
  "prior": "none",
  "prior_views": 0,
  "embeddings": ("z",),
  "bottleneck": 1,
  "z_residual": True,
  "other_grad": ("match", "value"),
  "compare": "features",
}
_FEATURE_PARITY = ("late_source", "legacy_normalize", "zero_means_outside", "lost_lines")

# Image pixels per heatmap pixel.
STRIDE = epipolar_pose.STRIDE

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
# (parity.legacy_normalize, parity.edge_aligned): where the original's sampler reads.
_SAMPLINGS = {
  (False, False): "exact",
  (True, False): "legacy_align",
  (False, True): "correct_noalign",
  (True, True): "exact",
}


def build(config: Any, parity: Any, *, axis_name: str | None = None) -> nn.Module:
  """Builds the network of a config's `model` and `parity` groups.

  Args:
    config: attributes backbone_depth, width, deconv_channels, skeleton, head_init_std, dtype,
      bn_momentum, share_weights and the group `fusion` (merge, and the attributes of
      `fusion.EpipolarFusion` and `attention.Options`).
    parity: attributes late_source, legacy_normalize, edge_aligned, zero_means_outside, lost_lines.
    axis_name: pmap axis over which batch statistics are shared.

  Returns:
    `EpipolarPose`, called with (images, intrinsics, rotation, translation, train=...).

  Raises:
    ValueError: unknown dtype or merge, a second network that nothing would look at, or an option of
      the fusion of features when heatmaps are fused; the modules check the rest when called.
  """
  dtype = _choose("dtype", config.dtype, _DTYPES)
  merge = config.fusion.merge
  place = _choose("fusion.merge", merge, placement.PLACEMENTS)
  if not config.share_weights and not place.matches:
    raise ValueError(
      "model.share_weights False is for fused features: model.fusion.merge must be early, late or "
      f"both, not {merge!r}"
    )
  if place.heatmaps:
    _refuse_feature_options(config.fusion, parity)
  momentum, num_joints = bn_momentum(config), skeletons.of_model(config).num_joints

  def backbone() -> pose_resnet.PoseResNet:
    return pose_resnet.PoseResNet(
      num_joints=num_joints,
      depth=config.backbone_depth,
      width=config.width,
      deconv_channels=config.deconv_channels,
      head_init_std=config.head_init_std,
      dtype=dtype,
      bn_momentum=momentum,
      axis_name=axis_name,
    )

  def layer() -> fusion.EpipolarFusion:
    return _fusion(config.fusion, parity, dtype, momentum, axis_name)

  joint_layer = joint_fusion.JointFusion(
    num_joints=num_joints, num_samples=config.fusion.num_samples
  )
  return epipolar_pose.EpipolarPose(
    backbone=backbone(),
    early_fusion=layer() if place.early else None,
    late_fusion=layer() if place.late else None,
    heatmap_fusion=joint_layer if place.heatmaps else None,
    source_backbone=None if config.share_weights else backbone(),
    late_source=parity.late_source,
    lines="original" if parity.lost_lines else "exact",
  )


def _refuse_feature_options(group: Any, parity: Any) -> None:
  """Raises ValueError for an option that fusion of heatmaps would ignore."""
  given = {f"model.fusion.{name}": (group[name], x) for name, x in _FEATURE_FUSION.items()}
  given |= {f"parity.{name}": (parity[name], False) for name in _FEATURE_PARITY}
  for field, (value, default) in given.items():
    if value != default:
      raise ValueError(
        f"{field} is {value!r}, but model.fusion.merge 'heatmaps' compares no features and would "
        f"ignore it: leave it at {default!r}, or choose merge late, early or both"
      )


def _fusion(
  group: Any, parity: Any, dtype: Any, momentum: float, axis_name: str | None
) -> fusion.EpipolarFusion:
  options = attention.Options(
    attention=group.attention,
    similarity=group.similarity,
    softmax=group.softmax,
    scale=group.scale,
    pooling=group.pooling,
    prior=group.prior,
    zero_means_outside=parity.zero_means_outside,
  )
  return fusion.EpipolarFusion(
    num_samples=group.num_samples,
    options=options,
    prior_views=group.prior_views,
    embeddings=tuple(group.embeddings),
    bottleneck=group.bottleneck,
    z_residual=group.z_residual,
    other_grad=tuple(group.other_grad),
    compare=group.compare,
    sampling=sampling(parity),
    algorithm=group.algorithm,
    dtype=dtype,
    bn_momentum=momentum,
    axis_name=axis_name,
  )


def bn_momentum(config: Any) -> float:
  """Weight of the batch in the running statistics that a network of a `model` group returns.

  Below 0 the statistics are averages over all steps, which only the training step can count: the
  network returns those of its batch alone.
  """
  return config.bn_momentum if config.bn_momentum >= 0 else 1.0


def sampling(parity: Any) -> str:
  """Where the fusion reads (`fusion.misplace`), from two switches of the `parity` group."""
  return _SAMPLINGS[parity.legacy_normalize, parity.edge_aligned]


def _choose(field: str, value: str, allowed: dict[str, Any]) -> Any:
  if value not in allowed:
    raise ValueError(f"model.{field} {value!r} is not one of {sorted(allowed)}")
  return allowed[value]
