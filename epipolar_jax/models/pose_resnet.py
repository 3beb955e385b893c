"""PoseResNet: a ResNet trunk, three transposed convolutions and a 1×1 head of heatmaps."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.models import layers, resnet


class PoseResNet(nn.Module):
  """Heatmaps of one view at a quarter of the image's resolution.

  Attributes:
    num_joints: j, heatmaps of the head.
    depth: of the ResNet trunk.
    width: multiplier of the trunk's channels.
    deconv_channels: channels of the three transposed convolutions, and of the feature map.
    head_init_std: standard deviation of the initial deconvolution and head kernels. The original's
      0.001 suits a pretrained trunk and a squared loss.
    dtype: of the computation; parameters, statistics and heatmaps are float32.
    bn_momentum: torch's sense, 0.1.
    axis_name: pmap axis of synchronised batch normalisation.

  References:
    Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018.
  """

  num_joints: int
  depth: int = 50
  width: float = 1.0
  deconv_channels: int = 256
  head_init_std: float = 0.001
  dtype: Any = jnp.float32
  bn_momentum: float = 0.1
  axis_name: str | None = None

  def setup(self):
    norm = {"momentum": self.bn_momentum, "axis_name": self.axis_name}
    self.trunk = resnet.ResNet(self.depth, self.width, self.dtype, self.bn_momentum, self.axis_name)
    init = nn.initializers.normal(self.head_init_std)
    c = self.deconv_channels
    self.deconv1 = layers.ConvTranspose(c, self.dtype, init)
    self.deconv2 = layers.ConvTranspose(c, self.dtype, init)
    self.deconv3 = layers.ConvTranspose(c, self.dtype, init)
    self.deconv_bn1 = layers.BatchNorm(**norm, dtype=self.dtype)
    self.deconv_bn2 = layers.BatchNorm(**norm, dtype=self.dtype)
    self.deconv_bn3 = layers.BatchNorm(**norm, dtype=self.dtype)
    self.head = layers.Conv(self.num_joints, 1, use_bias=True, kernel_init=init)

  def early(self, images: jax.Array, *, train: bool) -> jax.Array:
    """Features after the first stage: [n, h, w, 3] to [n, h/4, w/4, c1]."""
    return self.trunk.early(images, train=train)

  def late(self, early: jax.Array, *, train: bool) -> jax.Array:
    """Features before the head, from those after the first stage: [n, h/4, w/4, c]."""
    return self.upsample(self.trunk.late(early, train=train), train=train)

  def upsample(self, deep: jax.Array, *, train: bool) -> jax.Array:
    """Features before the head, from the trunk's last: [n, h/32, w/32, c4] to [n, h/4, w/4, c]."""
    x = nn.relu(self.deconv_bn1(self.deconv1(deep), train=train))
    x = nn.relu(self.deconv_bn2(self.deconv2(x), train=train))
    return nn.relu(self.deconv_bn3(self.deconv3(x), train=train))

  def heatmaps(self, features: jax.Array) -> jax.Array:
    """Head: features [n, h/4, w/4, c] to float32 heatmaps [n, h/4, w/4, j]."""
    return self.head(features.astype(jnp.float32))

  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    """Maps normalised images: [n, h, w, 3] to float32 heatmaps [n, h/4, w/4, j]."""
    return self.heatmaps(self.late(self.early(images, train=train), train=train))
