"""SLEAP's labels (.slp): frames, instances and points of one video or several, as HDF5 tables.

A row of `frames` names rows of `instances`, each of which names rows of `points` (made by a person)
or `pred_points` (by the network). Nodes and skeletons are in a json.
"""

import json
import pathlib

import numpy as np

from epipolar_jax.keypoints import frames, hdf5, joining
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source

_PREDICTED = 1
# Before this version of the format, pixels were counted from the corner of the first one.
_PIXEL_CENTRES = 1.1
_FIELDS = {
  "frames": ("video", "frame_idx", "instance_id_start", "instance_id_end"),
  "instances": (
    *("instance_id", "instance_type", "skeleton", "track"),
    *("from_predicted", "point_id_start", "point_id_end"),
  ),
  "points": ("x", "y", "visible"),
  "pred_points": ("x", "y", "visible", "score"),
}


def recognise(source: Source) -> bool:
  """An HDF5 file with tables of frames and instances."""
  if source.kind != "hdf5":
    return False
  with hdf5.opened(source.path) as file:
    return all(file.is_dataset(name) for name in ("frames", "instances", "videos_json"))


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads all videos, a view each; one alone is called as the file, several as the videos.

  Instances that a person made count before those of the network in the same frame and track, and
  before those that they correct. Scores above 1 become 1; a person's have 1.

  Raises:
    ValueError: the file is damaged or has several skeletons; names the table and the row.
    ModuleNotFoundError: h5py is not installed.
  """
  path = source.path
  with hdf5.opened(path) as file:
    tables = {name: _table(file, name) for name in _FIELDS}
    joints = _joints(path, file.attribute("metadata", "json"))
    shift = 0.0 if _version(path, file.attribute("metadata", "format_id")) else 0.5
    tracks = [_track(path, text) for text in file.texts("tracks_json")]
    videos = [_video(path, text) for text in file.texts("videos_json")]
  used = sorted(set(tables["frames"]["video"].tolist()))
  if not used or used[-1] >= len(videos):
    raise ValueError(f"{path}: frames are of the videos {used}; it names {len(videos)}")
  views = []
  for video in used:
    rows = tables["frames"][tables["frames"]["video"] == video]
    found, numbers = [], []
    for row in rows:
      numbers.append(_count(path, "frame_idx", row["frame_idx"]))
      for instance in _instances(path, tables, row):
        values = _points(path, tables, instance, len(joints)) - [shift, shift, 0.0]
        track = int(instance["track"])
        found.append((numbers[-1], track if track >= 0 else None, values))
    if len(set(numbers)) != len(numbers):
      raise ValueError(f"{path}: a frame of {videos[video]} is in it twice")
    views.append(_view(path, found, numbers, joints, tracks, videos[video], len(used)))
  return joining.join(views)


def _view(path, found, numbers, joints, tracks, video, count) -> Observations:
  """One video's observations; slots are tracks if every instance is of one."""
  tracked = bool(tracks) and all(track is not None for _, track, _ in found)
  if tracked and any(track >= len(tracks) for _, track, _ in found):
    raise ValueError(f"{path}: an instance is of a track beyond the {len(tracks)} in it")
  listed = [frames.Detection(f, t if tracked else None, values) for f, t, values in found]
  points, score, first = frames.fill(listed, numbers, len(joints), str(path))
  people = ()
  if tracked and len(set(tracks)) == len(tracks):
    missing = len(tracks) - points.shape[1]
    pad = [(0, 0), (0, max(missing, 0)), (0, 0), (0, 0)]
    points = np.pad(points, [*pad, (0, 0)], constant_values=np.nan)
    score, people = np.pad(score, pad), tuple(tracks)
  name = path.stem if count == 1 else video
  return Observations(points, score, joints, (name,), first_frame=first, people=people)


