"""A network of two layers in place of PoseResNet, for tests of what is around it."""

import flax.linen as nn
import jax.numpy as jnp

from epipolar_jax.models import layers


class SmallNetwork(nn.Module):
  """Stands in for PoseResNet: compiles in no time, has parameters and batch statistics."""

  num_joints: int
  depth: int
  width: float
  deconv_channels: int
  head_init_std: float
  dtype: object
  bn_momentum: float
  axis_name: str | None

  def setup(self):
    self.first = layers.Conv(8, 3)
    self.bn = layers.BatchNorm(self.bn_momentum, axis_name=self.axis_name)
    self.head = layers.Conv(self.num_joints, 1, use_bias=True)

  def early(self, images, *, train):
    return self.bn(self.first(nn.avg_pool(images, (4, 4), (4, 4))), train=train)

  def late(self, early, *, train):
    return jnp.tanh(early)

  def heatmaps(self, features):
    return self.head(features)
