"""Batch normalisation: its written-out gradient against automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import normalization


def _plain(x, scale, bias):
  mean = jnp.mean(x, (0, 1, 2))
  centred = x - mean[None, None, None]
  var = jnp.mean(jnp.square(centred), (0, 1, 2))
  factor = scale * jax.lax.rsqrt(var + 1e-5)
  return centred * factor[None, None, None] + bias[None, None, None]


def test_gradient_equals_automatic_differentiation():
  rng = np.random.default_rng(0)
  # Far from zero, where a careless formula cancels.
  x = rng.normal(20.0, 0.5, (2, 4, 3, 5)).astype(np.float32)
  scale, bias = rng.normal(size=(2, 5)).astype(np.float32)
  cotangent = rng.normal(size=x.shape).astype(np.float32)
  want, pull_plain = jax.vjp(_plain, x, scale, bias)

  def ours(x, scale, bias):
    return normalization.normalize(x, scale, bias, 1e-5, None, jnp.float32)

  (got, mean, var), pull = jax.vjp(ours, x, scale, bias)
  np.testing.assert_allclose(got, want, atol=2e-5)
  np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=1e-4)
  silent = (jnp.zeros(5), jnp.zeros(5))
  for found, expected in zip(pull((cotangent, *silent)), pull_plain(cotangent)):
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)


def test_of_many_devices_the_gradient_is_that_of_one():
  rng = np.random.default_rng(1)
  x, cotangent = rng.normal(2.0, 1.5, (2, 8, 2, 3, 4)).astype(np.float32)
  scale, bias = rng.normal(size=(2, 4)).astype(np.float32)

  def gradient(axis_name):
    def apply(x):
      return normalization.normalize(x, scale, bias, 1e-5, axis_name, jnp.float32)[0]

    def pull(x, cotangent):
      return jax.vjp(apply, x)[1](cotangent)[0]

    return pull

  split = [part.reshape(4, 2, *part.shape[1:]) for part in (x, cotangent)]
  got = jax.pmap(gradient("devices"), axis_name="devices")(*split)
  np.testing.assert_allclose(got.reshape(x.shape), gradient(None)(x, cotangent), atol=1e-5)


def test_bfloat16_in_and_out_float32_between():
  x = jnp.asarray(np.random.default_rng(2).normal(3.0, 1.0, (2, 4, 4, 3)), jnp.bfloat16)

  def loss(x, scale, bias):
    y, mean, var = normalization.normalize(x, scale, bias, 1e-5, None, jnp.bfloat16)
    return jnp.sum(jnp.sin(y.astype(jnp.float32))), (y, mean, var)

  gradients, (y, mean, var) = jax.grad(loss, (0, 1, 2), has_aux=True)(x, jnp.ones(3), jnp.zeros(3))
  assert [g.dtype.name for g in gradients] == ["bfloat16", "float32", "float32"]
  assert (y.dtype.name, mean.dtype.name, var.dtype.name) == ("bfloat16", "float32", "float32")
  exact = np.asarray(x, np.float32)
  np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-5)
