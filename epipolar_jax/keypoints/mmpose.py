"""MMPose's json of a video: people by frame, which count from 1.

  {"meta_info": ..., "instance_info": [{"frame_id": 1, "instances": [...]}]}

An instance has keypoints [[x, y], ...] and keypoint_scores.
"""

import numpy as np

from epipolar_jax.keypoints import frames, joint_sets, sources
from epipolar_jax.keypoints.observations import Observations

_LARGEST_SCORE = 10.0


def recognise(source: sources.Source) -> bool:
  """A json with information on instances."""
  is_table = source.kind == "json" and isinstance(source.value, dict)
  return is_table and "instance_info" in source.value


def read(source: sources.Source, joint_set: str | None) -> Observations:
  """Reads the people of one video; the view is called as the file.

  Joint names are those of meta_info, unless the user names a set. Scores above 1 become 1.

  Raises:
    ValueError: a field is missing or wrong, or the joint set is not known; names frame and person.
  """
  path, found, numbers = source.path, [], []
  infos = source.value["instance_info"]
  if not isinstance(infos, list):
    raise ValueError(f"{path}: instance_info should be a list; images one by one are not read")
  for place, info in enumerate(infos):
    where = f"{path}, instance_info[{place}]"
    if not isinstance(info, dict) or not isinstance(info.get("instances"), list):
      raise ValueError(f"{where} should have frame_id and a list of instances")
    numbers.append(sources.integer(info.get("frame_id"), f"{where}, frame_id") - 1)
    for slot, instance in enumerate(info["instances"]):
      found.append((numbers[-1], _values(instance, f"{where}, instances[{slot}]")))
  if len(set(numbers)) != len(numbers):
    raise ValueError(f"{path}: a frame_id is in it twice")
  counts = {len(values) for _, values in found}
  if len(counts) != 1:
    raise ValueError(f"{path}: its people have {sorted(counts) or 'no'} joints")
  joints = _joints(source.value.get("meta_info"), counts.pop(), joint_set, str(path))
  listed = [frames.Detection(frame, None, values) for frame, values in found]
  points, score, first = frames.fill(listed, numbers, len(joints), str(path))
  return Observations(points, score, joints, (path.stem,), first_frame=first)


def _values(instance, where: str) -> np.ndarray:
  """[j, 3] of one person."""
  if not isinstance(instance, dict) or not isinstance(instance.get("keypoints"), list):
    raise ValueError(f"{where} has no list of keypoints")
  points = [sources.numbers(p, f"{where}, keypoints") for p in instance["keypoints"]]
  scores = sources.numbers(instance.get("keypoint_scores"), f"{where}, keypoint_scores")
  if len(points) != len(scores) or {len(point) for point in points} != {2}:
    raise ValueError(f"{where}: keypoints should be x, y for each of {len(scores)} scores")
  score = np.array(scores)
  if ((score < 0) | (score > _LARGEST_SCORE)).any():
    raise ValueError(f"{where}: scores from {score.min()} to {score.max()}")
  return np.column_stack([np.array(points), np.minimum(score, 1.0)])


def _joints(meta, count: int, joint_set: str | None, where: str) -> tuple[str, ...]:
  named = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
  if joint_set is None and isinstance(named, dict):
    names = [named.get(str(i)) for i in range(count)]
    if len(named) == count and all(isinstance(name, str) for name in names):
      return tuple(names)
    raise ValueError(f"{where}: meta_info names {len(named)} keypoints, its people have {count}")
  return joint_sets.names(count, joint_set, where)
