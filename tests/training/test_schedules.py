"""Optimizers against the rule worked out by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import lifting_direct_rhd
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
