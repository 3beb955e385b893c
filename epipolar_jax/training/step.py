"""One training step, as a pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from epipolar_jax import parallel, tasks
from epipolar_jax.training import batch_statistics
from epipolar_jax.training import state as train_state


def make_train_step(
  task: tasks.Task,
  optimizer: optax.GradientTransformation,
  *,
  seed: int,
  cumulative_stats: bool = False,
) -> Callable[[train_state.TrainState, Any], tuple[train_state.TrainState, dict[str, jax.Array]]]:
  """Returns `step(state, batch) -> (state, metrics)`, to be mapped by `parallel.make_step`.

  The loss is the sum over all devices divided by the weight over all devices, so padding and an
  uneven share of visible joints cannot bias it, and n devices equal one. What the task draws is a
  function of (seed, step).

  Args:
    task: what is trained.
    optimizer: of `schedules`.
    seed: of what the task draws.
    cumulative_stats: the batch statistics that the task returns are those of the batch alone, and
      the state keeps their average over all steps (torch's momentum None).
  """

  def step(state: train_state.TrainState, batch: Any):
    batch_stats = state.variables["batch_stats"]
    key = jax.random.fold_in(jax.random.key(seed), state.step)

    def objective(params):
      variables = {"params": params, "batch_stats": batch_stats}
      total, weight, new_stats = task.loss(variables, batch, key)
      weight = jnp.maximum(jax.lax.psum(jax.lax.stop_gradient(weight), parallel.AXIS), 1.0)
      return total / weight, new_stats

    (share, new_stats), grads = jax.value_and_grad(objective, has_aux=True)(
      state.variables["params"]
    )
    loss, grads = jax.lax.psum((share, grads), parallel.AXIS)
    if cumulative_stats:
      new_stats = batch_statistics.average(batch_stats, new_stats, count=state.step)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.variables["params"])
    params = optax.apply_updates(state.variables["params"], updates)
    new_state = train_state.TrainState(
      step=state.step + 1,
      variables={"params": params, "batch_stats": new_stats},
      opt_state=opt_state,
    )
    return new_state, {"loss": loss, "grad_norm": optax.tree.norm(grads)}

  return step
