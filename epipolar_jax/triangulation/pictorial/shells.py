"""On a grid that all joints share: the best place a limb's length away, without trying all pairs.

The steps that are as long as a limb fill a shell. For each step in x and y those in z are one run
of neighbours, or two that mirror each other. The maximum over a run is that of two overlapping runs
whose length is a power of two, and those are tabled: some 100 looks instead of 4096. A grid lies in
one long row, so that every look is at a slice of that row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Runs that are looked at together: the best so far is read and written once for all of them.
_TOGETHER = 4


class Layout(NamedTuple):
  """How a grid lies in a row, with gaps so wide that no step leads to another line or plane.

  There are `reach` cells behind every line in z, as many lines behind every plane, and as many
  planes and one more at both ends. A step down from the first place leads into the gap before.

  Attributes:
    size: n, places along an axis.
    reach: the longest step along an axis.
  """

  size: int
  reach: int

  @property
  def strides(self) -> np.ndarray:
    """Cells from a place to the next in x, y, z."""
    side = self.size + self.reach
    return np.array([side * side, side, 1])

  @property
  def length(self) -> int:
    """c, cells of the row."""
    return (self.size + 2 * (self.reach + 1)) * int(self.strides[0])

  @property
  def edge(self) -> int:
    """Cells at either end from which a step may lead out of the row; they are gaps."""
    return self.reach * int(self.strides.sum())

  @property
  def places(self) -> np.ndarray:
    """The place [c], in n³, in every cell; -1 in gaps."""
    grid = np.arange(self.size**3).reshape(3 * (self.size,))
    ends, behind = 2 * (self.reach + 1,), (0, self.reach)
    return np.pad(grid, (ends, behind, behind), constant_values=-1).reshape(-1)

  @property
  def first(self) -> int:
    """The cell of the first place."""
    return (self.reach + 1) * int(self.strides[0])

  def rows(self, grids: jax.Array) -> jax.Array:
    """Grids [j, n, n, n] in rows [j, c]; -inf in gaps."""
    ends, behind = 2 * (self.reach + 1,), (0, self.reach)
    gaps = (0, 0), ends, behind, behind
    return jnp.pad(grids, gaps, constant_values=-jnp.inf).reshape(len(grids), -1)


class Shell(NamedTuple):
  """The steps of a length, in cells of a row.

  Attributes:
    low, high: [], the least and the largest square of the length, in steps of the grid.
    level: [m], logarithm to base 2 of the length of the two runs that make up a run.
    first, second: [m], the steps to where those start. Runs that are not empty come first.
    count: [], how many are not empty.
  """

  low: jax.Array
  high: jax.Array
  level: jax.Array
  first: jax.Array
  second: jax.Array
  count: jax.Array


def shell(low: jax.Array, high: jax.Array, layout: Layout) -> Shell:
  """The steps whose square is `low` to `high`, both []; made beforehand if these are NumPy's."""
  xp = np if isinstance(low, (np.ndarray, np.generic)) else jnp
  reach = layout.reach
  steps = np.arange(-reach, reach + 1)
  step_x, step_y = (x.reshape(-1) for x in np.meshgrid(steps, steps, indexing="ij"))
  up = np.arange(reach + 1)
  squared = step_x[:, None] ** 2 + step_y[:, None] ** 2 + up[None] ** 2
  allowed = (squared >= low) & (squared <= high)
  some = xp.any(allowed, axis=1)
  nearest, farthest = xp.argmax(allowed, axis=1), reach - xp.argmax(allowed[:, ::-1], axis=1)
  # One run through zero, or one above and one below.
  start = xp.concatenate([xp.where(nearest == 0, -farthest, nearest), -farthest])
  width = xp.concatenate([farthest, -nearest]) - start + 1
  full = xp.concatenate([some, some & (nearest > 0)])
  order = xp.argsort(~full, stable=True)
  powers = 2 ** np.arange(_levels(layout))
  level = xp.sum(width[:, None] >= powers[None, 1:], axis=1)
  sideways = xp.asarray(np.tile(step_x * layout.strides[0] + step_y * layout.strides[1], 2))
  first = sideways + start
  second = first + width - xp.asarray(powers)[level]
  return Shell(low, high, level[order], first[order], second[order], xp.sum(full))


def best_of_all(row: jax.Array, shell: Shell, layout: Layout) -> jax.Array:
  """The largest value of a row [c] at the steps of a shell from every cell, [c - 2 edge].

  Cells of the edges are left out. In gaps it is anything, and only gaps get to see it.
  """
  table = [row]
  for level in range(_levels(layout) - 1):
    # What is read beyond the end is not used: it is a gap, where no run starts.
    table.append(jnp.maximum(table[-1], jnp.roll(table[-1], -(2**level))))
  table = jnp.concatenate(table)
  length = len(row) - 2 * layout.edge

  def some_runs(i, best):
    for run in range(_TOGETHER):
      run = jnp.minimum(_TOGETHER * i + run, shell.count - 1)
      for step in (shell.first[run], shell.second[run]):
        start = shell.level[run] * len(row) + layout.edge + step
        best = jnp.maximum(best, jax.lax.dynamic_slice(table, (start,), (length,)))
    return best

  nothing = jnp.full(length, -jnp.inf, row.dtype)
  return jax.lax.fori_loop(0, (shell.count + _TOGETHER - 1) // _TOGETHER, some_runs, nothing)


def best_of_one(row: jax.Array, shell: Shell, cell: jax.Array, layout: Layout) -> jax.Array:
  """The cell with the largest value of a row at the steps of a shell from one place's cell.

  Of equals the first, and that of the first place where there is nothing but -inf.
  """
  parts = np.indices(3 * (2 * layout.reach + 1,)).reshape(3, -1) - layout.reach
  squared = jnp.asarray((parts**2).sum(axis=0))
  cells = cell + jnp.asarray(layout.strides @ parts, cell.dtype)
  allowed = (squared >= shell.low) & (squared <= shell.high)
  values = jnp.where(allowed, row[cells], -jnp.inf)
  best = jnp.argmax(values)
  return jnp.where(values[best] > -jnp.inf, cells[best], layout.first)


def _levels(layout: Layout) -> int:
  """Powers of two up to the longest run."""
  return (2 * layout.reach + 1).bit_length()
