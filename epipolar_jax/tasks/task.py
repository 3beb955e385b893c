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
    inspect: like `predict`, and what the network saw on the way: heatmaps [b v h w j] and, with
      fusion, source [b v m], the views each view looks at, others [b v n], the views it can be
      shown looking at, weights [b v n p k] of the samples on their epipolar lines; None for tasks
      without pictures.
  """

  init: Callable[[jax.Array], Variables]
  loss: Callable[[Variables, Batch], tuple[jax.Array, jax.Array, Any]]
  predict: Callable[[Variables, Batch], dict[str, jax.Array]]
  meta: dict[str, Any]
  inspect: Callable[[Variables, Batch], dict[str, jax.Array]] | None = None


def choose(options: dict[str, Any], name: str, field: str) -> Any:
  """`options[name]`.

  Raises:
    ValueError: names the config field and lists what it may be.
  """
  if name not in options:
    raise ValueError(f"{field} is {name!r}; allowed: {', '.join(sorted(options))}")
  return options[name]
