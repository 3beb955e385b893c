"""Bilinear sampling."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from epipolar_jax.geometry import sampling
from tests import oracles


def _feature(rng):
  return rng.normal(size=(5, 7, 3))


@pytest.mark.parametrize("tall", [False, True])
def test_matches_numpy_inside_on_and_beyond_the_border(tall):
  rng = np.random.default_rng(0)
  feature = _feature(rng)
  points = np.concatenate(
    [
      rng.uniform(-3, 9, (60, 2)),
      [[0, 0], [6, 4], [6, 0], [3, 2], [-1, 2], [7, 2], [6.5, 4.5], [1e9, 2], [-1e9, -1e9]],
    ]
  )
  if tall:
    feature, points = feature.swapaxes(0, 1), points[:, ::-1].copy()
  expected = np.array([oracles.bilinear(feature, u, v) for u, v in points])
  sample = jax.jit(sampling.bilinear)
  args = jnp.asarray(feature, jnp.float32), jnp.asarray(points, jnp.float32)
  got = sample(*args)
  np.testing.assert_allclose(got, expected, atol=1e-5)
  one_by_one = jax.jit(jax.vmap(sampling.bilinear, (None, 0)))(*args)
  np.testing.assert_allclose(one_by_one, got, atol=1e-6)
  np.testing.assert_allclose(jax.jit(sampling.bilinear_products)(*args), got, atol=1e-5)


def test_keeps_the_type_of_the_map():
  feature = jnp.ones((4, 4, 2), jnp.bfloat16)
  assert sampling.bilinear(feature, jnp.array([1.25, 2.5])).dtype == jnp.bfloat16


def test_gradients_equal_finite_differences_and_are_finite_far_away():
  rng = np.random.default_rng(1)
  with jax.enable_x64(True):
    args = jnp.asarray(_feature(rng)), jnp.asarray(rng.uniform(-1, 7, (6, 2)))
    jax.test_util.check_grads(jax.jit(sampling.bilinear), args, order=1, modes=["rev"], eps=1e-6)
  far = jnp.array([[np.inf, 1.0], [-np.inf, -np.inf], [1e30, 0.0]])
  feature = jnp.ones((4, 4, 2))
  total = jax.jit(jax.value_and_grad(lambda p: jnp.sum(jnp.abs(sampling.bilinear(feature, p)))))
  value, gradient = total(far)
  assert value == 0
  assert np.isfinite(gradient).all()


def test_hat_weights_interpolate_sum_to_one_inside_and_fade_outside():
  values = np.random.default_rng(3).normal(size=7)
  at = np.array([-1.5, -1.0, -0.25, 0.0, 2.75, 6.0, 6.5, 7.0, 9.0], np.float32)
  weights = jax.jit(functools.partial(sampling.hat, size=7))(at)
  # The map goes on as zeros.
  expected = np.interp(at, np.arange(-1, 8), np.pad(values, 1))
  np.testing.assert_allclose(weights @ values, expected, atol=1e-6)
  inside = np.clip(at, 0, 6)
  np.testing.assert_allclose(sampling.hat(inside, size=7).sum(-1), 1.0, atol=1e-6)
  np.testing.assert_array_equal(weights[np.array([0, -1])], 0.0)
