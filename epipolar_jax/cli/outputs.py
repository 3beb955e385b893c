"""What the verbs that end in 3D joints have in common: pairing files with cameras, and writing."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from epipolar_jax.calibration import judging
from epipolar_jax.keypoints import reading, writing
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.motion import files, formats, motion
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation.estimate import Estimate


def names(text: str) -> tuple[str, ...]:
  """The formats of `--format a,b`, each a known one."""
  chosen = tuple(name for name in text.split(",") if name)
  for name in chosen:
    formats.check(name)
  return chosen


def paired(given: Sequence[str], cameras: Sequence[str]) -> dict[str, pathlib.Path]:
  """Files by camera, of `FILE` (whose name holds the camera's) and `CAMERA=FILE`.

  Raises:
    ValueError: as `reading.pair`, or two files are of one camera.
  """
  stated = [x.split("=", 1) for x in given if x.partition("=")[0] in cameras and "=" in x]
  said = {camera: pathlib.Path(file) for camera, file in stated}
  rest = [x for x in given if not (x.partition("=")[0] in cameras and "=" in x)]
  found = said | reading.pair(rest, cameras)
  if len(found) != len(given):
    raise ValueError("two files are of one camera: give each camera once")
  return {camera: found[camera] for camera in cameras if camera in found}


def read_keypoints(
  given: Sequence[str], cameras: Sequence[str], joint_set: str | None
) -> Observations:
  """Observations of one file that holds all views, or of a file for each camera."""
  if len(given) == 1 and pathlib.Path(given[0]).exists():
    alone = reading.read_file(given[0], joint_set=joint_set)
    if len(alone.views) > 1:
      known = {reading.camera_of(view, cameras, "rename it"): view for view in alone.views}
      return dataclasses.replace(alone, views=tuple(known))
  return reading.read(paired(given, cameras), joint_set=joint_set)


def write(
  folder: pathlib.Path,
  estimated: Estimate,
  observations: Observations,
  chosen: Sequence[str],
  *,
  up: str,
) -> None:
  """Writes joints.npz, keypoints.npz and the chosen formats, and prints their names."""
  path = folder / "joints.npz"
  files.write(path, estimated, fps=observations.fps)
  print(f"Wrote {path}")
  path = folder / "keypoints.npz"
  writing.write(path, observations, "plain npz")
  print(f"Wrote {path}")
  moved = motion.of_estimate(estimated, fps=observations.fps, first_frame=observations.first_frame)
  for name in chosen:
    path = folder / f"joints_{name}{formats.FORMATS[name].suffix}"
    for one in formats.write(path, moved, name, up=up)[0]:
      print(f"Wrote {one}")


def tell(estimated: Estimate, ideal: Observations, rig: Rig) -> None:
  """Prints what was found and how well the views agree.

  Args:
    estimated: the joints.
    ideal: each view's own keypoints, px without lens distortion.
    rig: of the views.
  """
  frames, _, joints = estimated.valid.shape
  print(f"{frames} frames, {joints} joints, {estimated.valid.mean():.1%} triangulated")
  left_out = judging.leave_one_out(ideal, rig.cameras) if len(rig.names) > 2 else None
  print(f"{'camera':>16}  reprojection, px  {'' if left_out is None else 'left out, px'}")
  for view, name in enumerate(rig.names):
    columns = percentiles(estimated.reprojection_px[:, :, view])
    if left_out is not None:
      columns += f"   {percentiles(left_out[:, view])}"
    print(f"{name:>16}  {columns}")
  print("median / 90th percentile; left out: what a view saw, against the others' point")


def percentiles(errors: np.ndarray) -> str:
  """Median and 90th percentile of errors, NaN left out, as a column of a table."""
  errors = errors[np.isfinite(errors)]
  if not len(errors):
    return f"{'none':>16}"
  return f"{np.median(errors):7.2f} /{np.percentile(errors, 90):7.2f}"
