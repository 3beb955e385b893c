"""OpenCap's pickles, one a camera: w→c matrix, mm, the image size as (height, width).

They are read with the project's own pickle reader, which runs nothing. The world is that of the
board, stood upright.
"""

import numpy as np

from epipolar_jax.rigs import documents
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

# In a folder for each camera OpenCap calls all of them that.
_COMMON_NAME = "cameraIntrinsicsExtrinsics"


def _paths(document: Document) -> list:
  if document.kind != "folder":
    return [document.path]
  files = document.value
  inner = [path / f"{_COMMON_NAME}.pickle" for path in files.values() if path.is_dir()]
  root = document.path.resolve()
  inner = [path for path in inner if path.is_file() and path.resolve().is_relative_to(root)]
  return [path for name, path in files.items() if name.endswith(".pickle")] + inner


def _is_camera(document: Document) -> bool:
  value = document.value
  return document.kind == "pickle" and isinstance(value, dict) and "intrinsicMat" in value


def recognise(document: Document) -> bool:
  if document.kind != "folder":
    return _is_camera(document)
  return any(_is_camera(documents.load(path)) for path in _paths(document)[:1])


def read(document: Document, checker: Checker) -> None:
  for path in _paths(document):
    name = path.parent.name if path.stem == _COMMON_NAME else path.stem
    table = checker.table(documents.load(path).value, name, path.name)
    size = table.get("imageSize")
    if size is not None:
      size = checker.numbers(size, (2,), name, "imageSize")[::-1].tolist()
      size = checker.size(size, name, "imageSize") if np.isfinite(size).all() else None
    checker.add(
      name,
      checker.numbers(table.get("intrinsicMat"), (3, 3), name, "intrinsicMat"),
      checker.rotation(table.get("rotation"), name, "rotation"),
      checker.numbers(table.get("translation"), (3,), name, "translation"),
      checker.lens(table.get("distortion"), name, "distortion"),
      size,
      ("intrinsicMat", "rotation", "translation"),
    )
