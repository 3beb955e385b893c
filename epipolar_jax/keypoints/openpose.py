"""OpenPose's json, which Pose2Sim and rtmlib write too: a folder a camera, a file a frame.

  {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, c, x, y, c, ...]}]}

The joint set is not in the files. People come in any order, which changes from frame to frame.
0, 0, 0 is "not seen". Hands and face are read where a file has them, after the body's joints.
"""

import json
import pathlib

import numpy as np

from epipolar_jax.keypoints import frames, joint_sets, sources
from epipolar_jax.keypoints.observations import Observations

_BODY = "pose_keypoints_2d"
# Field and prefix of joint names.
_MORE = {
  "hand_left_keypoints_2d": "LHand",
  "hand_right_keypoints_2d": "RHand",
  "face_keypoints_2d": "Face",
}
_MOST_BYTES = 8 << 20
_LARGEST_SCORE = 10.0


def recognise(source: sources.Source) -> bool:
  """A folder whose first json has people."""
  if source.kind != "folder":
    return False
  first = next(iter(_files(source)), None)
  return first is not None and isinstance(_content(first).get("people"), list)


def read(source: sources.Source, joint_set: str | None) -> Observations:
  """Reads the folder of one camera, which is called as the folder (less _json).

  A file's number is the last in its name. Scores above 1, as some networks give, become 1.

  Raises:
    ValueError: a file is damaged or numbered twice, the joint set is not known, or OpenPose has
      normalised the coordinates.
  """
  people, numbers, lengths = [], {}, dict.fromkeys((_BODY, *_MORE), 0)
  for path in _files(source):
    number = frames.number_in(path.name)
    if number is None:
      raise ValueError(f"{path}: its name has no frame number")
    if number in numbers:
      raise ValueError(f"{numbers[number]} and {path} have the same frame number")
    numbers[number] = path
    listed = _content(path).get("people")
    if not isinstance(listed, list):
      raise ValueError(f"{path}: people should be a list")
    for place, person in enumerate(listed):
      where = f"{path}, people[{place}]"
      if not isinstance(person, dict) or _BODY not in person:
        raise ValueError(f"{where} has no {_BODY}")
      fields = {name: _triples(person.get(name, []), f"{where}, {name}") for name in lengths}
      people.append((number, where, fields))
      for name, values in fields.items():
        lengths[name] = max(lengths[name], len(values))
  joints = _joints(lengths, joint_set, str(source.path))
  detections = [
    frames.Detection(number, None, _person(fields, lengths, where))
    for number, where, fields in people
  ]
  points, score, first = frames.fill(detections, list(numbers), len(joints), str(source.path))
  seen = points[np.isfinite(points).all(-1) & (score > 0)]
  if len(seen) > 1 and np.abs(seen).max() <= 1:
    raise ValueError(
      f"{source.path}: all coordinates are within 1: OpenPose has normalised them "
      "(--keypoint_scale); run it with --keypoint_scale 0, which gives pixels"
    )
  return Observations(
    points, score, joints, (source.path.name.removesuffix("_json"),), first_frame=first
  )


def _files(source: sources.Source) -> list[pathlib.Path]:
  return [path for path in source.value if path.suffix == ".json"]


def _content(path: pathlib.Path) -> dict:
  if not path.is_file() or path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path}: not a file of at most {_MOST_BYTES:,} bytes")
  value = sources.read_json(path)
  return value if isinstance(value, dict) else {}


def _triples(value, where: str) -> np.ndarray:
  """[j, 3]; NaN for 0, 0, 0."""
  values = sources.numbers(value, where)
  if len(values) % 3:
    raise ValueError(f"{where}: {len(values)} numbers are not x, y and score of some joints")
  triples = np.array(values, np.float64).reshape(-1, 3)
  score = triples[:, 2]
  if ((score < 0) | (score > _LARGEST_SCORE)).any():
    raise ValueError(f"{where}: a score of {score[(score < 0) | (score > _LARGEST_SCORE)][0]}")
  triples[:, 2] = np.minimum(score, 1.0)
  triples[~triples.any(axis=1)] = np.nan
  return triples


def _joints(lengths: dict[str, int], joint_set: str | None, where: str) -> tuple[str, ...]:
  if not any(lengths.values()):
    raise ValueError(f"{where}: nobody in any frame, so that its joints are not known")
  body = joint_sets.names(lengths[_BODY], joint_set, where)
  return (*body, *(f"{side}{i}" for name, side in _MORE.items() for i in range(lengths[name])))


def _person(fields: dict[str, np.ndarray], lengths: dict[str, int], where: str) -> np.ndarray:
  """[j, 3]; a part that this person lacks is NaN."""
  parts = []
  for name, count in lengths.items():
    values = fields[name]
    if len(values) not in (0, count):
      raise ValueError(f"{where}, {name}: {len(values)} joints, others have {count}")
    parts.append(values if len(values) else np.full((count, 3), np.nan))
  return np.concatenate(parts)


def write(folder: pathlib.Path, observations: Observations) -> None:
  """Writes one view, a file a frame, in a new folder; people without a joint are left out.

  Raises:
    FileExistsError: the folder holds json already, which would mix with these.
  """
  if folder.exists() and any(folder.glob("*.json")):
    raise FileExistsError(f"{folder} holds json files: choose another folder")
  folder.mkdir(parents=True, exist_ok=True)
  values = np.concatenate([observations.points, observations.score[..., None]], axis=-1)[:, :, 0]
  values = np.nan_to_num(values, nan=0.0)
  stem = folder.name.removesuffix("_json")
  for i, people in enumerate(values):
    listed = [
      {"person_id": [-1], _BODY: person.ravel().tolist()} for person in people if person.any()
    ]
    text = json.dumps({"version": 1.3, "people": listed})
    name = f"{stem}_{observations.first_frame + i:012d}_keypoints.json"
    (folder / name).write_text(text, encoding="utf-8")
