"""Affine maps of the image plane, [2, 3]: uv' = M [u, v, 1]; and the person crop of Human3.6M."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg

# The person boxes of the "simple baselines" family state their side in units of 200 px.
SCALE_UNIT_PX = 200.0


def crop_transform(
  center: jax.Array, scale: jax.Array, rotation_deg: jax.Array, size_wh: tuple[int, int]
) -> jax.Array:
  """The map from the whole image to a crop: a similarity about the box centre.

  The original sends three points through cv2.getAffineTransform after rounding them to float32;
  this is the similarity they define, so the two differ by that rounding.

  Args:
    center: [2], centre of the person box, px of the whole image.
    scale: [], side of the box in units of 200 px; it becomes the width of the crop.
    rotation_deg: [], the crop's axes are turned by this angle, x towards y.
    size_wh: (width, height) of the crop in px; the centre goes to (width / 2, height / 2).

  Returns:
    [2, 3].
  """
  width, height = size_wh
  zoom = linalg.safe_divide(jnp.asarray(width, center.dtype), SCALE_UNIT_PX * scale)
  angle = jnp.deg2rad(rotation_deg)
  cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
  linear = jnp.array([[cos, sin], [-sin, cos]])
  target = jnp.array([width * 0.5, height * 0.5], dtype=center.dtype)
  return jnp.concatenate([linear, (target - linalg.matmul(linear, center))[:, None]], axis=1)


def apply(transform: jax.Array, points: jax.Array) -> jax.Array:
  """Maps points [..., 2] by transform [2, 3]."""
  moved = linalg.einsum("ij,...j->...i", transform[:, :2], points)
  return moved + jnp.broadcast_to(transform[:, 2], moved.shape)


def compose(outer: jax.Array, inner: jax.Array) -> jax.Array:
  """The map that applies `inner` first: apply(compose(a, b), x) = apply(a, apply(b, x))."""
  linear = linalg.matmul(outer[:, :2], inner[:, :2])
  return jnp.concatenate([linear, apply(outer, inner[:, 2])[:, None]], axis=1)


def invert(transform: jax.Array) -> jax.Array:
  """The inverse map, [2, 3]; zeros when there is none (a box of size zero)."""
  (a, b), (c, d) = transform[0, :2], transform[1, :2]
  inverse = linalg.safe_divide(jnp.array([[d, -b], [-c, a]]), a * d - b * c)
  return jnp.concatenate([inverse, -linalg.matmul(inverse, transform[:, 2])[:, None]], axis=1)
