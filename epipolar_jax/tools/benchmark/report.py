"""Says measurements as a table."""

from collections.abc import Callable

from epipolar_jax.tools.benchmark import ceilings as ceilings_lib
from epipolar_jax.tools.benchmark import timing


def table(rows: list[timing.Row], ceilings: ceilings_lib.Ceilings | None = None) -> str:
  """The rows as a Markdown table.

  Columns of memory, operations, shares, errors and busy cores are there when some row has them;
  shares of a ceiling are of the measured matrix product or copy, by the median.
  """
  columns: list[tuple[str, Callable[[timing.Row], str]]] = [
    ("what", lambda r: r.name),
    ("size", lambda r: r.size),
    ("compile s", lambda r: f"{r.compile_s:.1f}"),
    ("median ms", lambda r: f"{1e3 * r.median_s:.4g}"),
    ("fastest–slowest ms", lambda r: f"{1e3 * r.low_s:.4g}–{1e3 * r.high_s:.4g}"),
    ("calls", lambda r: str(r.calls)),
    ("per second", lambda r: f"{r.frames_per_s:,.4g} {r.unit}"),
    ("ratio", lambda r: "" if r.ratio is None else f"{r.ratio:.3g}×"),
  ]
  if any(r.peak_bytes is not None for r in rows):
    columns.append(("peak MB", lambda r: _number(r.peak_bytes, 1e-6)))
  if any(r.flops is not None for r in rows):
    columns.append(("GFLOP/s", lambda r: _number(r.flops, 1e-9 / r.median_s)))
    if ceilings is not None:
      columns.append(
        ("of matmul", lambda r: _percent(r.flops, r, ceilings.matmul_flops_per_s[r.dtype]))
      )
  if any(r.bytes_moved is not None for r in rows) and ceilings is not None:
    columns.append(("of copy", lambda r: _percent(r.bytes_moved, r, ceilings.copy_bytes_per_s)))
  if any(r.error is not None for r in rows):
    columns.append(("max error", lambda r: "" if r.error is None else f"{r.error:.1e}"))
  if any(r.busy is not None for r in rows):
    columns.append(("cores busy", lambda r: "" if r.busy is None else f"{r.busy:.0%}"))
  if any(r.share is not None for r in rows):
    columns.append(("of processor time", lambda r: "" if r.share is None else f"{r.share:.1%}"))
  lines = [[title for title, _ in columns], ["---"] * len(columns)]
  lines += [[cell(r) for _, cell in columns] for r in rows]
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None, factor: float) -> str:
  return "" if value is None else f"{value * factor:,.4g}"


def _percent(amount: float | None, row: timing.Row, ceiling: float) -> str:
  return "" if amount is None else f"{100 * amount / row.median_s / ceiling:.3g} %"
