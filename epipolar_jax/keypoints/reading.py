"""Reads the keypoint files of all cameras of a recording into `Observations`, matched by name."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from epipolar_jax.keypoints import deeplabcut
from epipolar_jax.keypoints.observations import Observations


def pair(files: Sequence[str | os.PathLike], cameras: Sequence[str]) -> dict[str, pathlib.Path]:
  """Which file is of which camera: the one camera whose name is part of the file's name.

  Never by order. Of names that contain each other (cam1, cam10) the longest counts.

  Raises:
    ValueError: a file's name holds no camera's name, two files hold the same, or two cameras' names
      are in one.
  """
  found: dict[str, pathlib.Path] = {}
  for file in map(pathlib.Path, files):
    named = [name for name in cameras if name in file.name]
    named = [n for n in named if not any(n != other and n in other for other in named)]
    if len(named) != 1:
      what = f"of {' and '.join(named)}" if named else "of no camera"
      raise ValueError(
        f"{file.name} holds the name {what}; the cameras are {', '.join(cameras)}: say which is "
        f"which, CAMERA={file}"
      )
    if named[0] in found:
      raise ValueError(f"{found[named[0]]} and {file} both hold the name of camera {named[0]}")
    found[named[0]] = file
  return found


def read(files: Mapping[str, str | os.PathLike], *, fps: float | None = None) -> Observations:
  """Reads one file a camera.

  Args:
    files: by camera name; DeepLabCut's or Lightning Pose's csv.
    fps: frames a second, if it is known.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a file is damaged, or files differ in frames, animals or joints; names both files.
  """
  if not files:
    raise ValueError("no keypoint files")
  read = {name: deeplabcut.read(path) for name, path in files.items()}
  first = next(iter(read))
  points, _, joints = read[first]
  for name, (others, _, other_joints) in read.items():
    if set(other_joints) != set(joints):
      odd = sorted(set(other_joints) ^ set(joints))
      raise ValueError(f"{files[first]} and {files[name]} differ in joints: {', '.join(odd)}")
    if others.shape[:2] != points.shape[:2]:
      raise ValueError(
        f"{files[first]} has {points.shape[0]} frames of {points.shape[1]} animals, {files[name]} "
        f"{others.shape[0]} of {others.shape[1]}: cut them to the same frames"
      )
  order = {name: [names.index(j) for j in joints] for name, (_, _, names) in read.items()}
  return Observations(
    points=np.stack([read[n][0][:, :, order[n]] for n in read], axis=2),
    score=np.stack([read[n][1][:, :, order[n]] for n in read], axis=2),
    joints=joints,
    views=tuple(read),
    fps=fps,
  )
