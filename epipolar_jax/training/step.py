"""One training step, as a pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from epipolar_jax import tasks
from epipolar_jax.evaluation import batch_statistics
from epipolar_jax.runtime import parallel
from epipolar_jax.training import state as train_state


def make_train_step(
  task: tasks.Task,
  optimizer: optax.GradientTransformation,
  *,
  seed: int,
  cumulative_stats: bool = False,
  accumulate: int = 1,
) -> Callable[[train_state.TrainState, Any], tuple[train_state.TrainState, dict[str, jax.Array]]]:
  """Returns `step(state, batch) -> (state, metrics)`, to be mapped by `parallel.make_step`.

  The loss is the sum over all devices divided by the weight over all devices, so padding and an
  uneven share of visible joints cannot bias it, and n devices equal one. What the task draws is a
  function of (seed, step).

  With `accumulate` the same quotient is taken over all parts of the batch: but for batch
  normalisation (and what the task draws) the step is that of the whole batch. Each part is
  normalised by its own statistics over all devices, and the running statistics move once for each
  part, in order. A part has every `accumulate`-th frame, whatever the number of devices.

  Args:
    task: what is trained.
    optimizer: of `schedules`.
    seed: of what the task draws.
    cumulative_stats: the batch statistics that the task returns are those of the batch alone, and
      the state keeps their average over all steps (torch's momentum None).
    accumulate: parts that a device's batch is worked through in, one after the other; memory for
      activations falls by as much. The step raises ValueError if it does not divide the batch.
  """

  def share(params, batch_stats, batch, key, count):
    """This device's sum of losses, the weight of it, and new statistics."""
    total, weight, new_stats = task.loss({"params": params, "batch_stats": batch_stats}, batch, key)
    if cumulative_stats:
      new_stats = batch_statistics.average(batch_stats, new_stats, count=count)
    return total, (jax.lax.stop_gradient(weight), new_stats)

  gradient = jax.value_and_grad(share, has_aux=True)

  def sums(variables, batch, key, step):
    """Loss, weight and gradients of this device's batch, summed, and new statistics."""
    params, batch_stats = variables["params"], variables["batch_stats"]
    if accumulate == 1:
      (total, (weight, new_stats)), grads = gradient(params, batch_stats, batch, key, step)
      return (total, weight, grads), new_stats

    def add(carry, part):
      sums, batch_stats = carry
      index, batch = part
      (total, (weight, new_stats)), grads = gradient(
        params, batch_stats, batch, jax.random.fold_in(key, index), accumulate * step + index
      )
      return (jax.tree.map(jnp.add, sums, (total, weight, grads)), new_stats), None

    zero = jnp.zeros(())
    start = (zero, zero, jax.tree.map(jnp.zeros_like, params))
    parts = (jnp.arange(accumulate), jax.tree.map(lambda x: _split(x, accumulate), batch))
    return jax.lax.scan(add, (start, batch_stats), parts)[0]

  def step(state: train_state.TrainState, batch: Any):
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    own, new_stats = sums(state.variables, batch, key, state.step)
    total, weight, grads = jax.lax.psum(own, parallel.AXIS)
    weight = jnp.maximum(weight, 1.0)
    grads = jax.tree.map(lambda x: x / weight, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.variables["params"])
    params = optax.apply_updates(state.variables["params"], updates)
    new_state = train_state.TrainState(
      step=state.step + 1,
      variables={"params": params, "batch_stats": new_stats},
      opt_state=opt_state,
    )
    return new_state, {"loss": total / weight, "grad_norm": optax.tree.norm(grads)}

  return step


def _split(x: jax.Array, parts: int) -> jax.Array:
  """[b, ...] to [parts, b / parts, ...]: part i has the rows i, i + parts, ..."""
  if len(x) % parts:
    raise ValueError(
      f"train.accumulate {parts} does not divide the {len(x)} frames of a device: choose "
      "train.batch_size divisible by train.accumulate times the number of devices"
    )
  return jnp.swapaxes(x.reshape(len(x) // parts, parts, *x.shape[1:]), 0, 1)
