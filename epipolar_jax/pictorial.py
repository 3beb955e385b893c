"""A whole pose from heatmaps: the recursive pictorial structure model. One frame; vmap it.

Every joint has a grid of places in the room. A pose is worth the product of its joints' heatmap
values, and is possible only if every limb is about as long as it should be. The best pose on the
skeleton's tree is found exactly (max-product); then every joint gets a finer grid around its place.

Qiu et al., Cross View Fusion for 3D Human Pose Estimation, ICCV 2019, section 4.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import heatmaps as maps
from epipolar_jax import skeletons
from epipolar_jax.geometry import cameras, sampling


class Pose(NamedTuple):
  """One pose.

  Attributes:
    joints: [j, 3], world, mm; finite also when not valid.
    energy: [], log of the product of the heatmap values; -inf when no pose is possible.
    valid: [], bool, False when no pose on the first grid has limbs of the right lengths.
  """

  joints: jax.Array
  energy: jax.Array
  valid: jax.Array


def rpsm(
  heatmaps: jax.Array,
  intrinsics: jax.Array,
  rotation: jax.Array,
  translation: jax.Array,
  *,
  center: jax.Array,
  limb_length: jax.Array,
  skeleton: skeletons.Skeleton,
  stride: int,
  weight: jax.Array | None = None,
  first_limb_length: jax.Array | None = None,
  grid_size_mm: float = 2000.0,
  first_bins: int = 16,
  bins: int = 3,
  depth: int = 8,
  tolerance_mm: float = 150.0,
  floor: float = 1e-6,
  reference: bool = False,
  align_corners: bool = True,
) -> Pose:
  """Finds the best pose, coarse to fine.

  Values between map pixels are bilinear, so every view likes whole map pixels best: exact maps with
  a stride of 4 come back with 12 mm of error. The strength is another: choosing among peaks that
  only together make a person.

  The reference's protocol: `reference=True, floor=0, bins=2, depth=10`, the true root as `center`
  and the true limb lengths as `limb_length`.

  Args:
    heatmaps: [v, j, h, w], at least 0; what a joint gets is their sum over the views.
    intrinsics: [v, 3, 3], K of the image pixels the maps were made from.
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw, mm.
    center: [3], world, mm, middle of the first grid: the triangulated root.
    limb_length: [l], mm, in the order of `skeleton.limbs`.
    skeleton: the tree.
    stride: image pixels per map pixel.
    weight: [v], at least 0, factor of each view's maps; 0 for a view that is missing. None: ones.
    first_limb_length: [l], mm, lengths for the first grid alone; the reference takes the average
      person's there. None: `limb_length`.
    grid_size_mm: side of the first grid; its outermost points are on the border.
    first_bins: points along a side of the first grid; all pairs of them are looked at,
      first_bins⁶ for every limb.
    bins: points along a side of the finer grids, at least 3: one to stay on and one either way. The
      reference has 2.
    depth: number of finer grids. Their sides: twice the spacing of the first grid, then half each
      time; `reference`: grid_size_mm / first_bins, then the bins-th part each time.
    tolerance_mm: largest difference between a limb and its length.
    floor: least value of a joint: one that no view sees follows from its limbs.
    reference: reproduces the reference, which looks up the maps at uv / stride (1.5 px off for a
      stride of 4) with height and width confused, has other finer grids, and moves to the first
      corner of one on which no pose is possible; ours stays.
    align_corners: which PyTorch, for `reference`: True up to 1.2, False from 1.3.

  Returns:
    The pose, on the last grid: a millimetre apart with the defaults.

  Raises:
    ValueError: fewer points along a side than a grid needs.
  """
  least = 2 if reference else 3
  if bins < least or first_bins < 2:
    raise ValueError(f"needs bins >= {least} and first_bins >= 2, got {bins} and {first_bins}")
  views = heatmaps.shape[0]
  weight = jnp.ones(views, heatmaps.dtype) if weight is None else weight
  look_up = functools.partial(
    unary, stride=stride, reference=reference, align_corners=align_corners
  )

  def best_pose(centers, size, num_bins, lengths):
    axes = grid_axes(centers, size, num_bins)
    values = look_up(heatmaps, intrinsics, rotation, translation, weight, axes)
    scores = jnp.log(jnp.maximum(values, floor))
    return max_product(scores, axes, lengths, skeleton=skeleton, tolerance=tolerance_mm)

  def refine(pose, size):
    joints, energy = best_pose(pose.joints, size, bins, limb_length)
    possible = energy > -jnp.inf
    if not reference:
      joints = jnp.where(possible, joints, pose.joints)
      energy = jnp.where(possible, energy, pose.energy)
    return Pose(joints, energy, pose.valid), None

  centers = jnp.tile(center[None, :], (skeleton.num_joints, 1))
  first = limb_length if first_limb_length is None else first_limb_length
  size = jnp.asarray(grid_size_mm, center.dtype)
  joints, energy = best_pose(centers, size, first_bins, first)
  sizes = _finer_sizes(grid_size_mm, first_bins, bins, depth, reference)
  pose = Pose(joints, energy, energy > -jnp.inf)
  return jax.lax.scan(refine, pose, jnp.asarray(sizes, center.dtype))[0]


def _finer_sizes(
  grid_size_mm: float, first_bins: int, bins: int, depth: int, reference: bool
) -> np.ndarray:
  """Sides [depth] of the finer grids.

  Ours reaches the neighbouring places of the first grid, and halves. The reference's are smaller
  than the gaps they have to fill and have no point in the middle, so every level must move.
  """
  if reference:
    return grid_size_mm / first_bins / float(bins) ** np.arange(depth)
  return 2.0 * grid_size_mm / (first_bins - 1) / 2.0 ** np.arange(depth)


def grid_axes(centers: jax.Array, size: jax.Array, num_bins: int) -> jax.Array:
  """Coordinates of a cubic grid around every joint: centers [j, 3], side [] -> [j, 3, n]."""
  offsets = jnp.linspace(-0.5, 0.5, num_bins, dtype=centers.dtype) * size
  return centers[:, :, None] + offsets[None, None, :]


def unary(
  heatmaps: jax.Array,
  intrinsics: jax.Array,
  rotation: jax.Array,
  translation: jax.Array,
  weight: jax.Array,
  axes: jax.Array,
  *,
  stride: int,
  reference: bool = False,
  align_corners: bool = True,
) -> jax.Array:
  """Σ over views of the heatmap value at the image of every grid point.

  Args:
    heatmaps, intrinsics, rotation, translation, stride, reference, align_corners: as in `rpsm`.
    weight: [v].
    axes: [j, 3, n], of `grid_axes`.

  Returns:
    [j, n, n, n], indexed x, y, z. Points behind a camera or outside its image get nothing from it.
  """
  height, width = heatmaps.shape[2:]
  size = jnp.array([width, height], axes.dtype)

  def to_map(uv):
    if not reference:
      return maps.image_to_map(uv, stride=stride)
    share = uv / stride / jnp.broadcast_to(size[::-1] - 1.0, uv.shape)
    edges = (size - 1.0, 0.0) if align_corners else (size, 0.5)
    return share * jnp.broadcast_to(edges[0], uv.shape) - edges[1]

  def in_view(heatmap, k, r, t, weight, points):
    at = to_map(cameras.project(points, k, r, t))
    value = sampling.bilinear(heatmap[:, :, None], at)[:, 0]
    seen = (cameras.depth(points, r, t) > 0) & (weight > 0)
    return jnp.where(seen, weight * value, 0.0)

  def of_joint(heatmap, axes):
    points = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)
    each = jax.vmap(in_view, (0, 0, 0, 0, 0, None))
    values = each(heatmap, intrinsics, rotation, translation, weight, points.reshape(-1, 3))
    return jnp.sum(values, axis=0).reshape(points.shape[:3])

  return jax.vmap(of_joint, (1, 0))(heatmaps, axes)


def max_product(
  scores: jax.Array,
  axes: jax.Array,
  limb_length: jax.Array,
  *,
  skeleton: skeletons.Skeleton,
  tolerance: float,
) -> tuple[jax.Array, jax.Array]:
  """The places, one per joint, with the largest sum of scores whose limbs are long as they should.

  Args:
    scores: [j, n, n, n], may be -inf.
    axes: [j, 3, n], where those grids are, mm.
    limb_length: [l], mm.
    skeleton: the tree.
    tolerance: mm.

  Returns:
    joints: [j, 3], mm; of equals the first. Where nothing is possible, the first place.
    energy: [], the sum; -inf where nothing is possible.
  """
  order = _leaves_first(skeleton)
  parents, children = (np.array([skeleton.limbs[i][end] for i in order]) for end in (0, 1))
  lengths = limb_length[np.array(order)]
  low, high = jnp.square(jnp.maximum(lengths - tolerance, 0.0)), jnp.square(lengths + tolerance)
  limbs = jnp.asarray(parents), jnp.asarray(children), low, high

  def upward(energy, limb):
    parent, child, low, high = limb
    # All pairs of places, [x y z of the parent, x y z of the child]; fused, never in memory.
    squares = [jnp.square(axes[parent, i, :, None] - axes[child, i, None, :]) for i in range(3)]
    possible = _shell(squares, low, high)
    best = jnp.max(jnp.where(possible, energy[child][None, None, None], -jnp.inf), axis=(3, 4, 5))
    return energy.at[parent].add(best), None

  energy, _ = jax.lax.scan(upward, scores, limbs)
  shape = scores.shape[1:]

  def place(joint, state):
    indices = jnp.stack(jnp.unravel_index(state, shape))
    return jnp.take_along_axis(axes[joint], indices[:, None], axis=1)[:, 0]

  def downward(states, limb):
    parent, child, low, high = limb
    at = place(parent, states[parent])
    squares = [jnp.square(at[i] - axes[child, i])[None, :] for i in range(3)]
    possible = _shell(squares, low, high)[0, 0, 0]
    state = jnp.argmax(jnp.where(possible, energy[child], -jnp.inf))
    return states.at[child].set(state), None

  states = jnp.zeros(skeleton.num_joints, jnp.int32)
  states = states.at[skeleton.root].set(jnp.argmax(energy[skeleton.root]))
  states, _ = jax.lax.scan(downward, states, limbs, reverse=True)
  joints = jax.vmap(place)(jnp.arange(skeleton.num_joints), states)
  return joints, jnp.max(energy[skeleton.root])


def _shell(squares: list[jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
  """Whether squared distances, given per axis as [p, c], lie between two numbers; [p p p c c c]."""
  x, y, z = squares
  x, y, z = x[:, None, None, :, None, None], y[:, None, None, :, None], z[:, None, None, :]
  squared = x + y[None] + z[None, None]
  return (squared >= low) & (squared <= high)


def _leaves_first(skeleton: skeletons.Skeleton) -> list[int]:
  """Numbers of the limbs, every limb after those that hang on its child."""

  def depth(joint: int) -> int:
    parent = skeleton.parents[joint]
    return 0 if parent < 0 else 1 + depth(parent)

  return sorted(range(len(skeleton.limbs)), key=lambda i: -depth(skeleton.limbs[i][1]))
