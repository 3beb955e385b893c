"""Predicted and true skeletons drawn on the views: arrays in, an image out."""

import pathlib
from typing import Any

import cv2
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.visualize import limbs, palette

_SIDE = 256  # of one drawn view, px


def picked(num_frames: int, num_images: int) -> list[int]:
  """Indices of the frames that are drawn: spread evenly over the split."""
  count = min(num_frames, num_images)
  return sorted({int(i) for i in np.linspace(0, num_frames - 1, count).round()}) if count else []


def sheet(
  images: np.ndarray,
  predicted: dict[str, np.ndarray],
  labels: dict[str, np.ndarray],
  *,
  skeleton: skeletons.Skeleton,
) -> np.ndarray:
  """A block a frame: its views with skeletons, and the 3D skeletons from the side and from above.

  More than two views stand in two rows, so that captions can be read where the sheet is shrunk.

  Args:
    images: [m v h w 3] uint8 RGB network inputs of the frames `picked(n, m)`.
    predicted: of all n frames: joints_2d [n v j 2] network px, joints_3d [n j 3] mm.
    labels: of all n frames: joints_2d [n v j 2] stored px, crop [n v 2 3], joints_3d [n j 3] mm,
      occluded [n v].
    skeleton: of the joints.

  Returns:
    [height, width, 3] uint8 RGB.
  """
  num_frames = len(predicted["joints_3d"])
  rows = []
  for views, i in zip(images, picked(num_frames, len(images))):
    frame = {k: v[i] for k, v in predicted.items()}
    truth = {k: v[i] for k, v in labels.items()}
    tiles = [view(x, v, frame, truth, skeleton) for v, x in enumerate(views)]
    rows += _in_rows(tiles, _skeleton_3d(frame, truth, skeleton))
  return np.vstack(rows)


def _in_rows(views: list[np.ndarray], space: list[np.ndarray]) -> list[np.ndarray]:
  """One row, or with more than two views two, each with a tile of the 3D skeletons at its end."""
  if len(views) <= 2:
    return [np.hstack([*views, *space])]
  columns = -(-len(views) // 2)
  views = views + [np.zeros_like(views[0])] * (2 * columns - len(views))
  return [np.hstack([*views[i * columns :][:columns], space[i]]) for i in (0, 1)]


def write_png(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes an RGB image; raises OSError when the file cannot be written."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if not cv2.imwrite(str(path), image[..., ::-1]):
    raise OSError(f"could not write {path}")


def view(
  image: np.ndarray,
  view: int,
  frame: dict[str, Any],
  truth: dict[str, Any],
  skeleton: skeletons.Skeleton,
) -> np.ndarray:
  """One network input, enlarged, with the true (thin, white) and predicted (coloured) skeleton.

  Args:
    image: [h w 3] uint8 RGB.
    view: its number v.
    frame: joints_2d [v j 2] network px, predicted.
    truth: joints_2d [v j 2] stored px, crop [v 2 3], occluded [v].
    skeleton: of the joints.

  Returns:
    [256, 256, 3] uint8.
  """
  zoom = _SIDE / len(image)
  canvas = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
  affine = truth["crop"][view]
  true_uv = truth["joints_2d"][view] @ affine[:, :2].T + affine[:, 2]
  for uv, color, width in (
    (true_uv, palette.TRUTH, 1),
    (frame["joints_2d"][view], None, 2),
  ):
    limbs.draw(canvas, (uv + 0.5) * zoom - 0.5, skeleton, color=color, thickness=width, cased=True)
  error = np.linalg.norm(frame["joints_2d"][view] - true_uv, axis=-1).mean()
  note = "  occluded" if truth["occluded"][view] else ""
  limbs.label(canvas, f"view {view}  {error:.1f} px{note}")
  return canvas


def _skeleton_3d(
  frame: dict[str, Any], truth: dict[str, Any], skeleton: skeletons.Skeleton
) -> list[np.ndarray]:
  """The skeletons from the side where they are widest, and from there 60 degrees above."""
  joints, true = frame["joints_3d"], truth["joints_3d"]
  error = np.linalg.norm(joints - true, axis=-1).mean()
  middle = 0.5 * (true.min(axis=0) + true.max(axis=0))
  across = np.append(np.linalg.svd(true[:, :2] - true[:, :2].mean(axis=0))[2][0], 0.0)
  up = np.array([0.0, 0.0, 1.0])
  away = np.cross(up, across)
  tiles, scale = [], _SIDE / (1.1 * skeleton.size_mm)
  for name, tilt in ((f"side  {error:.0f} mm", 0.0), ("from above", np.radians(60))):
    down = -np.cos(tilt) * up - np.sin(tilt) * away
    forward = np.cos(tilt) * away - np.sin(tilt) * up
    canvas = np.full((_SIDE, _SIDE, 3), palette.STAGE, np.uint8)
    for points, color, width in ((true, palette.TRUTH, 1), (joints, None, 3)):
      x = points - middle
      flat = np.stack([x @ across, x @ down], axis=-1) * scale + _SIDE / 2
      limbs.draw(
        canvas, flat, skeleton, color=color, thickness=width, cased=True, depth=x @ forward
      )
    limbs.label(canvas, name)
    tiles.append(canvas)
  return tiles
