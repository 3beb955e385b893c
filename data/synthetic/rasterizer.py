"""A z-buffer in JAX: triangles in, the nearest one at every pixel centre out.

Every triangle writes the pixel centres inside its bounding box with one scatter-min of a packed
(depth, triangle) key, so there is no loop over pixels or triangles and the same code runs on CPU,
GPU and TPU. Shapes are static: triangles are sorted into tiers by the size of their box, a few
pixels for the many, more for the few. A triangle that no tier has room for is *counted*
(`Raster.overflow`), never silently cut; `grow` gives larger tiers to try again with.

Written for one view; vmap it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Pixel centres on a shared edge belong to both triangles: rounding must not open cracks.
_EDGE_SLACK = 1e-5
_MIN_AREA = 1e-9
_EMPTY = np.uint32(0xFFFFFFFF)


class Tier(NamedTuple):
  """At most `capacity` triangles whose box holds at most `window` × `window` pixel centres."""

  window: int
  capacity: int


class Limits(NamedTuple):
  """Static sizes: tiers of rising windows, and how many pixels may be covered."""

  tiers: tuple[Tier, ...]
  pixels: int

  def grown(self, factor: int) -> "Limits":
    """`factor` times the capacity everywhere, and as much window in the last tier."""
    tiers = [Tier(tier.window, tier.capacity * factor) for tier in self.tiers]
    tiers[-1] = Tier(self.tiers[-1].window * factor, tiers[-1].capacity)
    return Limits(tuple(tiers), self.pixels * factor)


_SMALL_IMAGE = (Tier(2, 8192), Tier(4, 2560), Tier(12, 512))
_LARGE_IMAGE = (Tier(2, 7680), Tier(4, 4608), Tier(8, 3072), Tier(24, 768))


class Raster(NamedTuple):
  """The covered pixels of an image [h, w], m slots, the used ones first.

  Attributes:
    pixel: [m] int32, v · w + u; h · w in unused slots.
    triangle: [m] int32, the nearest triangle; 0 in unused slots.
    barycentric: [m, 3], weights of its corners, perspective-correct; 0 in unused slots.
    depth: [m], along the optical axis, in the unit of the input; inf in unused slots.
    overflow: [] int32, triangles and pixels for which there was no room.
    clipped: [] int32, triangles dropped because a corner lies nearer than the near plane.
  """

  pixel: jax.Array
  triangle: jax.Array
  barycentric: jax.Array
  depth: jax.Array
  overflow: jax.Array
  clipped: jax.Array

  def image(self, values: jax.Array, fill: float, *, size_hw: tuple[int, int]) -> jax.Array:
    """Puts values [m] of the covered pixels into an image [h, w]."""
    blank = jnp.full(size_hw[0] * size_hw[1], fill, values.dtype)
    return blank.at[self.pixel].set(values, mode="drop").reshape(size_hw)


def default_limits(size: int, num_triangles: int) -> Limits:
  """Limits for a human body of `num_triangles` whose 2 m box fills an image of `size` pixels.

  Most of the 27,036 triangles of the body face away or hold no pixel centre: at 256 px some 5,300
  are drawn, half of them single pixels, and 7 % of the pixels are covered. The limits are what was
  measured, times 1.5 to 3; windows grow with the image beyond 512 px.
  """
  plan = _SMALL_IMAGE if size <= 256 else _LARGE_IMAGE
  stretch = max(1.0, size / 512)
  share = max(1.0, num_triangles / 27036)
  tiers = tuple(Tier(math.ceil(t.window * stretch), math.ceil(t.capacity * share)) for t in plan)
  return Limits(tiers, math.ceil(size * size * min(1.0, share * 0.2)))


def rasterize(
  points: jax.Array,
  depth: jax.Array,
  triangles: jax.Array,
  *,
  size_hw: tuple[int, int],
  limits: Limits,
  near: float,
  cull: bool = True,
) -> Raster:
  """Finds the nearest triangle at every pixel centre.

  Args:
    points: [v, 2], (u, v) of the vertices in pixels; integers are pixel centres.
    depth: [v], their depth along the optical axis.
    triangles: [t, 3] int32, corners; counter-clockwise seen from outside, in world space.
    size_hw: (height, width) of the image.
    limits: static sizes; each triangle goes to the first tier whose window holds its box.
    near: triangles with a corner at or nearer than this depth are dropped and counted.
    cull: leave out triangles that face away from the camera.

  Raises:
    ValueError: more than 2^18 triangles; the packed key has no bits left for depth.
  """
  num_triangles = triangles.shape[0]
  id_bits = max(1, (num_triangles - 1).bit_length())
  if id_bits > 18:
    raise ValueError(f"{num_triangles} triangles; at most {2**18} fit beside a 14-bit depth")
  height, width = size_hw
  num_pixels = height * width
  table, low, high, extent, clipped = _set_up(points, depth, triangles, size_hw, near, cull)
  inverse_depth = table[:, 6:9]
  drawn = (extent > 0)[:, None]
  nearest = jnp.where(drawn, inverse_depth, 0.0).max()
  farthest = jnp.where(drawn, inverse_depth, jnp.inf).min()
  # More than 24 bits of depth would only store float32's rounding.
  steps = float(2 ** min(32 - id_bits, 24) - 2)
  to_steps = steps / jnp.maximum(nearest - farthest, 1e-12)

  slots, keys, overflow, smallest = [], [], jnp.int32(0), 0
  for tier in limits.tiers:
    mine = (extent > smallest) & (extent <= tier.window)
    smallest = tier.window
    index = _list_true(mine, tier.capacity)
    overflow += jnp.maximum(mine.sum(dtype=jnp.int32) - tier.capacity, 0)
    used = (index < num_triangles)[:, None, None]
    index = jnp.minimum(index, num_triangles - 1)
    u, v = _window(low[index], tier.window)
    second, third, w = _evaluate(table[index][:, None, None], u, v)
    inside = (second >= -_EDGE_SLACK) & (third >= -_EDGE_SLACK)
    inside &= (second + third <= 1 + _EDGE_SLACK) & used
    inside &= (u <= high[index, 0][:, None, None]) & (v <= high[index, 1][:, None, None])
    level = jnp.clip((nearest - w) * to_steps, 0.0, steps).astype(jnp.uint32)
    keys.append(((level << id_bits) | index[:, None, None].astype(jnp.uint32)).ravel())
    slots.append(jnp.where(inside, (v * width + u).astype(jnp.int32), num_pixels).ravel())
  overflow += (extent > smallest).sum(dtype=jnp.int32)

  buffer = jnp.full(num_pixels, _EMPTY)
  buffer = buffer.at[jnp.concatenate(slots)].min(jnp.concatenate(keys), mode="drop")
  covered = buffer != _EMPTY
  capacity = min(limits.pixels, num_pixels)
  overflow += jnp.maximum(covered.sum(dtype=jnp.int32) - capacity, 0)
  pixel = _list_true(covered, capacity)
  used = pixel < num_pixels
  found = buffer[jnp.minimum(pixel, num_pixels - 1)] & ((1 << id_bits) - 1)
  triangle = jnp.where(used, found.astype(jnp.int32), 0)
  barycentric, depth = _resolve(table[triangle], pixel, used, width)
  return Raster(pixel, triangle, barycentric, depth, overflow, clipped)


def _set_up(points, depth, triangles, size_hw, near, cull):
  """What the tiers and the pixels need of every triangle.

  Returns:
    table: [t, 9], first corner (2), gradients of the second and third weight (2 + 2), inverse
      depths of the corners (3): one row per triangle, so that everything gathers once.
    low: [t, 2], first pixel centre of its box inside the image.
    high: [t, 2], last one.
    extent: [t], pixel centres along the longer side of the box; 0 for what is not to be drawn.
    clipped: [] int32, triangles behind the near plane.
  """
  behind = depth <= near
  safe_depth = jnp.where(behind, 1.0, depth)
  rows = jnp.concatenate(
    [points, (1 / safe_depth)[:, None], behind[:, None].astype(points.dtype)], -1
  )
  first, second, third = (rows[triangles[:, k]] for k in range(3))
  is_clipped = (first[:, 3] + second[:, 3] + third[:, 3]) > 0
  corner, ab, ac = first[:, :2], (second - first)[:, :2], (third - first)[:, :2]
  area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
  # v points down, so a triangle that faces the camera has negative area.
  drawable = (area < -_MIN_AREA) if cull else (jnp.abs(area) > _MIN_AREA)
  safe_area = jnp.where(drawable, area, 1.0)[:, None]

  last = jnp.array([[size_hw[1] - 1.0, size_hw[0] - 1.0]])
  low = jnp.maximum(jnp.ceil(jnp.minimum(jnp.minimum(first, second), third)[:, :2]), 0.0)
  high = jnp.maximum(jnp.maximum(first, second), third)[:, :2]
  high = jnp.minimum(jnp.floor(high), last)
  sides = high - low + 1
  extent = jnp.where(drawable & ~is_clipped & (sides.min(1) > 0), sides.max(1), 0.0)
  table = jnp.concatenate(
    [
      corner,
      jnp.stack([ac[:, 1], -ac[:, 0]], -1) / safe_area,
      jnp.stack([-ab[:, 1], ab[:, 0]], -1) / safe_area,
      jnp.stack([first[:, 2], second[:, 2], third[:, 2]], -1),
    ],
    axis=-1,
  )
  return table, low, high, extent, is_clipped.sum(dtype=jnp.int32)


def _window(low, window):
  """Pixel centres u [n, 1, window] and v [n, window, 1] of windows that start at low [n, 2]."""
  step = jnp.arange(window, dtype=jnp.float32)[None]
  return (low[:, :1] + step)[:, None, :], (low[:, 1:] + step)[:, :, None]


def _resolve(rows, pixel, used, width):
  """Perspective-correct weights [m, 3] and depth [m] at the listed pixels."""
  u, v = (pixel % width).astype(jnp.float32), (pixel // width).astype(jnp.float32)
  second, third, w = _evaluate(rows, u, v)
  weights = jnp.stack([1 - second - third, second, third], -1) * rows[:, 6:9]
  w = jnp.where(used, w, 1.0)
  barycentric = jnp.where(used[:, None], weights / w[:, None], 0.0)
  return barycentric, jnp.where(used, 1 / w, jnp.inf)


def _list_true(mask, capacity):
  """Indices of the first `capacity` true entries of mask [n], then n; cheaper than nonzero."""
  count = mask.shape[0]
  slot = jnp.where(mask, jnp.cumsum(mask.astype(jnp.int32)) - 1, capacity)
  index = jnp.arange(count, dtype=jnp.int32)
  return jnp.full(capacity, count, jnp.int32).at[slot].set(index, mode="drop")


def _evaluate(table, u, v):
  """Screen-space weights of the second and third corner, and the inverse depth, at (u, v)."""
  du, dv = u - table[..., 0], v - table[..., 1]
  second = table[..., 2] * du + table[..., 3] * dv
  third = table[..., 4] * du + table[..., 5] * dv
  w0, w1, w2 = table[..., 6], table[..., 7], table[..., 8]
  return second, third, w0 + second * (w1 - w0) + third * (w2 - w0)
