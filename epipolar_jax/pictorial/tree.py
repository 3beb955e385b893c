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
      away are looked at instead of all pairs; the result is the same. `shells.max_product` is
      faster still, but has to know the lengths beforehand.

  Returns:
    joints: [j, 3], mm; of equals the first. Where nothing is possible, the first place.
    energy: [], the sum; -inf where nothing is possible.
  """
  lengths = jnp.asarray(limb_length, scores.dtype)
  low, high = jnp.square(jnp.maximum(lengths - tolerance, 0.0)), jnp.square(lengths + tolerance)
  search = _same_grid if same_grid else _all_pairs
  states, energy = search(scores, axes, low, high, skeleton)
  indices = jnp.stack(jnp.unravel_index(states, scores.shape[1:]), axis=1)
  return jnp.take_along_axis(axes, indices[:, :, None], axis=2)[:, :, 0], energy


def leaves_first(skeleton: skeletons.Skeleton) -> list[int]:
  """Numbers of the limbs, every limb after those that hang on its child."""

  def depth(joint: int) -> int:
    parent = skeleton.parents[joint]
    return 0 if parent < 0 else 1 + depth(parent)

  return sorted(range(len(skeleton.limbs)), key=lambda i: -depth(skeleton.limbs[i][1]))


def _all_pairs(scores, axes, low, high, skeleton):
  """States [j], numbers of places, and the energy []: limb by limb, every pair of places."""
  shape = scores.shape[1:]
  order = leaves_first(skeleton)
  # [j, 3, n³]: coordinates of all places in a row.
  points = jnp.stack(
    [
      jnp.broadcast_to(axes[:, i].reshape(-1, *np.roll((shape[0], 1, 1), i)), scores.shape)
      for i in range(3)
    ],
    axis=1,
  ).reshape(len(scores), 3, -1)
  energy = list(scores.reshape(len(scores), -1))

  def best(limb, at, child):
    """The child's energy where it is a limb's length from points `at` [3, m]; [m, n³]."""
    squared = sum(jnp.square(at[i][:, None] - points[child, i][None]) for i in range(3))
    possible = (squared >= low[limb]) & (squared <= high[limb])
    return jnp.where(possible, energy[child][None], -jnp.inf)

  # Written out: a loop over limbs as small as these spends most of its time on the loop.
  for limb in order:
    parent, child = skeleton.limbs[limb]
    energy[parent] += jnp.max(best(limb, points[parent], child), axis=1)
  states = {skeleton.root: jnp.argmax(energy[skeleton.root])}
  for limb in reversed(order):
    parent, child = skeleton.limbs[limb]
    at = points[parent, :, states[parent]][:, None]
    states[child] = jnp.argmax(best(limb, at, child)[0])
  return jnp.stack([states[j] for j in range(len(scores))]), jnp.max(energy[skeleton.root])


def _same_grid(scores, axes, low, high, skeleton):
  """As `_all_pairs`, for one grid; a loop over limbs."""
  shape = scores.shape[1:]
  order = np.array(leaves_first(skeleton))
  parents, children = (np.array(skeleton.limbs)[order, end] for end in (0, 1))
  # In steps of the grid all distances are whole: upward and downward agree to the last bit.
  squared_spacing = jnp.square(axes[0, 0, 1] - axes[0, 0, 0])
  low, high = low / squared_spacing, high / squared_spacing
  limbs = jnp.asarray(parents), jnp.asarray(children), low[order], high[order]

  def upward(energy, limb):
    parent, child, low, high = limb
    return energy.at[parent].add(_best_in_shell(energy[child], low, high)), None

  energy, _ = jax.lax.scan(upward, scores, limbs)

  def downward(states, limb):
    parent, child, low, high = limb
    at = jnp.stack(jnp.unravel_index(states[parent], shape))
    x, y, z = (jnp.square(jnp.arange(n) - at[i]) for i, n in enumerate(shape))
    squared = (x[:, None, None] + y[None, :, None] + z[None, None]).astype(low.dtype)
    possible = (squared >= low) & (squared <= high)
    state = jnp.argmax(jnp.where(possible, energy[child], -jnp.inf))
    return states.at[child].set(state), None

  states = jnp.zeros(skeleton.num_joints, jnp.int32)
  states = states.at[skeleton.root].set(jnp.argmax(energy[skeleton.root]))
  states, _ = jax.lax.scan(downward, states, limbs, reverse=True)
  return states, jnp.max(energy[skeleton.root])


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
