"""Heatmap values at places in the room."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import heatmaps as maps
from epipolar_jax.geometry.cameras import Cameras


def grid_axes(centers: jax.Array, size: jax.Array, num_bins: int) -> jax.Array:
  """Coordinates of a cubic grid around every joint: centers [j, 3], side [] -> [j, 3, n]."""
  offsets = jnp.linspace(-0.5, 0.5, num_bins, dtype=centers.dtype) * size
  return centers[:, :, None] + offsets[None, None, :]


def unary(
  heatmaps: jax.Array,
  cameras: Cameras,
  weight: jax.Array,
  axes: jax.Array,
  *,
  stride: int,
  smooth: bool = False,
  same_grid: bool = False,
  original: bool = False,
  align_corners: bool = True,
) -> jax.Array:
  """Σ over views of the heatmap value at the image of every grid point.

  Args:
    heatmaps, cameras, stride, original, align_corners: as in
      `model.rpsm`.
    weight: [v].
    axes: [j, 3, n], of `grid_axes`.
    smooth: looks up cubically. A bilinear map is largest on a whole pixel, wherever the joint is.
    same_grid: promises that all joints have the first one's grid, which is projected once then.

  Returns:
    [j, n, n, n], indexed x, y, z. Points behind a camera or outside its image get nothing from it.
  """
  joints, _, num_bins = axes.shape
  options = {"stride": stride, "smooth": smooth, "original": original}
  arguments = heatmaps, cameras, weight
  if same_grid:
    values = shared(*arguments, axes[0], align_corners=align_corners, **options).T
  else:
    values = _own(*arguments, axes, align_corners=align_corners, **options)
  return values.reshape(joints, num_bins, num_bins, num_bins)


def shared(
  heatmaps: jax.Array,
  cameras: Cameras,
  weight: jax.Array,
  axes: jax.Array,
  **options: Any,
) -> jax.Array:
  """`unary` of one grid for all joints, whose values come out side by side.

  Args:
    axes: [3, n].
    heatmaps, cameras, weight, options: as in `unary`.

  Returns:
    [n³, j].
  """
  views, joints, height, width = heatmaps.shape
  taps_of = functools.partial(_taps, _points(axes[None]), size_hw=(height, width), **options)
  taps = jax.vmap(taps_of)(cameras, weight)
  # As the values do: so where a place is, is worked out once for all joints.
  pixels = jnp.moveaxis(heatmaps.reshape(views, joints, height * width), 1, 2)
  pixels = pixels.reshape(-1, joints)
  start = height * width * np.arange(views, dtype=np.uint32)

  def add(total, view):
    start, taps = view
    return total + _read(pixels, start + taps.first, taps, width), None

  taps = jax.tree.map(lambda x: x[:, 0], taps)
  nothing = jnp.zeros((taps.first.shape[1], joints), heatmaps.dtype)
  return jax.lax.scan(add, nothing, (jnp.asarray(start), taps))[0]


def _own(
  heatmaps: jax.Array,
  cameras: Cameras,
  weight: jax.Array,
  axes: jax.Array,
  **options: Any,
) -> jax.Array:
  """`unary` of grids of their own, [j, n³]."""
  views, joints, height, width = heatmaps.shape
  points = _points(axes)
  # One table of all pixels: cut into views and joints it would be copied every time.
  pixels = heatmaps.reshape(-1)
  start = height * width * np.arange(views * joints, dtype=np.uint32).reshape(views, joints, 1)

  def add(total, view):
    start, camera, weight = view
    taps = _taps(points, camera, weight, size_hw=(height, width), **options)
    return total + _read(pixels, start + taps.first, taps, width), None

  nothing = jnp.zeros(points.shape[1:], heatmaps.dtype)
  of_views = jnp.asarray(start), cameras, weight
  return jax.lax.scan(add, nothing, of_views)[0]


class _Taps(NamedTuple):
  """Which pixels of one view make up the values at points [...].

  Attributes:
    first: [...], uint32, row · w + column of the upper left pixel of the point's patch, which is
      all inside the map.
    columns, rows: weights [...] of the patch's columns and rows; zero where a pixel is not near the
      point, which may be far outside.
    seen: [...], bool, whether the point is inside the view's map.
  """

  first: jax.Array
  columns: list[jax.Array]
  rows: list[jax.Array]
  seen: jax.Array


def _points(axes: jax.Array) -> jax.Array:
  """The points of grids [g, 3, n], [3, g, n³]: the compiler gets long loops over one coordinate."""
  share = np.linspace(0.0, 1.0, axes.shape[-1])
  share = np.stack(np.meshgrid(share, share, share, indexing="ij")).reshape(3, 1, -1)
  first, last = (jnp.moveaxis(axes[..., end], 1, 0)[..., None] for end in (0, -1))
  return first + (last - first) * jnp.asarray(share, axes.dtype)


def _taps(
  points: jax.Array,
  camera: Cameras,
  weight: jax.Array,
  *,
  size_hw: tuple[int, int],
  stride: int,
  smooth: bool,
  original: bool,
  align_corners: bool,
) -> _Taps:
  """The pixels [g, p] of one view for points [3, g, p]; the view's weight is in the rows."""
  # Written out: a product of matrices would not become one loop with what follows.
  projection = camera.projection_matrix()
  u, v, depth = (p[0] * points[0] + p[1] * points[1] + p[2] * points[2] + p[3] for p in projection)
  seen = (depth > 0) & (weight > 0)
  depth = jnp.where(seen, depth, 1.0)
  kernel, count = (_cubic, 4) if smooth else (_linear, 2)

  def on_axis(uv, size, other):
    if not original:
      at = maps.image_to_map(uv, stride=stride)
    elif align_corners:
      at = uv / stride / (other - 1.0) * (size - 1.0)
    else:
      at = uv / stride / (other - 1.0) * size - 0.5
    first = jnp.clip(jnp.floor(at) - (count // 2 - 1), 0, size - count)
    return first, [kernel(at - first - i) for i in range(count)]

  height, width = size_hw
  column, columns = on_axis(u / depth, width, height)
  row, rows = on_axis(v / depth, height, width)
  first = (row * width + column).astype(jnp.uint32)
  return _Taps(first, columns, [weight * row for row in rows], seen)


def _linear(distance: jax.Array) -> jax.Array:
  """Weight of a pixel at a distance in px, of either sign."""
  closeness = 1.0 - jnp.abs(distance)
  return jnp.where(closeness > 0, closeness, 0.0)


def _cubic(distance: jax.Array) -> jax.Array:
  """Weight of a pixel in cubic convolution, at a distance in px of either sign.

  References:
    Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, equation 15.
  """
  d = jnp.abs(distance)
  near = (1.0 - d) * (1.0 + d - 1.5 * d * d)
  far = -0.5 * (d - 1.0) * jnp.square(2.0 - d)
  return jnp.where(d < 1.0, near, jnp.where(d < 2.0, far, 0.0))


def _read(pixels: jax.Array, first: jax.Array, taps: _Taps, width: int) -> jax.Array:
  """Weighted sums [..., *c] of pixels [n, *c] in patches that start at `first` [...]."""
  shape = first.shape + pixels.shape[1:]

  def spread(x):
    return jax.lax.broadcast_in_dim(x, shape, tuple(range(x.ndim)))

  total = 0.0
  for down, row in enumerate(taps.rows):
    for right, column in enumerate(taps.columns):
      # Unsigned: an index that could be negative would be looked at for that.
      at = first + jnp.uint32(down * width + right)
      total += pixels.at[at].get(mode="promise_in_bounds") * spread(row * column)
  return jnp.where(spread(taps.seen), total, 0.0)
