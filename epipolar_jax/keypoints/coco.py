"""COCO's results: a json list of people, [{"image_id": 12, "keypoints": [x, y, score, ...]}, ...].

The image's number is the frame's. AlphaPose's list differs in confidence and image_id.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from epipolar_jax.keypoints import frames, joint_sets, sources, tables
from epipolar_jax.keypoints.observations import Observations

_LARGEST_SCORE = 10.0


def is_list_of_people(source: sources.Source) -> bool:
  """A json list whose first entry has an image and keypoints."""
  if source.kind != "json" or not isinstance(source.value, list) or not source.value:
    return False
  first = source.value[0]
  return isinstance(first, dict) and {"image_id", "keypoints"} <= set(first)


def recognise(source: sources.Source) -> bool:
  return is_list_of_people(source)


def read(source: sources.Source, joint_set: str | None) -> Observations:
  """Reads the people of one video, whose images are numbered as its frames.

  0, 0, 0 is "not seen". Scores above 1 become 1.

  Raises:
    ValueError: a field is missing or wrong, the joint set is not known, or images are not numbered
      as frames are; names the entry.
  """
  return read_people(
    source, joint_set, lambda value, where: sources.integer(value, f"{where}, image_id"), _clipped
  )


def read_people(
  source: sources.Source,
  joint_set: str | None,
  frame_of: Callable[[Any, str], int],
  normalise: Callable[[np.ndarray, str], np.ndarray],
) -> Observations:
  """Reads a list of people.

  Args:
    source: the json.
    joint_set: what the user says.
    frame_of: an image_id to the frame's number.
    normalise: scores [n, j] of all people to 0..1.

  Raises:
    ValueError: a field is missing or wrong; names the entry.
  """
  path, numbers, people = source.path, [], []
  for place, person in enumerate(source.value):
    where = f"{path}, number {place}"
    if not isinstance(person, dict) or "keypoints" not in person:
      raise ValueError(f"{where} has no keypoints")
    numbers.append(frame_of(person.get("image_id"), where))
    values = sources.numbers(person["keypoints"], f"{where}, keypoints")
    if len(values) % 3 or not values or (people and len(values) != 3 * len(people[0])):
      wanted = f"{len(people[0])} joints" if people else "some joints"
      raise ValueError(f"{where}: {len(values)} numbers are not x, y and score of {wanted}")
    people.append(np.array(values, np.float64).reshape(-1, 3))
  joints = joint_sets.names(len(people[0]), joint_set, str(path))
  stacked = np.stack(people)
  stacked[~stacked.any(axis=-1)] = np.nan
  stacked[..., 2] = normalise(np.nan_to_num(stacked[..., 2]), str(path))
  listed = [frames.Detection(number, None, values) for number, values in zip(numbers, stacked)]
  points, score, first = frames.fill(listed, sorted(set(numbers)), len(joints), str(path))
  return Observations(points, score, joints, (path.stem,), first_frame=first)


def _clipped(score: np.ndarray, where: str) -> np.ndarray:
  if ((score < 0) | (score > _LARGEST_SCORE)).any():
    raise ValueError(f"{where}: scores from {score.min()} to {score.max()}; 0 to 1 is known")
  return np.minimum(score, 1.0)


def write(path: pathlib.Path, observations: Observations) -> None:
  """Writes one view; people without a joint are left out."""
  people = []
  for f, p in np.argwhere(observations.seen.any(axis=(2, 3))):
    points, score = observations.points[f, p, 0], observations.score[f, p, 0]
    values = np.nan_to_num(np.column_stack([points, score]), nan=0.0)
    people.append(
      {
        "image_id": observations.first_frame + int(f),
        "category_id": 1,
        "keypoints": values.ravel().tolist(),
        "score": float(score[score > 0].mean()),
      }
    )
  with tables.replacing(path) as file:
    json.dump(people, file)
