"""What a training run carries from step to step."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
  """Everything that determines the rest of a run, together with (config, seed).

  Attributes:
    step: [], int32, steps taken so far.
    variables: {"params", "batch_stats"} of the model.
    opt_state: of the optimizer.
  """

  step: jax.Array
  variables: dict[str, Any]
  opt_state: optax.OptState


def create(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first step."""
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    variables=variables,
    opt_state=optimizer.init(variables["params"]),
  )
