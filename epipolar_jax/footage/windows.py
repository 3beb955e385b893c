"""Windows: square crops of ideal pinhole images, cut out of frames that a lens distorted."""

import functools

import cv2
import numpy as np
from scipy import interpolate

from epipolar_jax.rigs.lenses import Lens, Pinhole

# Side of a window in sides of the joints' own box.
MARGIN = 1.35
# A window is never smaller than this share of the skeleton's size at its distance.
_LEAST_SIDE = 0.4
# A window that shrinks the image by less than this is sampled directly.
_LEAST_SHRINK = 2.0
# Pixels of a crop from one evaluation of the lens to the next.
_KNOT_PX = 8


def affine(centre: np.ndarray, side: np.ndarray, *, size: int) -> np.ndarray:
  """Image pixels to pixels of a square crop.

  Args:
    centre: [..., 2], middle of the window, px; integers are pixel centres.
    side: [...], px.
    size: side of the crop, px.

  Returns:
    [..., 2, 3].
  """
  centre, side = np.asarray(centre, np.float64), np.asarray(side, np.float64)
  scale = size / side
  matrix = np.zeros((*side.shape, 2, 3))
  matrix[..., 0, 0] = matrix[..., 1, 1] = scale
  matrix[..., 2] = (size - 1) / 2 - centre * scale[..., None]
  return matrix


def around(points: np.ndarray, valid: np.ndarray, *, margin: float) -> tuple[np.ndarray, float]:
  """The square around points, (centre [2], side), px.

  Args:
    points: [n, 2], px.
    valid: [n], bool, at least one True.
    margin: side of the square in sides of the points' own box.
  """
  low, high = points[valid].min(axis=0), points[valid].max(axis=0)
  return (low + high) / 2, float((high - low).max() * margin)


def around_pose(
  points: np.ndarray,
  intrinsics: np.ndarray,
  rotation: np.ndarray,
  translation: np.ndarray,
  *,
  size_mm: float,
  size_wh: tuple[int, int],
) -> tuple[np.ndarray, float] | None:
  """The window around a body in one view, (centre [2], side), px of its ideal image.

  Args:
    points: [n, 3], world, mm: the joints that are known, at least one.
    intrinsics, rotation, translation: of the view.
    size_mm: of the skeleton.
    size_wh: (width, height) of the image.

  Returns:
    None where a joint is behind the camera or the window lies outside the image.
  """
  x = points @ rotation.T + translation
  if (x[:, 2] <= 0).any():
    return None
  uv = x[:, :2] / x[:, 2:] @ intrinsics[:2, :2].T + intrinsics[:2, 2]
  centre, side = around(uv, np.ones(len(uv), bool), margin=MARGIN)
  focal = np.sqrt(abs(np.linalg.det(intrinsics[:2, :2])))
  side = float(max(side, _LEAST_SIDE * size_mm * focal / np.median(x[:, 2])))
  inside = (centre + side / 2 > 0).all() and (centre - side / 2 < size_wh).all()
  return (centre, side) if inside else None


def square(
  frame: np.ndarray, lens: Lens, intrinsics: np.ndarray, box: np.ndarray, *, size: int
) -> np.ndarray:
  """`cut` of a window given as (u, v, side) of its centre, [3] px of the ideal image."""
  return cut(frame, lens, intrinsics, affine(box[:2], box[2], size=size), size=size)


def cut(
  frame: np.ndarray, lens: Lens, intrinsics: np.ndarray, matrix: np.ndarray, *, size: int
) -> np.ndarray:
  """One window of a frame, without the lens's distortion.

  Args:
    frame: [h, w, 3] uint8, as the camera took it.
    lens: of the camera.
    intrinsics: K [3, 3] of the frame's pixels.
    matrix: [2, 3], from ideal pinhole pixels to pixels of the crop, as `affine` makes it.
    size: side of the crop, px.

  Returns:
    [size, size, 3] uint8; black outside the frame. Areas are averaged where the window shrinks the
    image.
  """
  seen = _seen(lens, intrinsics, matrix, size=size)
  if not np.isfinite(seen).any():
    return np.zeros((size, size, 3), np.uint8)
  low = np.floor(np.nanmin(seen, axis=(1, 2))).astype(int) - 2
  high = np.ceil(np.nanmax(seen, axis=(1, 2))).astype(int) + 3
  low, high = np.clip([low, high], 0, [frame.shape[1], frame.shape[0]])
  part = frame[low[1] : high[1], low[0] : high[0]]
  if part.size == 0:
    return np.zeros((size, size, 3), np.uint8)
  factor, shrink = np.ones(2), 1.0 / matrix[0, 0]
  if shrink >= _LEAST_SHRINK:
    wh = np.maximum(np.round(np.array(part.shape[1::-1]) / shrink), 1).astype(int)
    factor = wh / part.shape[1::-1]
    part = cv2.resize(part, tuple(map(int, wh)), interpolation=cv2.INTER_AREA)
  u, v = (seen[i] * factor[i] + ((0.5 - low[i]) * factor[i] - 0.5) for i in range(2))
  u, v = (np.where(np.isfinite(x), x, -1e4).astype(np.float32) for x in (u, v))
  return cv2.remap(part, u, v, cv2.INTER_LINEAR, borderValue=(0, 0, 0))


def _seen(lens: Lens, intrinsics: np.ndarray, matrix: np.ndarray, *, size: int) -> np.ndarray:
  """Where the frame shows each pixel of a crop, [2, size, size] px; NaN where it cannot.

  A lens is evaluated on every eighth pixel and interpolated by cubic splines: many times faster.
  """

  def at(u: np.ndarray) -> np.ndarray:
    ideal = np.stack(np.meshgrid(u, u), axis=-1)
    ideal = (ideal - matrix[:, 2]) / matrix[[0, 1], [0, 1]]
    seen = lens.distort(ideal, intrinsics)
    return np.stack([seen[..., 0], seen[..., 1]])

  every = np.arange(size, dtype=np.float64)
  if isinstance(lens, Pinhole):
    return at(every)
  knots, spline = _spline(size)
  coarse = at(knots)
  if not np.isfinite(coarse).all():
    return at(every)
  # OpenCV's product: small ones are called from several threads, where BLAS's own get in the way.
  rows = [cv2.gemm(spline, x, 1.0, None, 0.0) for x in coarse]
  return np.stack([cv2.gemm(x, spline, 1.0, None, 0.0, flags=cv2.GEMM_2_T) for x in rows])


@functools.cache
def _spline(size: int) -> tuple[np.ndarray, np.ndarray]:
  """Knots [n] in a row of pixels, and the matrix [size, n] of its interpolating cubic spline."""
  knots = np.linspace(0.0, size - 1.0, max(4, -(-size // _KNOT_PX) + 1))
  found = interpolate.make_interp_spline(knots, np.eye(len(knots)), k=3)
  return knots, found(np.arange(size, dtype=np.float64))
