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

# Pixel centres on a shared edge belong to both triangles: rounding must not open cracks.
_EDGE_SLACK = 1e-5
_EMPTY = jnp.uint32(0xFFFFFFFF)


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


_SMALL_IMAGE = (Tier(2, 8192), Tier(4, 2560), Tier(8, 512), Tier(16, 64), Tier(48, 8))
_LARGE_IMAGE = (Tier(2, 7680), Tier(4, 4608), Tier(8, 3072), Tier(16, 640), Tier(64, 32))


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
  corners = _Corners(points, depth, triangles, near)
  a, ab, ac, inverse_depth = corners.a, corners.ab, corners.ac, corners.inverse_depth
  area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
  # v points down, so a triangle that faces the camera has negative area.
  drawable = (area < -1e-9) if cull else (jnp.abs(area) > 1e-9)
  safe_area = jnp.where(drawable, area, 1.0)

  low = jnp.maximum(jnp.ceil(corners.low), 0.0)
  high = jnp.minimum(jnp.floor(corners.high), jnp.array([width - 1.0, height - 1.0]))
  extent = jnp.where(drawable & ~corners.clipped, (high - low + 1).min(1), 0.0)
  extent = jnp.where(extent > 0, (high - low + 1).max(1), 0.0)

  # One row per triangle, so that the tiers and the pixels gather once.
  table = jnp.concatenate(
    [
      a,
      jnp.stack([ac[:, 1], -ac[:, 0]], -1) / safe_area[:, None],
      jnp.stack([-ab[:, 1], ab[:, 0]], -1) / safe_area[:, None],
      inverse_depth,
    ],
    axis=-1,
  )
  drawn = (extent > 0)[:, None]
  nearest = jnp.where(drawn, inverse_depth, 0.0).max()
  farthest = jnp.where(drawn, inverse_depth, jnp.inf).min()
  steps = float(2 ** (32 - id_bits) - 2)
  to_steps = steps / jnp.maximum(nearest - farthest, 1e-12)

  slots, keys, overflow, smallest = [], [], jnp.int32(0), 0
  for tier in limits.tiers:
    mine = (extent > smallest) & (extent <= tier.window)
    smallest = tier.window
    capacity = min(tier.capacity, num_triangles)
    index = jnp.nonzero(mine, size=capacity, fill_value=num_triangles)[0]
    overflow += jnp.maximum(mine.sum(dtype=jnp.int32) - capacity, 0)
    used = index < num_triangles
    index = jnp.minimum(index, num_triangles - 1)
    steps_in_window = jnp.arange(tier.window, dtype=jnp.float32)
    u = (low[index, 0][:, None] + steps_in_window)[:, None, :]
    v = (low[index, 1][:, None] + steps_in_window)[:, :, None]
    second, third, w = _evaluate(table[index][:, None, None], u, v)
    inside = (second >= -_EDGE_SLACK) & (third >= -_EDGE_SLACK)
    inside &= (second + third <= 1 + _EDGE_SLACK) & used[:, None, None]
    inside &= (u <= high[index, 0][:, None, None]) & (v <= high[index, 1][:, None, None])
    level = jnp.clip((nearest - w) * to_steps, 0.0, steps).astype(jnp.uint32)
    key = (level << id_bits) | index[:, None, None].astype(jnp.uint32)
    slot = (v * width + u).astype(jnp.int32)
    slots.append(jnp.where(inside, slot, height * width).ravel())
    keys.append(key.ravel())
  overflow += (extent > smallest).sum(dtype=jnp.int32)

  buffer = jnp.full(height * width + 1, _EMPTY)
  buffer = buffer.at[jnp.concatenate(slots)].min(jnp.concatenate(keys), mode="drop")[:-1]
  covered = buffer != _EMPTY
  num_pixels = min(limits.pixels, height * width)
  overflow += jnp.maximum(covered.sum(dtype=jnp.int32) - num_pixels, 0)
  pixel = jnp.nonzero(covered, size=num_pixels, fill_value=height * width)[0].astype(jnp.int32)
  used = pixel < height * width
  found = buffer[jnp.minimum(pixel, height * width - 1)] & ((1 << id_bits) - 1)
  triangle = jnp.where(used, found.astype(jnp.int32), 0)
  rows = table[triangle]
  u, v = (pixel % width).astype(jnp.float32), (pixel // width).astype(jnp.float32)
  second, third, w = _evaluate(rows, u, v)
  weights = jnp.stack([1 - second - third, second, third], -1) * rows[:, 6:9]
  w = jnp.where(used, w, 1.0)
  barycentric = jnp.where(used[:, None], weights / w[:, None], 0.0)
  depth = jnp.where(used, 1 / w, jnp.inf)
  return Raster(pixel, triangle, barycentric, depth, overflow, corners.num_clipped)


class _Corners:
  """The corners of all triangles, gathered once: first corner, two edges, box, inverse depths."""

  def __init__(self, points, depth, triangles, near):
    behind = depth <= near
    safe = jnp.where(behind, 1.0, depth)
    rows = jnp.concatenate([points, (1 / safe)[:, None], behind[:, None].astype(points.dtype)], -1)
    first, second, third = (rows[triangles[:, k]] for k in range(3))
    self.a = first[:, :2]
    self.ab = second[:, :2] - self.a
    self.ac = third[:, :2] - self.a
    self.low = jnp.minimum(jnp.minimum(first, second), third)[:, :2]
    self.high = jnp.maximum(jnp.maximum(first, second), third)[:, :2]
    self.inverse_depth = jnp.stack([first[:, 2], second[:, 2], third[:, 2]], -1)
    self.clipped = (first[:, 3] + second[:, 3] + third[:, 3]) > 0
    self.num_clipped = self.clipped.sum(dtype=jnp.int32)


def _evaluate(table, u, v):
  """Screen-space weights of the second and third corner, and the inverse depth, at (u, v)."""
  du, dv = u - table[..., 0], v - table[..., 1]
  second = table[..., 2] * du + table[..., 3] * dv
  third = table[..., 4] * du + table[..., 5] * dv
  w0, w1, w2 = table[..., 6], table[..., 7], table[..., 8]
  return second, third, w0 + second * (w1 - w0) + third * (w2 - w0)
