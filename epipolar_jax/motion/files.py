"""joints.npz: an `Estimate` as a file, and back."""

import os
import pathlib

import numpy as np

from epipolar_jax.keypoints import npz
from epipolar_jax.motion import motion
from epipolar_jax.triangulation.estimate import Estimate

_ARRAYS = ("points", "valid", "covariance", "inlier", "reprojection_px")
_FIELDS = (*_ARRAYS, "joints", "cameras", "fps", "unit")


def write(
  path: str | os.PathLike,
  estimate: Estimate,
  *,
  fps: float | None = None,
  first_frame: int = 0,
) -> None:
  """Writes an estimate, `joints`, `cameras`, `fps` (NaN: unknown), `first_frame`, `unit` (mm).

  `filled` is there if the estimate was smoothed.
  The file appears when it is complete; one that was there is replaced then.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp.npz")
  filled = {} if estimate.filled is None else {"filled": estimate.filled}
  np.savez_compressed(
    temporary,
    **{name: getattr(estimate, name) for name in _ARRAYS},
    **filled,
    joints=np.array(estimate.joints, dtype=str),
    cameras=np.array(estimate.views, dtype=str),
    fps=np.nan if fps is None else fps,
    first_frame=first_frame,
    unit="mm",
  )
  temporary.replace(path)


def recognise(head: bytes) -> bool:
  """An npz."""
  return head.startswith(b"PK")


def read(path: str | os.PathLike) -> tuple[Estimate, float | None]:
  """Reads what `write` wrote: the estimate, and frames a second.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is not such a file; names the file and what is wrong.
  """
  return _read(pathlib.Path(path))[:2]


def read_motion(path: pathlib.Path) -> motion.Motion:
  """The motion in such a file; covariances and the views' own errors are not part of it.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is not such a file.
  """
  estimate, fps, first = _read(path)
  return motion.of_estimate(estimate, fps=fps, first_frame=first)


def _read(path: pathlib.Path) -> tuple[Estimate, float | None, int]:
  if not path.exists():
    raise FileNotFoundError(f"{path}: no such file")
  try:
    arrays = npz.read(path, {*_FIELDS, "first_frame", "filled"})
  except ValueError as error:
    raise ValueError(f"{path} is no joints.npz of this project: {error}") from error
  missing = [name for name in _FIELDS if name not in arrays]
  if missing:
    raise ValueError(f"{path} is no joints.npz of this project: it lacks {', '.join(missing)}")
  if str(arrays["unit"]) != "mm":
    raise ValueError(f"{path}: unit is {str(arrays['unit'])!r}; it should be mm")
  joints, views = (tuple(np.ravel(arrays[name]).tolist()) for name in ("joints", "cameras"))
  shape = (*arrays["valid"].shape[:2], len(joints))
  wanted = {
    "points": ("f", (*shape, 3)),
    "valid": ("b", shape),
    "covariance": ("f", (*shape, 3, 3)),
    "inlier": ("f", (*shape[:2], len(views), len(joints))),
    "reprojection_px": ("f", (*shape[:2], len(views), len(joints))),
    "joints": ("U", (len(joints),)),
    "cameras": ("U", (len(views),)),
    "fps": ("fiu", ()),
  }
  if "filled" in arrays:
    wanted["filled"] = ("b", shape)
  for name, (kinds, expected) in wanted.items():
    array = arrays[name]
    if array.shape != expected or array.dtype.kind not in kinds:
      raise ValueError(
        f"{path}: {name} is {list(array.shape)} of {array.dtype}, not {list(expected)} of {kinds}"
      )
  fps, first = float(arrays["fps"]), arrays.get("first_frame", np.int64(0))
  if first.shape != () or first.dtype.kind not in "iu" or not 0 <= first < 1 << 48:
    raise ValueError(f"{path}: first_frame is {first}")
  own = {name: arrays[name] for name in _ARRAYS}
  estimate = Estimate(**own, joints=joints, views=views, filled=arrays.get("filled"))
  return estimate, fps if np.isfinite(fps) else None, int(first)
