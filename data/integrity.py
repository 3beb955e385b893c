"""Digests of the files of a prepared data set: bit rot is noticed, not learnt from.

A builder writes `digests.json` beside the data. Whoever opens the data compares the small files,
which say how to read the rest; `data.check` compares all. Data without that file are as old as the
first builders, or made by others: nothing is compared.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable

from data import files

FILE = "digests.json"
_LARGEST = 64 << 20
_CHUNK = 1 << 20


class DamagedDataError(ValueError):
  """Files of a prepared data set are not what was written."""


def record(folder: pathlib.Path) -> None:
  """Writes the digests of all files of a data set that was just made."""
  found = {path.name: _digest(path) for path in _files(folder)}
  temporary = folder / f"{FILE}.tmp"
  temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
  temporary.replace(folder / FILE)


def check(folder: pathlib.Path) -> None:
  """Compares the files that say how to read the data.

  Raises:
    DamagedDataError: names those that differ, and what to do.
  """
  if wrong := faults(folder, lambda path: path.suffix == ".json"):
    raise DamagedDataError(
      "\n".join(wrong) + f"\nRemove {folder} and prepare the data again, or restore the files"
    )


def faults(
  folder: pathlib.Path, which: Callable[[pathlib.Path], bool] = lambda path: True
) -> list[str]:
  """A line for each file that differs from what was recorded; [] where nothing was.

  Args:
    folder: of one prepared data set.
    which: of its files are compared.
  """
  try:
    recorded = json.loads(files.read_text(folder / FILE, largest=_LARGEST))
  except FileNotFoundError:
    return []
  except (OSError, ValueError, RecursionError) as error:
    return [f"{folder / FILE} cannot be read: {error}"]
  if not isinstance(recorded, dict):
    return [f"{folder / FILE} holds a {type(recorded).__name__}, not digests"]
  wrong, there = [], {path.name: path for path in _files(folder)}
  for name, digest in recorded.items():
    if name not in there:
      wrong.append(f"{folder / name} is missing")
    elif which(there[name]) and _digest(there[name]) != digest:
      wrong.append(f"{folder / name} is damaged: its digest is not the one recorded")
  return wrong


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(FILE))


def _digest(path: pathlib.Path) -> str:
  digest = hashlib.sha256()
  with path.open("rb") as file:
    while chunk := file.read(_CHUNK):
      digest.update(chunk)
  return digest.hexdigest()
