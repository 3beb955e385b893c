"""Pinhole cameras: world (mm) to pixels and back, crops and scaled images, lens distortion.

x_c = R_cw x_w + t_cw; uv = K x_c after division by depth. Pixels are OpenCV's: integers are pixel
centres. K may be that of a rotated crop: any [[A, b], [0, 0, 1]] with an invertible A, not only an
upper triangle.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import linalg


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class Cameras:
  """One pinhole camera, v of them, or v in each of b frames: a pytree of three arrays.

  Index it as an array: `cameras[0]` is the first camera of a rig, `cameras[:, view]` one camera of
  all frames. With leading axes [..., v] the methods take one set of points per leading entry and
  return it once per view; one camera takes and returns points of any shape.

  Attributes:
    intrinsics: [..., v, 3, 3], K, px; the last row is 0, 0, 1.
    rotation: [..., v, 3, 3], R_cw.
    translation: [..., v, 3], t_cw, mm. OpenCV's [..., v, 3, 1] is accepted.

  Raises:
    ValueError: the shapes do not belong together.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
  """

  intrinsics: jax.Array
  rotation: jax.Array
  translation: jax.Array

  def __post_init__(self):
    arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    arrays = {k: x if hasattr(x, "ndim") else np.asarray(x) for k, x in arrays.items()}
    lead = arrays["rotation"].shape[:-2]
    if arrays["translation"].shape == (*lead, 3, 1):
      arrays["translation"] = arrays["translation"][..., 0]
    wanted = {"intrinsics": (3, 3), "rotation": (3, 3), "translation": (3,)}
    for name, tail in wanted.items():
      if arrays[name].shape != (*lead, *tail):
        shapes = ", ".join(f"{k} {list(x.shape)}" for k, x in arrays.items())
        raise ValueError(
          f"cameras: {name} should be {[*lead, *tail]} beside rotation "
          f"{list(arrays['rotation'].shape)}; got {shapes}. A rig of v cameras has intrinsics "
          "[v, 3, 3], rotation [v, 3, 3] (matrices: cv2.Rodrigues makes them of vectors) and "
          "translation [v, 3]"
        )
      object.__setattr__(self, name, arrays[name])

  def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], None]:
    """Children by name, for `jax.tree_util`."""
    key = jax.tree_util.GetAttrKey
    return tuple((key(f.name), getattr(self, f.name)) for f in dataclasses.fields(self)), None

  @classmethod
  def tree_unflatten(cls, _, children):
    """Without checks: transformations put axes, shapes and other objects where arrays were."""
    new = object.__new__(cls)
    for field, child in zip(dataclasses.fields(cls), children):
      object.__setattr__(new, field.name, child)
    return new

  def __getitem__(self, index) -> "Cameras":
    return jax.tree.map(lambda x: x[index], self)

  @property
  def shape(self) -> tuple[int, ...]:
    """Of the leading axes: () for one camera, (v,) for a rig, (b, v) for b frames of it."""
    return self.rotation.shape[:-2]

  def centre(self) -> jax.Array:
    """The cameras' centres in the world, -Rᵀ t, [..., v, 3] mm."""
    return -linalg.einsum("...ij,...i->...j", self.rotation, self.translation)

  def to_camera(self, points: jax.Array) -> jax.Array:
    """World points in the frame of every camera, R x + t.

    Args:
      points: [..., n, 3] mm with one entry per leading axis before v; any [..., 3] for one camera.

    Returns:
      [..., v, n, 3] mm; [..., 3] for one camera.
    """
    if not self.shape:
      turned = linalg.einsum("ij,...j->...i", self.rotation, points)
      return turned + jnp.broadcast_to(self.translation, turned.shape)
    turned = linalg.einsum("...vij,...nj->...vni", self.rotation, points)
    return turned + jnp.broadcast_to(self.translation[..., None, :], turned.shape)

  def depth(self, points: jax.Array) -> jax.Array:
    """Depth in mm of world points, as `to_camera` without the last axis; negative behind."""
    return self.to_camera(points)[..., 2]

  def project(self, points: jax.Array) -> jax.Array:
    """World points in pixels of every view.

    Args:
      points: mm, as for `to_camera`.

    Returns:
      [..., v, n, 2] px; [..., 2] for one camera. Points behind the camera get the pixel the formula
      gives (ask `depth`); on the plane of the centre (depth 0) the principal point.
    """
    x_c = self.to_camera(points)
    xy = linalg.safe_divide(x_c[..., :2], x_c[..., 2:])
    if not self.shape:
      return from_normalized(xy, self.intrinsics)
    uv = linalg.einsum("...vij,...vnj->...vni", self.intrinsics[..., :2, :2], xy)
    return uv + jnp.broadcast_to(self.intrinsics[..., None, :2, 2], uv.shape)

  def projection_matrix(self) -> jax.Array:
    """K [R | t], [..., v, 3, 4]: homogeneous world points (mm) to homogeneous pixels."""
    pose = jnp.concatenate([self.rotation, self.translation[..., None]], axis=-1)
    return linalg.einsum("...ij,...jk->...ik", self.intrinsics, pose)

  def ray(self, uv: jax.Array) -> jax.Array:
    """Unit directions in the world of the rays through pixels, looking out.

    Args:
      uv: [..., v, n, 2] px, or any [..., 2] for one camera.

    Returns:
      The same with 3 for 2.
    """
    if self.shape:
      each = Cameras.ray
      for _ in self.shape:
        each = jax.vmap(each)
      return each(self, uv)
    xy = to_normalized(uv, self.intrinsics)
    x_c = jnp.concatenate([xy, jnp.ones_like(xy[..., :1])], axis=-1)
    x_c = x_c / jnp.sqrt(jnp.sum(x_c * x_c, axis=-1, keepdims=True))  # at least 1 long
    return linalg.einsum("ji,...j->...i", self.rotation, x_c)

  def crop(self, transform: jax.Array) -> "Cameras":
    """The cameras of affine crops of the images.

    Args:
      transform: [..., v, 2, 3], pixels of the whole image to pixels of the crop.
    """
    bottom = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (*transform.shape[:-2], 1, 3))
    whole = jnp.concatenate([transform, bottom.astype(transform.dtype)], axis=-2)
    intrinsics = linalg.einsum("...ij,...jk->...ik", whole, self.intrinsics)
    return dataclasses.replace(self, intrinsics=intrinsics)

  def scale(self, factor: float) -> "Cameras":
    """The cameras of images resized by a factor, whose index i is pixel (i + 1/2) / factor - 1/2.

    That is what cv2.resize does; with `1 / stride` it is a feature map of that stride, where index
    i lies at s·i + (s - 1)/2.
    """
    offset = (factor - 1) / 2
    matrix = jnp.array([[factor, 0.0, offset], [0.0, factor, offset], [0.0, 0.0, 1.0]])
    intrinsics = linalg.einsum("ij,...jk->...ik", matrix, jnp.asarray(self.intrinsics))
    return dataclasses.replace(self, intrinsics=intrinsics)


def from_normalized(xy: jax.Array, intrinsics: jax.Array) -> jax.Array:
  """Pixels [..., 2] of normalised image points x/z, y/z [..., 2]; K [3, 3] of one camera."""
  uv = linalg.einsum("ij,...j->...i", intrinsics[:2, :2], xy)
  return uv + jnp.broadcast_to(intrinsics[:2, 2], uv.shape)


def to_normalized(uv: jax.Array, intrinsics: jax.Array) -> jax.Array:
  """Normalised image points x/z, y/z [..., 2] of pixels [..., 2]; zeros if K is singular."""
  a, b, c, d = intrinsics[0, 0], intrinsics[0, 1], intrinsics[1, 0], intrinsics[1, 1]
  inverse = linalg.safe_divide(jnp.array([[d, -b], [-c, a]]), a * d - b * c)
  return linalg.einsum("ij,...j->...i", inverse, uv - jnp.broadcast_to(intrinsics[:2, 2], uv.shape))
