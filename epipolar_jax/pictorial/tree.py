"""The best places of all joints together, on a tree of limbs (max-product)."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons


def max_product(
  scores: jax.Array,
  axes: jax.Array,
  limb_length: jax.Array,
  *,
  skeleton: skeletons.Skeleton,
  tolerance: float,
  same_grid: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """The places, one per joint, with the largest sum of scores whose limbs are long as they should.

  Args:
    scores: [j, n, n, n], may be -inf.
    axes: [j, 3, n], where those grids are, mm; evenly spaced.
    limb_length: [l], mm.
    skeleton: the tree.
    tolerance: mm.
    same_grid: promises that all joints have the first one's grid. Then only places a limb's length
      away are looked at instead of all pairs; the result is the same.

  Returns:
    joints: [j, 3], mm; of equals the first. Where nothing is possible, the first place.
    energy: [], the sum; -inf where nothing is possible.
  """
  order = _leaves_first(skeleton)
  parents, children = (np.array([skeleton.limbs[i][end] for i in order]) for end in (0, 1))
  lengths = limb_length[np.array(order)]
  low, high = jnp.square(jnp.maximum(lengths - tolerance, 0.0)), jnp.square(lengths + tolerance)
  shape = scores.shape[1:]
  steps = axes
  if same_grid:
    # In steps of the grid all distances are whole: upward and downward agree to the last bit.
    spacing = axes[0, 0, 1] - axes[0, 0, 0]
    low, high = low / jnp.square(spacing), high / jnp.square(spacing)
    steps = jnp.broadcast_to(jnp.arange(shape[0], dtype=axes.dtype), axes.shape)
  limbs = jnp.asarray(parents), jnp.asarray(children), low, high

  def upward(energy, limb):
    parent, child, low, high = limb
    if same_grid:
      best = _best_in_shell(energy[child], low, high)
    else:
      # All pairs of places, [x y z of the parent, x y z of the child]; fused, never in memory.
      squares = [jnp.square(steps[parent, i, :, None] - steps[child, i, None, :]) for i in range(3)]
      possible = _shell(squares, low, high)
      each = jnp.where(possible, energy[child][None, None, None], -jnp.inf)
      best = jnp.max(each, axis=(3, 4, 5))
    return energy.at[parent].add(best), None

  energy, _ = jax.lax.scan(upward, scores, limbs)

  def place(grid, state):
    indices = jnp.stack(jnp.unravel_index(state, shape))
    return jnp.take_along_axis(grid, indices[:, None], axis=1)[:, 0]

  def downward(states, limb):
    parent, child, low, high = limb
    at = place(steps[parent], states[parent])
    squares = [jnp.square(at[i] - steps[child, i])[None, :] for i in range(3)]
    possible = _shell(squares, low, high)[0, 0, 0]
    state = jnp.argmax(jnp.where(possible, energy[child], -jnp.inf))
    return states.at[child].set(state), None

  states = jnp.zeros(skeleton.num_joints, jnp.int32)
  states = states.at[skeleton.root].set(jnp.argmax(energy[skeleton.root]))
  states, _ = jax.lax.scan(downward, states, limbs, reverse=True)
  return jax.vmap(place)(axes, states), jnp.max(energy[skeleton.root])


def _shell(squares: list[jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
  """Whether squared distances, given per axis as [p, c], lie between two numbers; [p p p c c c]."""
  x, y, z = squares
  x, y, z = x[:, None, None, :, None, None], y[:, None, None, :, None], z[:, None, None, :]
  squared = x + y[None] + z[None, None]
  return (squared >= low) & (squared <= high)


def _best_in_shell(energy: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
  """For every place the largest energy at a squared distance of `low` to `high`, [n, n, n].

  For each step in x and y the steps in z that are allowed are one run, or two that mirror each
  other. The maximum over a run is that of two overlapping runs whose length is a power of two, and
  those are tabled: so a slice of the grid is looked at some 100 times instead of 4096.

  Args:
    energy: [n, n, n].
    low, high: [], in squared steps of the grid.
  """
  size = energy.shape[0]
  step_x, step_y, start, width, count = _runs(size, low, high)
  margin = size - 1
  table = [jnp.pad(energy, margin, constant_values=-jnp.inf)]
  for level in range(int(2 * size - 1).bit_length() - 1):
    shifted = table[-1][:, :, 2**level :]
    shifted = jnp.pad(shifted, ((0, 0), (0, 0), (0, 2**level)), constant_values=-jnp.inf)
    table.append(jnp.maximum(table[-1], shifted))
  table = jnp.stack(table)
  powers = 2 ** jnp.arange(len(table))
  level = jnp.sum(width[:, None] >= powers[None, 1:], axis=1)
  second = start + width - powers[level]

  def one_run(i, best):
    def run(z):
      corner = level[i], margin + step_x[i], margin + step_y[i], margin + z
      return jax.lax.dynamic_slice(table, corner, (1, size, size, size))[0]

    return jnp.maximum(best, jnp.maximum(run(start[i]), run(second[i])))

  return jax.lax.fori_loop(0, count, one_run, jnp.full_like(energy, -jnp.inf))


def _runs(size: int, low: jax.Array, high: jax.Array) -> tuple[jax.Array, ...]:
  """Runs of steps in z at a squared distance of `low` to `high`, those that are not empty first.

  Returns:
    step_x, step_y, start, width: [m], int.
    count: [], how many are not empty.
  """
  steps = np.arange(1 - size, size)
  step_x, step_y = (x.reshape(-1) for x in np.meshgrid(steps, steps, indexing="ij"))
  up = np.arange(size)
  squared = jnp.asarray(step_x[:, None] ** 2 + step_y[:, None] ** 2 + up[None] ** 2, low.dtype)
  allowed = (squared >= low) & (squared <= high)
  some = jnp.any(allowed, axis=1)
  first, last = jnp.argmax(allowed, axis=1), size - 1 - jnp.argmax(allowed[:, ::-1], axis=1)
  # One run through zero, or one above and one below.
  start = jnp.concatenate([jnp.where(first == 0, -last, first), -last])
  width = jnp.concatenate([last, -first]) - start + 1
  full = jnp.concatenate([some, some & (first > 0)])
  order = jnp.argsort(~full, stable=True)
  both = (jnp.asarray(np.tile(x, 2)) for x in (step_x, step_y))
  return *(x[order] for x in (*both, start, width)), jnp.sum(full)


def _leaves_first(skeleton: skeletons.Skeleton) -> list[int]:
  """Numbers of the limbs, every limb after those that hang on its child."""

  def depth(joint: int) -> int:
    parent = skeleton.parents[joint]
    return 0 if parent < 0 else 1 + depth(parent)

  return sorted(range(len(skeleton.limbs)), key=lambda i: -depth(skeleton.limbs[i][1]))
