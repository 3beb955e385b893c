"""MediaPipe's landmarks as arrays in an npz: normalised coordinates and the images' size.

  landmarks [f, j, c] or [f, p, j, c]: x and y from 0 to 1 of the image, and perhaps z, visibility
  (and presence); size_wh [2]; fps may be there.

x·w is the pixel, not x·(w-1). A frame with nobody is NaN.
"""

import numpy as np

from epipolar_jax.keypoints import frames, joint_sets, npz
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source

_FARTHEST = 100.0
_X, _Y, _VISIBILITY = 0, 1, 3


def recognise(source: Source) -> bool:
  """An npz with landmarks."""
  return source.kind == "npz" and "landmarks" in npz.names(source.path)


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads one camera's landmarks; the view is called as the file.

  Raises:
    ValueError: an array is missing, of another shape, or not normalised.
  """
  path = source.path
  found = npz.read(path, {"landmarks", "size_wh", "fps"})
  landmarks, size = found.get("landmarks"), found.get("size_wh")
  if size is None or size.shape != (2,) or not (size > 0).all() or (size != size.round()).any():
    raise ValueError(f"{path}: needs size_wh, the images' width and height in px")
  if landmarks.ndim not in (3, 4) or not 2 <= landmarks.shape[-1] <= 5:
    raise ValueError(
      f"{path}: landmarks should be [frames, joints, 2 to 5] or [frames, people, joints, 2 to 5]; "
      f"got {list(landmarks.shape)}"
    )
  if landmarks.ndim == 3:
    landmarks = landmarks[:, None]
  frames.check_values(landmarks[..., 0].size, str(path))
  values = landmarks.astype(np.float64)
  plane = values[..., [_X, _Y]]
  if np.nanmax(np.abs(plane), initial=0.0) > _FARTHEST:
    raise ValueError(f"{path}: landmarks reach {np.nanmax(np.abs(plane))}: they are not normalised")
  known = values.shape[-1] > _VISIBILITY
  score = values[..., _VISIBILITY] if known else np.ones(plane.shape[:-1])
  return Observations(
    (plane * size)[:, :, None],
    score[:, :, None],
    joint_sets.names(values.shape[2], joint_set, str(path)),
    (path.stem,),
    fps=float(found["fps"]) if "fps" in found else None,
    sizes_wh=((int(size[0]), int(size[1])),),
  )
