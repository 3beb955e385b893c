"""Rotations, and the similarity that best aligns two point sets."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg


def rotation_from_axis_angle(axis_angle: jax.Array) -> jax.Array:
  """Rodrigues' formula.

  Args:
    axis_angle: [3], axis times angle in radians; zero is the identity, with its true derivative.

  Returns:
    [3, 3], a rotation.
  """
  squared = jnp.sum(axis_angle * axis_angle)
  # Below 1e-4 rad² the series is exact in float32 and sqrt's slope stays out of the gradient.
  small = squared < 1e-4
  angle = jnp.sqrt(jnp.where(small, 1.0, squared))
  sinc = jnp.where(small, 1.0 - squared / 6.0, jnp.sin(angle) / angle)
  cosc = jnp.where(small, 0.5 - squared / 24.0, 2.0 * jnp.square(jnp.sin(0.5 * angle) / angle))
  skew = linalg.cross_matrix(axis_angle)
  return jnp.eye(3, dtype=axis_angle.dtype) + sinc * skew + cosc * linalg.matmul(skew, skew)


def procrustes(
  source: jax.Array, target: jax.Array, *, with_scale: bool, weight: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The similarity that takes one point set closest to another: target ≈ s R source + t.

  Horn's quaternion method: the answer is a rotation by construction (never a reflection), and its
  gradient is finite for collinear or coincident points, where the rotation is not unique.

  Args:
    source: [n, 3].
    target: [n, 3], in the same order.
    with_scale: False keeps s = 1.
    weight: [n], at least 0; None weighs all alike.

  Returns:
    R: [3, 3].
    t: [3].
    s: [], 1 when the source is a single point.

  References:
    Horn, Closed-form solution of absolute orientation using unit quaternions, JOSA A 1987.
  """
  if weight is None:
    weight = jnp.ones_like(source[:, 0])
  total = jnp.sum(weight)
  source_mean = linalg.safe_divide(linalg.einsum("n,ni->i", weight, source), total)
  target_mean = linalg.safe_divide(linalg.einsum("n,ni->i", weight, target), total)
  x, y = source - source_mean[None], target - target_mean[None]
  x_size = jnp.sum(weight * jnp.sum(x * x, axis=1))
  y_size = jnp.sum(weight * jnp.sum(y * y, axis=1))
  size = linalg.safe_sqrt(x_size) * linalg.safe_sqrt(y_size)
  covariance = linalg.einsum("n,ni,nj->ij", weight, x, y)
  covariance = linalg.safe_divide(covariance, size)  # entries within ±1
  quaternion = linalg.smallest_eigenvector(-_horn_matrix(covariance))
  rotation = _rotation_from_quaternion(quaternion)
  scale = jnp.ones((), source.dtype)
  if with_scale:
    overlap = jnp.sum(rotation.T * covariance) * size
    scale = linalg.safe_divide(overlap, x_size, fallback=1.0)
  translation = target_mean - scale * linalg.matmul(rotation, source_mean)
  return rotation, translation, scale


def _horn_matrix(s: jax.Array) -> jax.Array:
  """Horn's symmetric [4, 4] matrix of s_ij = Σ x_i y_j; its top eigenvector is the quaternion."""
  trace = s[0, 0] + s[1, 1] + s[2, 2]
  vector = jnp.array([s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]])
  block = s + s.T - trace * jnp.eye(3, dtype=s.dtype)
  top = jnp.concatenate([trace[None], vector])
  return jnp.concatenate([top[None], jnp.concatenate([vector[:, None], block], axis=1)])


def _rotation_from_quaternion(q: jax.Array) -> jax.Array:
  """[3, 3] of a unit quaternion (w, x, y, z)."""
  w, v = q[0], q[1:]
  eye = jnp.eye(3, dtype=q.dtype)
  outer = v[:, None] * v[None, :]
  return (w * w - jnp.sum(v * v)) * eye + 2.0 * outer + 2.0 * w * linalg.cross_matrix(v)
