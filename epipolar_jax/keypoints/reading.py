"""Reads keypoint files of any known format into `Observations`, matched with cameras by name."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from epipolar_jax.keypoints import (
  alphapose,
  caliscope,
  coco,
  coco_labels,
  deeplabcut,
  deeplabcut_h5,
  isolated,
  joining,
  mediapipe,
  mmpose,
  openpose,
  plain,
  sleap_analysis,
  sleap_labels,
  sources,
)
from epipolar_jax.keypoints.observations import Observations


class Format(NamedTuple):
  """How a format is told apart, and read.

  Attributes:
    recognise: whether a source is of it.
    read: with the user's joint set (None: not named).
    has_names: whether its files name their joints, so that there is no set to choose.
  """

  recognise: Callable[[sources.Source], bool]
  read: Callable[[sources.Source, str | None], Observations]
  has_names: bool = False


# The first that recognises a source reads it.
FORMATS = {
  "plain npz": Format(plain.recognise, plain.read, has_names=True),
  "mediapipe": Format(mediapipe.recognise, mediapipe.read),
  "openpose": Format(openpose.recognise, openpose.read),
  "mmpose": Format(mmpose.recognise, mmpose.read),
  "alphapose": Format(alphapose.recognise, alphapose.read),
  "coco": Format(coco.recognise, coco.read),
  "coco labels": Format(coco_labels.recognise, coco_labels.read, has_names=True),
  "deeplabcut": Format(deeplabcut.recognise, deeplabcut.read, has_names=True),
  "deeplabcut h5": Format(deeplabcut_h5.recognise, deeplabcut_h5.read, has_names=True),
  "sleap": Format(sleap_labels.recognise, sleap_labels.read, has_names=True),
  "sleap analysis": Format(sleap_analysis.recognise, sleap_analysis.read, has_names=True),
  "caliscope": Format(caliscope.recognise, caliscope.read),
}


def read_file(path: str | os.PathLike, *, joint_set: str | None = None) -> Observations:
  """Reads a file, or a folder, whose format is told by its content.

  Args:
    path: of the file; of a folder of one camera's json; or of a folder with such a folder, or a
      file, for each camera and nothing else.
    joint_set: for files without joint names, as in `joint_sets.names`.

  Returns:
    Observations of the views in it. A view is called as the file says, or as the file is called.

  Raises:
    FileNotFoundError: there is nothing at the path.
    ValueError: no known format, or a damaged file; the message names the file and the place.
    ModuleNotFoundError: the format needs a package of the extra `files`.
  """
  path = pathlib.Path(path)
  source = sources.load(path)
  if source.kind == "folder" and source.value and recognise(source) is None:
    return joining.join([_read(sources.load(inside), joint_set) for inside in source.value])
  return _read(source, joint_set)


def _read(source: sources.Source, joint_set: str | None) -> Observations:
  if source.kind == "hdf5":
    return isolated.read(source.path, joint_set)
  return read_source(source, joint_set)


def read_source(source: sources.Source, joint_set: str | None) -> Observations:
  """Reads a source of a known format, in this process.

  Raises:
    ValueError: no known format, or a damaged file.
    ModuleNotFoundError: the format needs a package of the extra `files`.
  """
  path = source.path
  try:
    name = recognise(source)
    if name is not None and FORMATS[name].has_names and joint_set is not None:
      raise ValueError(f"{path}: names its joints; {joint_set} is for files that do not")
    if name is not None:
      return FORMATS[name].read(source, joint_set)
  except ValueError as error:
    if str(path) in str(error):
      raise
    raise ValueError(f"{path}: {error}") from error
  raise ValueError(
    f"{path}: a {source.kind}{'' if source.kind == 'folder' else ' file'}, but not keypoints of "
    f"any known format: {', '.join(FORMATS)}"
  )


def recognise(source: sources.Source) -> str | None:
  """The name of a source's format, or None."""
  return next((name for name, format in FORMATS.items() if format.recognise(source)), None)


def read_recording(
  files: Sequence[str | os.PathLike],
  cameras: Sequence[str],
  *,
  fps: float | None = None,
  joint_set: str | None = None,
) -> Observations:
  """Reads a recording: one file a camera, or one file or folder with all views in it.

  Args:
    files: paths, matched with cameras as `pair` does; or CAMERA=PATH.
    cameras: names of the rig's cameras, which the views get.
    fps: frames a second, if it is known.
    joint_set: for files without joint names.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a file or view is of no camera or of one that another is of, is damaged, or has
      other joints; or no frame is in two views.
  """
  if len(files) == 1 and not _stated(files, cameras):
    found = read_file(files[0], joint_set=joint_set)
    views = tuple(camera_of(v, cameras, "in the calibration or the file") for v in found.views)
    if len(set(views)) != len(views):
      pairs = ", ".join(f"{v} of {c}" for v, c in zip(found.views, views))
      raise ValueError(f"{files[0]}: two views are of one camera: {pairs}")
    found = dataclasses.replace(found, views=views, fps=fps or found.fps)
  else:
    found = read(pair_all(files, cameras), fps=fps, joint_set=joint_set)
  seen = found.seen.any(axis=(1, 3))
  if len(found.views) > 1 and not (seen.sum(axis=1) >= 2).any():
    ranges = [f"{view} {_range(x, found.first_frame)}" for view, x in zip(found.views, seen.T)]
    raise ValueError(f"no frame has points in two views: {', '.join(ranges)}")
  return found


