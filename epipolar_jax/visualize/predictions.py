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
  """One row a frame: its views with skeletons, then the 3D skeletons from the front and above.

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
    rows.append(np.hstack([*tiles, *_skeleton_3d(frame, truth, skeleton)]))
  return np.vstack(rows)


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
  limbs.draw(canvas, (true_uv + 0.5) * zoom - 0.5, skeleton, color=palette.TRUTH, thickness=1)
  limbs.draw(
    canvas, (frame["joints_2d"][view] + 0.5) * zoom - 0.5, skeleton, color=None, thickness=2
  )
  error = np.linalg.norm(frame["joints_2d"][view] - true_uv, axis=-1).mean()
  note = "  occluded" if truth["occluded"][view] else ""
  limbs.label(canvas, f"view {view}  {error:.1f} px{note}")
  return canvas


def _skeleton_3d(
  frame: dict[str, Any], truth: dict[str, Any], skeleton: skeletons.Skeleton
) -> list[np.ndarray]:
  """The skeletons in the world frame, seen along y and along -z, a tenth wider than the body."""
  root = truth["joints_3d"][skeleton.root]
  error = np.linalg.norm(frame["joints_3d"] - truth["joints_3d"], axis=-1).mean()
  tiles, scale = [], _SIDE / (1.1 * skeleton.size_mm)
  for axes, name in (((0, 2), f"front  {error:.0f} mm"), ((0, 1), "above")):
    canvas = np.full((_SIDE, _SIDE, 3), palette.STAGE, np.uint8)
    for joints, color, width in (
      (truth["joints_3d"], palette.TRUTH, 1),
      (frame["joints_3d"], None, 2),
    ):
      flat = (joints - root)[:, axes] * np.array([1.0, -1.0]) * scale + _SIDE / 2
      limbs.draw(canvas, flat, skeleton, color=color, thickness=width)
    limbs.label(canvas, name)
    tiles.append(canvas)
  return tiles
