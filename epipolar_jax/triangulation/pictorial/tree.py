"""The best places of all joints together, on a tree of limbs (max-product)."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.triangulation.pictorial import shells


def max_product(
  scores: jax.Array,
  axes: jax.Array,
  limb_length: jax.Array | np.ndarray,
  *,
  skeleton: skeletons.Skeleton,
  tolerance: float,
  same_grid: bool = False,
  spacing: float | None = None,
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
    spacing: of that grid, mm. If it is given and the lengths are a NumPy array, it is known when
      the program is made how far a limb reaches, and how many places have to be looked at.

  Returns:
    joints: [j, 3], mm; of equals the first. Where nothing is possible, the first place.
    energy: [], the sum; -inf where nothing is possible.
  """
  known = same_grid and spacing is not None and isinstance(limb_length, np.ndarray)
  lengths = (np if known else jnp).asarray(limb_length, scores.dtype)
  shortest, longest = (lengths - tolerance).clip(0.0), lengths + tolerance
  if same_grid:
    # In steps of the grid all distances are whole: upward and downward agree to the last bit.
    step = spacing if known else axes[0, 0, 1] - axes[0, 0, 0]
    states, energy = _same_grid(scores, (shortest / step) ** 2, (longest / step) ** 2, skeleton)
  else:
    states, energy = _all_pairs(scores, axes, shortest**2, longest**2, skeleton)
  indices = jnp.stack(jnp.unravel_index(states, scores.shape[1:]), axis=1)
  return jnp.take_along_axis(axes, indices[:, :, None], axis=2)[:, :, 0], energy


def _all_pairs(
  scores: jax.Array,
  axes: jax.Array,
  low: jax.Array,
  high: jax.Array,
  skeleton: skeletons.Skeleton,
) -> tuple[jax.Array, jax.Array]:
  """Numbers of the best places [j] and the energy []; limb by limb, every pair of places.

  Args:
    scores, axes, skeleton: as in `max_product`.
    low, high: [l], mm², squared lengths that are allowed.
  """
  joints, size = axes.shape[0], axes.shape[-1]
  x, y, z = axes[:, 0, :, None, None], axes[:, 1, None, :, None], axes[:, 2, None, None, :]
  points = [jnp.broadcast_to(x, scores.shape).reshape(joints, size**3) for x in (x, y, z)]
  energy = list(scores.reshape(joints, size**3))

  def possible(limb, at):
    """The child's energy where it is a limb's length from points [m], else -inf; [m, n³]."""
    child = skeleton.limbs[limb][1]
    squared = sum(jnp.square(a[:, None] - b[child][None]) for a, b in zip(at, points))
    allowed = (squared >= low[limb]) & (squared <= high[limb])
    return jnp.where(allowed, energy[child][None], -jnp.inf)

  # Written out: a loop over limbs would cost more than what is done for one.
  order = _leaves_first(skeleton)
  for limb in order:
    parent = skeleton.limbs[limb][0]
    energy[parent] += jnp.max(possible(limb, [x[parent] for x in points]), axis=1)
  states = {skeleton.root: jnp.argmax(energy[skeleton.root])}
  for limb in reversed(order):
    parent, child = skeleton.limbs[limb]
    at = [x[parent, states[parent]][None] for x in points]
    states[child] = jnp.argmax(possible(limb, at)[0])
  return jnp.stack([states[j] for j in range(joints)]), jnp.max(energy[skeleton.root])


def _same_grid(
  scores: jax.Array,
  low: jax.Array | np.ndarray,
  high: jax.Array | np.ndarray,
  skeleton: skeletons.Skeleton,
) -> tuple[jax.Array, jax.Array]:
  """As `_all_pairs`, for one grid and in steps of it; NumPy's arrays are known beforehand."""
  reach = scores.shape[1] - 1
  if isinstance(high, np.ndarray):
    reach = min(reach, int(np.sqrt(high.max())))
  layout = shells.Layout(scores.shape[1], reach)
  order = _leaves_first(skeleton)
  parents, children = (jnp.asarray([skeleton.limbs[i][end] for i in order]) for end in (0, 1))
  each = [shells.shell(low[limb], high[limb], layout) for limb in order]
  limbs = parents, children, jax.tree.map(lambda *x: jnp.stack(x), *each)
  inside = slice(layout.edge, layout.length - layout.edge)

  def upward(rows, limb):
    parent, child, shell = limb
    best = shells.best_of_all(rows[child], shell, layout)
    return rows.at[parent, inside].add(best), None

  rows, _ = jax.lax.scan(upward, layout.rows(scores), limbs)

  def downward(cells, limb):
    parent, child, shell = limb
    cell = shells.best_of_one(rows[child], shell, cells[parent], layout)
    return cells.at[child].set(cell), None

  root = rows[skeleton.root]
  energy = jnp.max(root)
  cell = jnp.where(energy > -jnp.inf, jnp.argmax(root), layout.first)
  cells = jnp.full(skeleton.num_joints, layout.first, cell.dtype).at[skeleton.root].set(cell)
  cells, _ = jax.lax.scan(downward, cells, limbs, reverse=True)
  return jnp.asarray(layout.places)[cells], energy


def _leaves_first(skeleton: skeletons.Skeleton) -> list[int]:
  """Numbers of the limbs, every limb after those that hang on its child."""

  def depth(joint: int) -> int:
    parent = skeleton.parents[joint]
    return 0 if parent < 0 else 1 + depth(parent)

  return sorted(range(len(skeleton.limbs)), key=lambda i: -depth(skeleton.limbs[i][1]))
