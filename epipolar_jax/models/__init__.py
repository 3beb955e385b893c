"""Networks, built from the `model` and `parity` groups of a config."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from epipolar_jax import skeletons
from epipolar_jax.models import epipolar_pose, fusion, movenet_weights, pose_movenet, pose_resnet

# Image pixels per heatmap pixel.
STRIDE = epipolar_pose.STRIDE

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(config: Any, parity: Any, *, axis_name: str | None = None) -> nn.Module:
  """Builds the network of a config's `model` and `parity` groups.

  Args:
    config: attributes backbone, backbone_depth, width, deconv_channels, skeleton, head_init_std,
      dtype, bn_momentum, share_weights and the group `fusion` (merge, and the attributes of
      `fusion.features.EpipolarFusion` and `attention.Options`).
    parity: attributes late_source, legacy_normalize, edge_aligned, zero_means_outside, lost_lines.
    axis_name: pmap axis over which batch statistics are shared.

  Returns:
    `EpipolarPose`, called with (images, intrinsics, rotation, translation, train=...).

  Raises:
    ValueError: unknown dtype, backbone or merge, a second network that nothing would look at, or
      an option of the fusion of features when heatmaps are fused; the modules check the rest when
      called.
  """
  dtype = _choose("dtype", config.dtype, _DTYPES)
  kinds = fusion.of_model(config)
  if not config.share_weights and not kinds.matches:
    raise ValueError(
      "model.share_weights False is for fused features: model.fusion.merge must be early, late or "
      f"both, not {config.fusion.merge!r}"
    )
  common = {
    "num_joints": skeletons.of_model(config).num_joints,
    "dtype": dtype,
    "bn_momentum": bn_momentum(config),
    "axis_name": axis_name,
  }

  name = config.get("backbone", "resnet")  # which configs of old do not have
  if name != "resnet" and kinds.early is not None:
    raise ValueError(
      f"model.fusion.merge {config.fusion.merge!r}: views meet after the first stage of a ResNet, "
      f"which model.backbone {name!r} is not: late or heatmaps"
    )

  def backbone() -> nn.Module:
    if name != "resnet":
      variant = _choose("backbone", name, pose_movenet.VARIANTS | {"resnet": "resnet"})
      return pose_movenet.PoseMoveNet(
        num_joints=common["num_joints"],
        width=movenet_weights.VARIANTS[variant].width,
        head_init_std=config.head_init_std,
        dtype=dtype,
      )
    return pose_resnet.PoseResNet(
      depth=config.backbone_depth,
      width=config.width,
      deconv_channels=config.deconv_channels,
      head_init_std=config.head_init_std,
      **common,
    )

  layers = fusion.build(config, parity, **common)
  return epipolar_pose.EpipolarPose(
    backbone=backbone(),
    early_fusion=layers.early,
    late_fusion=layers.late,
    heatmap_fusion=layers.heatmaps,
    source_backbone=None if config.share_weights else backbone(),
    late_source=parity.late_source,
    lines="original" if parity.lost_lines else "exact",
  )


def bn_momentum(config: Any) -> float:
  """Weight of the batch in the running statistics that a network of a `model` group returns.

  Below 0 the statistics are averages over all steps, which only the training step can count: the
  network returns those of its batch alone.
  """
  return config.bn_momentum if config.bn_momentum >= 0 else 1.0


def _choose(field: str, value: str, allowed: dict[str, Any]) -> Any:
  if value not in allowed:
    raise ValueError(f"model.{field} {value!r} is not one of {sorted(allowed)}")
  return allowed[value]
