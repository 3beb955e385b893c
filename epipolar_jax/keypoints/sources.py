"""A keypoint file before its format is known: what kind it is, by its content.

Nothing in a file is executed; a file above its kind's limit is refused before it is read.
"""

import json
import pathlib
from typing import Any, NamedTuple

from epipolar_jax import missing_files

_LARGEST = {"json": 1 << 30, "csv": 2 << 30, "npz": 8 << 30, "hdf5": 64 << 30}
_HEAD_CHARACTERS = 1 << 20
_MOST_FILES = 2_000_000


class Source(NamedTuple):
  """A file, or a folder of them.

  Attributes:
    path: where it is.
    kind: "json", "csv", "npz", "hdf5" or "folder".
    value: the json's value; the first lines of a csv; the sorted paths in a folder; None for npz
      and hdf5, which their readers open.
  """

  path: pathlib.Path
  kind: str
  value: Any


def load(path: pathlib.Path) -> Source:
  """Looks at a file or folder; reads a json whole.

  Raises:
    FileNotFoundError: there is nothing at the path.
    ValueError: it is too large, damaged, or neither a text nor of a kind named above.
  """
  if path.is_dir():
    return Source(path, "folder", _inside(path))
  if not path.exists():
    raise missing_files.error(path)
  if not path.is_file():
    raise ValueError(f"{path} is neither a file nor a folder")
  size = path.stat().st_size
  with path.open("rb") as file:
    start = file.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
      kind = "hdf5"
    elif start[:2] == b"PK":
      kind = "npz"
    else:
      text = (start + file.read(64)).lstrip(b"\xef\xbb\xbf \t\r\n")
      kind = "json" if text.startswith((b"{", b"[")) else "csv"
  if not size:
    raise ValueError(f"{path} is empty")
  if size > _LARGEST[kind]:
    raise ValueError(f"{path} has {size:,} bytes; at most {_LARGEST[kind]:,} of {kind} are read")
  if kind == "json":
    return Source(path, kind, read_json(path))
  return Source(path, kind, _head(path) if kind == "csv" else None)


def read_json(path: pathlib.Path) -> Any:
  """The value of a json file.

  Raises:
    ValueError: it is damaged or nested too deeply.
  """
  try:
    return json.loads(path.read_text(encoding="utf-8-sig"))
  except RecursionError as error:
    raise ValueError(f"{path}: values are nested too deeply") from error
  except ValueError as error:
    raise ValueError(f"{path}: not a json file: {error}") from error


def numbers(value: Any, where: str) -> list[float]:
  """A flat list of numbers as floats.

  Raises:
    ValueError: it is something else; `where` begins the message.
  """
  if not isinstance(value, list):
    raise ValueError(f"{where} should be a list of numbers, got a {type(value).__name__}")
  for place, number in enumerate(value):
    if isinstance(number, bool) or not isinstance(number, int | float):
      raise ValueError(f"{where}, number {place} is {str(number)[:40]!r}")
  try:
    return [float(number) for number in value]
  except OverflowError as error:
    raise ValueError(f"{where} has a number beyond all reason") from error


def integer(value: Any, where: str) -> int:
  """A whole number of reasonable size.

  Raises:
    ValueError: it is something else; `where` begins the message.
  """
  whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
  if isinstance(value, bool) or not whole or abs(value) > 1 << 53:
    raise ValueError(f"{where} should be a whole number, got {str(value)[:40]!r}")
  return int(value)


def _head(path: pathlib.Path) -> list[str]:
  with path.open("rb") as file:
    data = file.read(_HEAD_CHARACTERS)
  if b"\0" in data:
    raise ValueError(f"{path} is neither a text nor an npz or HDF5 file")
  return data.decode("utf-8-sig", errors="ignore").splitlines() or [""]


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
  """Files and folders of a folder, sorted; links that lead out of it are left out."""
  root, found = folder.resolve(), []
  for path in folder.iterdir():
    if path.name.startswith("."):
      continue
    if path.is_symlink() and not path.resolve().is_relative_to(root):
      continue
    found.append(path)
    if len(found) > _MOST_FILES:
      raise ValueError(f"{folder} has more than {_MOST_FILES:,} files")
  return sorted(found)
