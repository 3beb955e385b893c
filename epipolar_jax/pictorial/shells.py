"""The best places of all joints on one grid, for limb lengths that are known beforehand.

Which steps of the grid are about as long as a limb is then known when the program is made. For
every step to the left there is one to the right, so the largest value at any of them is found axis
by axis, in maxima over slices of one long row.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.pictorial import tree


def max_product(
  values: jax.Array,
  limb_length: np.ndarray,
  *,
  skeleton: skeletons.Skeleton,
  spacing: float,
  tolerance: float,
  floor: float,
) -> tuple[jax.Array, jax.Array]:
  """What `tree.max_product` finds when all joints have the same grid, faster.

  Args:
    values: [n³, j], of `unary.shared`; their logarithms are the scores.
    limb_length: [l], mm.
    skeleton: the tree.
    spacing: of the grid, mm.
    tolerance: mm.
    floor: least value.

  Returns:
    places: [j], int, in n³; of equals the first. 0 where nothing is possible.
    energy: [], the sum; -inf where nothing is possible.
  """
  size = round(len(values) ** (1 / 3))
  allowed = [_steps(length, size, spacing=spacing, tolerance=tolerance) for length in limb_length]
  reach = max(map(len, allowed)) - 1
  places = _layout(size, reach)
  strides = (size + reach) ** 2, size + reach, 1
  energy = list(_rows(values, places, floor))
  order = tree.leaves_first(skeleton)
  for limb in order:
    parent, child = skeleton.limbs[limb]
    best = _best_at_steps(energy[child], allowed[limb], strides, reach)
    energy[parent] = _add_inside(energy[parent], best)
  total = jnp.max(energy[skeleton.root])
  cells = {skeleton.root: jnp.argmax(energy[skeleton.root])}
  for limb in reversed(order):
    parent, child = skeleton.limbs[limb]
    cells[child] = _best_cell(energy[child], allowed[limb], cells[parent], strides)
  cells = jnp.stack([cells[joint] for joint in range(len(energy))])
  # Where nothing is possible a cell may be in a gap.
  return jnp.asarray(np.maximum(places, 0))[cells], total


def _steps(length: float, size: int, *, spacing: float, tolerance: float) -> np.ndarray:
  """Whether a step is as long as a limb, bool [m, m, m], by its parts without their signs.

  m is as small as possible, and 1 if no step is allowed.
  """
  low, high = (max(length + error, 0.0) / spacing for error in (-tolerance, tolerance))
  part = np.square(np.arange(size))
  squared = part[:, None, None] + part[:, None] + part
  allowed = (squared >= low * low) & (squared <= high * high)
  reach = max(np.nonzero(allowed)[0], default=0)
  return allowed[: reach + 1, : reach + 1, : reach + 1]


def _layout(size: int, reach: int) -> np.ndarray:
  """The place, in n³, in every cell of a row that holds a grid; -1 in gaps.

  The gaps are so wide that no step of up to `reach` along each axis leads to another line or plane:
  `reach` cells behind every line in z, as many lines behind every plane, and one plane more than
  that at both ends. A step down from a first place leads into the gap before.
  """
  places = np.arange(size**3).reshape(size, size, size)
  gaps = (reach + 1, reach + 1), (0, reach), (0, reach)
  return np.pad(places, gaps, constant_values=-1).reshape(-1)


def _rows(values: jax.Array, places: np.ndarray, floor: float) -> jax.Array:
  """Logarithms [j, c] of values [n³, j] in the cells of rows, -inf in gaps."""
  scores = jnp.log(jnp.maximum(values, floor))
  at = np.maximum(places, 0)[None, :], np.arange(values.shape[1])[:, None]
  scores = scores.at[at].get(mode="promise_in_bounds")
  return jnp.where(jnp.asarray(places >= 0)[None, :], scores, -jnp.inf)


def _best_at_steps(
  row: jax.Array, allowed: np.ndarray, strides: tuple[int, int, int], reach: int
) -> jax.Array:
  """The largest value at the allowed steps from every cell of a row but those at its ends.

  In gaps it is anything, which only gaps get to see.

  Args:
    row: [c].
    allowed: of `_steps`.
    strides: cells from a place to the next in x, y, z.
    reach: as many steps along every axis are cut off at each end.
  """
  edge = reach * sum(strides)
  if not allowed.any():
    return jnp.full(len(row) - 2 * edge, -jnp.inf, row.dtype)
  parts = range(len(allowed))
  spare = (reach - parts[-1]) * sum(strides)
  row = jax.lax.slice(row, (spare,), (len(row) - spare,))

  def both_ways(values, part, stride):
    """Values at a step up or down, shorter by the longest such step at both ends."""
    edge, length = parts[-1] * stride, len(values) - 2 * parts[-1] * stride
    starts = {edge + part * stride, edge - part * stride}
    return functools.reduce(
      jnp.maximum, [jax.lax.slice(values, (start,), (start + length,)) for start in sorted(starts)]
    )

  # Many steps in x and y go with the same steps in z.
  @functools.cache
  def along_z(z_parts):
    return functools.reduce(jnp.maximum, [both_ways(row, z, strides[2]) for z in z_parts])

  along_x = []
  for x in parts:
    z_parts = {y: tuple(np.flatnonzero(allowed[x, y]).tolist()) for y in parts}
    along_y = [both_ways(along_z(z), y, strides[1]) for y, z in z_parts.items() if z]
    if along_y:
      along_x.append(both_ways(functools.reduce(jnp.maximum, along_y), x, strides[0]))
  return functools.reduce(jnp.maximum, along_x)


def _add_inside(row: jax.Array, more: jax.Array) -> jax.Array:
  """A row with a shorter one added to its middle."""
  start = (len(row) - len(more)) // 2
  middle = jax.lax.slice(row, (start,), (start + len(more),))
  return jax.lax.dynamic_update_slice(row, middle + more, (start,))


def _best_cell(
  row: jax.Array, allowed: np.ndarray, cell: jax.Array, strides: tuple[int, int, int]
) -> jax.Array:
  """The cell of the largest value at the allowed steps from a cell; of equals the first."""
  if not allowed.any():
    return jnp.zeros_like(cell)
  parts = np.abs(np.arange(1 - len(allowed), len(allowed)))
  steps = np.argwhere(allowed[np.ix_(parts, parts, parts)]) - (len(allowed) - 1)
  cells = cell + jnp.asarray(steps @ np.array(strides), cell.dtype)
  return cells[jnp.argmax(row[cells])]
