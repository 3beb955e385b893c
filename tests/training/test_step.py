"""The training step on a toy task: accumulation, and what becomes of the state's memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import tasks
from epipolar_jax.runtime import parallel
from epipolar_jax.tasks import task as task_module
from epipolar_jax.training import schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step
from tests import dots

_MOMENTUM = 0.25


def _task(*, draws=False):
  """Least squares with weights; statistics are running means of the features."""

  def init(key):
    params = {"kernel": jax.random.normal(key, (3, 2)), "bias": jnp.zeros(2)}
    return {"params": params, "batch_stats": {"mean": jnp.zeros(3)}}

  def loss(variables, batch, key):
    x = batch["x"]
    if draws:
      keys = task_module.frame_keys(key, len(x), axis_name=parallel.AXIS)
      x = x + jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    params, mean = variables["params"], jax.lax.pmean(jnp.mean(x, 0), parallel.AXIS)
    error = x @ params["kernel"] + params["bias"][None] - batch["y"]
    old = variables["batch_stats"]["mean"]
    new = {"mean": (1 - _MOMENTUM) * old + _MOMENTUM * mean}
    return jnp.sum(batch["weight"][:, None] * error**2), jnp.sum(batch["weight"]), new

  return tasks.Task(init, loss, lambda variables, batch: {}, {}, evaluation=None)


def _batch():
  rng = np.random.default_rng(0)
  # Some frames count for nothing, so parts of the batch have unlike weights.
  weight = np.float32([1, 1, 0, 1, 2, 0, 1, 1, 0, 3, 1, 1, 1, 0, 1, 1])
  return {
    "x": rng.normal(size=(16, 3)).astype(np.float32),
    "y": rng.normal(size=(16, 2)).astype(np.float32),
    "weight": weight,
  }


def _run(task, accumulate, *, devices=1, steps=2):
  optimizer = schedules.optimizer(dots.config().optimizer, lambda step: 1e-2)
  step = train_step.make_train_step(task, optimizer, seed=3, accumulate=accumulate)
  run = jax.pmap(step, axis_name=parallel.AXIS, in_axes=(None, 0), devices=jax.devices()[:devices])
  state = train_state.create(task.init(jax.random.key(0)), optimizer)
  batch = {k: x.reshape(devices, -1, *x.shape[1:]) for k, x in _batch().items()}
  losses = []
  for _ in range(steps):
    state, values = run(state, batch)
    state = jax.tree.map(lambda x: x[0], state)
    losses.append(float(values["loss"][0]))
  return jax.device_get(state), losses


def test_accumulation_is_the_whole_batch():
  (whole, losses), (parts, same) = _run(_task(), 1), _run(_task(), 4)
  np.testing.assert_allclose(same, losses, rtol=1e-6)
  for a, b in zip(jax.tree.leaves(parts.opt_state), jax.tree.leaves(whole.opt_state)):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
  for a, b in zip(*(jax.tree.leaves(s.variables["params"]) for s in (parts, whole))):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_statistics_move_once_for_each_part():
  state, _ = _run(_task(), 4, steps=1)
  mean = np.zeros(3)
  for i in range(4):
    mean = (1 - _MOMENTUM) * mean + _MOMENTUM * _batch()["x"][i::4].mean(0)
  np.testing.assert_allclose(state.variables["batch_stats"]["mean"], mean, atol=1e-6)


def test_parts_and_draws_do_not_depend_on_the_number_of_devices():
  task = _task(draws=True)
  (one, losses), (four, same) = _run(task, 2), _run(task, 2, devices=4)
  np.testing.assert_allclose(same, losses, rtol=1e-5)
  assert losses[0] != _run(_task(), 2)[1][0]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), four, one)


def test_parts_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match=r"train\.accumulate 3 does not divide the 16 frames"):
    _run(_task(), 3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_shard_map_gives_the_bits_of_pmap(accumulate):
  task = _task(draws=True)
  optimizer = schedules.optimizer(dots.config().optimizer, lambda step: 1e-2)
  step = train_step.make_train_step(task, optimizer, seed=0, accumulate=accumulate)
  batch = parallel.shard_batch(_batch())

  def predict(variables, batch):
    return batch["x"] @ variables["params"]["kernel"]

  def train(by_shard_map):
    run = parallel.make_step(step, by_shard_map=by_shard_map)
    state = parallel.replicate(train_state.create(task.init(jax.random.key(0)), optimizer))
    for _ in range(3):
      before, (state, values) = state, run(state, batch)
      assert all(x.is_deleted() for x in jax.tree.leaves(before))
    predicted = parallel.make_predict(predict, by_shard_map=by_shard_map)(state.variables, batch)
    assert predicted.shape == (len(jax.devices()), 16 // len(jax.devices()), 2)
    return jax.device_get((state, values, predicted))

  jax.tree.map(np.testing.assert_array_equal, train(True), train(False))


def test_the_state_is_donated_and_memory_does_not_grow():
  task = _task()
  optimizer = schedules.optimizer(dots.config().optimizer, lambda step: 1e-2)
  run = parallel.make_step(train_step.make_train_step(task, optimizer, seed=0))
  state = parallel.replicate(train_state.create(task.init(jax.random.key(0)), optimizer))
  batch, alive = parallel.shard_batch(_batch()), []
  for _ in range(4):
    before = state
    state, _ = run(state, batch)
    assert all(x.is_deleted() for x in jax.tree.leaves(before))
    del before
    alive.append(sum(x.nbytes for x in jax.live_arrays()))
  assert alive[1] == alive[2] == alive[3]
