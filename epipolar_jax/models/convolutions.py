"""Convolutions and pooling in forms whose gradients are fast under XLA, on CPUs above all.

Every function computes exactly what its name says; only the arithmetic is arranged differently.
XLA's CPU backend is slow at the *weight* gradient of a convolution (the batch becomes the
contracted dimension) and at the gradient of a maximum over windows. Written as a sum of matrix
products over shifted views, both run at the speed of the forward pass.
"""

import jax
import jax.numpy as jnp


def pointwise(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
  """1×1 convolution as one matrix product.

  Args:
    x: [n, h, w, c].
    kernel: [1, 1, c, d].
    stride: every stride-th row and column is kept.

  Returns:
    [n, ceil(h / stride), ceil(w / stride), d].
  """
  if stride > 1:
    x = x[:, ::stride, ::stride]
  return jnp.einsum("nhwc,cd->nhwd", x, kernel[0, 0])


def convolution(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
  """Convolution with an odd square kernel and symmetric zero padding (torch's `padding=k // 2`).

  Args:
    x: [n, h, w, c].
    kernel: [k, k, c, d], k odd.
    stride: of both axes.

  Returns:
    [n, ceil(h / stride), ceil(w / stride), d].
  """
  pad = kernel.shape[0] // 2
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((pad, pad), (pad, pad)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def transposed_4x4(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """4×4 transposed convolution of stride 2 and padding 1: doubles the map.

  An output pixel of either parity sees a 2×2 window of the input only, so the layer is one 2×2
  convolution with 4 d output channels whose parities are interleaved (sub-pixel convolution).

  Args:
    x: [n, h, w, c].
    kernel: [4, 4, c, d], indexed as torch's ConvTranspose2d weight (not flipped).

  Returns:
    [n, 2 h, 2 w, d].

  References:
    Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network, CVPR 2016.
  """
  n, h, w, _ = x.shape
  d = kernel.shape[-1]
  # Output row 2m is x[m-1] k[3] + x[m] k[1]; row 2m+1 is x[m] k[2] + x[m+1] k[0].
  taps = ((3, 1), (2, 0))
  rows = []
  for a in (0, 1):
    columns = []
    for b in (0, 1):
      window = kernel[jnp.array(taps[a])][:, jnp.array(taps[b])]
      columns.append(
        jax.lax.conv_general_dilated(
          x,
          window,
          (1, 1),
          ((1 - a, a), (1 - b, b)),
          dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
      )
    rows.append(jnp.stack(columns, axis=3))
  return jnp.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, d)


def max_pool_3x3(x: jax.Array) -> jax.Array:
  """Maximum over 3×3 windows, stride 2, padding 1.

  Args:
    x: [n, h, w, c].

  Returns:
    [n, ceil(h / 2), ceil(w / 2), c].
  """
  return jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
  )
