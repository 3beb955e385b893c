"""What a method of triangulation takes and returns, and the map over the joints of a batch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import cameras as cameras_lib


class Views(NamedTuple):
  """2D joints of b frames, and whatever else a method needs.

  Attributes:
    joints_2d: [b, v, j, 2], px; NaN is as good as a score of 0.
    score: [b, v, j]; weights a view in `dlt` and `robust`, chooses views in the original's methods;
      0 or less: the view did not see the joint.
    cameras: [b, v], of those pixels, t_cw in mm; within a few km of the world's origin, since they
      become float32 (`triangulate` moves the origin first, in float64).
    match: [b, v, j, 2], px in the neighbour's image, the best match of the epipolar attention;
      needed by `epipolar` and `epipolar_dlt`.
    neighbour: [b, v], int, the view that each view attended to; likewise.
    heatmaps: [b, v, j, h, w], at least 0; needed by `rpsm`.
    root: [b, 3], world, mm, middle of the grid of `rpsm`; None: triangulated.
  """

  joints_2d: jax.Array
  score: jax.Array
  cameras: cameras_lib.Cameras
  match: jax.Array | None = None
  neighbour: jax.Array | None = None
  heatmaps: jax.Array | None = None
  root: jax.Array | None = None


class Joints(NamedTuple):
  """Joints of b frames.

  Attributes:
    points: [b, j, 3], world, mm; finite also when not valid.
    valid: [b, j], bool.
    inlier: [b, v, j], 0..1, how much each view agrees with the point; 0 for a view that did not see
      the joint or was not used, and where not valid.
  """

  points: jax.Array
  valid: jax.Array
  inlier: jax.Array


def each_joint(one: Callable[..., tuple[jax.Array, ...]]) -> Callable[..., Joints]:
  """A function of one joint (points [v, 2], score [v], match [v, 2], frame) for all of a batch.

  Further arguments are [b, ...], those of a frame, and [b, j, ...], those of a joint. It returns
  the fields of `Joints` of the one joint: [3], [], [v].

  Joints outside and frames inside: so the frames, which are many, are the innermost loops, and what
  all joints of a frame share is computed once.
  """

  def locate(views: Views, of_frame: tuple = (), of_joint: tuple = ()) -> Joints:
    match = jnp.zeros_like(views.joints_2d) if views.match is None else views.match
    frame = views._replace(joints_2d=None, score=None, match=None, heatmaps=None, root=None)
    joints_2d, score, match = jax.tree.map(_frames_last, (views.joints_2d, views.score, match))
    # A peak may be below zero in the parity decoder; such a view does not count.
    here = joints_2d, jnp.maximum(score, 0.0), match
    shared = jax.tree.map(_frames_last, (frame, *of_frame))
    own = jax.tree.map(_frames_last, of_joint)
    axes = (*(1 for _ in here), *(None for _ in shared), *(0 for _ in own))
    each_frame = jax.vmap(one, in_axes=-1, out_axes=-1)
    found = Joints(*jax.vmap(each_frame, in_axes=axes)(*here, *shared, *own))
    number = views.score.shape[0]
    found = jax.tree.map(lambda x: jnp.moveaxis(x[..., :number], -1, 0), found)
    return found._replace(inlier=jnp.swapaxes(found.inlier, 1, 2))

  return locate


def _frames_last(x: jax.Array) -> jax.Array:
  """[b, ...] to [..., b], or a few more frames: the first ones again.

  Arrays whose rows lie a multiple of 4 KB apart compete for the same sets of a CPU's L1 cache. The
  loops over frames read dozens of arrays side by side, so power-of-two strides evict each other:
  up to three times slower.
  """
  x = jnp.moveaxis(x, 0, -1)
  number = x.shape[-1]
  if not isinstance(number, int) or number < 256:  # any number, in an exported program
    return x
  more = (16 - number) % 32
  return jnp.concatenate([x, x[..., :more]], axis=-1)
