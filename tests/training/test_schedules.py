"""Optimizers against the rule worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import lifting_direct_rhd, synthetic
from epipolar_jax.training import schedules


def test_sgd_has_the_momentum_of_torch():
  """v = 0.9 v + g; p -= lr v (torch.optim.SGD, no dampening): the original's sgd recipes."""
  config = lifting_direct_rhd.get_config().optimizer
  config.name = "sgd"
  optimizer = schedules.optimizer(config, lambda step: 0.1)
  params, gradient = {"w": jnp.ones((1, 1))}, {"w": jnp.full((1, 1), 2.0)}
  state = optimizer.init(params)
  expected, velocity = 1.0, 0.0
  for _ in range(3):
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    velocity = 0.9 * velocity + 2.0
    expected -= 0.1 * velocity
    np.testing.assert_allclose(params["w"], expected, rtol=1e-6)


def test_another_name_is_refused():
  config = lifting_direct_rhd.get_config().optimizer
  config.name = "adamax"
  with pytest.raises(ValueError, match=r"optimizer.name is 'adamax'; allowed: adam, sgd"):
    schedules.optimizer(config, lambda step: 0.1)


def test_a_pretrained_trunk_moves_by_a_share_of_the_rate():
  config = synthetic.get_config().optimizer
  config.update({"gradient_clip": 0.0, "weight_decay": 0.1})
  params = {
    "backbone": {"trunk": {"kernel": jnp.ones((2, 2))}, "head": {"kernel": jnp.ones((2, 2))}}
  }
  gradient = jax.tree.map(lambda x: 0.3 * x, params)

  def moved(factor):
    config.trunk_factor = factor
    optimizer = schedules.optimizer(config, lambda step: 1e-2)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    return updates["backbone"]

  whole, part, none = moved(1.0), moved(0.1), moved(0.0)
  np.testing.assert_allclose(part["trunk"]["kernel"], 0.1 * whole["trunk"]["kernel"], rtol=1e-6)
  np.testing.assert_array_equal(part["head"]["kernel"], whole["head"]["kernel"])
  assert not none["trunk"]["kernel"].any() and none["head"]["kernel"].any()
