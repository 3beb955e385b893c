"""The triangulated skeleton drawn over the images: a crop, a sheet of one frame, and a film."""

import itertools
import pathlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from epipolar_jax.calibration import judging
from epipolar_jax.footage import windows
from epipolar_jax.footage.videos import Footage
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.skeletons import Skeleton
from epipolar_jax.triangulation.estimate import Estimate
from epipolar_jax.visualize import film, limbs, predictions

# Side of a crop on the sheet and in the report, px.
TILE = 300
# What the film's images fill, px, and the rate of a film of images that state none.
_FILM_WH, _FPS = (1920, 1080), 25.0


def places(rig: Rig, view: int, estimated: Estimate, frame: int) -> tuple[np.ndarray, np.ndarray]:
  """Everybody's joints in a view: [p, j, 2] px of its own images, and which are there [p, j]."""
  uv = judging.project(rig.cameras[view], estimated.points[frame])
  uv = rig.lenses[view].distort(uv, np.asarray(rig.cameras.intrinsics[view]))
  return uv, estimated.valid[frame] & np.isfinite(uv).all(axis=-1)


def crop(
  image: np.ndarray,
  rig: Rig,
  view: int,
  skeleton: Skeleton,
  estimated: Estimate,
  frame: int,
  *,
  person: int | None = None,
) -> np.ndarray:
  """The part of an image around a person (None: everybody) with skeletons, [2 TILE, 2 TILE, 3]."""
  uv, valid = places(rig, view, estimated, frame)
  high, wide = image.shape[:2]
  centre, side = np.array([wide - 1, high - 1]) / 2, float(max(high, wide))
  around = valid & (uv > -1).all(axis=-1) & (uv < (wide, high)).all(axis=-1)
  if person is not None:
    around = around & (np.arange(len(valid)) == person)[:, None]
  if around.any():
    centre, side = windows.around(uv[around], np.ones(around.sum(), bool), margin=1.5)
  matrix = windows.affine(centre, np.array(max(side, 1.0)), size=2 * TILE)
  tile = windows.cut(image, lenses.Pinhole(), np.eye(3), matrix, size=2 * TILE)
  _draw(tile, uv @ matrix[:, :2].T + matrix[:, 2], valid, skeleton, thickness=3)
  return tile


def _draw(tile, uv: np.ndarray, valid: np.ndarray, skeleton: Skeleton, *, thickness: int) -> None:
  """Everybody's skeleton, joints [p, j, 2]; several have a colour each."""
  for person in range(len(uv)):
    limbs.draw(
      tile,
      uv[person],
      skeleton,
      thickness=thickness,
      valid=valid[person],
      cased=True,
      person=person if len(uv) > 1 else None,
    )


def write_sheet(
  path: pathlib.Path, footage: Footage, rig: Rig, skeleton: Skeleton, estimated: Estimate
) -> int | None:
  """Writes a PNG of the middle frame of those with most people: a crop of every view.

  Returns:
    The frame's number; None, and no file, where nobody was found.
  """
  people = estimated.valid.any(axis=-1).sum(axis=-1)
  if not people.any():
    return None
  found = np.flatnonzero(people == people.max())
  frame = int(found[len(found) // 2])
  (images,) = footage.at([frame])
  tiles = []
  for view, image in enumerate(images):
    if image is not None:
      tile = crop(image, rig, view, skeleton, estimated, frame)
      tiles.append(cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA))
      limbs.label(tiles[-1], rig.names[view])
  columns = min(len(tiles), 4)
  tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
  rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
  sheet = np.vstack(rows)
  predictions.write_png(path, sheet)
  return frame


def write_film(
  path: pathlib.Path,
  footage: Footage,
  rig: Rig,
  skeleton: Skeleton,
  estimated: Estimate,
  *,
  fps: float | None,
) -> int:
  """Writes an MP4 (H.264) of all views side by side with the skeleton, a frame at a time.

  Args:
    path: of the file, which appears when it is complete.
    footage: v recordings; a view that has ended is black.
    rig: their cameras.
    skeleton: of the joints.
    estimated: of p people, [f, p, ...].
    fps: frames a second; None: 25.

  Returns:
    How many frames were written.

  Raises:
    OSError: the encoder failed.
  """
  columns, scale = layout(footage.sizes_wh)
  cell = np.max([np.array(wh) * scale[view] for view, wh in enumerate(footage.sizes_wh)], axis=0)
  cell = (cell / 2).astype(int) * 2  # H.264 halves the colours: sizes are even
  rows = -(-len(rig.names) // columns)

  def frames() -> Iterator[np.ndarray]:
    canvas = np.zeros((rows * cell[1], columns * cell[0], 3), np.uint8)
    for frame, images in enumerate(itertools.islice(footage.frames(), len(estimated.points))):
      canvas[:] = 0
      for view, image in enumerate(images):
        if image is None:
          continue
        size = np.minimum(np.round(np.array(image.shape[1::-1]) * scale[view]), cell).astype(int)
        tile = cv2.resize(image, tuple(size.tolist()), interpolation=cv2.INTER_AREA)
        uv, valid = places(rig, view, estimated, frame)
        factor = size / image.shape[1::-1]
        _draw(tile, (uv + 0.5) * factor - 0.5, valid, skeleton, thickness=2)
        left, top = cell * [view % columns, view // columns]
        canvas[top : top + size[1], left : left + size[0]] = tile
      yield canvas

  # Hidden while it is made: nobody takes it for the film.
  temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
  count = film.write_mp4(temporary, frames(), fps=_FPS if fps is None else fps)
  temporary.replace(path)
  return count


def layout(sizes_wh: Sequence[tuple[int, int]]) -> tuple[int, list[float]]:
  """How views are laid out in a film: columns, and the scale of each view's images (at most 1).

  Images are as large as fits; those of different cameras get the same longer side.
  """
  longest = [max(wh) for wh in sizes_wh]
  shapes = np.array(sizes_wh) / np.array(longest)[:, None]
  cell, count = shapes.max(axis=0), len(sizes_wh)

  def side(columns: int) -> float:
    return min(_FILM_WH[0] / (columns * cell[0]), _FILM_WH[1] / (-(-count // columns) * cell[1]))

  columns = max(range(1, count + 1), key=side)
  return columns, [min(side(columns) / long, 1.0) for long in longest]
