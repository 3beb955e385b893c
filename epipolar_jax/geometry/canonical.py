"""Frames for root-relative poses: a body's or hand's own axes, and a camera turned towards it.

Poses are rows: `points = canonical @ rotation`, so the rows of a rotation are the axes of the
canonical frame, seen from the outer one. Written for one pose; vmap it.
"""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg, rigid


def canonical_frame(points: jax.Array, *, align: int, side: int) -> tuple[jax.Array, jax.Array]:
  """Turns a root-relative pose so that two of its joints define which way it faces.

  Args:
    points: [j, 3], root at the origin, any unit.
    align: joint that comes to lie on the -y axis.
    side: joint that comes to lie in the plane z = 0, where x > 0.

  Returns:
    canonical: [j, 3].
    rotation: [3, 3] with points = canonical @ rotation. Finite, but no rotation, when root, align
      and side are on one line.

  References:
    Zimmermann and Brox, Learning to Estimate 3D Hand Pose from Single RGB Images, ICCV 2017,
    section 4.3.
  """
  y = -_unit(points[align])
  x = _unit(points[side] - jnp.sum(points[side] * y) * y)
  rotation = jnp.stack([x, y, jnp.cross(x, y)])
  return linalg.einsum("ij,nj->ni", rotation, points), rotation


def mirror(points: jax.Array) -> jax.Array:
  """The other hand, in the canonical frame: z changes its sign. [..., 3]."""
  return points * jnp.array([1.0, 1.0, -1.0], points.dtype).reshape(*(1,) * (points.ndim - 1), 3)


def from_canonical(canonical: jax.Array, rotation: jax.Array) -> jax.Array:
  """canonical [j, 3] @ rotation [3, 3]: back to the outer frame."""
  return linalg.matmul(canonical, rotation)


def rotation_between(canonical: jax.Array, points: jax.Array) -> jax.Array:
  """The rotation [3, 3] for which `from_canonical` brings one pose [j, 3] closest to another."""
  turn, _, _ = rigid.procrustes(canonical, points, with_scale=False)
  return turn.T


def to_world(points: jax.Array, rotation: jax.Array) -> jax.Array:
  """Directions [j, 3] in a camera's frame, seen in the world: Rᵀ x, with R_cw [3, 3]."""
  return linalg.matmul(points, rotation)


def angle_between(first: jax.Array, second: jax.Array) -> jax.Array:
  """The angle in radians, [], of the rotation between two rotations [3, 3]."""
  # The chord |A - B| is 2 √2 sin(angle / 2): exact near 0, where arccos of the trace is not.
  chord = linalg.safe_norm((first - second).reshape(-1))
  return 2.0 * jnp.arcsin(jnp.minimum(chord * (0.5 / jnp.sqrt(2.0)), 1.0))


def turn_to(ray: jax.Array) -> jax.Array:
  """The smallest rotation that takes a ray onto the optical axis, [3, 3].

  A camera turned so sees a person at the border of its image as one in the middle.

  Args:
    ray: [3], camera frame, any length, in front of the camera (z > 0).
  """
  unit = _unit(ray)
  axis = jnp.array([unit[1], -unit[0], jnp.zeros_like(unit[0])])  # unit × z
  skew = linalg.cross_matrix(axis)
  share = 1.0 / (1.0 + jnp.maximum(unit[2], 0.0))
  return jnp.eye(3, dtype=ray.dtype) + skew + share * linalg.matmul(skew, skew)


def _unit(x: jax.Array) -> jax.Array:
  """x / |x|, and zeros for zeros."""
  return linalg.safe_divide(x, linalg.safe_norm(x))
