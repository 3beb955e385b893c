"""Pinhole cameras: world (mm) to pixels and back, crops of images, lens distortion.

x_c = R_cw x_w + t_cw; uv = K x_c after division by depth. Pixels are OpenCV's: integers are pixel
centres. K may be that of a rotated crop: any [[A, b], [0, 0, 1]] with an invertible A, not only an
upper triangle. Functions with `...` are plain products and broadcast; everything else is for one
item.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg


def to_camera(points: jax.Array, rotation: jax.Array, translation: jax.Array) -> jax.Array:
  """World points [..., 3] (mm) in the camera's frame: R x + t, [..., 3] mm."""
  turned = linalg.einsum("ij,...j->...i", rotation, points)
  return turned + jnp.broadcast_to(translation, turned.shape)


def depth(points: jax.Array, rotation: jax.Array, translation: jax.Array) -> jax.Array:
  """Depth [...] in mm of world points [..., 3]; negative behind the camera."""
  return to_camera(points, rotation, translation)[..., 2]


def center(rotation: jax.Array, translation: jax.Array) -> jax.Array:
  """The camera's centre in the world, -Rᵀ t, [3] mm."""
  return -linalg.einsum("ij,i->j", rotation, translation)


def projection_matrix(
  intrinsics: jax.Array, rotation: jax.Array, translation: jax.Array
) -> jax.Array:
  """K [R | t], [3, 4]: homogeneous world points (mm) to homogeneous pixels."""
  return linalg.matmul(intrinsics, jnp.concatenate([rotation, translation[:, None]], axis=1))


def from_normalized(xy: jax.Array, intrinsics: jax.Array) -> jax.Array:
  """Pixels [..., 2] of normalised image points x/z, y/z [..., 2]."""
  uv = linalg.einsum("ij,...j->...i", intrinsics[:2, :2], xy)
  return uv + jnp.broadcast_to(intrinsics[:2, 2], uv.shape)


def to_normalized(uv: jax.Array, intrinsics: jax.Array) -> jax.Array:
  """Normalised image points x/z, y/z [..., 2] of pixels [..., 2]; zeros if K is singular."""
  a, b, c, d = intrinsics[0, 0], intrinsics[0, 1], intrinsics[1, 0], intrinsics[1, 1]
  inverse = linalg.safe_divide(jnp.array([[d, -b], [-c, a]]), a * d - b * c)
  return linalg.einsum("ij,...j->...i", inverse, uv - jnp.broadcast_to(intrinsics[:2, 2], uv.shape))


def project(
  points: jax.Array, intrinsics: jax.Array, rotation: jax.Array, translation: jax.Array
) -> jax.Array:
  """Projects world points.

  Args:
    points: [..., 3], world, mm.
    intrinsics: [3, 3], K.
    rotation: [3, 3], R_cw.
    translation: [3], t_cw, mm.

  Returns:
    [..., 2], px. Points behind the camera get the pixel the formula gives (ask `depth`); on the
    plane of the centre (depth 0) the principal point.
  """
  x_c = to_camera(points, rotation, translation)
  return from_normalized(linalg.safe_divide(x_c[..., :2], x_c[..., 2:]), intrinsics)


def ray(uv: jax.Array, intrinsics: jax.Array, rotation: jax.Array) -> jax.Array:
  """Unit directions [..., 3] in the world of the rays through pixels [..., 2], looking out."""
  xy = to_normalized(uv, intrinsics)
  x_c = jnp.concatenate([xy, jnp.ones_like(xy[..., :1])], axis=-1)
  x_c = x_c / jnp.sqrt(jnp.sum(x_c * x_c, axis=-1, keepdims=True))  # at least 1 long
  return linalg.einsum("ji,...j->...i", rotation, x_c)


def crop_intrinsics(crop: jax.Array, intrinsics: jax.Array) -> jax.Array:
  """K after an affine crop: [crop; 0 0 1] K, [3, 3].

  Args:
    crop: [2, 3], pixels of the whole image to pixels of the crop.
    intrinsics: [3, 3], K of the whole image.
  """
  bottom = jnp.array([[0.0, 0.0, 1.0]], dtype=crop.dtype)
  return linalg.matmul(jnp.concatenate([crop, bottom]), intrinsics)


def distort(xy: jax.Array, distortion: jax.Array) -> jax.Array:
  """Applies lens distortion to normalised image points.

  Args:
    xy: [..., 2], ideal x/z, y/z.
    distortion: [5], (k0, k1, p0, p1, k2), OpenCV's order: radial, radial, tangential, tangential,
      radial.

  Returns:
    [..., 2], distorted normalised points; pixels by `from_normalized`.
  """
  gain, shift = _distortion(xy, distortion)
  return xy * gain + shift


def undistort(
  uv: jax.Array, intrinsics: jax.Array, distortion: jax.Array, *, num_iterations: int = 5
) -> jax.Array:
  """Pixels an ideal lens would have given, with the same K.

  Fixed-point iteration, as cv2.undistortPoints(..., P=K) does. Its 5 rounds end within
  1e-5 px of the limit for Human3.6M's lenses; stronger ones need more.

  Args:
    uv: [..., 2], distorted pixels.
    intrinsics: [3, 3], K.
    distortion: [5], (k0, k1, p0, p1, k2).
    num_iterations: rounds; 5 is OpenCV's and the reference's number.

  Returns:
    [..., 2], px; finite, meaningful where the distortion is invertible.
  """
  distorted = to_normalized(uv, intrinsics)
  xy = distorted
  for _ in range(num_iterations):
    gain, shift = _distortion(xy, distortion)
    xy = linalg.safe_divide(distorted - shift, gain)
  return from_normalized(xy, intrinsics)


def _distortion(xy: jax.Array, distortion: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Radial gain [..., 1] and tangential shift [..., 2] at normalised points [..., 2]."""
  if jnp.shape(distortion) != (5,):
    raise ValueError(
      f"distortion has shape {jnp.shape(distortion)}; allowed: [5], OpenCV's k1, k2, p1, p2, k3. "
      "Ravel [1, 5], append 0 to four of OpenCV's plain model; undistort pictures of fisheye and "
      "rational lenses (4, 8 or more coefficients) with OpenCV beforehand"
    )
  k0, k1, p0, p1, k2 = distortion
  x, y = xy[..., :1], xy[..., 1:]
  r2 = x * x + y * y
  gain = 1.0 + r2 * (k0 + r2 * (k1 + r2 * k2))
  shift_x = 2.0 * p0 * x * y + p1 * (r2 + 2.0 * x * x)
  shift_y = p0 * (r2 + 2.0 * y * y) + 2.0 * p1 * x * y
  return gain, jnp.concatenate([shift_x, shift_y], axis=-1)
