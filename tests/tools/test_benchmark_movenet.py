"""The benchmark of MoveNet: its plain twin computes the same by other operations."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import movenet
from epipolar_jax.tools.benchmark import movenet as suite


def test_the_plain_network_is_the_same_by_grouped_convolutions(monkeypatch):
  monkeypatch.setattr(movenet, "_BLOCKS", (*movenet._BLOCKS[:10], movenet._BLOCKS[13]))
  module = movenet.MoveNet(width=0.25)
  images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8))
  variables = jax.jit(module.init)(jax.random.key(0), images)

  def gradient(variables, images):
    return jax.grad(lambda v: jnp.mean(jnp.square(module.apply(v, images).heatmap)))(variables)

  plain = suite.compiled(gradient, variables, images, plain=True)
  ours = suite.compiled(gradient, variables, images)
  assert "feature_group_count" in plain.as_text() and "feature_group_count" not in ours.as_text()
  assert suite._difference(ours(variables, images), plain(variables, images)) < 1e-4
