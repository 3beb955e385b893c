import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import layers


def test_batch_norm_remembers_the_unbiased_variance_over_all_devices():
  x = np.random.default_rng(0).normal(5.0, 2.0, (8, 3, 2, 4)).astype(np.float32)
  one = layers.BatchNorm(momentum=0.25)
  four = layers.BatchNorm(momentum=0.25, axis_name="devices")
  variables = one.init(jax.random.key(0), x, train=False)

  def loss(variables, x, layer):
    y, updates = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    return jnp.mean(jnp.sin(y) * y), (y, updates["batch_stats"])

  def step(x):
    gradient, (y, stats) = jax.grad(loss, has_aux=True)(variables, x, four)
    return jax.lax.pmean(gradient["params"], "devices"), y, stats

  gradient, (y, stats) = jax.grad(loss, has_aux=True)(variables, x, one)
  mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2), ddof=1)
  np.testing.assert_allclose(stats["mean"], 0.25 * mean, rtol=1e-5)
  np.testing.assert_allclose(stats["var"], 0.75 + 0.25 * var, rtol=1e-5)
  np.testing.assert_allclose(y, (x - mean) / np.sqrt(x.var((0, 1, 2)) + 1e-5), atol=1e-5)

  shared, y4, stats4 = jax.pmap(step, axis_name="devices")(x.reshape(4, 2, 3, 2, 4))
  np.testing.assert_allclose(y4.reshape(x.shape), y, atol=1e-5)
  for device in range(4):
    for name in ("mean", "var"):
      np.testing.assert_allclose(stats4[name][device], stats[name], rtol=1e-5)
    for name in ("scale", "bias"):
      np.testing.assert_allclose(
        shared[name][device], gradient["params"][name], rtol=1e-4, atol=1e-6
      )
