"""Anipose's csv of one animal, as `movement` and keypoint-moseq read it.

  nose_x,nose_y,nose_z,nose_error,nose_ncams,nose_score,...,M_00,M_01,...,M_22,center_0,...,fnum

M and center are how Anipose has turned the world; ours is as the calibration has it: 1 and 0.
"""

import csv
import pathlib

import numpy as np

from epipolar_jax.keypoints import tables
from epipolar_jax.motion.motion import Motion

_OF_JOINT = ("x", "y", "z", "error", "ncams", "score")
_WORLD = (*(f"M_{i}{j}" for i in range(3) for j in range(3)), *(f"center_{i}" for i in range(3)))
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
_FRAME = "fnum"


def recognise(head: bytes) -> bool:
  """A csv with the columns of the world and the frame number."""
  line = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
  return {*_WORLD, _FRAME} <= set(line.split(","))


def write(path: pathlib.Path, motion: Motion) -> None:
  """Writes a person's motion, mm."""
  head = [f"{joint}_{name}" for joint in motion.joints for name in _OF_JOINT]
  head += [*_WORLD, _FRAME]
  nothing = np.full(motion.points.shape[:3], np.nan)
  quality = (motion.error_px, motion.num_views, motion.score)
  values = [motion.points, *((nothing if x is None else x)[..., None] for x in quality)]
  values = np.concatenate(values, axis=-1)[:, 0].reshape(len(motion.points), -1)
  with tables.replacing(path) as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(head)
    for i, row in enumerate(values.tolist()):
      cells = ["" if x != x else repr(x) for x in row]
      out.writerow([*cells, *_IDENTITY, motion.first_frame + i])


def read(path: pathlib.Path) -> Motion:
  """Reads a file of Anipose's, or of ours; its unit is taken for mm.

  Raises:
    ValueError: a column is missing or a row wrong; names file, row and column.
  """
  head, values = tables.read_numbers(path, ",")
  joints = [name[: -len("_x")] for name in head if name.endswith("_x")]
  needed = [f"{joint}_{axis}" for joint in joints for axis in "xyz"]
  missing = [name for name in (*needed, _FRAME) if name not in head]
  if missing or not joints:
    raise ValueError(f"{path}: has no column {', '.join(missing[:5]) or 'that ends in _x'}")
  place = {name: i for i, name in enumerate(head)}
  first, rows = tables.rows_of_frames(path, values[:, place[_FRAME]])
  fields = []
  for name in _OF_JOINT:
    columns = [place.get(f"{joint}_{name}") for joint in joints]
    field = None
    if None not in columns:
      field = np.full((rows[-1] + 1 if len(rows) else 0, 1, len(joints)), np.nan)
      field[rows, 0] = values[:, columns]
    fields.append(field)
  points = np.stack(fields[:3], axis=-1)
  error, views, score = fields[3:]
  return Motion(points, tuple(joints), None, first, (), error, views, score)
