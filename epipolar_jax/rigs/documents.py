"""Calibration files as plain data: what kind a file is (by its content) and what it holds.

Nothing in a file is executed, and reading needs memory in proportion to the file, whose size is
checked before.
"""

import json
import pathlib
import re
import tomllib
from typing import Any, NamedTuple
from xml.etree import ElementTree

import yaml

from epipolar_jax import missing_files
from epipolar_jax.pickles import numpy_pickle
from epipolar_jax.rigs import matlab

# The largest files of each kind; the largest rigs known (500 cameras) need 1 MB.
_LIMIT_BYTES = 16 << 20
# PyYAML reads some 100 kB a second.
_YAML_LIMIT_BYTES = 1 << 20
_MAT_LIMIT_BYTES = 256 << 20
_FILES_LIMIT = 5000
# The variables of calibrations in MATLAB files.
_MAT_NAMES = frozenset(("params", "camnames", "K", "R", "r", "t", "RDistort", "TDistort"))


class Document(NamedTuple):
  """A file, or a folder of them.

  Attributes:
    path: where it is.
    kind: "toml", "json", "yaml" (OpenCV's xml too; all scalars are texts), "xml", "pickle", "mat",
      "numbers" (nothing but rows of numbers), or "folder".
    value: dicts, lists, texts and numbers; an xml element; rows of numbers; for a folder, the paths
      of its files by name, sorted.
  """

  path: pathlib.Path
  kind: str
  value: Any


def load(path: pathlib.Path) -> Document:
  """Reads a file whole, or lists a folder.

  Raises:
    FileNotFoundError: there is nothing at the path.
    ValueError: it is too large, or of no kind that calibrations are written in, or damaged.
  """
  if path.is_dir():
    return Document(path, "folder", _files(path))
  if not path.exists():
    raise missing_files.error(path)
  if not path.is_file():
    raise ValueError(f"{path}: neither a file nor a folder")
  size = path.stat().st_size
  if size > _LIMIT_BYTES and not (size <= _MAT_LIMIT_BYTES and path.suffix.lower() == ".mat"):
    raise ValueError(f"{path}: {size} bytes are too many for a calibration")
  data = path.read_bytes()
  try:
    return Document(path, *_parse(data, path))
  except RecursionError as error:
    raise ValueError(f"{path}: values are nested too deeply") from error
  except ValueError as error:
    if str(error).startswith(str(path)):
      raise
    raise ValueError(f"{path}: {error}") from error


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Files of a folder by name; links that lead out of it are left out."""
  root = folder.resolve()
  files = {}
  for number, path in enumerate(sorted(folder.iterdir())):
    if number >= _FILES_LIMIT:
      raise ValueError(f"{folder}: more than {_FILES_LIMIT} files; is it a folder of calibrations?")
    if path.resolve().is_relative_to(root):
      files[path.name] = path
  return files


def _parse(data: bytes, path: pathlib.Path) -> tuple[str, Any]:
  """The kind of a file and what it holds."""
  if data[:7] == b"MATLAB " or data[:8] == b"\x89HDF\r\n\x1a\n":
    return "mat", matlab.loads(data, _MAT_NAMES)
  if data[:1] == b"\x80":
    return "pickle", numpy_pickle.load(path)
  text = _text(data)
  start = text.lstrip()[:1]
  if start == "<":
    return _xml(text)
  rows = _number_rows(text)
  if rows:
    return "numbers", rows
  if text.lstrip().startswith("%YAML"):
    return "yaml", _yaml(text)
  attempts = {"toml": tomllib.loads, "yaml": _yaml}
  if start in ("{", "["):
    attempts = {"json": _json} | attempts
  failures = []
  for kind, function in attempts.items():
    try:
      value = function(text)
    except ValueError as error:
      failures.append(f"not {kind} ({str(error)[:200]})")
      if isinstance(error, _DuplicateKey):
        break
      continue
    if isinstance(value, (dict, list)) and value:
      return kind, value
    failures.append(f"not {kind} (it holds no fields)")
  raise ValueError(f"cannot be read as a calibration: {', '.join(failures)}")


def _text(data: bytes) -> str:
  if b"\0" in data:
    raise ValueError("neither a text (it has zero bytes) nor a pickle nor a MATLAB file")
  try:
    return data.decode("utf-8-sig")
  except UnicodeDecodeError:
    return data.decode("latin1")


class _DuplicateKey(ValueError):
  """A key that comes twice in one table."""


def _no_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
  table = dict(pairs)
  if len(table) != len(pairs):
    keys = [key for key, _ in pairs]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    raise _DuplicateKey(f"two fields of one table are called {', '.join(twice)}")
  return table


def _json(text: str) -> Any:
  return json.loads(text, object_pairs_hook=_no_duplicates)


class _TextLoader(yaml.BaseLoader):
  """Dicts, lists and texts; no tags, which could name Python objects, and no aliases."""

  def compose_node(self, parent, index):
    if self.check_event(yaml.events.AliasEvent):
      raise ValueError("YAML aliases are not read")
    return super().compose_node(parent, index)

  def construct_mapping(self, node, deep=False):
    if not isinstance(node, yaml.MappingNode):
      raise ValueError("a YAML mapping was expected")
    pairs = [
      (self.construct_object(k, True), self.construct_object(v, True)) for k, v in node.value
    ]
    if not all(isinstance(key, str) for key, _ in pairs):
      raise ValueError("a YAML key is not a text")
    return _no_duplicates(pairs)


def _yaml(text: str) -> Any:
  if len(text) > _YAML_LIMIT_BYTES:
    raise ValueError(f"{len(text)} characters are too many for a YAML calibration")
  # OpenCV's first line is not what the YAML standard wants, and it indents with tabs.
  text = re.sub(r"^\s*%YAML[^\n]*\n", "", text).replace("\t", "  ")
  try:
    return yaml.load(text, Loader=_TextLoader)
  except yaml.YAMLError as error:
    raise ValueError(" ".join(str(error).split())) from error


def _xml(text: str) -> tuple[str, Any]:
  if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
    raise ValueError("an XML file with a DTD or entities is not read")
  try:
    root = ElementTree.fromstring(text)
  except ElementTree.ParseError as error:
    raise ValueError(f"damaged XML: {error}") from error
  if root.tag == "opencv_storage":
    return "yaml", _storage(root, 0)
  return "xml", root


def _storage(element: ElementTree.Element, depth: int) -> Any:
  """An element of OpenCV's xml as the yaml would have it."""
  if depth > 20:
    raise ValueError("values are nested too deeply")
  if not len(element):
    return (element.text or "").strip()
  if all(child.tag == "_" for child in element):
    return [_storage(child, depth + 1) for child in element]
  return _no_duplicates([(child.tag, _storage(child, depth + 1)) for child in element])


def _number_rows(text: str) -> list[list[float]]:
  """Rows of a text with nothing but numbers in it, between commas, semicolons or spaces."""
  rows = []
  for line in text.splitlines():
    try:
      row = [float(word) for word in re.split(r"[,;\s]+", line.strip(" \t,;")) if word]
    except ValueError:
      return []
    if row:
      rows.append(row)
  return rows
