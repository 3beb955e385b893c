"""SLEAP's analysis files (.analysis.h5): one video's tracks.

`tracks` and `point_scores` come with their axes in an order that differs between SLEAP (tracks,
xy, nodes, frames) and sleap-io's presets, which state it in the attribute `dims`.
"""

import json
import pathlib

import numpy as np

from epipolar_jax.keypoints import frames, hdf5
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source

_AXES = ("frame", "track", "node", "xy")
_SLEAP = ("track", "xy", "node", "frame")
# With the file's attribute transpose = False, before there was `dims`.
_UNTURNED = ("frame", "node", "xy", "track")


def recognise(source: Source) -> bool:
  """An HDF5 file with tracks and names of nodes."""
  if source.kind != "hdf5":
    return False
  with hdf5.opened(source.path) as file:
    return file.is_dataset("tracks") and file.is_dataset("node_names")


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads the tracks of one video; the view is called as the file. Scores above 1 become 1.

  Raises:
    ValueError: the file is damaged, or its axes cannot be told; names the dataset.
    ModuleNotFoundError: h5py is not installed.
  """
  with hdf5.opened(source.path) as file:
    joints = file.texts("node_names")
    people = file.texts("track_names") if file.is_dataset("track_names") else []
    tracks = _ordered(file, "tracks", _AXES, len(joints), len(people))
    frames.check_values(tracks[..., 0].size, str(source.path))
    score = np.ones(tracks.shape[:-1])
    if file.is_dataset("point_scores"):
      score = _ordered(file, "point_scores", _AXES[:3], len(joints), len(people))
  if score.shape != tracks.shape[:-1]:
    raise ValueError(
      f"{source.path}: tracks is {tracks.shape} and point_scores {score.shape} (frame, track, node)"
    )
  # Points that a person has corrected have no score: NaN, or 0 in older files.
  seen = np.isfinite(tracks).all(-1)
  score = np.where(seen & ~(score > 0), 1.0, np.clip(score, 0.0, 1.0))
  named = tuple(people) if len(people) == tracks.shape[1] else ()
  return Observations(
    tracks[:, :, None], score[:, :, None], tuple(joints), (source.path.stem,), people=named
  )


def _ordered(file: hdf5.File, name: str, wanted: tuple[str, ...], joints: int, people: int):
  """A dataset with its axes as wanted."""
  array = file.array(name, "fiu", len(wanted)).astype(np.float64)
  turned = file.attribute("", "transpose")
  usual = _SLEAP if turned is None or turned else _UNTURNED
  axes = _stated(file, name) or tuple(axis for axis in usual if axis in wanted)
  if sorted(axes) != sorted(wanted):
    raise ValueError(f"{file.path}, {name}: dims are {', '.join(axes)}; they should be {wanted}")
  array = array.transpose([axes.index(axis) for axis in wanted])
  sizes = dict(zip(wanted, array.shape))
  if sizes["node"] != joints or sizes.get("xy", 2) != 2 or people not in (0, sizes["track"]):
    raise ValueError(
      f"{file.path}, {name}: axes are {sizes}, with {joints} node_names and {people} track_names"
    )
  return array


def _stated(file: hdf5.File, name: str) -> tuple[str, ...]:
  """The axes that `dims` states, a json list; () if there is none."""
  dims = file.attribute(name, "dims")
  if dims is None:
    return ()
  try:
    listed = json.loads(dims) if isinstance(dims, str) else np.ravel(dims).tolist()
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{file.path}, {name}: dims are {str(dims)[:80]!r}") from error
  return tuple(str(axis) for axis in listed) if isinstance(listed, list) else (str(listed),)


def write(path: pathlib.Path, observations: Observations) -> None:
  """Writes one view in SLEAP's own order of axes, from frame 0 on.

  Raises:
    ModuleNotFoundError: h5py is not installed.
  """
  empty = [(observations.first_frame, 0), *[(0, 0)] * 2]
  points = np.pad(observations.points[:, :, 0], [*empty, (0, 0)], constant_values=np.nan)
  score = np.pad(observations.score[:, :, 0], empty)
  people = observations.people or tuple(f"track_{i}" for i in range(points.shape[1]))
  with hdf5.replacing(path) as file:
    file["tracks"] = points.transpose(1, 3, 2, 0)
    file["point_scores"] = np.where(score > 0, score, np.nan).transpose(1, 2, 0)
    seen = (score > 0).any(-1)
    file["track_occupancy"] = seen.astype(np.uint8)
    mean = score.sum(-1) / np.maximum((score > 0).sum(-1), 1)
    file["instance_scores"] = np.where(seen, mean, np.nan).T
    file["tracking_scores"] = np.full(seen.shape, np.nan).T
    file["node_names"] = [joint.encode() for joint in observations.joints]
    file["track_names"] = [person.encode() for person in people]
    axes = {2: ("track", "frame"), 3: ("track", "node", "frame"), 4: _SLEAP}
    for name in ("tracks", "point_scores", "instance_scores", "tracking_scores"):
      file[name].attrs["dims"] = json.dumps(axes[file[name].ndim])
    file["track_occupancy"].attrs["dims"] = json.dumps(_AXES[:2])
