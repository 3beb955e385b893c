"""DeepLabCut's and Lightning Pose's csv: a file a camera, x, y and likelihood of every joint.

  scorer,net,net,net,...                    scorer,net,net,...
  bodyparts,nose,nose,nose,...              individuals,mouse1,mouse1,...
  coords,x,y,likelihood,...                 bodyparts,nose,nose,...
  0,194.69,161.29,0.99,...                  coords,x,y,...

Labels (without likelihood) are read too: what is not empty has score 1.
"""

import csv
import os
import pathlib

import numpy as np

_LARGEST = 2 << 30  # bytes
_ROWS = ("scorer", "individuals", "bodyparts", "coords")
_COORDS = ("x", "y", "likelihood")


def read(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
  """Reads one camera's file.

  Args:
    path: of the csv.

  Returns:
    points: [f, p, j, 2] px; NaN where there is none.
    score: [f, p, j], likelihood, 0 where there is no point.
    joints: j names, in the order of the file.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is no such csv, or a row or number is wrong; names file, row and column.
  """
  path = pathlib.Path(path)
  if path.exists() and not path.is_file():
    raise ValueError(f"{path} is not a regular file")
  if path.stat().st_size > _LARGEST:
    raise ValueError(f"{path} has {path.stat().st_size:,} bytes; at most {_LARGEST:,} are read")
  with path.open(newline="", encoding="utf-8-sig") as file:
    try:
      rows = list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as error:
      raise ValueError(f"{path}: not a csv file: {error}") from error
  header, data = _split(path, rows)
  columns = _columns(path, header)
  if len(set(columns)) != len(columns):
    twice = sorted({" ".join(c).strip() for c in columns if columns.count(c) > 1})
    raise ValueError(f"{path}: {len(twice)} columns appear twice, the first is {twice[0]!r}")
  people = list(dict.fromkeys(person for person, _, _ in columns))
  joints = list(dict.fromkeys(joint for _, joint, _ in columns))
  table = _numbers(path, data, len(header), len(columns))
  values = np.full((len(data), len(people), len(joints), 3), np.nan)
  values[..., 2] = 1.0
  for column, (person, joint, coordinate) in zip(table.T, columns):
    if coordinate in _COORDS:
      values[:, people.index(person), joints.index(joint), _COORDS.index(coordinate)] = column
  given = {(person, joint, c) for person, joint, c in columns}
  for person in people:
    for joint in joints:
      here = [c for c in ("x", "y") if (person, joint, c) in given]
      if len(here) == 1:
        raise ValueError(f"{path}: {joint} has the column {here[0]} alone; it needs x and y")
  points, score = values[..., :2], values[..., 2]
  seen = np.isfinite(points).all(-1) & np.isfinite(score)
  return np.where(seen[..., None], points, np.nan), np.where(seen, score, 0.0), tuple(joints)


def _split(path, rows) -> tuple[dict[str, list[str]], list[list[str]]]:
  """Header rows by name, and the rows of the frames with their first column."""
  header = {}
  for row in rows[: len(_ROWS)]:
    if row and row[0] in _ROWS:
      header[row[0]] = row[1:]
  wanted = [name for name in _ROWS if name != "individuals" or name in header]
  if list(header) != wanted:
    raise ValueError(
      f"{path}: the first rows should begin with scorer, (individuals,) bodyparts and coords, as "
      f"DeepLabCut and Lightning Pose write them; they begin with "
      f"{', '.join(repr(row[0]) if row else 'nothing' for row in rows[:4]) or 'nothing'}"
    )
  lengths = {name: len(row) for name, row in header.items()}
  if len(set(lengths.values())) != 1 or not lengths["coords"]:
    raise ValueError(f"{path}: header rows of different lengths: {lengths}")
  # DeepLabCut's labels are indexed by three columns, of which the header names one.
  index = next((i for i, text in enumerate(header["coords"]) if text), 0)
  header = {name: row[index:] for name, row in header.items()}
  return header, [row for row in rows[len(header) :] if any(row)]


def _columns(path, header) -> list[tuple[str, str, str]]:
  """(individual, body part, coordinate) of every column."""
  individuals = header.get("individuals", [""] * len(header["coords"]))
  columns = list(zip(individuals, header["bodyparts"], header["coords"]))
  if not any(c == "x" for _, _, c in columns):
    raise ValueError(f"{path}: no column is called x; coords has {sorted(set(header['coords']))}")
  return columns


def _numbers(path, data, first, count) -> np.ndarray:
  """[f, c]; the first columns hold the frame's number or its image (DeepLabCut's labels: three)."""
  table = np.full((len(data), count), np.nan)
  for i, row in enumerate(data):
    if len(row) < count + 1:
      raise ValueError(
        f"{path}, row {first + i + 1}: {len(row)} columns, the header has {count + 1}"
      )
    for j, text in enumerate(row[len(row) - count :]):
      try:
        table[i, j] = float(text) if text.strip() else np.nan
      except ValueError as error:
        column = len(row) - count + j + 1
        raise ValueError(
          f"{path}, row {first + i + 1}, column {column}: {text[:40]!r} is not a number"
        ) from error
  return table
