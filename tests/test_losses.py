"""Losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import heatmaps, losses
from tests import golden_files


def _joint(output, target, weight):
  per_map = jax.vmap(jax.vmap(losses.mse))(output, target, weight)
  return jnp.sum(jnp.mean(per_map, axis=0))


def _smooth(threshold):
  def loss(output, target, weight):
    one = lambda o, t, w: losses.smooth_mse(o, t, w, threshold=threshold)  # noqa: E731
    return jnp.sum(jax.vmap(jax.vmap(one))(output, target, weight)) / jnp.maximum(1, weight.sum())

  return loss


def _masked(output, target, mask):
  per_map = jax.vmap(jax.vmap(losses.mse))(output, target, mask)
  return jnp.sum(per_map) * mask[0, 0].size / jnp.sum(mask)


@pytest.mark.parametrize(
  "name, loss, output, weight",
  [
    ("JointsMSELoss_per_joint1", _joint, "output", "target_weight"),
    ("JointsMSELoss_noweight_per_joint1", _joint, "output", "one"),
    ("JointsMSELoss_per_joint0", lambda *x: _joint(*x) / 17, "output", "target_weight"),
    ("KeypointsMSESmoothLoss", _smooth(400.0), "output", "target_weight"),
    ("KeypointsMSESmoothLoss_big", _smooth(400.0), "output_big", "target_weight"),
    ("KeypointsMSESmoothLoss_thr0p3", _smooth(0.3), "output", "target_weight"),
    ("KeypointsMSESmoothLoss_allzero_weight", _smooth(400.0), "output", "zero"),
    ("MaskedMSELoss_mean", _masked, "output", "all"),
    ("MaskedMSELoss_mean_masked", _masked, "output", "mask"),
  ],
)
def test_golden_metrics2d_losses(name, loss, output, weight):
  """Value and gradient, 2e-6 relative; the name is the original's class."""
  g = golden_files.load("losses")
  weights = {
    "target_weight": g["target_weight"][..., 0],
    "one": np.ones((3, 17)),
    "zero": np.zeros((3, 17)),
    "mask": g["mask"],
    "all": np.ones_like(g["mask"]),
  }
  args = (
    jnp.asarray(g[output]),
    jnp.asarray(g["target"]),
    jnp.asarray(weights[weight], jnp.float32),
  )
  value, gradient = jax.jit(jax.value_and_grad(loss))(*args)
  np.testing.assert_allclose(value, g[name], rtol=1e-5)
  expected = g[name + ".grad_n0"]
  np.testing.assert_allclose(
    gradient[0, :4], expected, atol=1e-5 * max(np.abs(expected).max(), 1e-9)
  )


def test_cross_entropy_is_that_of_the_normalised_target():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(12, 16))
  target = np.array(
    heatmaps.gaussian_target(jnp.array([30.0, 22.0]), size_hw=(12, 16), stride=4, sigma=8.0),
    np.float64,
  )
  q = target / target.sum()
  p = np.exp(logits) / np.exp(logits).sum()
  entropy = jax.jit(losses.heatmap_cross_entropy)
  value = entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(target, jnp.float32))
  np.testing.assert_allclose(value, -np.sum(q * np.log(p)), rtol=1e-5)
  gradient = jax.grad(entropy)(jnp.asarray(logits, jnp.float32), jnp.asarray(target, jnp.float32))
  np.testing.assert_allclose(gradient, p - q, atol=1e-6)


def test_degenerate_maps_give_finite_losses_and_gradients():
  empty = heatmaps.gaussian_target(jnp.array([-500.0, 9e5]), size_hw=(8, 8), stride=4, sigma=8.0)
  some = jnp.eye(8)
  huge = 1e4 * jnp.eye(8)
  for function in (losses.heatmap_cross_entropy, losses.mse, losses.smooth_mse):
    loss = jax.jit(jax.value_and_grad(function))
    for prediction in (jnp.zeros((8, 8)), huge, -huge):
      for target in (empty, some):
        value, gradient = loss(prediction, target)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
  value, gradient = jax.value_and_grad(losses.heatmap_cross_entropy)(huge, empty)
  assert value == 0
  assert not gradient.any()


def test_reprojection_is_in_half_sizes_of_a_map_that_is_not_square():
  """5 wide and 3 high: 2 px across and 1 px down are each one half."""
  pixels = jnp.array([[u, v] for v in range(3) for u in range(5)], jnp.float32)
  np.testing.assert_array_equal(losses.reprojection(pixels, size_hw=(3, 5)), 0)
  for shift, want in (((2.0, 0.0), 0.5), ((0.0, 1.0), 0.5), ((4.0, 1.0), 2.5)):
    found = losses.reprojection(pixels + jnp.array([shift]), size_hw=(3, 5))
    np.testing.assert_allclose(found, want, rtol=1e-6)
