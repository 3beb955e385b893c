"""Bilinear sampling of a feature map at fractional pixels: by reading pixels or by products."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg


def bilinear(feature: jax.Array, points: jax.Array) -> jax.Array:
  """Samples a map bilinearly; outside, the map is zero.

  The map is extended by zeros, so a value fades out over the pixel beyond the border (grid_sample
  with padding_mode="zeros"). Differentiable in both arguments; points may lie anywhere.

  Args:
    feature: [h, w, c], any float type.
    points: [..., 2], (u, v); integers are pixel centres.

  Returns:
    [..., c], the map's type; the weights are made in the points' type.
  """
  height, width = feature.shape[:2]
  # Far points are brought next to the border, where all four weights are zero all the same: a float
  # beyond the integers would be cast to nonsense.
  u = jnp.clip(points[..., 0], -2.0, width + 1.0)
  v = jnp.clip(points[..., 1], -2.0, height + 1.0)
  left, top = jnp.floor(u), jnp.floor(v)
  right_share, bottom_share = u - left, v - top
  column, row = left.astype(jnp.int32), top.astype(jnp.int32)

  def corner(row: jax.Array, column: jax.Array, weight: jax.Array) -> jax.Array:
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    value = feature[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return value * jnp.where(inside, weight, 0.0)[..., None]

  total = (
    corner(row, column, (1.0 - bottom_share) * (1.0 - right_share))
    + corner(row, column + 1, (1.0 - bottom_share) * right_share)
    + corner(row + 1, column, bottom_share * (1.0 - right_share))
    + corner(row + 1, column + 1, bottom_share * right_share)
  )
  return total.astype(feature.dtype)


def hat(coordinate: jax.Array, *, size: int) -> jax.Array:
  """Weights of linear interpolation on the pixels of one axis: max(0, 1 - |coordinate - pixel|).

  Args:
    coordinate: [...], px; anywhere.
    size: n, pixels of the axis.

  Returns:
    [..., n]; they sum to 1 inside the map and fade to 0 over the pixel beyond its border.
  """
  pixels = jnp.arange(size, dtype=coordinate.dtype).reshape((1,) * coordinate.ndim + (size,))
  return jnp.maximum(0.0, 1.0 - jnp.abs(coordinate[..., None] - pixels))


def bilinear_products(feature: jax.Array, points: jax.Array) -> jax.Array:
  """What `bilinear` returns for [n, 2] points, by products with `hat` weights instead of gathers.

  For TPUs, which multiply matrices fast and gather single pixels slowly. n·h·c values in between.

  Args:
    feature: [h, w, c], float32.
    points: [n, 2], (u, v); integers are pixel centres.

  Returns:
    [n, c].
  """
  height, width = feature.shape[:2]
  rows = linalg.einsum("nw,hwc->nhc", hat(points[:, 0], size=width), feature)
  return jnp.sum(rows * hat(points[:, 1], size=height)[:, :, None], axis=1)
