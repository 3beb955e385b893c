"""Lifted skeletons beside the true ones, from two sides: arrays in, an image out."""

import cv2
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.visualize import limbs, palette, predictions

_TILE = 256  # px


def sheet(
  images: np.ndarray,
  predicted: dict[str, np.ndarray],
  labels: dict[str, np.ndarray],
  *,
  skeleton: skeletons.Skeleton,
) -> np.ndarray:
  """One row a frame: the first view's image, and the pose from the camera and from the side.

  Truth is white and thin, the prediction coloured.

  Args:
    images: [m v h w 3] uint8 RGB network inputs of the frames `predictions.picked(n, m)`.
    predicted: of n frames: camera or canonical [n v j 3] mm, and the same with `_truth`.
    labels: of n frames: joints_2d [n v j 2] stored px, crop [n v 2 3].
    skeleton: of the joints; the drawing is a fifth wider than such a body.

  Returns:
    [height, width, 3] uint8 RGB.
  """
  name = "camera" if "camera" in predicted else "canonical"
  points, truth = predicted[name][:, 0], predicted[f"{name}_truth"][:, 0]
  rows = []
  for views, i in zip(images, predictions.picked(len(points), len(images))):
    affine = labels["crop"][i, 0]
    uv = labels["joints_2d"][i, 0] @ affine[:, :2].T + affine[:, 2]
    error = np.linalg.norm(points[i] - truth[i], axis=-1).mean()
    rows.append(
      np.hstack(
        [
          _input(views[0], uv, skeleton),
          *sides(points[i], truth[i], skeleton, width_mm=1.2 * skeleton.size_mm, error=error),
        ]
      )
    )
  return np.vstack(rows)


def sides(
  points: np.ndarray,
  truth: np.ndarray,
  skeleton: skeletons.Skeleton,
  *,
  width_mm: float,
  error: float,
) -> list[np.ndarray]:
  """Two tiles: along the camera's z axis as it looks, and along x from the right, depth to the
  right.

  Args:
    points, truth: [j, 3] mm, root-relative, x right, y down, z away.
    skeleton: whose limbs to draw.
    width_mm: of a tile.
    error: mm, told in the first tile.
  """
  tiles = []
  # The middle of the true pose, so that a hand that reaches away from its root stays in the tile.
  middle = 0.5 * (truth.min(0) + truth.max(0))
  for axes, title in (
    ((0, 1), f"camera's view  {error:.0f} mm"),
    ((2, 1), "from the side; truth is white"),
  ):
    # Seen along z, and from the right along -x.
    depth = (points[:, 2], truth[:, 2]) if axes[0] == 0 else (-points[:, 0], -truth[:, 0])
    canvas = np.full((_TILE, _TILE, 3), palette.STAGE, np.uint8)
    for joints, far, color, width in (
      (truth, depth[1], palette.TRUTH, 1),
      (points, depth[0], None, 3),
    ):
      flat = (joints - middle)[:, axes] * _TILE / width_mm + _TILE / 2
      limbs.draw(canvas, flat, skeleton, color=color, thickness=width, cased=True, depth=far)
    limbs.label(canvas, title)
    tiles.append(canvas)
  return tiles


def _input(image: np.ndarray, uv: np.ndarray, skeleton: skeletons.Skeleton) -> np.ndarray:
  """The network input, enlarged, with the true 2D joints."""
  zoom = _TILE / len(image)
  canvas = cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_CUBIC)
  limbs.draw(
    canvas, (uv + 0.5) * zoom - 0.5, skeleton, color=palette.TRUTH, thickness=1, cased=True
  )
  limbs.label(canvas, "true 2D joints")
  return canvas
