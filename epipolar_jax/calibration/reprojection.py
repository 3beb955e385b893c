"""Pixels of a point on a board, or of a free point, after small changes of board and camera.

One corner in one camera; `calibration.schur` has all of them. With the derivatives of these, bundle
adjustment takes its steps.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry.cameras import Cameras

# What a camera's change consists of: rotation vector (rad), centre, log focal length, principal
# point (px), k1 and k2.
PARAMETERS = ("rotation",) * 3 + ("centre",) * 3 + ("focal",) + ("principal",) * 2 + ("radial",) * 2
# OpenCV's lens without tilt: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4.
COEFFICIENTS = 12


def moved(camera: Cameras, change: jax.Array) -> Cameras:
  """One camera after its change [6 or more]."""
  rotation = rodrigues(change[:3]) @ camera.rotation
  centre = -camera.rotation.T @ camera.translation + change[3:6]
  intrinsics = camera.intrinsics
  if len(change) > 6:
    intrinsics = intrinsics.at[:2, :2].multiply(jnp.exp(change[6]))
  if len(change) > 7:
    intrinsics = intrinsics.at[:2, 2].add(change[7:9])
  return Cameras(intrinsics, rotation, -rotation @ centre)


def rodrigues(vector: jax.Array) -> jax.Array:
  """Rodrigues' formula [3] to [3, 3], smooth at 0."""
  square = jnp.sum(vector * vector)
  small = square < 1e-8
  angle = jnp.sqrt(jnp.where(small, 1.0, square))
  first = jnp.where(small, 1.0 - square / 6.0, jnp.sin(angle) / angle)
  second = jnp.where(small, 0.5 - square / 24.0, (1.0 - jnp.cos(angle)) / (angle * angle))
  x, y, z = vector
  zero = jnp.zeros_like(x)
  cross = jnp.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]])
  return jnp.eye(3) + first * cross + second * cross @ cross


def residual(change, step, camera: Cameras, lens, turn, origin, corner, observed) -> jax.Array:
  """Projected minus observed [2], px, of one corner of one board (or one point) in one view."""
  camera = moved(camera, change)
  if len(step) == 3:
    point = origin + step
  else:
    point = rodrigues(step[:3]) @ turn @ corner + origin + step[3:]
  x = camera.rotation @ point + camera.translation
  xy = x[:2] / jnp.where(jnp.abs(x[2]) > 1e-9, x[2], 1e-9)
  if len(change) > 9:
    lens = lens.at[:2].add(change[9:11])
  xy = distorted(xy, lens)
  return camera.intrinsics[:2, :2] @ xy + camera.intrinsics[:2, 2] - observed


def distorted(xy: jax.Array, lens: jax.Array) -> jax.Array:
  """OpenCV's lens [12] on a normalised point [2], as `rigs.lenses.OpenCV` has it."""
  k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = lens
  x, y = xy
  s = x * x + y * y
  g = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))
  return jnp.array(
    [
      x * g + 2 * p1 * x * y + p2 * (s + 2 * x * x) + s * (s1 + s * s2),
      y * g + p1 * (s + 2 * y * y) + 2 * p2 * x * y + s * (s3 + s * s4),
    ]
  )
