"""Times a training step, which replaces its state."""

import dataclasses
import time
from typing import Any

import jax

from epipolar_jax.tools.benchmark import memory, timing


def measure(name: str, step: Any, state: Any, batch: Any, **row: Any) -> timing.Row:
  """`timing.measure` of step after step, each from the state that the one before returned.

  Args:
    name: as in `timing.Row`.
    step: what `jax.jit` or `jax.pmap` made of `step(state, batch) -> (state, values)`; it may take
      the state's memory.
    state: at the start; gone afterwards if it was donated.
    batch: of every step.
    row: size, frames, seconds and what else `timing.measure` takes.
  """
  start = time.perf_counter()
  compiled = step.lower(state, batch).compile()
  compile_s = time.perf_counter() - start

  def advance():
    nonlocal state
    state, values = compiled(state, batch)
    return state, values

  jax.block_until_ready(advance())
  measured = timing.measure(name, advance, compiled=False, **row)
  return dataclasses.replace(
    measured, compile_s=compile_s, peak_bytes=memory.compiled_bytes(compiled)
  )
