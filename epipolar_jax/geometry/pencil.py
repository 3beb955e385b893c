"""The pencil of epipolar lines of one view, indexed along the border of its map.

All pixels of one epipolar line share their line in the other view. Whatever depends on the line
alone is worked out once for each border pixel (4·64 lines, not 64² pixels) and looked up for the
others, between two lines that are at most a pixel apart.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg, sampling


def border_points(size_wh: tuple[int, int]) -> jax.Array:
  """(u, v) [n, 2] of the n = 2 (w + h - 2) border pixels, clockwise from the first one."""
  width, height = size_wh
  u, v = jnp.arange(width - 1.0), jnp.arange(height - 1.0)
  sides = (
    (u, jnp.zeros_like(u)),
    (jnp.full_like(v, width - 1.0), v),
    (width - 1.0 - u, jnp.full_like(u, height - 1.0)),
    (jnp.zeros_like(v), height - 1.0 - v),
  )
  return jnp.concatenate([jnp.stack(side, axis=-1) for side in sides])


def border_coordinate(
  point: jax.Array, epipole: jax.Array, *, size_wh: tuple[int, int]
) -> jax.Array:
  """Where the ray from the epipole through a point leaves the map, as an index of `border_points`.

  The ray, not the line: an epipole in the map splits lines in two, and of an epipole outside the
  farther border is taken, where neighbouring lines are farthest apart. Single point; vmap it.

  Args:
    point: [2], (u, v) in the map.
    epipole: [3], homogeneous, of positive last element in front of the camera; at infinity or zero
      it is a direction like any other.
    size_wh: (width, height) of the map.

  Returns:
    [], in 0 <= . < n, fractional; any value for a point on the epipole.
  """
  width, height = size_wh
  sign = jnp.where(epipole[2] < 0, -1.0, 1.0)
  direction = sign * (epipole[2] * point - epipole[:2])
  length = linalg.safe_norm(direction)
  direction = jnp.where(length > 0, direction / jnp.where(length > 0, length, 1.0), 1.0)
  limit = jnp.where(direction > 0, jnp.array([width - 1.0, height - 1.0]), 0.0)
  steep = jnp.abs(direction) > 1e-9
  way = jnp.where(steep, (limit - point) / jnp.where(steep, direction, 1.0), jnp.inf)
  u, v = point + jnp.min(way) * direction
  u, v = jnp.clip(u, 0.0, width - 1.0), jnp.clip(v, 0.0, height - 1.0)
  vertical = way[0] < way[1]
  right = width - 1.0
  bottom = right + height - 1.0
  index = jnp.where(
    vertical,
    jnp.where(direction[0] > 0, right + v, right + bottom + (height - 1.0 - v)),
    jnp.where(direction[1] > 0, bottom + (width - 1.0 - u), u),
  )
  return index % (2.0 * bottom)


def look_up(values: jax.Array, coordinate: jax.Array, *, products: bool = False) -> jax.Array:
  """Values of the lines, between two of them.

  Args:
    values: [n, c] of the lines through `border_points`.
    coordinate: [p], of `border_coordinate`; anything is taken modulo n.
    products: multiplies by weights instead of gathering, for TPUs.

  Returns:
    [p, c].
  """
  count = values.shape[0]
  floor = jnp.floor(coordinate)
  share = (coordinate - floor)[:, None]
  first = floor.astype(jnp.int32) % count
  if products:
    # n + 1 lines: the first one once more, at the end.
    weight = sampling.hat(first + share[:, 0], size=count + 1)
    return linalg.einsum("pn,nc->pc", weight, jnp.concatenate([values, values[:1]]))
  return values[first] * (1.0 - share) + values[(first + 1) % count] * share
