"""A z-buffer in JAX: triangles in, the nearest triangle and its barycentric coordinates per pixel out.

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


_SMALL_IMAGE = (Tier(2, 8192), Tier(4, 2560), Tier(8, 512), Tier(16, 64), Tier(48, 8))
_LARGE_IMAGE = (Tier(2, 7680), Tier(4, 4608), Tier(8, 3072), Tier(16, 640), Tier(64, 32))


class Raster(NamedTuple):
  """What `rasterize` returns.

  Attributes:
    triangle: [h, w] int32, index of the nearest triangle, -1 where there is none.
    barycentric: [h, w, 3], weights of its corners, perspective-correct; 0 where there is none.
    depth: [h, w], depth along the optical axis, in the unit of the input; inf where there is none.
    overflow: [] int32, triangles that should have been drawn but found no room in any tier.
    clipped: [] int32, triangles dropped because a corner lies nearer than the near plane.
  """

  triangle: jax.Array
  barycentric: jax.Array
  depth: jax.Array
  overflow: jax.Array
  clipped: jax.Array


def default_tiers(size: int, num_triangles: int) -> tuple[Tier, ...]:
  """Tiers for one human body of `num_triangles` that fills an image of `size` pixels.

  Most of the 27,036 triangles of the body face away or hold no pixel centre: at 256 px some 5,300
  are drawn, half of them single pixels. Capacities are what was measured on four views, times 1.5
  to 2; windows grow with the image beyond 512 px.
  """
  plan = _SMALL_IMAGE if size <= 256 else _LARGE_IMAGE
  stretch = max(1.0, size / 512)
  share = max(1.0, num_triangles / 27036)
  return tuple(Tier(math.ceil(t.window * stretch), math.ceil(t.capacity * share)) for t in plan)


def grow(tiers: tuple[Tier, ...], factor: int) -> tuple[Tier, ...]:
  """Tiers with `factor` times the capacity, the last with `factor` times the window as well."""
  grown = [Tier(t.window, t.capacity * factor) for t in tiers]
  grown[-1] = Tier(tiers[-1].window * factor, tiers[-1].capacity * factor)
  return tuple(grown)


def rasterize(
  points: jax.Array,
  depth: jax.Array,
  triangles: jax.Array,
  *,
  size_hw: tuple[int, int],
  tiers: tuple[Tier, ...],
  near: float,
  cull: bool = True,
) -> Raster:
  """Finds the nearest triangle at every pixel centre.

  Args:
    points: [v, 2], (u, v) of the vertices in pixels; integers are pixel centres.
    depth: [v], their depth along the optical axis.
    triangles: [t, 3] int32, corners; counter-clockwise seen from outside, in world space.
    size_hw: (height, width) of the image.
    tiers: rising windows; each triangle goes to the first tier whose window holds its box.
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
  for tier in tiers:
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
  triangle = jnp.where(covered, (buffer & ((1 << id_bits) - 1)).astype(jnp.int32), -1)
  pixel = jnp.arange(height * width, dtype=jnp.int32)
  rows = table[jnp.maximum(triangle, 0)]
  u, v = (pixel % width).astype(jnp.float32), (pixel // width).astype(jnp.float32)
  second, third, w = _evaluate(rows, u, v)
  weights = jnp.stack([1 - second - third, second, third], -1) * rows[:, 6:9]
  w = jnp.where(covered, w, 1.0)
  barycentric = jnp.where(covered[:, None], weights / w[:, None], 0.0)
  shape = (height, width)
  return Raster(
    triangle.reshape(shape),
    barycentric.reshape(*shape, 3),
    jnp.where(covered, 1 / w, jnp.inf).reshape(shape),
    overflow,
    corners.num_clipped,
  )


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
