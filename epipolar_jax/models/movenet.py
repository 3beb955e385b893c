"""MoveNet: MobileNetV2 with a feature pyramid and CenterNet's four heads, 17 COCO keypoints.

Batch normalisation is folded into kernels and biases, as the published weights have it, so a
forward pass is the same in training and in use; fine-tuning trains kernels and biases.

References:
  Google, "Next-Generation Pose Detection with MoveNet and TensorFlow.js", 2021; Sandler et al.,
  MobileNetV2, CVPR 2018; Zhou et al., Objects as Points, 2019 (the heads).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax import skeletons
from epipolar_jax.models import convolutions

JOINTS = skeletons.COCO_17.joints
NUM_JOINTS = len(JOINTS)
STRIDE = 4
# (channels at width 1, stride) of MobileNetV2's blocks; all but the first expand six times.
_BLOCKS = (
  (16, 1),
  *((24, 2), (24, 1)),
  *((32, 2), (32, 1), (32, 1)),
  *((64, 2), (64, 1), (64, 1), (64, 1)),
  *((96, 1), (96, 1), (96, 1)),
  *((160, 2), (160, 1), (160, 1)),
  (320, 1),
)
# After these blocks the pyramid takes the map, at strides 4, 8 and 16, with so many channels.
_LATERAL = {2: 24, 5: 32, 9: 64}
_HEADS = {"heatmap": NUM_JOINTS, "center": 1, "regress": 2 * NUM_JOINTS, "offset": 2 * NUM_JOINTS}


class Maps(NamedTuple):
  """MoveNet's output on n images of side s, all at stride 4: maps of side s / 4.

  Attributes:
    heatmap: [n, h, w, 17], logits of independent sigmoids: the joint is at this pixel.
    center: [n, h, w, 1], logits: a person's centre is at this pixel.
    regress: [n, h, w, 34], (v, u) of each joint relative to a centre at this pixel, map px.
    offset: [n, h, w, 34], (v, u) from this pixel to a joint inside it, map px.
    features: [n, h, w, 24], what the heads read: after the pyramid's last ReLU.
    hidden: [n, h, w, 96], what the heatmaps are a product of: after their head's ReLU.
  """

  heatmap: jax.Array
  center: jax.Array
  regress: jax.Array
  offset: jax.Array
  features: jax.Array
  hidden: jax.Array


class MoveNet(nn.Module):
  """The single-pose network.

  Attributes:
    width: channels in units of MobileNetV2's: 1.75 for Thunder (256 px), 1.0 for Lightning (192).
    dtype: of the arithmetic; parameters are float32.
  """

  width: float = 1.75
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array) -> Maps:
    """Runs the network.

    Args:
      images: [n, s, s, 3], RGB 0..255, any number type; s a multiple of 32. Pad an image that is
        not square, do not stretch it.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] % 32 or images.shape[2] % 32:
      raise ValueError(
        f"images should be [n, s, s, 3] with s a multiple of 32, got {list(images.shape)}"
      )
    x = images.astype(self.dtype) / 127.5 - 1.0
    x = nn.relu6(self._convolution("stem", x, self._channels(32), kernel=3, stride=2))
    laterals = []
    for index, (channels, stride) in enumerate(_BLOCKS):
      x = self._block(f"block_{index}", x, self._channels(channels), stride, expand=index > 0)
      if index in _LATERAL:
        laterals.append(self._convolution(f"lateral_{index}", x, _LATERAL[index]))
    x = nn.relu6(self._convolution("last", x, 1280))
    x = self._convolution("top", x, _LATERAL[9])
    for level, (lateral, index) in enumerate(zip(reversed(laterals), (5, 2, 2))):
      x = _doubled(x) + lateral
      x = self._separable(f"pyramid_{level}", x, _LATERAL[index])
    hidden = {name: self._separable(name, x, 96) for name in _HEADS}
    heads = {
      name: self._convolution(f"{name}_map", hidden[name], channels)
      for name, channels in _HEADS.items()
    }
    return Maps(**heads, features=x, hidden=hidden["heatmap"])

  def _channels(self, channels: int) -> int:
    """A multiple of 8 near width · channels, as MobileNetV2 rounds."""
    scaled = channels * self.width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded

  def _block(self, name: str, x, channels: int, stride: int, *, expand: bool):
    """MobileNetV2's inverted residual."""
    y = x
    if expand:
      y = nn.relu6(self._convolution(f"{name}_expand", y, 6 * x.shape[-1]))
    y = nn.relu6(self._depthwise(f"{name}_depthwise", y, stride=stride))
    y = self._convolution(f"{name}_project", y, channels)
    return x + y if stride == 1 and x.shape == y.shape else y

  def _separable(self, name: str, x, channels: int):
    x = self._depthwise(f"{name}_depthwise", x, bias=False)
    return nn.relu(self._convolution(f"{name}_pointwise", x, channels))

  def _convolution(self, name: str, x, channels: int, *, kernel: int = 1, stride: int = 1):
    shape = (kernel, kernel, x.shape[-1], channels)
    weights = self.param(f"{name}_kernel", nn.initializers.he_normal(), shape).astype(self.dtype)
    if kernel == 1:
      return convolutions.pointwise(x, weights) + self._bias(name, channels)
    return convolutions.same(x, weights, stride=stride) + self._bias(name, channels)

  def _depthwise(self, name: str, x, *, stride: int = 1, bias: bool = True):
    shape = (3, 3, x.shape[-1])
    weights = self.param(f"{name}_kernel", nn.initializers.he_normal(), shape).astype(self.dtype)
    y = convolutions.depthwise_3x3(x, weights, stride=stride)
    return y + self._bias(name, x.shape[-1]) if bias else y

  def _bias(self, name: str, channels: int):
    bias = self.param(f"{name}_bias", nn.initializers.zeros, (channels,))
    return bias.astype(self.dtype).reshape(1, 1, 1, channels)


def _doubled(x: jax.Array) -> jax.Array:
  n, h, w, c = x.shape
  return jax.image.resize(x, (n, 2 * h, 2 * w, c), "bilinear")
