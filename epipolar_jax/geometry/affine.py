"""Affine maps of the image plane, [2, 3]: uv' = M [u, v, 1]. Those of crops: `inputs.crops`."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg


def apply(transform: jax.Array, points: jax.Array) -> jax.Array:
  """Maps points [..., 2] by transform [2, 3]."""
  moved = linalg.einsum("ij,...j->...i", transform[:, :2], points)
  return moved + jnp.broadcast_to(transform[:, 2], moved.shape)
