"""Times PyTorch code beside ours: imported only with `--against torch`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from epipolar_jax.tools.benchmark import memory, timing


def device() -> torch.device:
  """The GPU where PyTorch has one, else the CPU with as many threads as it takes by itself."""
  return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measure(name: str, function: Callable[..., Any], *args: Any, **row: Any) -> timing.Row:
  """`timing.measure` of PyTorch code: warmed up once, every call waited for, peak memory measured.

  Args:
    name: as in `timing.Row`; " (torch)" is added.
    function: of the arguments.
    args: tensors on `device()`.
    row: size, frames, seconds and what else `timing.measure` takes.
  """
  on_gpu = torch.cuda.is_available()

  def run():
    result = function(*args)
    if on_gpu:
      torch.cuda.synchronize()
    return result

  run()
  measured = timing.measure(f"{name} (torch)", run, compiled=False, **row)
  return dataclasses.replace(
    measured, peak_bytes=_gpu_bytes(run) if on_gpu else memory.call_bytes(run)
  )


def _gpu_bytes(run: Callable[[], Any]) -> int:
  torch.cuda.empty_cache()
  torch.cuda.reset_peak_memory_stats()
  before = torch.cuda.memory_allocated()
  run()
  return torch.cuda.max_memory_allocated() - before
