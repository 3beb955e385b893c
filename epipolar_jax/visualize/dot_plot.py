"""Positive numbers as a chart: a row a case, through the rows one labelled line a column."""

import cv2
import numpy as np

from epipolar_jax.visualize import palette

_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.5
_LEFT, _RIGHT, _TOP, _ROW = 250, 30, 64, 30
_LABELS, _GAP = 58, 12  # height below the rows; between labels, px
_TEXT, _RULE = (233, 237, 241), (50, 59, 69)


def draw(rows: dict[str, dict[str, float | None]], *, title: str, width: int = 1000) -> np.ndarray:
  """Draws the numbers of every row on one logarithmic axis.

  Args:
    rows: numbers by row and column, the same columns everywhere; None is left out.
    title: at the top.
    width: of the chart, px.

  Returns:
    [h, w, 3] uint8 RGB. Each column is a line in a colour of its own, with its name at the end.

  Raises:
    ValueError: no number at all, or one that is not above 0.
  """
  columns = list(next(iter(rows.values()), {}))
  values = [x for row in rows.values() for x in row.values() if x is not None]
  if not values or min(values) <= 0:
    raise ValueError(
      f"needs numbers above 0, got {len(values)}, the least {min(values, default=None)}"
    )
  bottom = _TOP + _ROW * len(rows)
  canvas = np.full((bottom + _LABELS, width, 3), palette.STAGE, np.uint8)
  low, high = np.log10(min(values)) - 0.03, np.log10(max(values)) + 0.03

  def across(value: float) -> int:
    share = (np.log10(value) - low) / max(high - low, 1e-9)
    return round(_LEFT + share * (width - _LEFT - _RIGHT))

  for tick in _ticks(low, high):
    cv2.line(canvas, (across(tick), _TOP), (across(tick), bottom), _RULE, 1)
    _write(canvas, f"{tick:g}", (across(tick) - 10, _TOP - 8))
  _write(canvas, title, (12, 24), size=0.6)
  for n, name in enumerate(rows):
    y = _TOP + _ROW * n + _ROW // 2
    cv2.line(canvas, (_LEFT, y), (width - _RIGHT, y), _RULE, 1)
    _write(canvas, name, (12, y + 5))
  # A little up or down, so that equal numbers are seen.
  tracks = [
    [
      (across(row[column]), _TOP + _ROW * n + _ROW // 2 + 2 * i - len(columns))
      for n, row in enumerate(rows.values())
      if row[column] is not None
    ]
    for i, column in enumerate(columns)
  ]
  for i, track in enumerate(tracks):
    cv2.polylines(canvas, [np.array(track, int)], False, _color(i), 1, cv2.LINE_AA)
  _label_ends(canvas, columns, tracks, bottom)
  for i, track in enumerate(tracks):
    for place in track:
      _dot(canvas, place, i)
  return canvas


def _label_ends(canvas, columns: list[str], tracks: list[list], bottom: int) -> None:
  """Names below the rows, in the order of the lines' ends, each joined to its line."""
  order = sorted((i for i, track in enumerate(tracks) if track), key=lambda i: tracks[i][-1])
  lengths = {i: cv2.getTextSize(columns[i], _FONT, _SIZE, 1)[0][0] for i in order}
  left, edge = {}, 12
  for i in order:
    left[i] = edge = max(edge, tracks[i][-1][0] - lengths[i] // 2)
    edge += lengths[i] + _GAP
  edge = canvas.shape[1] - 12
  for i in reversed(order):
    left[i] = min(left[i], edge - lengths[i])
    edge = left[i] - _GAP
  for i in order:
    end = (left[i] + lengths[i] // 2, bottom + 28)
    cv2.line(canvas, tracks[i][-1], end, _color(i), 1, cv2.LINE_AA)
    _write(canvas, columns[i], (left[i], bottom + 44), color=_color(i))


def _ticks(low: float, high: float) -> list[float]:
  """1, 2 and 5 times powers of ten between 10^low and 10^high."""
  powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
  ticks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
  return [t for t in ticks if low <= np.log10(t) <= high]


def _color(column: int) -> palette.RGB:
  return palette.SERIES[column % len(palette.SERIES)]


def _dot(canvas: np.ndarray, place: tuple[int, int], column: int) -> None:
  """A disc in the column's colour; with a dark middle when the colours begin again."""
  cv2.circle(canvas, place, 6, _color(column), -1, cv2.LINE_AA)
  if again := column // len(palette.SERIES):
    cv2.circle(canvas, place, max(4 - again, 1), palette.STAGE, -1, cv2.LINE_AA)


def _write(canvas, text: str, place: tuple[int, int], *, size=_SIZE, color=_TEXT) -> None:
  cv2.putText(canvas, text, place, _FONT, size, color, 1, cv2.LINE_AA)
