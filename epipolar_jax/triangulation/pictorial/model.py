"""A whole pose from heatmaps: the recursive pictorial structure model. One frame; vmap it.

Every joint has a grid of places in the room. A pose is worth the product of its joints' heatmap
values, and is possible only if every limb is about as long as it should be. The best pose on the
skeleton's tree is found exactly (max-product); then every joint gets a finer grid around its place.

Qiu et al., Cross View Fusion for 3D Human Pose Estimation, ICCV 2019, section 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.triangulation.pictorial import tree, unary


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
  cameras: Cameras,
  *,
  center: jax.Array,
  limb_length: jax.Array | np.ndarray,
  skeleton: skeletons.Skeleton,
  stride: int,
  weight: jax.Array | None = None,
  first_limb_length: jax.Array | np.ndarray | None = None,
  grid_size_mm: float = 2000.0,
  first_bins: int = 16,
  bins: int = 3,
  depth: int = 8,
  tolerance_mm: float = 150.0,
  floor: float = 1e-6,
  original: bool = False,
  align_corners: bool = True,
) -> Pose:
  """Finds the best pose, coarse to fine.

  Its strength is choosing among peaks that only together make a person. The first grid is looked up
  bilinearly, the finer ones cubically: bilinear maps are largest on whole map pixels, which costs
  12 mm on exact maps with a stride of 4 (and the original 15).

  The original's protocol: `original=True, floor=0, bins=2, depth=10`, the true root as `center`
  and the true limb lengths as `limb_length`.

  Args:
    heatmaps: [v, j, h, w], at least 0, 4 x 4 pixels or more; what a joint gets is their sum over
      the views.
    cameras: [v], of the image pixels the maps were made from, t_cw in mm.
    center: [3], world, mm, middle of the first grid: the triangulated root.
    limb_length: [l], mm, in the order of `skeleton.limbs`. A NumPy array makes the first grid fast:
      how far limbs reach is then known when the program is made.
    skeleton: the tree.
    stride: image pixels per map pixel.
    weight: [v], at least 0, factor of each view's maps; 0 for a view that is missing. None: ones.
    first_limb_length: [l], mm, lengths for the first grid alone; the original takes the average
      person's there. None: `limb_length`.
    grid_size_mm: side of the first grid; its outermost points are on the border.
    first_bins: points along a side of the first grid.
    bins: points along a side of the finer grids, at least 3: one to stay on and one either way. The
      original has 2.
    depth: number of finer grids. Their sides: twice the spacing of the first grid, then half each
      time; `original`: grid_size_mm / first_bins, then the bins-th part each time.
    tolerance_mm: largest difference between a limb and its length.
    floor: least value of a joint: one that no view sees follows from its limbs.
    original: True reproduces the original, which looks up the maps at uv / stride (1.5 px off for a
      stride of 4) with height and width confused, has other finer grids, and moves to the first
      corner of one on which no pose is possible; ours stays.
    align_corners: which PyTorch, for `original`: True up to 1.2, False from 1.3.

  Returns:
    The pose, on the last grid: a millimetre apart with the defaults.

  Raises:
    ValueError: fewer points along a side than a grid needs.
  """
  least = 2 if original else 3
  if bins < least or first_bins < 2:
    raise ValueError(f"needs bins >= {least} and first_bins >= 2, got {bins} and {first_bins}")
  views = heatmaps.shape[0]
  weight = jnp.ones(views, heatmaps.dtype) if weight is None else weight
  arguments = heatmaps, cameras, weight
  look_up = {"stride": stride, "original": original, "align_corners": align_corners}

  def best_pose(axes, lengths, smooth=False, **grid):
    same_grid = bool(grid)
    values = unary.unary(*arguments, axes, smooth=smooth, same_grid=same_grid, **look_up)
    scores = jnp.log(jnp.maximum(values, floor))
    limbs = {"skeleton": skeleton, "tolerance": tolerance_mm}
    return tree.max_product(scores, axes, lengths, same_grid=same_grid, **limbs, **grid)

  def refine(pose, size):
    axes = unary.grid_axes(pose.joints, size, bins)
    joints, energy = best_pose(axes, limb_length, smooth=not original)
    possible = energy > -jnp.inf
    if not original:
      joints = jnp.where(possible, joints, pose.joints)
      energy = jnp.where(possible, energy, pose.energy)
    return Pose(joints, energy, pose.valid), None

  centers = jnp.tile(center[None, :], (skeleton.num_joints, 1))
  axes = unary.grid_axes(centers, jnp.asarray(grid_size_mm, center.dtype), first_bins)
  lengths = limb_length if first_limb_length is None else first_limb_length
  joints, energy = best_pose(axes, lengths, spacing=grid_size_mm / (first_bins - 1))
  sizes = _finer_sizes(grid_size_mm, first_bins, bins, depth, original)
  pose = Pose(joints, energy, energy > -jnp.inf)
  return jax.lax.scan(refine, pose, jnp.asarray(sizes, center.dtype))[0]


def _finer_sizes(
  grid_size_mm: float, first_bins: int, bins: int, depth: int, original: bool
) -> np.ndarray:
  """Sides [depth] of the finer grids.

  Ours reaches the neighbouring places of the first grid, and halves. The original's are smaller
  than the gaps they have to fill and have no point in the middle, so every level must move.
  """
  if original:
    return grid_size_mm / first_bins / float(bins) ** np.arange(depth)
  return 2.0 * grid_size_mm / (first_bins - 1) / 2.0 ** np.arange(depth)
