"""Text tables of numbers: read with bounded memory, written whole or not at all."""

import contextlib
import csv
import os
import pathlib
from collections.abc import Iterator

import numpy as np

_LARGEST = 2 << 30  # bytes
_MOST_COLUMNS = 100_000


@contextlib.contextmanager
def replacing(path: pathlib.Path, *, binary: bool = False) -> Iterator:
  """A file to write that appears at the path when it is complete, in folders made for it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    text = {} if binary else {"encoding": "utf-8", "newline": ""}
    with temporary.open("wb" if binary else "w", **text) as file:
      yield file
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def rows(path: pathlib.Path, delimiter: str) -> Iterator[list[str]]:
  """The rows of a text table.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is no regular file, too large, or no text.
  """
  if path.exists() and not path.is_file():
    raise ValueError(f"{path} is not a regular file")
  if path.stat().st_size > _LARGEST:
    raise ValueError(f"{path} has {path.stat().st_size:,} bytes; at most {_LARGEST:,} are read")
  with path.open(newline="", encoding="utf-8-sig") as file:
    try:
      yield from csv.reader(file, delimiter=delimiter)
    except (csv.Error, UnicodeDecodeError) as error:
      raise ValueError(f"{path}: not a table of text: {error}") from error


def numbers(path: pathlib.Path, row: list[str], line: int) -> np.ndarray:
  """The cells of a row, NaN for empty ones.

  Raises:
    ValueError: one is no number; names file, row and column.
  """
  values = np.full(len(row), np.nan)
  for i, text in enumerate(row):
    try:
      values[i] = float(text) if text.strip() else np.nan
    except ValueError as error:
      raise ValueError(
        f"{path}, row {line}, column {i + 1}: {text[:40]!r} is not a number"
      ) from error
  return values


def read_numbers(path: pathlib.Path, delimiter: str) -> tuple[list[str], np.ndarray]:
  """A table with one row of names: these, and its numbers [f, c].

  Raises:
    ValueError: two columns have one name, or a row is wrong; names file, row and column.
  """
  lines = rows(path, delimiter)
  head = next(lines, [])
  if len(set(head)) != len(head):
    twice = sorted({name for name in head if head.count(name) > 1})
    raise ValueError(f"{path}: two columns are called {', '.join(twice[:5])}")
  if len(head) > _MOST_COLUMNS:
    raise ValueError(f"{path}: {len(head):,} columns; at most {_MOST_COLUMNS:,} are read")
  table = []
  for number, row in enumerate(lines, start=2):
    if not row:
      continue
    if len(row) != len(head):
      raise ValueError(f"{path}, row {number}: {len(row)} columns, the header has {len(head)}")
    table.append(numbers(path, row, number))
  return head, np.array(table).reshape(len(table), len(head))


def rows_of_frames(path: pathlib.Path, frames: np.ndarray) -> tuple[int, np.ndarray]:
  """The first frame's number, and the row [f] of each frame counted from it.

  Raises:
    ValueError: the numbers are not whole, do not increase, or jump further than a video does.
  """
  if not len(frames):
    return 0, np.zeros(0, int)
  whole = np.isfinite(frames) & (frames == np.floor(frames)) & (np.abs(frames) < 1e15)
  if not whole.all() or (np.diff(frames) <= 0).any() or frames[0] < 0:
    raise ValueError(f"{path}: frame numbers should be whole, from 0 on, and increase")
  places = (frames - frames[0]).astype(int)
  if places[-1] > max(100_000, 1000 * len(frames)):
    raise ValueError(
      f"{path}: {len(frames)} frames are numbered from {frames[0]:.0f} to {frames[-1]:.0f}: that "
      "is no video's count"
    )
  return int(frames[0]), places
