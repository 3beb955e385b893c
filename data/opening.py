"""Opens prepared data sets that others may have made, without running anything that lies there.

TFDS restores the types of the fields from `features.json`, and imports the module of every class
that it names: a data set could bring its own code. Here the files are read as plain JSON first, and
only the classes that the builders of this project use are let through, in the form in which TFDS
writes them.
"""

import json
import os
import pathlib
import re
from typing import Any

import tensorflow_datasets as tfds

from data import files, integrity

_LARGEST_JSON = 16 << 20
_DEEPEST = 8
_PREFIX = "tensorflow_datasets.core.features."
# Classes, and the key that holds what belongs to them.
_CLASSES = {
  "features_dict.FeaturesDict": "featuresDict",
  "sequence_feature.Sequence": "sequence",
  "tensor_feature.Tensor": "tensor",
  "scalar.Scalar": "tensor",
  "image_feature.Image": "image",
  "text_feature.Text": "text",
}
# About a field, for people.
_NOTES = ("description", "valueRange")
# Names that TFDS gives to folders that it has not finished.
UNFINISHED = re.compile(r"^incomplete\.|\.incomplete[A-Z0-9]+$")
_INFO, _FEATURES = "dataset_info.json", "features.json"


class UnsafeData(ValueError):
  """A prepared data set that names classes which TFDS would import, or is none of ours."""


def open_folder(folder: str | os.PathLike) -> tfds.core.DatasetBuilder:
  """Opens a prepared data set in place of `tfds.builder_from_directory`.

  Raises:
    FileNotFoundError: a file of the data set is not there.
    UnsafeData: as `check_folder`.
    integrity.DamagedDataError: what says how to read the data is not what was written, or TFDS
      cannot read it.
  """
  check_folder(folder)
  integrity.check(pathlib.Path(folder))
  try:
    return tfds.builder_from_directory(os.fspath(folder))
  except Exception as error:
    # TFDS and protobuf have no common exception for files that are not what they wrote.
    raise integrity.DamagedDataError(
      f"{folder} cannot be opened ({type(error).__name__}: {str(error)[:200]}): {_INFO} or "
      f"{_FEATURES} is damaged, or not of a builder of this project; prepare the data again"
    ) from error


def newest(folder: str | os.PathLike) -> pathlib.Path | None:
  """Where the newest version of a data set lies: in a folder, or below it; None if nowhere."""
  found = [path.parent for path in pathlib.Path(folder).glob(_INFO)]
  found += [path.parent for path in pathlib.Path(folder).glob(f"*/{_INFO}")]
  versions = {path: [int(x) for x in re.findall(r"\d+", path.name)] for path in found}
  whole = [path for path in found if not UNFINISHED.search(path.name)]
  return max(whole, key=versions.__getitem__, default=None)


def check_folder(folder: str | os.PathLike) -> None:
  """Makes sure that TFDS will import nothing but itself to open a folder.

  Raises:
    FileNotFoundError: dataset_info.json or features.json is not there.
    UnsafeData: one of them cannot be read, or names something that is not allowed; the message
      names file, field and class.
  """
  folder = pathlib.Path(folder)
  for path in sorted(folder.iterdir()):
    if not path.is_dir():
      try:
        files.check_regular(path)
      except OSError as error:
        raise UnsafeData(str(error)) from error
  info = _read(folder / _INFO)
  # TFDS takes types from here too, where there are any.
  if "features" in info:
    _check(info["features"], f"{folder / _INFO}, features", 0)
  _check(_read(folder / _FEATURES), str(folder / _FEATURES), 0)


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    value = json.loads(files.read_text(path, largest=_LARGEST_JSON))
  except FileNotFoundError:
    raise
  except (OSError, ValueError, RecursionError) as error:
    raise UnsafeData(f"{path} cannot be read as JSON: {error}") from error
  if type(value) is not dict:
    raise UnsafeData(f"{path} holds a {type(value).__name__}; TFDS writes a JSON object")
  return value


def _check(node: Any, where: str, depth: int) -> None:
  """Raises UnsafeData unless a feature is one of ours, and those below it too."""
  name = node.get("pythonClassName") if type(node) is dict else None
  short = name.removeprefix(_PREFIX) if type(name) is str and name.startswith(_PREFIX) else None
  if short not in _CLASSES:
    what = f"the class {name!r:.200}" if name is not None else "no pythonClassName"
    allowed = ", ".join(c.rpartition(".")[2] for c in _CLASSES)
    raise UnsafeData(
      f"{where} names {what}. TFDS would import its module, that is run code that may lie beside "
      f"the data; only TFDS's own {allowed} are opened here. Prepare the data set again with a "
      "builder of this project (data/README.md)"
    )
  key = _CLASSES[short]
  if unknown := sorted(set(node) - {"pythonClassName", key, *_NOTES}):
    raise UnsafeData(
      f"{where} has the entry {unknown[0]!r:.200}, which a {short.rpartition('.')[2]} does not "
      f"have; allowed: pythonClassName, {key}, {', '.join(_NOTES)}"
    )
  if depth > _DEEPEST:
    raise UnsafeData(f"{where} lies more than {_DEEPEST} levels deep")
  content = node.get(key, {})
  if type(content) is not dict:
    raise UnsafeData(f"{where}: {key} is a {type(content).__name__}; it must be a JSON object")
  if key == "featuresDict":
    below = content.get("features", {})
    if set(content) - {"features"} or type(below) is not dict:
      raise UnsafeData(f"{where}: featuresDict must hold features, a JSON object, and nothing else")
    for field, feature in below.items():
      _check(feature, f"{where}, field {field!r:.100}", depth + 1)
  elif key == "sequence":
    if set(content) - {"feature", "length"}:
      raise UnsafeData(f"{where}: sequence must hold feature and length, and nothing else")
    _check(content.get("feature"), f"{where}, its items", depth + 1)
