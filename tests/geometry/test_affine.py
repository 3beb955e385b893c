"""Affine maps and the person crop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import affine
from tests import golden_files


def test_crop_transform_golden_get_affine_transform():
  """To 1e-6 of the largest entry; the original's float32 triangle is worth 5e-7."""
  g = golden_files.load("affine")
  crop_transform = jax.jit(affine.crop_transform, static_argnums=3)
  for i, expected in enumerate(g["trans"]):
    side = g["scale"][i, 0]
    center = g["center"][i] + affine.SCALE_UNIT_PX * g["scale"][i] * g["shift"][i]
    transform = crop_transform(
      jnp.asarray(center, jnp.float32),
      jnp.float32(side),
      jnp.float32(g["rot_deg"][i]),
      tuple(int(n) for n in g["output_size_wh"][i]),
    )
    if g["inv"][i]:
      transform = affine.invert(transform)
    np.testing.assert_allclose(transform, expected, atol=2e-6 * np.abs(expected).max())


def test_apply_golden_affine_transform():
  g = golden_files.load("affine")
  transforms, points = (jnp.asarray(g[k], jnp.float32) for k in ("trans", "pts"))
  moved = jax.jit(jax.vmap(affine.apply))(transforms, points)
  np.testing.assert_allclose(moved, g["affine_transform"], rtol=1e-5, atol=1e-3)


def test_compose_and_invert_are_what_they_say():
  crop = affine.crop_transform(
    jnp.array([300.0, 420.0]), jnp.array(2.2), jnp.array(-31.0), (256, 320)
  )
  mirror = jnp.array([[-1.0, 0, 255], [0, 1, 0]])
  both = affine.compose(mirror, crop)
  points = jnp.asarray(np.random.default_rng(0).uniform(0, 1000, (4, 5, 2)), jnp.float32)
  expected = affine.apply(mirror, affine.apply(crop, points))
  np.testing.assert_allclose(affine.apply(both, points), expected, atol=1e-3)
  np.testing.assert_allclose(affine.apply(affine.invert(both), expected), points, atol=2e-3)


def test_an_empty_box_gives_finite_values_and_gradients():
  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def total(center, scale):
    crop = affine.crop_transform(center, scale, jnp.array(10.0), (64, 64))
    return jnp.sum(crop) + jnp.sum(affine.invert(crop))

  value, gradients = total(jnp.array([3.0, 4.0]), jnp.array(0.0))
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in gradients)
