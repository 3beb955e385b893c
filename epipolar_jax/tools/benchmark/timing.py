"""Times a function, and says it as a table."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


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


def measure(
  name: str,
  function: Callable[..., Any],
  *args: Any,
  size: str,
  frames: int,
  compiled: bool = True,
  seconds: float = 3.0,
  unit: str = "frames",
) -> Row:
  """Calls a function until `seconds` are over, at least three times, and waits for every result.

  Args:
    name, size, unit: as in `Row`.
    function: of the arguments; whatever arrays it returns are waited for.
    args: passed on.
    frames: that one call handles.
    compiled: whether the first call compiles; if not, it counts like any other.
    seconds: time to spend, after the first call.
  """

  def once() -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start

  first = once() if compiled else 0.0
  times: list[float] = []
  while len(times) < 3 or (sum(times) < seconds and len(times) < 1000):
    times.append(once())
  median = statistics.median(times)
  return Row(
    name=name,
    size=size,
    compile_s=max(first - median, 0.0) if compiled else 0.0,
    median_s=median,
    low_s=min(times),
    high_s=max(times),
    calls=len(times),
    frames_per_s=frames / median,
    unit=unit,
  )


def against(row: Row, baseline: Row) -> Row:
  """The row, with its ratio to a baseline of the same unit."""
  return dataclasses.replace(row, ratio=row.frames_per_s / baseline.frames_per_s)


def table(rows: list[Row]) -> str:
  """The rows as a Markdown table."""
  lines = [
    "| what | size | compile s | median ms | fastest–slowest ms | calls | per second | ratio |",
    "|---|---|---|---|---|---|---|---|",
  ]
  for r in rows:
    spread = f"{1e3 * r.low_s:.4g}–{1e3 * r.high_s:.4g}"
    ratio = "" if r.ratio is None else f"{r.ratio:.3g}×"
    lines.append(
      f"| {r.name} | {r.size} | {r.compile_s:.1f} | {1e3 * r.median_s:.4g} | {spread} | {r.calls} "
      f"| {r.frames_per_s:,.4g} {r.unit} | {ratio} |"
    )
  return "\n".join(lines)
