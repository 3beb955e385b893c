"""DeepLabCut's and Lightning Pose's csv: a file a camera, x, y and likelihood of every joint.

  scorer,net,net,net,...                    scorer,net,net,...
  bodyparts,nose,nose,nose,...              individuals,mouse1,mouse1,...
  coords,x,y,likelihood,...                 bodyparts,nose,nose,...
  0,194.69,161.29,0.99,...                  coords,x,y,...

Labels (without likelihood) are read too: what is not empty has score 1, unless a column `visible`
(0, 1, 2) says that it was not labelled.
"""

import csv
import itertools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from epipolar_jax.keypoints import frames, tables
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source

_ROWS = ("scorer", "individuals", "bodyparts", "coords")
_COORDS = ("x", "y", "likelihood", "visible")
# What DeepLabCut calls animals without a name of their own (parts of the scene).
_UNNAMED = ""


def recognise(source: Source) -> bool:
  """A csv with the header rows, and no z, which 3D has."""
  if source.kind != "csv":
    return False
  lines = [line.split(",") for line in source.value[: len(_ROWS)]]
  coords = next((line for line in lines if line[0] == "coords"), [])
  return lines[0][0].strip('"') == "scorer" and "z" not in coords


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads one camera's file; the view is called as the file.

  Frames are numbered by the first column; labels by the number in their image's name, unless these
  do not increase (images of several videos), when rows are frames.

  Raises:
    ValueError: it is no such csv, or a row or number is wrong; names file, row and column.
  """
  return arrange(source.path, *read_table(source.path))


def read_table(path: pathlib.Path) -> tuple[list[tuple[str, str, str]], np.ndarray, list[int]]:
  """(individual, body part, coordinate) of c columns, the table [f, c], and f frame numbers.

  Raises:
    ValueError: the header, a row or a number is wrong; names file, row and column.
  """
  lines = tables.rows(path, ",")
  header, rows = _header(path, lines)
  columns, index = _columns(path, header)
  names, table = _numbers(path, rows, len(header), len(columns), index)
  return columns, table, frame_numbers(names)


def write(path: pathlib.Path, observations: Observations) -> None:
  """Writes one view; what was not seen has empty cells and likelihood 0."""
  people, joints = observations.people, observations.joints
  count = observations.points.shape[1]
  several = bool(people) or count > 1
  people = people or tuple(f"individual{i}" for i in range(count))
  columns = [(p, j, c) for p in people for j in joints for c in _COORDS[:3]]
  values = np.concatenate([observations.points, observations.score[..., None]], axis=-1)[:, :, 0]
  with tables.replacing(path) as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["scorer", *["epipolar_jax"] * len(columns)])
    if several:
      out.writerow(["individuals", *(person for person, *_ in columns)])
    out.writerow(["bodyparts", *(joint for _, joint, _ in columns)])
    out.writerow(["coords", *(coordinate for *_, coordinate in columns)])
    for i, row in enumerate(values.reshape(len(values), -1).tolist()):
      out.writerow([observations.first_frame + i, *("" if x != x else repr(x) for x in row)])


def arrange(
  path: pathlib.Path,
  columns: Sequence[tuple[str, str, str]],
  table: np.ndarray,
  numbers: Sequence[int],
) -> Observations:
  """Observations of named columns.

  Args:
    path: of the file, for messages and the view's name.
    columns: c of (individual, body part, coordinate).
    table: [f, c], NaN for empty cells.
    numbers: f frame numbers, increasing.

  Raises:
    ValueError: a column comes twice or without its partner, or frames lie too far apart.
  """
  if not any(coordinate == "x" for *_, coordinate in columns):
    raise ValueError(f"{path}: no column is called x; coords has {sorted({c[2] for c in columns})}")
  places = {column: place for place, column in enumerate(columns)}
  if len(places) != len(columns):
    twice = [" ".join(c).strip() for c in columns if columns.count(c) > 1]
    raise ValueError(f"{path}: {len(set(twice))} columns appear twice, the first is {twice[0]!r}")
  people = list(dict.fromkeys(person for person, *_ in columns))
  joints = list(dict.fromkeys(joint for _, joint, _ in columns))
  first = numbers[0] if len(numbers) else 0
  span = frames.check_span(first, numbers[-1], len(numbers), str(path)) if len(numbers) else 0
  frames.check_values(span * len(people) * len(joints), str(path))
  rows = np.array(numbers, int) - first
  points = np.full((span, len(people), 1, len(joints), 2), np.nan)
  score = np.zeros(points.shape[:-1])
  for p, person in enumerate(people):
    for j, joint in enumerate(joints):
      found = [places.get((person, joint, name)) for name in _COORDS]
      if found[:2].count(None) == 1:
        alone = "x" if found[1] is None else "y"
        raise ValueError(f"{path}: {joint} has the column {alone} alone; it needs x and y")
      if found[0] is None:
        continue
      points[rows, p, 0, j] = table[:, found[:2]]
      likelihood = np.ones(len(rows)) if found[2] is None else table[:, found[2]]
      hidden = np.zeros(len(rows), bool) if found[3] is None else table[:, found[3]] == 0
      score[rows, p, 0, j] = np.where(hidden, 0.0, likelihood)
  named = people if people != [_UNNAMED] else []
  return Observations(
    points, score, tuple(joints), (path.stem,), first_frame=first, people=tuple(named)
  )


def _header(path, rows: Iterator[list[str]]) -> tuple[dict[str, list[str]], Iterator[list[str]]]:
  """Header rows by name, and all rows after them."""
  header, starts, after = {}, [], []
  for row in rows:
    starts.append(row[0] if row else "")
    if not row or row[0] not in _ROWS:
      after = [row]
      break
    header[row[0]] = row[1:]
    if row[0] == "coords":
      break
  wanted = [name for name in _ROWS if name != "individuals" or name in header]
  if list(header) != wanted:
    shown = ", ".join(repr(start[:40]) if start else "nothing" for start in starts)
    raise ValueError(
      f"{path}: the first rows should begin with scorer, (individuals,) bodyparts and coords, as "
      f"DeepLabCut and Lightning Pose write them; they begin with {shown or 'nothing'}"
    )
  return header, (row for part in (after, rows) for row in part)


def _columns(path, header: dict[str, list[str]]) -> tuple[list[tuple[str, str, str]], int]:
  """(individual, body part, coordinate) of every column; how many before them index the rows."""
  lengths = {name: len(row) for name, row in header.items()}
  if len(set(lengths.values())) != 1 or not lengths["coords"]:
    raise ValueError(f"{path}: header rows of different lengths: {lengths}")
  # DeepLabCut's labels are indexed by three columns, of which the header names one.
  index = next((i for i, text in enumerate(header["coords"]) if text), 0)
  individuals = header.get("individuals", [_UNNAMED] * lengths["coords"])
  columns = list(zip(individuals, header["bodyparts"], header["coords"]))[index:]
  return columns, index + 1


def _numbers(path, rows, first: int, count: int, index: int) -> tuple[list[list[str]], np.ndarray]:
  """The index of each row, and its numbers [f, c]."""
  names, table = [], []
  for i, row in enumerate(rows):
    if not any(row):
      continue
    if len(row) < count + 1:
      raise ValueError(
        f"{path}, row {first + i + 1}: {len(row)} columns, the header has {count + 1}"
      )
    values = np.full(count, np.nan)
    for j, text in enumerate(row[len(row) - count :]):
      try:
        values[j] = float(text) if text.strip() else np.nan
      except ValueError as error:
        column = len(row) - count + j + 1
        raise ValueError(
          f"{path}, row {first + i + 1}, column {column}: {text[:40]!r} is not a number"
        ) from error
    names.append(row[: len(row) - count][:index])
    table.append(values)
  return names, np.array(table).reshape(len(table), count)


def frame_numbers(names: list[list[str]]) -> list[int]:
  """Of each row, by its last index column: a number, or an image's name that holds one."""
  numbers = [frames.number_in(name[-1]) if name else None for name in names]
  if None in numbers or any(b <= a for a, b in itertools.pairwise(numbers)):
    return list(range(len(names)))
  return numbers
