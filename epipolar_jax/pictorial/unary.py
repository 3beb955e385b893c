"""What the heatmaps say of places in the room."""

import jax
import jax.numpy as jnp

from epipolar_jax import heatmaps as maps
from epipolar_jax.geometry import cameras, sampling


def grid_axes(centers: jax.Array, size: jax.Array, num_bins: int) -> jax.Array:
  """Coordinates of a cubic grid around every joint: centers [j, 3], side [] -> [j, 3, n]."""
  offsets = jnp.linspace(-0.5, 0.5, num_bins, dtype=centers.dtype) * size
  return centers[:, :, None] + offsets[None, None, :]


def unary(
  heatmaps: jax.Array,
  intrinsics: jax.Array,
  rotation: jax.Array,
  translation: jax.Array,
  weight: jax.Array,
  axes: jax.Array,
  *,
  stride: int,
  smooth: bool = False,
  same_grid: bool = False,
  reference: bool = False,
  align_corners: bool = True,
) -> jax.Array:
  """Σ over views of the heatmap value at the image of every grid point.

  Args:
    heatmaps, intrinsics, rotation, translation, stride, reference, align_corners: as in
      `model.rpsm`.
    weight: [v].
    axes: [j, 3, n], of `grid_axes`.
    smooth: looks up cubically. A bilinear map is largest on a whole pixel, wherever the joint is.
    same_grid: promises that all joints have the first one's grid, which is projected once then;
      bilinear only.

  Returns:
    [j, n, n, n], indexed x, y, z. Points behind a camera or outside its image get nothing from it.
  """
  height, width = heatmaps.shape[2:]
  size = jnp.array([width, height], axes.dtype)

  def to_map(uv):
    if not reference:
      return maps.image_to_map(uv, stride=stride)
    share = uv / stride / jnp.broadcast_to(size[::-1] - 1.0, uv.shape)
    edges = (size - 1.0, 0.0) if align_corners else (size, 0.5)
    return share * jnp.broadcast_to(edges[0], uv.shape) - edges[1]

  def in_view(channels, k, r, t, weight, points):
    """Values [n, c] of maps [h, w, c] at points [n, 3]."""
    at = to_map(cameras.project(points, k, r, t))
    value = (_cubic if smooth else sampling.bilinear)(channels, at)
    seen = (cameras.depth(points, r, t) > 0) & (weight > 0)
    return jnp.where(seen[:, None], weight * value, 0.0)

  def of_grid(channels, axes):
    """Sums [c, n, n, n] for maps [v, h, w, c] and one grid [3, n]."""
    points = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)
    each = jax.vmap(in_view, (0, 0, 0, 0, 0, None))
    values = each(channels, intrinsics, rotation, translation, weight, points.reshape(-1, 3))
    return jnp.moveaxis(jnp.sum(values, axis=0), 1, 0).reshape(-1, *points.shape[:3])

  if same_grid:
    return of_grid(jnp.moveaxis(heatmaps, 1, -1), axes[0])
  return jax.vmap(of_grid, (1, 0))(heatmaps[..., None], axes)[:, 0]


def _cubic(feature: jax.Array, points: jax.Array) -> jax.Array:
  """Samples a map [h, w, c] at points [n, 2] by cubic convolution, zero outside; [n, c].

  References:
    Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, equation 15.
  """
  height, width, channels = feature.shape
  margin = 4
  padded = jnp.pad(feature, ((margin, margin), (margin, margin), (0, 0)))
  limits = jnp.array([width, height], points.dtype) + 1.0
  uv = jnp.clip(points, -2.0, jnp.broadcast_to(limits, points.shape))
  corner = jnp.floor(uv)

  def one(share, corner):
    column, row = corner.astype(jnp.int32) + (margin - 1)
    patch = jax.lax.dynamic_slice(padded, (row, column, 0), (4, 4, channels))
    weight_u, weight_v = _cubic_weights(share[0]), _cubic_weights(share[1])
    return jnp.sum(patch * weight_v[:, None, None] * weight_u[None, :, None], axis=(0, 1))

  return jax.vmap(one)(uv - corner, corner)


def _cubic_weights(t: jax.Array) -> jax.Array:
  """Weights [4] of the pixels at -1, 0, 1, 2 for a place at t in [0, 1)."""
  return jnp.stack(
    [
      ((-0.5 * t + 1.0) * t - 0.5) * t,
      (1.5 * t - 2.5) * t * t + 1.0,
      ((-1.5 * t + 2.0) * t + 0.5) * t,
      (0.5 * t - 0.5) * t * t,
    ]
  )
