"""DeepLabCut's 3D csv: its header rows, and x, y, z of every joint; of several animals too."""

import csv
import pathlib

import numpy as np

from epipolar_jax.keypoints import deeplabcut, frames, tables
from epipolar_jax.motion.motion import Motion

_AXES = ("x", "y", "z")


def recognise(head: bytes) -> bool:
  """The header rows, with z among the coords."""
  lines = head.decode("utf-8-sig", "replace").splitlines()[:4]
  coords = next((line.split(",") for line in lines if line.startswith("coords,")), [])
  return lines[:1] != [] and lines[0].startswith("scorer,") and set(_AXES) <= set(coords)


def write(path: pathlib.Path, motion: Motion) -> None:
  """Writes everybody's motion, mm; what is not there is empty."""
  count = motion.points.shape[1]
  people = motion.people or tuple(f"individual{i}" for i in range(count))
  columns = [(p, j, c) for p in people for j in motion.joints for c in _AXES]
  with tables.replacing(path) as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["scorer", *["epipolar_jax"] * len(columns)])
    if motion.people or count > 1:
      out.writerow(["individuals", *(person for person, *_ in columns)])
    out.writerow(["bodyparts", *(joint for _, joint, _ in columns)])
    out.writerow(["coords", *(axis for *_, axis in columns)])
    for i, row in enumerate(motion.points.reshape(len(motion.points), -1).tolist()):
      out.writerow([motion.first_frame + i, *("" if x != x else repr(x) for x in row)])


def read(path: pathlib.Path) -> Motion:
  """Reads such a file; its unit is taken for mm.

  Raises:
    ValueError: a column is missing or a row wrong; names file, row and column.
  """
  columns, table, numbers = deeplabcut.read_table(path)
  places = {column: i for i, column in enumerate(columns)}
  people = list(dict.fromkeys(person for person, *_ in columns))
  joints = list(dict.fromkeys(joint for _, joint, _ in columns))
  wanted = [(p, j, c) for p in people for j in joints for c in _AXES]
  missing = [" ".join(column).strip() for column in wanted if column not in places]
  if missing or len(places) != len(columns):
    raise ValueError(f"{path}: columns are missing ({', '.join(missing[:3])}) or come twice")
  first = numbers[0] if numbers else 0
  span = frames.check_span(first, numbers[-1], len(numbers), str(path)) if numbers else 0
  frames.check_values(span * len(wanted), str(path))
  points = np.full((span, len(people), len(joints), 3), np.nan)
  rows = np.array(numbers, int) - first
  order = [places[column] for column in wanted]
  points[rows] = table[:, order].reshape(len(rows), *points.shape[1:])
  named = tuple(people) if people != [""] else ()
  return Motion(points, tuple(joints), None, first, named)
