"""`rpsm` as a method of the table: its grid is placed by `robust`, frames are taken in blocks."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry import linalg
from epipolar_jax.triangulation import frames as frames_lib
from epipolar_jax.triangulation.pictorial import model
from epipolar_jax.triangulation.views import Joints, Views

# Frames that `rpsm` takes at a time.
_BLOCK_CPU, _BLOCK = 16, 128


def make_pictorial(
  *,
  skeleton: skeletons.Skeleton,
  stride: int,
  limb_length: Sequence[float] | None,
  tolerance_px: float,
) -> Callable[[Views], Joints]:
  """The pictorial structure model; its grid is centred on the root, or on the other joints.

  Not valid when no joint at all can be triangulated. Takes some frames at a time, a few megabytes
  each: enough for all cores, few enough for their caches or for the accelerator's memory. A view is
  an inlier where its 2D joint lies near the projected one.
  """
  number = None if limb_length is None else len(limb_length)
  if number != len(skeleton.limbs):
    raise ValueError(
      f"rpsm needs {len(skeleton.limbs)} limb lengths of {skeleton.name}, got {number}; "
      "learn them with python -m epipolar_jax.tools.limb_priors"
    )
  lengths = np.asarray(limb_length, np.float32)
  triangulate = frames_lib.make_robust(tolerance_px)

  def one_frame(frame_and_found: tuple[Views, Joints]) -> Joints:
    frame, found = frame_and_found
    number = jnp.maximum(jnp.sum(found.valid), 1)
    middle = jnp.sum(jnp.where(found.valid[:, None], found.points, 0.0), axis=0) / number
    root = jnp.where(found.valid[skeleton.root], found.points[skeleton.root], middle)
    placed = jnp.any(found.valid)
    if frame.root is not None:
      root, placed = frame.root, jnp.ones((), bool)
    pose = model.rpsm(
      frame.heatmaps,
      frame.cameras,
      center=root,
      limb_length=lengths,
      skeleton=skeleton,
      stride=stride,
      grid_size_mm=skeleton.size_mm,
      tolerance_mm=0.075 * skeleton.size_mm,
    )
    valid = jnp.broadcast_to(pose.valid & placed, found.valid.shape)
    off = linalg.safe_norm(frame.cameras.project(pose.joints) - frame.joints_2d)
    agreement = 1.0 / (1.0 + (off / tolerance_px) ** 4)
    seen = (frame.score > 0) & jnp.all(jnp.isfinite(frame.joints_2d), axis=-1) & valid[None]
    inlier = jnp.where(seen, agreement, 0.0)
    return Joints(jnp.where(valid[:, None], pose.joints, 0.0), valid, inlier)

  def in_blocks(size):
    return lambda *frames: jax.lax.map(one_frame, frames, batch_size=size)

  def locate(views: Views) -> Joints:
    frames = views, triangulate(views)
    if not isinstance(views.joints_2d.shape[0], int):  # any number, in an exported program
      return jax.vmap(one_frame)(frames)
    return jax.lax.platform_dependent(*frames, cpu=in_blocks(_BLOCK_CPU), default=in_blocks(_BLOCK))

  return locate
