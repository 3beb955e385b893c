"""Heatmaps: joint positions (image px) to maps and back. One joint; vmap it.

Map index i is image pixel s·i + (s - 1)/2 with stride s, so a map's pixel centres lie between
image ones.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg, sampling

# The original clips the exponent here: its background is 0.01, not 0.
_FLOOR_EXPONENT = 4.60517019


def map_to_image(uv: jax.Array, *, stride: int) -> jax.Array:
  """Map pixels [..., 2] to image pixels [..., 2]."""
  return uv * stride + (stride - 1) / 2


def image_to_map(uv: jax.Array, *, stride: int) -> jax.Array:
  """Image pixels [..., 2] to map pixels [..., 2]."""
  return (uv - (stride - 1) / 2) / stride


def gaussian_target(
  uv: jax.Array, *, size_hw: tuple[int, int], stride: int, sigma: float, floor: bool = False
) -> jax.Array:
  """A Gaussian of height 1 around a joint, evaluated at the image position of every map pixel.

  Args:
    uv: [2], joint in image px; may lie outside, the map then holds what of the Gaussian reaches in.
    size_hw: (height, width) of the map.
    stride: image pixels per map pixel.
    sigma: standard deviation in *image* px; 8 at 256 px in the paper.
    floor: True clips the exponent, so that far pixels hold 0.01: the original's target.

  Returns:
    [h, w] in [0, 1].
  """
  height, width = size_hw
  column, row = (
    map_to_image(jnp.arange(n, dtype=uv.dtype), stride=stride) for n in (width, height)
  )
  squared = jnp.square(row - uv[1])[:, None] + jnp.square(column - uv[0])[None, :]
  exponent = squared / (2.0 * sigma**2)
  return jnp.exp(-(jnp.minimum(exponent, _FLOOR_EXPONENT) if floor else exponent))


def decode_peak(
  heatmap: jax.Array, *, radius: float, stride: int, align_corners: bool = True
) -> tuple[jax.Array, jax.Array]:
  """The original's decoder: the maximum, refined by the mean of a window around it.

  Biased where the background is not zero or the window is cut by the border; `decode_softmax` is
  better for maps that are trained with a cross-entropy.

  Args:
    heatmap: [h, w].
    radius: half side of the window, map px, at least 0.5; the original passes its sigma (image
      px!).
    stride: image pixels per map pixel.
    align_corners: which PyTorch: True up to 1.2, False (a window that is squeezed and shifted)
      from 1.3.

  Returns:
    uv: [2], image px.
    score: [], the maximum.
  """
  height, width = heatmap.shape
  size = jnp.array([width, height], dtype=heatmap.dtype)
  row, column = jnp.unravel_index(jnp.argmax(heatmap), heatmap.shape)
  peak = jnp.stack([column, row]).astype(heatmap.dtype)
  r = int(radius + 0.5)
  # 2r + 1 samples spread over ±radius: they are a pixel apart only when the radius is whole.
  offsets = jnp.arange(-r, r + 1, dtype=heatmap.dtype) * (radius / r)
  if align_corners:
    at = peak[:, None] + offsets[None, :]
  else:
    # affine_grid spreads 2r + 1 cell centres over the box; grid_sample maps [-1, 1] to the pixels'
    # edges.
    shrunk = offsets * (2 * r / (2 * r + 1))
    unit = (peak[:, None] + shrunk[None, :]) * (2.0 / (size - 1.0))[:, None] - 1.0
    at = ((unit + 1.0) * size[:, None] - 1.0) * 0.5
  # The window is a grid, so bilinear samples of it are two small matrix products.
  across, down = sampling.hat(at[0], size=width), sampling.hat(at[1], size=height)
  window = linalg.einsum("ny,yx,mx->nm", down, heatmap, across)
  window = jnp.where(window > 1e-6, window, 0.0)
  total = jnp.sum(window)
  shift_u = linalg.safe_divide(jnp.sum(jnp.sum(window, axis=0) * offsets), total)
  shift_v = linalg.safe_divide(jnp.sum(jnp.sum(window, axis=1) * offsets), total)
  uv = peak + jnp.stack([shift_u, shift_v])
  return map_to_image(uv, stride=stride), jnp.max(heatmap)


def decode_softmax(
  logits: jax.Array, *, stride: int, radius: float = 5.0, num_iterations: int = 3
) -> tuple[jax.Array, jax.Array]:
  """The mean of the probability around its mode, without the bias of a window on whole pixels.

  A window centred on the maximum pixel pulls its own mean to that pixel. The window here has soft
  edges and moves to the mean it finds (mean shift), so a symmetric peak is found exactly, wherever
  it lies between pixels. Other modes outside the window do not count; gathers are not needed.

  Args:
    logits: [h, w]; softmax over all pixels is the probability of the joint's position.
    stride: image pixels per map pixel.
    radius: half side of the window, map px; 2.5 sigma of the training target.
    num_iterations: moves of the window.

  Returns:
    uv: [2], image px.
    score: [], probability inside the window, in [0, 1]: close to 1 for one sharp peak, small for a
      spread or multi-modal map; fit as a triangulation weight.
  """
  height, width = logits.shape
  probability = jax.nn.softmax(logits.reshape(-1)).reshape(height, width)
  row, column = jnp.unravel_index(jnp.argmax(logits), logits.shape)
  columns, rows = (jnp.arange(n, dtype=logits.dtype) for n in (width, height))
  center = jnp.stack([column, row]).astype(logits.dtype)
  mass = jnp.ones((), logits.dtype)
  for _ in range(num_iterations):
    in_u = jnp.clip(radius + 0.5 - jnp.abs(columns - center[0]), 0.0, 1.0)
    in_v = jnp.clip(radius + 0.5 - jnp.abs(rows - center[1]), 0.0, 1.0)
    per_column = linalg.einsum("h,hw->w", in_v, probability) * in_u
    per_row = linalg.einsum("w,hw->h", in_u, probability) * in_v
    mass = jnp.sum(per_column)
    mean_u, mean_v = jnp.sum(per_column * columns), jnp.sum(per_row * rows)
    center = linalg.safe_divide(jnp.stack([mean_u, mean_v]), mass, tiny=1e-20)
  return map_to_image(center, stride=stride), jnp.clip(mass, 0.0, 1.0)