def _instances(path, tables, row) -> list:
  """The instances of a frame that count."""
  first, last = (_count(path, name, row[name]) for name in ("instance_id_start", "instance_id_end"))
  rows = tables["instances"][first:last]
  if last < first or len(rows) != last - first:
    raise ValueError(f"{path}: a frame has the instances {first} to {last}, which are not in it")
  made = rows[rows["instance_type"] != _PREDICTED]
  corrected = set(made["from_predicted"].tolist())
  taken = set(made["track"][made["track"] >= 0].tolist())
  predicted = rows[rows["instance_type"] == _PREDICTED]
  kept = [
    r for r in predicted if int(r["instance_id"]) not in corrected and int(r["track"]) not in taken
  ]
  return [*made, *kept]


def _points(path, tables, instance, joints: int) -> np.ndarray:
  """[j, 3]; a node that is not visible is NaN."""
  predicted = instance["instance_type"] == _PREDICTED
  name = "pred_points" if predicted else "points"
  first, last = (_count(path, n, instance[n]) for n in ("point_id_start", "point_id_end"))
  rows = tables[name][first : min(last, first + joints + 1)]
  if len(rows) != joints or last - first != joints or instance["skeleton"] != 0:
    raise ValueError(
      f"{path}: an instance has the {name} {first} to {last} of skeleton {instance['skeleton']}; "
      f"it should have {joints} of skeleton 0"
    )
  score = np.clip(rows["score"], 0.0, 1.0) if predicted else np.ones(joints)
  # A score of 0 would say that there is no point; the network drew one.
  score = np.where(score > 0, score, np.finfo(np.float32).tiny)
  values = np.stack([rows["x"], rows["y"], score], axis=-1).astype(np.float64)
  return np.where(rows["visible"].astype(bool)[:, None], values, np.nan)


def _table(file: hdf5.File, name: str) -> np.ndarray:
  table = file.array(name, "V", 1)
  missing = [field for field in _FIELDS[name] if field not in (table.dtype.names or ())]
  odd = [f for f in _FIELDS[name] if not missing and table.dtype[f].kind not in "fiub"]
  if missing or odd:
    raise ValueError(f"{file.path}: {name} has no columns of numbers {', '.join(missing or odd)}")
  return table


def _count(path, field: str, value) -> int:
  number = int(value)
  if not 0 <= number < 1 << 48:
    raise ValueError(f"{path}: {field} is {number}")
  return number


def _json(path, text, what: str):
  try:
    return json.loads(text)
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f"{path}: {what} is not json: {str(error)[:200]}") from error


def _joints(path, text) -> tuple[str, ...]:
  """Names of the nodes of the one skeleton, in its order."""
  value = _json(path, text, "metadata")
  try:
    skeletons, nodes = value["skeletons"], value["nodes"]
    if len(skeletons) != 1:
      raise ValueError(f"{path}: has {len(skeletons)} skeletons; files with one are read")
    names = [nodes[node["id"]]["name"] for node in skeletons[0]["nodes"]]
  except (TypeError, KeyError, IndexError) as error:
    raise ValueError(f"{path}: metadata names no nodes of a skeleton") from error
  if not all(isinstance(name, str) for name in names) or not names:
    raise ValueError(f"{path}: a node's name is no text")
  return tuple(names)


def _version(path, value) -> bool:
  """Whether pixels are counted from their centres."""
  try:
    return float(value) >= _PIXEL_CENTRES - 1e-6
  except (TypeError, ValueError) as error:
    raise ValueError(f"{path}: metadata has no format_id") from error


def _track(path, text: str) -> str:
  value = _json(path, text, "tracks_json")
  if not isinstance(value, list) or len(value) < 2:
    raise ValueError(f"{path}: a track should be [frame, name], got {text[:80]!r}")
  return str(value[1])[:200]


def _video(path, text: str) -> str:
  """What a video's file is called, without folders of either system and suffix."""
  value = _json(path, text, "videos_json")
  backend = value.get("backend") if isinstance(value, dict) else None
  name = backend.get("filename") if isinstance(backend, dict) else None
  if not isinstance(name, str):
    name = value.get("filename", "") if isinstance(value, dict) else ""
  return pathlib.PureWindowsPath(str(name)).stem or "video"
