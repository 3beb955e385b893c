"""One camera from the board that it saw by itself: K, lens, and where the board was.

References:
  Zhang, A flexible new technique for camera calibration, PAMI 2000, as OpenCV has it.
"""

from typing import NamedTuple

import cv2
import numpy as np

from epipolar_jax.rigs.lenses import Lens, OpenCV

# Corners that a frame should show, frames that are needed, and taken.
_LEAST_CORNERS, _LEAST_FRAMES, _MOST_FRAMES = 6, 8, 60
# A focal length less certain than this share of it is none; and a board fits within so many px, or
# this share of the image's width.
_LEAST_SURE, _MOST_PX, _MOST_SHARE = 0.03, 2.0, 0.003


class Single(NamedTuple):
  """A camera by itself.

  Attributes:
    intrinsics: K [3, 3].
    lens: k1, k2, p1, p2.
    frames: that were fitted.
    error_px: root mean square of what is left.
    sigma_focal: standard deviation of the focal length, px.
  """

  intrinsics: np.ndarray
  lens: Lens
  frames: np.ndarray
  error_px: float
  sigma_focal: float


def calibrate(name: str, seen: np.ndarray, layout: np.ndarray, size_wh: tuple[int, int]) -> Single:
  """K and lens of a camera.

  Args:
    name: of the camera, for messages.
    seen: [f, j, 2], px, corners; NaN where not seen.
    layout: [j, 3], mm, z = 0.
    size_wh: of the images.

  Raises:
    ValueError: too few frames, a board that is always seen from one side, or corners that are no
      such board's.
  """
  frames = _spread(seen)
  if len(frames) < _LEAST_FRAMES:
    raise ValueError(
      f"camera {name}: {len(frames)} frames show {_LEAST_CORNERS} corners of the board or more, "
      f"that do not lie on one line; at least {_LEAST_FRAMES} are needed for its lens"
    )
  known = np.isfinite(seen[frames]).all(axis=-1)
  objects = [layout[rows].astype(np.float32) for rows in known]
  images = [uv[rows].astype(np.float32) for uv, rows in zip(seen[frames], known)]
  error, k, lens, _, _, spread, _, each = cv2.calibrateCameraExtended(
    objects, images, size_wh, None, None, flags=cv2.CALIB_FIX_K3
  )
  sigma = float(spread.ravel()[0])
  worst = int(np.argmax(each.ravel()))
  most = max(_MOST_PX, _MOST_SHARE * size_wh[0])
  if not error < most:
    raise ValueError(
      f"camera {name}: no lens makes these corners those of this board: {error:.1f} px are left, "
      f"{each.ravel()[worst]:.1f} px in frame {frames[worst]}. Are columns and rows of the board "
      "the right way round, and all frames of one camera?"
    )
  if not sigma < _LEAST_SURE * k[0, 0]:
    raise ValueError(
      f"camera {name}: a focal length of {k[0, 0]:.0f} ± {sigma:.0f} px is not certain enough: "
      "show the board tilted, near and far, in all parts of the image"
    )
  return Single(k, OpenCV(tuple(lens.ravel()[:4].tolist())), frames, float(error), sigma)


def _spread(seen: np.ndarray) -> np.ndarray:
  """Frames that show the board well, each far from those taken before; in order."""
  known = np.isfinite(seen).all(axis=-1)
  able = [f for f in np.flatnonzero(known.sum(axis=1) >= _LEAST_CORNERS) if _flat(seen[f])]
  if len(able) <= _MOST_FRAMES:
    return np.array(able, int)
  # Where a board is, how large, and which way it leans.
  about = np.stack([_summary(seen[f][known[f]]) for f in able])
  about = (about - about.mean(axis=0)) / np.maximum(about.std(axis=0), 1e-9)
  chosen = [int(known[able].sum(axis=1).argmax())]
  far = np.full(len(able), np.inf)
  while len(chosen) < _MOST_FRAMES:
    far = np.minimum(far, np.linalg.norm(about - about[chosen[-1]], axis=1))
    chosen.append(int(far.argmax()))
  return np.sort(np.array(able)[chosen])


def _flat(uv: np.ndarray) -> bool:
  """Corners are not on one line."""
  uv = uv[np.isfinite(uv).all(axis=-1)]
  size = np.linalg.svd(uv - uv.mean(axis=0), compute_uv=False)
  return bool(size[1] > 0.05 * size[0])


def _summary(uv: np.ndarray) -> np.ndarray:
  spread = np.cov(uv.T)
  return np.array([*uv.mean(axis=0), *np.sqrt(np.diag(spread)), spread[0, 1] / spread.max()])
