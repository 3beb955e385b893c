"""Boards whose corners are where they are known to be: chessboards and ChArUco boards."""

import numpy as np

# Squares in one direction.
_MOST = 1000


def corners(text: str, joints: tuple[str, ...]) -> np.ndarray:
  """Inner corners of a board, numbered row by row from 0, as OpenCV numbers them.

  Args:
    text: "4x5x54": four columns and five rows of squares of 54 mm, with 3 x 4 inner corners.
    joints: names of the corners, which are their numbers.

  Returns:
    [j, 3], mm, in the order of the joints, z = 0.

  Raises:
    ValueError: the text is no board, or a joint no corner of it.
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
  count = (columns - 1) * (rows - 1)
  wrong = [name for name in joints if not name.isdecimal() or int(name) >= count]
  if wrong:
    raise ValueError(
      f"{', '.join(wrong[:5])}: not a corner of a board of {columns} x {rows} squares, whose "
      f"corners are 0 to {count - 1}"
    )
  numbers = np.array([int(name) for name in joints])
  places = np.stack([numbers % (columns - 1), numbers // (columns - 1), 0 * numbers], axis=-1)
  return square * places.astype(np.float64)
