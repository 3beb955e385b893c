"""COCO's annotations, as labelling tools write them: images, people on them, names of the joints.

  {"images": [{"id": 7, "file_name": "cam1/img00012.png", "width": 1280, "height": 1024}, ...],
   "annotations": [{"image_id": 7, "category_id": 1, "keypoints": [x, y, v, ...]}, ...],
   "categories": [{"id": 1, "name": "mouse", "keypoints": ["nose", ...]}]}

v is 0 where a joint is not labelled, 1 where it is but is hidden, 2 where it is seen. Views are the
folders that the images lie in; a file whose images lie in one is of the view it is called after.
"""

import collections
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from epipolar_jax.keypoints import frames, joining, sources, tables
from epipolar_jax.keypoints.observations import Observations

_PARTS = ("images", "annotations", "categories")
_LABELLED, _SEEN = 1, 2


class _Image(NamedTuple):
  view: str
  frame: int


class Labelled(NamedTuple):
  """One image to be written.

  Attributes:
    file_name: with / between folders.
    wh: width and height, px.
    joints: [j, 2], px; NaN where not labelled.
  """

  file_name: str
  wh: tuple[int, int]
  joints: np.ndarray


def recognise(source: sources.Source) -> bool:
  """A json with images, annotations and categories."""
  return (
    source.kind == "json"
    and isinstance(source.value, dict)
    and all(isinstance(source.value.get(part), list) for part in _PARTS)
  )


def read(source: sources.Source, joint_set: str | None) -> Observations:
  """Reads labels; what is labelled has score 1, hidden or not.

  The number of a frame is the last one in its image's name, or the image's id where no name has
  one.

  Raises:
    ValueError: a field is missing or wrong, an annotation is of no image, images have one number,
      or categories name other joints; names the entry.
  """
  path, value = source.path, source.value
  joints = _joints(path, value["categories"], value["annotations"])
  images = _images(path, value["images"])
  people: dict[str, list[frames.Detection]] = collections.defaultdict(list)
  for place, entry in enumerate(value["annotations"]):
    where = f"{path}, annotation {place}"
    if not isinstance(entry, dict) or "keypoints" not in entry:
      raise ValueError(f"{where} has no keypoints")
    number = sources.integer(entry.get("image_id"), f"{where}, image_id")
    if number not in images:
      raise ValueError(f"{where} is of image {number}, which is not among the images")
    values = np.array(sources.numbers(entry["keypoints"], f"{where}, keypoints"))
    if len(values) != 3 * len(joints):
      raise ValueError(
        f"{where}: {len(values)} numbers are not x, y and v of the {len(joints)} joints"
      )
    values = values.reshape(-1, 3)
    if not np.isin(values[:, 2], (0, _LABELLED, _SEEN)).all():
      raise ValueError(f"{where}: v is {values[:, 2].tolist()}; 0, 1 and 2 are known")
    values[values[:, 2] == 0] = np.nan
    values[:, 2] = np.where(values[:, 2] > 0, 1.0, 0.0)
    image = images[number]
    people[image.view].append(frames.Detection(image.frame, None, values))
  numbers = collections.defaultdict(set)
  for image in images.values():
    numbers[image.view].add(image.frame)
  views = []
  for view in sorted(numbers):
    filled = frames.fill(people[view], sorted(numbers[view]), len(joints), f"{path}, {view}")
    points, score, first = filled
    views.append(Observations(points, np.nan_to_num(score), joints, (view,), first_frame=first))
  return joining.join(views)


def _joints(path: pathlib.Path, categories: list, annotations: list) -> tuple[str, ...]:
  """The names of the joints of all categories that annotations are of."""
  used = {x.get("category_id") for x in annotations if isinstance(x, dict)}
  found = []
  for place, category in enumerate(categories):
    where = f"{path}, category {place}"
    if not isinstance(category, dict) or category.get("id") not in used:
      continue
    names = category.get("keypoints")
    if not isinstance(names, list) or not names or not all(isinstance(x, str) for x in names):
      raise ValueError(f"{where} does not name its joints in a list `keypoints`")
    if len(set(names)) != len(names):
      raise ValueError(f"{where} names a joint twice")
    found.append(tuple(names))
  if not found:
    raise ValueError(f"{path}: no annotation is of a category")
  if len(set(found)) > 1:
    raise ValueError(f"{path}: its categories have other joints each; leave one")
  return found[0]


def _images(path: pathlib.Path, entries: list) -> dict[int, _Image]:
  """View and frame by the id of each image."""
  names, ids = [], []
  for place, entry in enumerate(entries):
    where = f"{path}, image {place}"
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
      raise ValueError(f"{where} has no file_name")
    ids.append(sources.integer(entry.get("id"), f"{where}, id"))
    names.append(pathlib.PurePosixPath(entry["file_name"].replace("\\", "/")))
  if not names:
    raise ValueError(f"{path} has no images")
  folders = {name.parent.name for name in names}
  numbers = [frames.number_in(name.name) for name in names]
  if None in numbers:
    numbers = ids
  found = {
    key: _Image(name.parent.name if len(folders) > 1 else path.stem, number)
    for key, name, number in zip(ids, names, numbers)
  }
  for what, count in (("id", len(found)), ("view and number", len(set(found.values())))):
    if count < len(names):
      raise ValueError(f"{path}: {len(names) - count} images have the {what} of another")
  return found


def write(path: pathlib.Path, joints: Sequence[str], images: Sequence[Labelled]) -> None:
  """Writes one body an image, its joints named; what is labelled counts as seen."""
  annotations: list[dict[str, Any]] = []
  for number, image in enumerate(images, 1):
    known = np.isfinite(image.joints).all(axis=-1)
    values = np.column_stack([np.where(known[:, None], image.joints, 0.0), _SEEN * known])
    seen = image.joints[known]
    low, high = (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (np.zeros(2), np.zeros(2))
    annotations.append(
      {
        **{"id": number, "image_id": number, "category_id": 1, "iscrowd": 0},
        "keypoints": [round(x, 2) for x in values.ravel().tolist()],
        "num_keypoints": int(known.sum()),
        "bbox": [round(x, 2) for x in (*low.tolist(), *(high - low).tolist())],
        "area": round(float(np.prod(high - low)), 2),
      }
    )
  listed = [
    {"id": number, "file_name": image.file_name, "width": image.wh[0], "height": image.wh[1]}
    for number, image in enumerate(images, 1)
  ]
  category = {"id": 1, "name": "body", "keypoints": list(joints), "skeleton": []}
  with tables.replacing(path) as file:
    json.dump({"images": listed, "annotations": annotations, "categories": [category]}, file)