def _range(seen: np.ndarray, first: int) -> str:
  """The frames [f] in which something was seen, in words."""
  frames = np.flatnonzero(seen) + first
  return f"has frames {frames[0]} to {frames[-1]}" if len(frames) else "has nothing"


def pair(files: Sequence[str | os.PathLike], cameras: Sequence[str]) -> dict[str, pathlib.Path]:
  """Which file is of which camera: the one camera whose name is part of the file's name.

  Never by order. A name that stands by itself counts before one inside a word (camera 1 is in
  2021_1.csv and in cam1.csv); of names that contain each other (cam1, cam10) the longest counts.
  Where no name is part as it stands, letters and digits alone are compared (cam_01, cam01_json).

  Raises:
    ValueError: a file's name holds no camera's name, two files hold the same, or two cameras' names
      are in one.
  """
  found: dict[str, pathlib.Path] = {}
  for file in map(pathlib.Path, files):
    name = camera_of(file.name, cameras, f"CAMERA={file}")
    if name in found:
      raise ValueError(f"{found[name]} and {file} both hold the name of camera {name}")
    found[name] = file
  return found


def pair_all(files: Sequence[str | os.PathLike], cameras: Sequence[str]) -> dict[str, pathlib.Path]:
  """As `pair`, where a file may also be given as CAMERA=FILE.

  Raises:
    ValueError: as `pair`, or two files are of one camera.
  """
  stated = _stated(files, cameras)
  rest = [x for x in files if str(x) not in {f"{c}={file}" for c, file in stated.items()}]
  found = {camera: pathlib.Path(file) for camera, file in stated.items()} | pair(rest, cameras)
  if len(found) != len(files):
    raise ValueError("two files are of one camera: give each camera once")
  return found


def _stated(files: Sequence[str | os.PathLike], cameras: Sequence[str]) -> dict[str, str]:
  """Files by camera, of those that say CAMERA=FILE."""
  named = [str(x).split("=", 1) for x in files if "=" in str(x)]
  return {camera: file for camera, file in named if camera in cameras}


def camera_of(text: str, cameras: Sequence[str], remedy: str) -> str:
  """The camera whose name is in a text, as `pair` finds it.

  Raises:
    ValueError: there is none, or more than one; the message ends with the remedy.
  """
  named = [name for name in cameras if _is_word(name, text)]
  for form in (str, _plain):
    named = named or [name for name in cameras if form(name) and form(name) in form(text)]
    named = [n for n in named if not any(n != o and form(n) in form(o) for o in named)]
  if len(named) != 1:
    what = f"of {' and '.join(named)}" if named else "of no camera"
    raise ValueError(
      f"{text} holds the name {what}; the cameras are {', '.join(cameras)}: say which is which, "
      f"{remedy}"
    )
  return named[0]


def _is_word(name: str, text: str) -> bool:
  """Whether a name is in a text with neither letter nor digit beside it."""
  return bool(re.search(rf"(?<![0-9A-Za-z]){re.escape(name)}(?![0-9A-Za-z])", text))


def _plain(text: str) -> str:
  return re.sub(r"[^0-9a-z]", "", text.lower())


def read(
  files: Mapping[str, str | os.PathLike],
  *,
  fps: float | None = None,
  joint_set: str | None = None,
) -> Observations:
  """Reads one file (or folder) a camera.

  Args:
    files: by camera name.
    fps: frames a second, if it is known.
    joint_set: for files without joint names.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a file is damaged or holds several views, or files differ in joints; names both.
  """
  if not files:
    raise ValueError("no keypoint files")
  parts = []
  for camera, path in files.items():
    read = read_file(path, joint_set=joint_set)
    if len(read.views) != 1:
      raise ValueError(
        f"{path} holds the views {', '.join(read.views)}, not camera {camera} alone: give it alone"
      )
    parts.append(dataclasses.replace(read, views=(camera,)))
  joined = joining.join(parts, [str(path) for path in files.values()])
  return joined if fps is None else dataclasses.replace(joined, fps=fps)
