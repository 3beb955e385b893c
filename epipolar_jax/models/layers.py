"""Flax layers under the networks: convolutions by name and batch normalisation as in torch."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.models import convolutions, normalization

Initializer = nn.initializers.Initializer


class Conv(nn.Module):
  """k×k convolution with zero padding k // 2, in the fastest form for its shape.

  Attributes:
    features: output channels.
    kernel_size: k, odd.
    stride: of both axes.
    use_bias: adds a bias.
    dtype: of the computation; parameters stay float32.
    kernel_init: of the [k, k, c, features] kernel.
  """

  features: int
  kernel_size: int
  stride: int = 1
  use_bias: bool = False
  dtype: Any = jnp.float32
  kernel_init: Initializer = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps x: [n, h, w, c] to [n, h / stride, w / stride, features]."""
    k = self.kernel_size
    kernel = self.param("kernel", self.kernel_init, (k, k, x.shape[-1], self.features))
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    if k == 1:
      y = convolutions.pointwise(x, kernel, stride=self.stride)
    elif (k, self.stride) == (7, 2):
      y = convolutions.stem_7x7(x, kernel)
    else:
      y = convolutions.convolution(x, kernel, stride=self.stride)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
      y = y + bias.astype(self.dtype)[None, None, None]
    return y


class ConvTranspose(nn.Module):
  """4×4 transposed convolution, stride 2, padding 1, no bias: doubles the map.

  Attributes:
    features: output channels.
    dtype: of the computation.
    kernel_init: of the [4, 4, c, features] kernel (torch's order of the taps).
  """

  features: int
  dtype: Any = jnp.float32
  kernel_init: Initializer = nn.initializers.normal(0.001)

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps x: [n, h, w, c] to [n, 2 h, 2 w, features]."""
    kernel = self.param("kernel", self.kernel_init, (4, 4, x.shape[-1], self.features))
    return convolutions.transposed_4x4(x.astype(self.dtype), kernel.astype(self.dtype))


class BatchNorm(nn.Module):
  """Batch normalisation with torch's running statistics.

  flax's own layer keeps the biased variance; torch normalises by the biased one and *remembers*
  the unbiased one (factor n / (n - 1) over batch and pixels, all devices together), and the
  golden files and every published checkpoint assume that.

  Attributes:
    momentum: weight of the new batch in the running statistics (torch's sense: 0.1, flax's 0.9).
    epsilon: added to the variance.
    axis_name: pmap axis over which batch statistics are shared, None for this device only.
    dtype: of the result; statistics are always float32.
    scale_init: of the scale; the bias starts at 0.
  """

  momentum: float = 0.1
  epsilon: float = 1e-5
  axis_name: str | None = None
  dtype: Any = jnp.float32
  scale_init: Initializer = nn.initializers.ones_init()

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Normalises x: [n, h, w, c] per channel, by the batch (train) or the running statistics."""
    c = x.shape[-1]
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, (c,))
    running_var = self.variable("batch_stats", "var", jnp.ones, (c,))
    scale = self.param("scale", self.scale_init, (c,))
    bias = self.param("bias", nn.initializers.zeros_init(), (c,))
    if not train:
      statistics = (running_mean.value, running_var.value)
      return normalization.affine(
        x, *statistics, scale, bias, epsilon=self.epsilon, dtype=self.dtype
      )
    # Initialisation runs outside pmap, where the axis does not exist.
    shared = self.axis_name is not None and not self.is_initializing()
    y, mean, var = normalization.normalize(
      x, scale, bias, self.epsilon, self.axis_name if shared else None, self.dtype
    )
    if not self.is_initializing():
      count = x.size // x.shape[-1] * (jax.lax.axis_size(self.axis_name) if shared else 1)
      keep = 1.0 - self.momentum
      unbiased = var * (count / max(count - 1, 1))
      running_mean.value = keep * running_mean.value + self.momentum * mean
      running_var.value = keep * running_var.value + self.momentum * unbiased
    return y
