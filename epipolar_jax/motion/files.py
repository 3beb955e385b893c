"""joints.npz: an `Estimate` as a file, and back."""

import os
import pathlib
import zipfile

import numpy as np

from epipolar_jax.triangulation.estimate import Estimate

_ARRAYS = ("points", "valid", "covariance", "inlier", "reprojection_px")


def write(path: str | os.PathLike, estimate: Estimate, *, fps: float | None = None) -> None:
  """Writes the fields of an estimate, `joints`, `cameras`, `fps` (NaN: unknown) and `unit` (mm).

  The file appears when it is complete; one that was there is replaced then.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp.npz")
  np.savez_compressed(
    temporary,
    **{name: getattr(estimate, name) for name in _ARRAYS},
    joints=np.array(estimate.joints),
    cameras=np.array(estimate.views),
    fps=np.nan if fps is None else fps,
    unit="mm",
  )
  temporary.replace(path)


def read(path: str | os.PathLike) -> tuple[Estimate, float | None]:
  """Reads what `write` wrote: the estimate, and frames a second.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is not such a file; names the file and what is wrong.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in (*_ARRAYS, "joints", "cameras", "fps", "unit")}
  except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
    raise ValueError(f"{path} is no joints.npz of this project: {error}") from error
  if str(arrays["unit"]) != "mm":
    raise ValueError(f"{path}: unit is {str(arrays['unit'])!r}; it should be mm")
  joints, views = (tuple(map(str, arrays[name])) for name in ("joints", "cameras"))
  shape = arrays["valid"].shape
  wanted = {
    "points": (*shape, 3),
    "valid": (*shape[:2], len(joints)),
    "covariance": (*shape, 3, 3),
    "inlier": (*shape[:2], len(views), len(joints)),
    "reprojection_px": (*shape[:2], len(views), len(joints)),
  }
  for name, expected in wanted.items():
    if arrays[name].shape != expected:
      raise ValueError(f"{path}: {name} is {list(arrays[name].shape)}, not {list(expected)}")
  fps = float(arrays["fps"])
  fields = {name: arrays[name] for name in _ARRAYS}
  return Estimate(**fields, joints=joints, views=views), fps if np.isfinite(fps) else None
