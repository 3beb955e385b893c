"""Times a function."""

import dataclasses
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from epipolar_jax.tools.benchmark import memory


@dataclasses.dataclass(frozen=True)
class Row:
  """One measurement.

  Attributes:
    name: what ran.
    size: of the input, in words.
    compile_s: time of the first call less that of a later one; 0 for what is not compiled.
    median_s: of a call.
    low_s, high_s: fastest and slowest call.
    calls: how many were timed.
    frames_per_s: frames (or whatever `unit` says) a second, by the median.
    ratio: `frames_per_s` over that of the row it is compared with; None for those themselves.
    unit: what is counted.
    flops: floating-point operations that one call needs (2 for a multiply-add), by the formula of
      what is computed, whatever the algorithm does in fact; None when nobody counted.
    bytes_moved: bytes that one call must at least read and write; None when nobody counted.
    dtype: of the factors, for the ceiling of matrix products.
    peak_bytes: memory of results and temporaries (`benchmark.memory`); None when not known.
    error: largest absolute difference of the results from those of the suite's plain algorithm,
      both in float32 at the highest precision; None when nobody compared.
    busy: share of all cores that was busy, by processor time; None when nobody looked.
    share: of the processor time of all stages; None where there are none.
  """

  name: str
  size: str
  compile_s: float
  median_s: float
  low_s: float
  high_s: float
  calls: int
  frames_per_s: float
  ratio: float | None = None
  unit: str = "frames"
  flops: float | None = None
  bytes_moved: float | None = None
  dtype: str = "float32"
  peak_bytes: int | None = None
  error: float | None = None
  busy: float | None = None
  share: float | None = None


def measure(
  name: str,
  function: Callable[..., Any],
  *args: Any,
  size: str,
  frames: int,
  compiled: bool = True,
  seconds: float = 3.0,
  **about: Any,
) -> Row:
  """Calls a function until `seconds` are over, at least three times, and waits for every result.

  Args:
    name, size: as in `Row`.
    function: of the arguments; whatever arrays it returns are waited for. One that `jax.jit` made
      is compiled beforehand, so its memory is known.
    args: passed on.
    frames: that one call handles.
    compiled: whether the first call compiles; if not, it counts like any other.
    seconds: time to spend, after the first call.
    about: unit, flops, bytes_moved, dtype, peak_bytes, error of the `Row`.
  """

  def once() -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start

  ahead = 0.0
  if hasattr(function, "lower"):
    start = time.perf_counter()
    function = function.lower(*args).compile()
    ahead = time.perf_counter() - start
    about = {"peak_bytes": memory.compiled_bytes(function)} | about
  first = once() if compiled else 0.0
  times: list[float] = []
  while len(times) < 3 or (sum(times) < seconds and len(times) < 1000):
    times.append(once())
  median = statistics.median(times)
  return Row(
    name=name,
    size=size,
    compile_s=ahead + max(first - median, 0.0) if compiled else 0.0,
    median_s=median,
    low_s=min(times),
    high_s=max(times),
    calls=len(times),
    frames_per_s=frames / median,
    **about,
  )


def against(row: Row, baseline: Row) -> Row:
  """The row, with its ratio to a baseline of the same unit."""
  return dataclasses.replace(row, ratio=row.frames_per_s / baseline.frames_per_s)


def children_s() -> float:
  """Processor time of all child processes that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def host(
  name: str,
  function: Callable[[], Any],
  *,
  size: str,
  frames: int,
  seconds: float,
  ahead: bool = True,
  **about: Any,
) -> Row:
  """`measure` of what the host does: seconds a frame, and how busy the cores are meanwhile.

  Children that have ended count, as the film's encoder.

  Args:
    name, size: as in `Row`.
    function: waits for whatever it starts.
    frames: that one call handles; the row's times are of one of them.
    seconds: time to spend; one call at least.
    ahead: calls once before, untimed.
    about: unit and others of the `Row`.
  """
  if ahead:
    function()
  times, used = [], time.process_time() + children_s()
  while not times or sum(times) < seconds:
    start = time.perf_counter()
    function()
    times.append(time.perf_counter() - start)
  busy = (time.process_time() + children_s() - used) / sum(times) / os.cpu_count()
  each = [x / frames for x in times]
  median = statistics.median(each)
  return Row(
    name, size, 0.0, median, min(each), max(each), len(times), 1 / median, busy=busy, **about
  )
