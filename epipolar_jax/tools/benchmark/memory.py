"""How much memory a call needs beyond its arguments: results and everything temporary."""

import ctypes
import pathlib
from collections.abc import Callable
from typing import Any

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")
_CALLS = 3


def compiled_bytes(compiled: Any) -> int | None:
  """Bytes of results and temporaries of a compiled JAX function, as XLA planned them.

  Exact on every platform. A result that takes the place of a donated argument counts once.

  Args:
    compiled: what `jax.jit(f).lower(...).compile()` gives.

  Returns:
    None where the platform does not say.
  """
  plan = compiled.memory_analysis()
  if plan is None:
    return None
  return plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes


def call_bytes(function: Callable[[], Any]) -> int | None:
  """By how many bytes the memory of this process grows at most during a call (Linux).

  For what no compiler planned. The most of a few calls: arrays that others let go of may be freed
  in the background during the first, and hide what it takes. Call once before: the very first
  call of a library counts what it loads, too.

  Returns:
    None where the kernel does not let a process reset its peak.
  """
  grown = []
  try:
    for _ in range(_CALLS):
      _give_back()
      _CLEAR.write_text("5", encoding="ascii")
      before = _kilobytes("VmHWM")
      function()
      grown.append(1024 * (_kilobytes("VmHWM") - before))
  except OSError:
    return None
  return max(grown)


def _give_back() -> None:
  """Returns memory that glibc keeps for later: what a call takes from there is no growth."""
  trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
  if trim is not None:
    trim(0)


def _kilobytes(field: str) -> int:
  for line in _STATUS.read_text(encoding="ascii").splitlines():
    if line.startswith(field + ":"):
      return int(line.split()[1])
  raise OSError(f"{_STATUS} has no {field}")
