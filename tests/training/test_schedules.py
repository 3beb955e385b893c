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


def _rates(steps, **fields):
  config = synthetic.get_config().optimizer
  config.update({"learning_rate": 2.0, "warmup_epochs": 0.0, **fields})
  schedule = schedules.learning_rate(config, steps_per_epoch=4.0, num_steps=20)
  return [float(schedule(step)) for step in steps]


def test_steps_fall_to_a_tenth_at_their_epochs():
  found = _rates([0, 7, 8, 11, 12, 19], schedule="step", step_epochs=(2, 3))
  np.testing.assert_allclose(found, [2, 2, 0.2, 0.2, 0.02, 0.02], rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 1])
def test_cosine_falls_from_the_peak_to_nothing_at_the_end(warmup):
  """SGDR (Loshchilov and Hutter, ICLR 2017), equation 5, without restarts, after the warm-up."""
  first = 4 * warmup
  steps = np.arange(first, 20)
  found = _rates(steps, schedule="cosine", warmup_epochs=float(warmup))
  expected = 1 + np.cos(np.pi * (steps - first) / (20 - first))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  assert _rates([20], schedule="cosine", warmup_epochs=float(warmup))[0] < 1e-6


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_the_warm_up_rises_evenly_and_moves_no_fall(schedule):
  options = {"schedule": schedule, "warmup_epochs": 1.0, "step_epochs": (2, 3)}
  found = _rates(range(5), **options)
  np.testing.assert_allclose(found, [0.5, 0.875, 1.25, 1.625, 2.0], rtol=1e-6)
  if schedule == "step":
    np.testing.assert_allclose(_rates([7, 8, 12], **options), [2, 0.2, 0.02], rtol=1e-6)


def test_another_schedule_is_refused():
  with pytest.raises(ValueError, match=r"optimizer.schedule is 'line'; allowed: step, cosine"):
    _rates([0], schedule="line")
