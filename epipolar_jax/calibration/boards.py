"""Boards whose corners are where they are known to be: chessboards and ChArUco boards."""

from typing import NamedTuple

import numpy as np

# Squares in one direction.
_MOST = 1000


class Grid(NamedTuple):
  """A board of columns x rows squares of so many mm."""

  columns: int
  rows: int
  square: float

  @property
  def inner(self) -> int:
    """Number of corners in which four squares meet."""
    return (self.columns - 1) * (self.rows - 1)

  @property
  def text(self) -> str:
    return f"{self.columns}x{self.rows}x{self.square:g}"


def parse(text: str) -> Grid:
  """A board from words.

  Args:
    text: "4x5x54": four columns and five rows of squares of 54 mm, with 3 x 4 inner corners.

  Raises:
    ValueError: the text is no board.
  """
  parts = text.lower().split("x")
  try:
    columns, rows, square = int(parts[0]), int(parts[1]), float(parts[2])
    good = len(parts) == 3 and 2 < columns <= _MOST and 2 < rows <= _MOST
    if not good or not 0 < square < float("inf"):
      raise ValueError
  except (IndexError, ValueError):
    raise ValueError(
      f"a board is COLUMNSxROWSxMM, squares and the length of one, as 4x5x54; got {text!r}"
    ) from None
  return Grid(columns, rows, square)


def corners(text: str, joints: tuple[str, ...]) -> np.ndarray:
  """Inner corners of a board, numbered row by row from 0, as OpenCV numbers them.

  Args:
    text: of `parse`.
    joints: names of the corners, which are their numbers.

  Returns:
    [j, 3], mm, in the order of the joints, z = 0.

  Raises:
    ValueError: the text is no board, or a joint no corner of it.
  """
  grid = parse(text)
  wrong = [name for name in joints if not name.isdecimal() or int(name) >= grid.inner]
  if wrong:
    raise ValueError(
      f"{', '.join(wrong[:5])}: not a corner of a board of {grid.columns} x {grid.rows} squares, "
      f"whose corners are 0 to {grid.inner - 1}"
    )
  numbers = np.array([int(name) for name in joints])
  inside = grid.columns - 1
  places = np.stack([numbers % inside, numbers // inside, 0 * numbers], axis=-1)
  return grid.square * places.astype(np.float64)
