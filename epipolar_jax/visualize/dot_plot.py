"""Positive numbers as a chart: one line a row, one coloured dot a column, on a log scale."""

import cv2
import numpy as np

# Okabe and Ito's colours, told apart by everybody; RGB.
_COLORS = (
  *((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)),
  *((230, 159, 0), (86, 180, 233), (0, 0, 0), (150, 150, 60)),
  (150, 75, 30),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEFT, _RIGHT, _TOP, _ROW = 230, 30, 84, 30


def draw(rows: dict[str, dict[str, float | None]], *, title: str, width: int = 1000) -> np.ndarray:
  """Draws the numbers of every row on one logarithmic axis.

  Args:
    rows: numbers by row and column, the same columns everywhere; None is left out.
    title: at the top.
    width: of the chart, px.

  Returns:
    [h, w, 3] uint8 RGB.

  Raises:
    ValueError: no number at all, or one that is not above 0.
  """
  columns = list(next(iter(rows.values()), {}))
  values = [x for row in rows.values() for x in row.values() if x is not None]
  if not values or min(values) <= 0:
    raise ValueError(
      f"needs numbers above 0, got {len(values)}, the least {min(values, default=None)}"
    )
  canvas = np.full((_TOP + _ROW * len(rows) + 40, width, 3), 255, np.uint8)
  low, high = np.log10(min(values)) - 0.03, np.log10(max(values)) + 0.03

  def across(value: float) -> int:
    share = (np.log10(value) - low) / max(high - low, 1e-9)
    return round(_LEFT + share * (width - _LEFT - _RIGHT))

  bottom = _TOP + _ROW * len(rows)
  for tick in _ticks(low, high):
    cv2.line(canvas, (across(tick), _TOP), (across(tick), bottom), (225, 225, 225), 1)
    _write(canvas, f"{tick:g}", (across(tick) - 10, bottom + 20))
  _write(canvas, title, (12, 24), scale=0.55)
  lengths = [cv2.getTextSize(name, _FONT, 0.42, 1)[0][0] for name in columns]
  gap = (width - 24 - sum(lengths)) // len(columns)
  for i, name in enumerate(columns):
    x = 20 + sum(lengths[:i]) + i * gap
    _dot(canvas, (x, 52), i)
    _write(canvas, name, (x + 10, 57), scale=0.42)
  for n, (name, row) in enumerate(rows.items()):
    y = _TOP + _ROW * n + _ROW // 2
    cv2.line(canvas, (_LEFT, y), (width - _RIGHT, y), (235, 235, 235), 1)
    _write(canvas, name, (12, y + 5))
    for i, column in enumerate(columns):
      if row[column] is not None:
        # A little up or down, so that equal numbers are seen.
        _dot(canvas, (across(row[column]), y + 2 * i - len(columns)), i)
  return canvas


def _ticks(low: float, high: float) -> list[float]:
  """1, 2 and 5 times powers of ten between 10^low and 10^high."""
  powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
  ticks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
  return [t for t in ticks if low <= np.log10(t) <= high]


def _dot(canvas: np.ndarray, place: tuple[int, int], column: int) -> None:
  """A disc in the column's colour; with a white middle when the colours begin again."""
  again, color = divmod(column, len(_COLORS))
  cv2.circle(canvas, place, 6, _COLORS[color], -1, cv2.LINE_AA)
  if again:
    cv2.circle(canvas, place, max(4 - again, 1), (255, 255, 255), -1, cv2.LINE_AA)


def _write(canvas: np.ndarray, text: str, place: tuple[int, int], *, scale: float = 0.45) -> None:
  cv2.putText(canvas, text, place, _FONT, scale, (40, 40, 40), 1, cv2.LINE_AA)
