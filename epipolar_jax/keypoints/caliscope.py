"""Caliscope's csv: a row a point, of all cameras; its joints are numbers.

  sync_index,cam_id,object_id,keypoint_id,img_loc_x,img_loc_y

An older name of keypoint_id is point_id, and an object is the same one in all cameras.
"""

import csv
import pathlib

import numpy as np

from epipolar_jax.keypoints import frames, joint_sets, tables
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source

_COLUMNS = ("sync_index", "cam_id", "object_id", "keypoint_id", "img_loc_x", "img_loc_y")
_OTHER_NAMES = {"point_id": "keypoint_id", "port": "cam_id"}
_MOST_OBJECTS, _MOST_JOINTS = 1000, 100_000


def recognise(source: Source) -> bool:
  """A csv with its columns of image locations."""
  return source.kind == "csv" and {"sync_index", "img_loc_x"} <= set(_head(source.value[0]))


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads all cameras; a view is called as its cam_id, a joint as its keypoint_id.

  Args:
    source: the csv.
    joint_set: names for keypoint_ids 0, 1, ...; None: the numbers are the names.

  Raises:
    ValueError: a column or number is missing or wrong, or a point is there twice; names the row.
  """
  path = source.path
  with path.open(newline="", encoding="utf-8-sig") as file:
    try:
      lines = csv.reader(file)
      head = _head(",".join(next(lines, [])))
      missing = [name for name in _COLUMNS if name not in head and name != "object_id"]
      if missing:
        raise ValueError(f"{path}: has no column {', '.join(missing)}")
      places = [head.index(name) if name in head else None for name in _COLUMNS]
      rows = [_row(path, n, row, places) for n, row in enumerate(lines, start=2) if row]
    except (csv.Error, UnicodeDecodeError) as error:
      raise ValueError(f"{path}: not a csv file: {error}") from error
  if not rows:
    raise ValueError(f"{path}: holds no points")
  ids = np.array([row[:4] for row in rows])
  frame, camera, thing, joint = ids.T
  views, objects, numbers = (np.unique(column) for column in (camera, thing, joint))
  if joint_set is not None:
    joints = joint_sets.names(int(numbers[-1]) + 1, joint_set, str(path))
    numbers = np.arange(len(joints))
  else:
    joints = tuple(str(number) for number in numbers)
  if len(objects) > _MOST_OBJECTS or len(joints) > _MOST_JOINTS:
    raise ValueError(f"{path}: {len(objects)} objects of {len(joints)} points are too many")
  first = int(frame.min())
  given = len(np.unique(frame))
  span = frames.check_span(first, int(frame.max()), given, str(path))
  shape = (span, len(objects), len(views), len(joints))
  frames.check_values(int(np.prod(shape, dtype=object)), str(path))
  place = (
    frame - first,
    np.searchsorted(objects, thing),
    np.searchsorted(views, camera),
    np.searchsorted(numbers, joint),
  )
  flat = np.ravel_multi_index(place, shape)
  if len(np.unique(flat)) != len(flat):
    counts = np.unique(flat, return_counts=True)
    row = np.flatnonzero(flat == counts[0][counts[1] > 1][0])[1]
    raise ValueError(f"{path}, row {row + 2}: this point is in it before")
  points = np.full((*shape, 2), np.nan)
  points[place] = np.array([row[4:] for row in rows])
  return Observations(
    points,
    np.isfinite(points).all(-1).astype(float),
    joints,
    tuple(str(view) for view in views),
    first_frame=first,
    people=tuple(str(number) for number in objects),
    matched=True,
  )


def _head(line: str) -> list[str]:
  return [_OTHER_NAMES.get(name.strip(), name.strip()) for name in line.split(",")]


def _row(path, number: int, row: list[str], places: list[int | None]) -> tuple[float, ...]:
  """Four ids and two coordinates; without an object_id, the object is 0."""
  values = []
  for name, place in zip(_COLUMNS, places):
    text = "0" if place is None else row[place] if place < len(row) else ""
    is_id = len(values) < 4
    try:
      value = int(text) if is_id else float(text or "nan")
    except ValueError as error:
      raise ValueError(f"{path}, row {number}, {name}: {text[:40]!r} is not a number") from error
    if is_id and not 0 <= value < 1 << 48:
      raise ValueError(f"{path}, row {number}, {name}: {text[:40]!r} is no number of anything")
    values.append(value)
  return tuple(values)


def write(path: pathlib.Path, observations: Observations) -> None:
  """Writes all views, numbered where their names, or those of people, are not numbers already."""
  cameras, objects, joints = (
    _numbers(names, count)
    for names, count in zip(
      (observations.views, observations.people, observations.joints),
      (len(observations.views), observations.points.shape[1], len(observations.joints)),
    )
  )
  with tables.replacing(path) as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(_COLUMNS)
    for f, p, v, j in np.argwhere(observations.seen):
      x, y = observations.points[f, p, v, j].tolist()
      ids = (observations.first_frame + f, cameras[v], objects[p], joints[j])
      out.writerow([*map(int, ids), repr(x), repr(y)])


def _numbers(names: tuple[str, ...], count: int) -> list[int]:
  """The numbers that the names are, if all are; else 0, 1, ..."""
  plain = len(names) == count and all(str(n.isdecimal() and int(n)) == n for n in names)
  return [int(name) for name in names] if plain else list(range(count))
