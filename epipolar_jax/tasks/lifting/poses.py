"""Lifting targets: root-relative, in units of a bone, in camera and canonical frames.

Networks work in units of a reference bone, whose true length gives the millimetres back, as in the
original; so nothing here says how tall a person is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax import skeletons
from epipolar_jax.geometry import canonical, linalg
from epipolar_jax.geometry.cameras import Cameras


class Frame(NamedTuple):
  """The joints that give a pose its origin, its unit and its own axes."""

  root: int
  bone: tuple[int, int]
  align: int
  side: int


class Truth(NamedTuple):
  """Lifting targets of one pose in one camera.

  Attributes:
    camera: [j, 3], root-relative, in bone units, in the camera's axes.
    canonical: [j, 3], in the pose's own axes.
    rotation: [3, 3], camera = canonical @ rotation.
    scale: [], mm, length of the reference bone.
  """

  camera: jax.Array
  canonical: jax.Array
  rotation: jax.Array
  scale: jax.Array


def frame_of(skeleton: skeletons.Skeleton) -> Frame:
  """Origin, unit and axes of a skeleton's poses."""
  if skeleton == skeletons.RHD_21:
    base = skeleton.index("middle4")
    return Frame(0, (base, skeleton.index("middle3")), base, skeleton.index("pinky4"))
  neck = skeleton.index("neck")
  return Frame(skeleton.root, (neck, skeleton.root), neck, skeleton.index("lhip"))


def describe(points: jax.Array, camera: Cameras, *, frame: Frame) -> Truth:
  """The labels of one pose in one camera.

  Args:
    points: [j, 3] mm, world.
    camera: one, t_cw in mm.
    frame: of the skeleton.
  """
  x_c = camera.to_camera(points)
  relative = x_c - x_c[frame.root][None]
  scale = linalg.safe_norm(x_c[frame.bone[0]] - x_c[frame.bone[1]])
  unit = linalg.safe_divide(relative, scale)
  own, turn = canonical.canonical_frame(unit, align=frame.align, side=frame.side)
  return Truth(unit, own, turn, scale)


def mirror_right(poses: jax.Array, side: jax.Array) -> jax.Array:
  """Right hands as left ones, and back.

  Args:
    poses: [n, j, 3], in the hands' own axes.
    side: [n], 1 for a right hand.
  """
  return jnp.where((side == 1)[:, None, None], jax.vmap(canonical.mirror)(poses), poses)
