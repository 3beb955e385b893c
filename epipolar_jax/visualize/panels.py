"""What goes on in a network, as images for TensorBoard: heatmaps, and attention along lines."""

from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import epipolar
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.visualize import limbs, palette

_SIDE = 256  # of one drawn view, px


def heatmap_row(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
  """The views of a frame with the maximum of all joints' heatmaps over them.

  Args:
    images: [v h w 3] uint8 RGB network inputs.
    maps: [v h' w' j], each scaled to its own maximum.

  Returns:
    [256, 256 v, 3] uint8.
  """
  maps = np.maximum(maps, 0.0)
  peak = np.maximum(maps.max((1, 2), keepdims=True), 1e-30)
  tiles = []
  for image, heat in zip(images, (maps / peak).max(-1)):
    heat = cv2.resize(heat.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    color = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = 0.85 * np.sqrt(heat)[..., None]
    tiles.append(np.rint(_enlarged(image) * (1 - share) + color * share).astype(np.uint8))
  return np.hstack(tiles)


def attention_row(
  images: np.ndarray,
  points: np.ndarray,
  weigh: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
  source: np.ndarray,
  cameras: Cameras,
  *,
  num_samples: int,
  stride: int,
) -> np.ndarray:
  """For every view a pair of tiles: a point in it, and the weights along its line where it looks.

  Args:
    images: [v h w 3] uint8 RGB network inputs.
    points: [v 2] network px; the nearest feature pixel is shown.
    weigh: from a view, a feature pixel (u, v) of it and the samples [k 2] on its line in the source
      view, in feature pixels, to their weights [k].
    source: [v], the view each view looks at.
    cameras: [v], of the network inputs, t_cw in mm.
    num_samples: k.
    stride: image pixels per feature pixel.

  Returns:
    [512, 256 v, 3] uint8: views above, what they look at below.
  """
  height, width = (s // stride for s in images.shape[1:3])
  columns = []
  for v, s in enumerate(source):
    cell = np.rint((points[v] - (stride - 1) / 2) / stride)
    cell = np.clip(cell, 0, [width - 1, height - 1])
    samples, valid = _samples(cell, v, s, cameras, (width, height), num_samples, stride)
    above, below = _enlarged(images[v]), _enlarged(images[s])
    zoom = _SIDE / images.shape[1]
    _dot(above, (cell * stride + (stride - 1) / 2 + 0.5) * zoom - 0.5, 6.0)
    if valid:
      row = weigh(v, cell.astype(int), samples)
      uv = (samples * stride + (stride - 1) / 2 + 0.5) * zoom - 0.5
      _line(below, uv[0], uv[-1])
      for at, share in zip(uv, row / max(row.max(), 1e-30)):
        _dot(below, at, 1.0 + 7.0 * float(np.sqrt(max(share, 0.0))))
    limbs.label(above, f"view {v}")
    limbs.label(below, f"view {s}: largest weight {row.max():.2f}" if valid else "line misses")
    columns.append(np.vstack([above, below]))
  return np.hstack(columns)


def _samples(cell, reference, source, cameras, size_wh, num_samples, stride):
  """Samples [k, 2] in feature pixels of the source, and whether the line meets it."""
  cameras = jax.tree.map(jnp.float32, cameras).scale(1 / stride)
  fundamental = epipolar.fundamental(cameras[reference], cameras[source])
  samples, valid = epipolar.sample_line(
    jnp.float32(cell), fundamental, size_wh=size_wh, num_samples=num_samples
  )
  return jax.device_get(samples), bool(valid)


def _enlarged(image: np.ndarray) -> np.ndarray:
  return cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)


def _dot(canvas: np.ndarray, at: np.ndarray, radius: float) -> None:
  center = tuple(np.rint(at * 16).astype(int).tolist())
  cv2.circle(canvas, center, round((radius + 1.5) * 16), (0, 0, 0), -1, cv2.LINE_AA, shift=4)
  cv2.circle(canvas, center, round(radius * 16), palette.ATTENTION, -1, cv2.LINE_AA, shift=4)


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
  ends = [tuple(np.rint(x * 16).astype(int).tolist()) for x in (start, end)]
  cv2.line(canvas, *ends, (0, 0, 0), 3, cv2.LINE_AA, shift=4)
  cv2.line(canvas, *ends, palette.ATTENTION, 1, cv2.LINE_AA, shift=4)
