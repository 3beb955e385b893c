"""Networks. `build` is the only function here that reads a config."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from epipolar_jax.models import attention, epipolar_pose, fusion, joint_fusion, pose_resnet

# Image pixels per heatmap pixel.
STRIDE = epipolar_pose.STRIDE

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
_MERGES = ("none", "late", "early", "both", "heatmaps")


def build(config: Any, *, axis_name: str | None = None) -> nn.Module:
  """Builds the network of a config's `model` group.

  Args:
    config: attributes backbone_depth, width, deconv_channels, num_joints, head_init_std, dtype,
      bn_momentum and the group `fusion` (merge, and the attributes of `fusion.EpipolarFusion` and
      `attention.Options`).
    axis_name: pmap axis over which batch statistics are shared.

  Returns:
    `EpipolarPose`, called with (images, intrinsics, rotation, translation, train=...).

  Raises:
    ValueError: unknown dtype or merge; the modules check the rest when called.
  """
  dtype = _choose("dtype", config.dtype, _DTYPES)
  merge = _choose("fusion.merge", config.fusion.merge, {name: name for name in _MERGES})
  backbone = pose_resnet.PoseResNet(
    num_joints=config.num_joints,
    depth=config.backbone_depth,
    width=config.width,
    deconv_channels=config.deconv_channels,
    head_init_std=config.head_init_std,
    dtype=dtype,
    bn_momentum=config.bn_momentum,
    axis_name=axis_name,
  )

  def layer() -> fusion.EpipolarFusion:
    return _fusion(config, dtype, axis_name)

  joint_layer = joint_fusion.JointFusion(
    num_joints=config.num_joints, num_samples=config.fusion.num_samples
  )
  return epipolar_pose.EpipolarPose(
    backbone=backbone,
    early_fusion=layer() if merge in ("early", "both") else None,
    late_fusion=layer() if merge in ("late", "both") else None,
    heatmap_fusion=joint_layer if merge == "heatmaps" else None,
    early_source=config.fusion.early_source,
    sources=config.fusion.sources,
  )


def _fusion(config: Any, dtype: Any, axis_name: str | None) -> fusion.EpipolarFusion:
  group = config.fusion
  options = attention.Options(
    attention=group.attention,
    similarity=group.similarity,
    softmax=group.softmax,
    scale=group.scale,
    pooling=group.pooling,
    prior=group.prior,
    zero_means_outside=group.zero_means_outside,
  )
  return fusion.EpipolarFusion(
    num_samples=group.num_samples,
    options=options,
    prior_views=group.prior_views,
    embeddings=tuple(group.embeddings),
    bottleneck=group.bottleneck,
    z_residual=group.z_residual,
    other_grad=tuple(group.other_grad),
    sampling=group.sampling,
    algorithm=group.algorithm,
    dtype=dtype,
    bn_momentum=config.bn_momentum,
    axis_name=axis_name,
  )


def _choose(field: str, value: str, allowed: dict[str, Any]) -> Any:
  if value not in allowed:
    raise ValueError(f"model.{field} {value!r} is not one of {sorted(allowed)}")
  return allowed[value]
