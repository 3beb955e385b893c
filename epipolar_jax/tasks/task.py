"""`Task`: the pure functions that training and evaluation are made of, whatever is trained."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Variables = dict[str, Any]
Batch = dict[str, jax.Array]


class Task(NamedTuple):
  """Pure functions that training and evaluation are made of.

  Attributes:
    init: key -> variables.
    loss: (variables, batch) -> (sum, weight, new batch_stats); the step divides, after summing
      both over devices. Uses the network in training mode.
    predict: (variables, batch) -> arrays with a leading frame axis.
    meta: JSON-like description of what a checkpoint of this task must agree with.
  """

  init: Callable[[jax.Array], Variables]
  loss: Callable[[Variables, Batch], tuple[jax.Array, jax.Array, Any]]
  predict: Callable[[Variables, Batch], dict[str, jax.Array]]
  meta: dict[str, Any]


def choose(options: dict[str, Any], name: str, field: str) -> Any:
  """`options[name]`.

  Raises:
    ValueError: names the config field and lists what it may be.
  """
  if name not in options:
    raise ValueError(f"{field} is {name!r}; allowed: {', '.join(sorted(options))}")
  return options[name]
