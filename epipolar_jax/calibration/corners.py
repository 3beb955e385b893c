"""Corners of a chessboard or ChArUco board in an image, by OpenCV's detectors."""

from collections.abc import Callable

import cv2
import numpy as np

from epipolar_jax.calibration.boards import Grid

# Shades of gray [h, w] uint8 to corners [j, 2], px, NaN where not seen.
Detect = Callable[[np.ndarray], np.ndarray]
# A square and its neighbour differ by so many shades at least, on average.
_LEAST_CONTRAST = 8.0


def dictionaries() -> dict[str, int]:
  """Names and numbers of OpenCV's dictionaries of markers."""
  return {name: getattr(cv2.aruco, name) for name in dir(cv2.aruco) if name.startswith("DICT_")}


def chessboard(grid: Grid) -> Detect:
  """Finds the inner corners of a chessboard, all or none.

  Corner 0 is the one whose inner square (towards the middle of the board) is dark, so that all
  cameras number corners alike.

  Raises:
    ValueError: the board looks the same when it is turned by 180°.
  """
  if (grid.columns + grid.rows) % 2 == 0:
    raise ValueError(
      f"a chessboard of {grid.columns} x {grid.rows} squares looks the same when it is turned by "
      "180°, so that cameras cannot agree on its corners: one number should be odd and the other "
      "even; or use a ChArUco board (--charuco)"
    )
  inside = grid.columns - 1, grid.rows - 1
  flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY

  def detect(gray: np.ndarray) -> np.ndarray:
    found, uv = cv2.findChessboardCornersSB(gray, inside, flags=flags)
    nothing = np.full((grid.inner, 2), np.nan)
    if not found:
      return nothing
    table = np.asarray(uv, np.float64).reshape(inside[1], inside[0], 2)
    right, down = table[0, -1] - table[0, 0], table[-1, 0] - table[0, 0]
    if right[0] * down[1] - right[1] * down[0] < 0:
      table = table[:, ::-1]  # a board is not seen from behind
    contrast = _contrast(gray, table)
    if abs(contrast) < _LEAST_CONTRAST:
      return nothing
    return (table if contrast > 0 else table[::-1, ::-1]).reshape(-1, 2)

  return detect


def _contrast(gray: np.ndarray, table: np.ndarray) -> float:
  """By how many shades the first inner square, and all of its colour, are darker than others."""
  middles = (table[:-1, :-1] + table[1:, :-1] + table[:-1, 1:] + table[1:, 1:]) / 4
  u, v = np.moveaxis(middles.round().astype(int), -1, 0)
  shade = gray[np.clip(v, 0, gray.shape[0] - 1), np.clip(u, 0, gray.shape[1] - 1)].astype(float)
  odd = np.add.outer(*map(np.arange, shade.shape)) % 2 == 1
  return float(shade[odd].mean() - shade[~odd].mean())


def charuco(grid: Grid, dictionary: str, marker: float) -> Detect:
  """Finds corners of a ChArUco board; some may be hidden.

  Boards printed by OpenCV before 4.6 begin with a white square where they have an even number of
  rows: which of the two a board is shows in the first image of it.

  Args:
    grid: the board.
    dictionary: a key of `dictionaries`.
    marker: side of a marker, mm, less than that of a square.

  Raises:
    ValueError: no such dictionary, a marker that does not fit, or too few of them.
  """
  known = dictionaries()
  if dictionary not in known:
    raise ValueError(f"no dictionary {dictionary!r}; OpenCV has {', '.join(sorted(known))}")
  if not 0 < marker < grid.square:
    raise ValueError(
      f"a marker of {marker:g} mm does not fit into a square of {grid.square:g} mm: the side of a "
      "marker is above 0 and below that of a square"
    )
  markers = cv2.aruco.getPredefinedDictionary(known[dictionary])
  needed = grid.columns * grid.rows // 2
  if len(markers.bytesList) < needed:
    raise ValueError(
      f"{dictionary} has {len(markers.bytesList)} markers; a ChArUco board of {grid.columns} x "
      f"{grid.rows} squares has {needed}"
    )
  detectors = []
  for legacy in (False, True):
    board = cv2.aruco.CharucoBoard((grid.columns, grid.rows), grid.square, marker, markers)
    board.setLegacyPattern(legacy)
    detectors.append(cv2.aruco.CharucoDetector(board))

  def detect(gray: np.ndarray) -> np.ndarray:
    found = np.full((grid.inner, 2), np.nan)
    for detector in tuple(detectors):
      uv, ids, _, _ = detector.detectBoard(gray)
      if ids is not None and len(ids):
        found[ids.ravel()] = uv.reshape(-1, 2)
        detectors[:] = [detector]
        break
    return found

  return detect


def count_markers(gray: np.ndarray) -> tuple[str, int]:
  """The dictionary most of whose markers are in an image, and how many; for messages."""
  best = "", 0
  for name, number in dictionaries().items():
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(number))
    ids = detector.detectMarkers(gray)[1]
    if ids is not None and len(ids) > best[1]:
      best = name, len(ids)
  return best
