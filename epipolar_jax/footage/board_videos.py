"""Videos of a board to its corners, as observations that calibration takes like any keypoints."""

import pathlib
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from epipolar_jax.calibration import corners
from epipolar_jax.calibration.boards import Grid
from epipolar_jax.footage import videos
from epipolar_jax.keypoints.observations import Observations

# Images in which other dictionaries are looked for where nothing is found.
_LOOKED_AT = 5


def read(
  sources: Mapping[str, pathlib.Path],
  grid: Grid,
  *,
  charuco: tuple[str, float] | None = None,
  every: int = 1,
  tell: Callable[[str], None] = print,
) -> Observations:
  """Finds the board in every image.

  Args:
    sources: video file or folder of images, by camera; all in step.
    grid: the board.
    charuco: dictionary and side of a marker, mm; None: a chessboard.
    every: looks at each so many-th frame.
    tell: is told what was found of each camera.

  Returns:
    [f, 1, v, j] corners by their numbers, score 1; only the frames looked at.

  Raises:
    ValueError: a camera never shows the board; says what it shows instead.
  """
  if every < 1:
    raise ValueError(f"every should be 1 (all frames) or more, got {every}")
  footage = videos.Footage(sources)
  detect = [_detector(grid, charuco) for _ in footage.names]
  rows = []
  for frame, images in enumerate(footage.frames()):
    if frame % every == 0:
      nothing = np.full((grid.inner, 2), np.nan)
      rows.append([nothing if x is None else find(_gray(x)) for x, find in zip(images, detect)])
  points = np.array(rows)
  seen = np.isfinite(points).all(axis=-1)
  for view, name in enumerate(footage.names):
    shown = seen[:, view].any(axis=-1)
    if not shown.any():
      raise ValueError(_nothing(name, sources[name], len(rows), grid, charuco))
    number = int(np.median(seen[shown, view].sum(axis=-1)))
    tell(
      f"{sources[name].name} (camera {name}): {shown.sum()} of {len(rows)} frames show the board, "
      f"{number} of {grid.inner} corners in most"
    )
  return Observations(
    points[:, None],
    seen[:, None].astype(np.float64),
    tuple(map(str, range(grid.inner))),
    footage.names,
    fps=None if footage.fps is None else footage.fps / every,
    sizes_wh=footage.sizes_wh,
    matched=True,
  )


def _detector(grid: Grid, charuco: tuple[str, float] | None) -> corners.Detect:
  return corners.chessboard(grid) if charuco is None else corners.charuco(grid, *charuco)


def _gray(image: np.ndarray) -> np.ndarray:
  return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _nothing(name, path, count: int, grid: Grid, charuco) -> str:
  """Why no frame of a camera shows the board, as far as its images tell."""
  what = f"{grid.columns} x {grid.rows} squares"
  if charuco is None:
    return (
      f"{path} (camera {name}): none of {count} frames shows a whole chessboard of {what}. Count "
      "squares, not corners; all of the board has to be in the image, with a white border. A board "
      "with markers in its squares needs --charuco"
    )
  best = "", 0, 0
  step = max(1, count // _LOOKED_AT)
  for frame, images in enumerate(videos.Footage({name: path}).frames()):
    if frame % step == 0:
      dictionary, number = corners.count_markers(_gray(images[0]))
      best = max(best, (dictionary, number, frame), key=lambda x: x[1])
  said = (
    f"{path} (camera {name}): none of {count} frames shows a corner of a ChArUco board of {what}"
  )
  said += f" with markers of {charuco[0]}"
  if not best[1]:
    return f"{said}, nor a marker of any dictionary of OpenCV in those looked at"
  if best[0] == charuco[0]:
    return (
      f"{said}, though frame {best[2]} shows {best[1]} of its markers: are columns and rows the "
      "right way round?"
    )
  return f"{said}; frame {best[2]} shows {best[1]} markers of {best[0]}: is it that dictionary?"
