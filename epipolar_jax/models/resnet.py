"""ResNet-18/34/50/101/152 trunk, torchvision style (stride on the 3×3 of the bottleneck)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.models import convolutions, layers

_BLOCKS = {
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}


def scaled_channels(channels: int, width: float) -> int:
  """Channel count of a layer at a width multiplier: a multiple of 8, at least 8."""
  return max(8, round(channels * width / 8) * 8)


class BasicBlock(nn.Module):
  """Two 3×3 convolutions and a shortcut (ResNet-18 and 34).

  Attributes:
    features: channels inside and out.
    stride: of the first convolution.
    norm: keyword arguments of every `layers.BatchNorm`, dtype among them.
  """

  features: int
  stride: int
  norm: dict[str, Any]

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Maps x: [n, h, w, c] to [n, h / stride, w / stride, features]."""
    dtype = self.norm["dtype"]
    y = layers.Conv(self.features, 3, self.stride, dtype=dtype, name="conv1")(x)
    y = nn.relu(layers.BatchNorm(**self.norm, name="bn1")(y, train=train))
    y = layers.Conv(self.features, 3, dtype=dtype, name="conv2")(y)
    y = layers.BatchNorm(**self.norm, name="bn2")(y, train=train)
    return _rectified_sum(y, _shortcut(self, x, self.features, train=train))


class Bottleneck(nn.Module):
  """1×1, 3×3, 1×1 convolutions with a fourfold expansion and a shortcut (ResNet-50 and up).

  Attributes:
    features: inner channels; the output has four times as many.
    stride: of the 3×3 convolution.
    norm: keyword arguments of every `layers.BatchNorm`, dtype among them.
  """

  features: int
  stride: int
  norm: dict[str, Any]

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Maps x: [n, h, w, c] to [n, h / stride, w / stride, 4 features]."""
    dtype = self.norm["dtype"]
    y = layers.Conv(self.features, 1, dtype=dtype, name="conv1")(x)
    y = nn.relu(layers.BatchNorm(**self.norm, name="bn1")(y, train=train))
    y = layers.Conv(self.features, 3, self.stride, dtype=dtype, name="conv2")(y)
    y = nn.relu(layers.BatchNorm(**self.norm, name="bn2")(y, train=train))
    y = layers.Conv(4 * self.features, 1, dtype=dtype, name="conv3")(y)
    y = layers.BatchNorm(**self.norm, name="bn3")(y, train=train)
    return _rectified_sum(y, _shortcut(self, x, 4 * self.features, train=train))


def _rectified_sum(a: jax.Array, b: jax.Array) -> jax.Array:
  """relu(a + b), as a selection.

  As a maximum XLA for CPUs takes it, and with it the whole chain of sums back to the first block of
  a stage, into everything that uses it, and works it out there again; a selection is stored.
  """
  total = a + b
  return jnp.where(total <= 0, jnp.zeros_like(total), total)


def _shortcut(
  block: BasicBlock | Bottleneck, x: jax.Array, features: int, *, train: bool
) -> jax.Array:
  """Identity, or a projection where the block changes the shape."""
  if block.stride == 1 and x.shape[-1] == features:
    return x
  dtype = block.norm["dtype"]
  y = layers.Conv(features, 1, block.stride, dtype=dtype, name="downsample_conv")(x)
  return layers.BatchNorm(**block.norm, name="downsample_bn")(y, train=train)


class ResNet(nn.Module):
  """Trunk without average pooling and classifier.

  Attributes:
    depth: 18, 34, 50, 101 or 152.
    width: multiplier of every channel count (`scaled_channels`).
    dtype: of the computation; parameters and statistics are float32.
    bn_momentum: torch's sense, 0.1.
    axis_name: pmap axis of synchronised batch normalisation.

  Raises:
    ValueError: unknown depth.

  References:
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016; torchvision's resnet.
  """

  depth: int = 50
  width: float = 1.0
  dtype: Any = jnp.float32
  bn_momentum: float = 0.1
  axis_name: str | None = None

  def setup(self):
    if self.depth not in _BLOCKS:
      raise ValueError(f"ResNet depth {self.depth} is not one of {sorted(_BLOCKS)}")
    norm = {"momentum": self.bn_momentum, "axis_name": self.axis_name, "dtype": self.dtype}
    block = BasicBlock if self.depth < 50 else Bottleneck
    self.conv1 = layers.Conv(scaled_channels(64, self.width), 7, 2, dtype=self.dtype)
    self.bn1 = layers.BatchNorm(**norm)
    stages = []
    for stage, count in enumerate(_BLOCKS[self.depth]):
      features = scaled_channels(64 * 2**stage, self.width)
      stages.append(
        [block(features, 2 if stage > 0 and index == 0 else 1, norm) for index in range(count)]
      )
    self.layer1, self.layer2, self.layer3, self.layer4 = stages

  def early(self, images: jax.Array, *, train: bool) -> jax.Array:
    """Stem and first stage: [n, h, w, 3] to [n, h/4, w/4, c1]."""
    x = self.bn1(self.conv1(images), train=train)
    x = nn.relu(convolutions.max_pool_3x3(x))
    for block in self.layer1:
      x = block(x, train=train)
    return x

  def late(self, x: jax.Array, *, train: bool) -> jax.Array:
    """The other three stages: [n, h/4, w/4, c1] to [n, h/32, w/32, c4]."""
    for block in [*self.layer2, *self.layer3, *self.layer4]:
      x = block(x, train=train)
    return x

  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    """Maps images: [n, h, w, 3] to [n, h/32, w/32, c4]; c4 is 512 or 2048 at width 1."""
    return self.late(self.early(images, train=train), train=train)
