"""What a lifting network is shown of each view: joints as heatmaps or coordinates, and images."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax import heatmaps
from epipolar_jax.geometry import affine, canonical, linalg
from epipolar_jax.geometry import cameras as cameras_lib
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tasks import task


class Seen(NamedTuple):
  """What the network is shown of n = b·v views; fields that a task does not use are None.

  Attributes:
    uv: [n, j, 2] true joints, network px.
    visible: [n, j] bool.
    side: [n], 1 for a right hand.
    images: [b, v, h, w, 3], normalised.
    cameras: [b, v], of the network inputs.
  """

  uv: jax.Array
  visible: jax.Array
  side: jax.Array | None
  images: jax.Array | None
  cameras: Cameras


def look(batch: task.Batch, *, size: int, hands: bool, images: bool, bgr: bool) -> Seen:
  """A batch as the networks' input.

  Args:
    batch: of `inputs.lifting`.
    size: side of the network input, px.
    hands: whether the batch tells left from right hands.
    images: whether the network looks at them.
    bgr: parity, of `task.normalize_images`.
  """
  uv = jax.vmap(jax.vmap(affine.apply))(batch["crop"], batch["joints_2d"])
  inside = jnp.all((uv >= 0) & (uv < size), -1)
  return Seen(
    uv=flat(uv),
    visible=flat(inside & batch["visible"]),
    side=jnp.repeat(batch["hand_side"], uv.shape[1]) if hands else None,
    images=task.normalize_images(batch["image"], bgr=bgr) if images else None,
    cameras=task.crop_cameras(batch),
  )


def blank(size: int, num_joints: int, *, images: bool) -> dict[str, jax.Array]:
  """A batch of one frame in two views, to initialise with."""
  eye = jnp.broadcast_to(jnp.eye(3), (1, 2, 3, 3))
  batch = {
    "crop": eye[:, :, :2],
    "intrinsics": eye,
    "rotation": eye,
    "translation": jnp.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]),
    "joints_2d": jnp.zeros((1, 2, num_joints, 2)),
    "visible": jnp.ones((1, 2, num_joints), bool),
    "hand_side": jnp.zeros(1),
  }
  return batch | ({"image": jnp.zeros((1, 2, size, size, 3), jnp.uint8)} if images else {})


def joint_heatmaps(
  uv: jax.Array, visible: jax.Array, *, image_size: int, map_size: int, sigma: float, layout: str
) -> jax.Array:
  """Heatmaps of true joints as the original shows them to its lifting networks: floor 0.01.

  Args:
    uv: [j, 2], network px.
    visible: [j]; the maps of other joints are zero.
    image_size: side of the network input, px.
    map_size: side of the maps.
    sigma: of the Gaussian, network px.
    layout: "crop": the maps cover the network input. "original": the original's maps of hands,
      whose rows and columns are exchanged and whose pixels are 4 px wide whatever the size.

  Returns:
    [h, w, j].

  Raises:
    ValueError: another layout.
  """
  stride = image_size / map_size
  task.choose({"crop": 0, "original": 0}, layout, "lifting.heatmap_layout")
  if layout == "original":
    uv, stride = uv[:, ::-1], 4
  draw = functools.partial(
    heatmaps.gaussian_target, size_hw=(map_size, map_size), stride=stride, sigma=sigma, floor=True
  )
  return jnp.moveaxis(jax.vmap(draw)(uv), 0, -1) * visible.astype(uv.dtype)[None, None]


def normalise(
  uv: jax.Array, visible: jax.Array, intrinsics: jax.Array, *, size: int
) -> tuple[jax.Array, jax.Array]:
  """2D joints as a camera would see them that looks at the middle of the crop.

  Args:
    uv: [j, 2], network px.
    visible: [j] bool, or weights in [0, 1].
    intrinsics: [3, 3], K of the network input.
    size: side of the network input, px.

  Returns:
    inputs: [3 j + 1], coordinates (1 at the crop's border, 0 where not visible), visibilities, and
      the logarithm of the crop's angular size.
    turn: [3, 3], the turned camera's axes seen from the camera: x_turned = turn x_c.
  """
  middle = jnp.array([[0.5, 0.5], [1.0, 0.5]], uv.dtype) * (size - 1)
  center, edge = cameras_lib.to_normalized(middle, intrinsics)
  turn = canonical.turn_to(jnp.append(center, 1.0))
  half = linalg.safe_norm(edge - center)
  xy = cameras_lib.to_normalized(uv, intrinsics)
  rays = linalg.einsum("ij,nj->ni", turn, jnp.append(xy, jnp.ones_like(xy[:, :1]), axis=1))
  plane = linalg.safe_divide(linalg.safe_divide(rays[:, :2], rays[:, 2:]), half)
  # Not the product: a doubtful joint is no nearer to the middle.
  plane = jnp.where(visible[:, None] > 0, plane, 0.0)
  extra = jnp.append(visible.astype(uv.dtype), jnp.log(jnp.maximum(half, 1e-3)))
  return jnp.append(plane.reshape(-1), extra), turn


def flat(x: jax.Array) -> jax.Array:
  """[b v ...] to [b·v ...]."""
  return x.reshape(-1, *x.shape[2:])
