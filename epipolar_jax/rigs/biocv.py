"""bioCV: a text a camera: width, height, K, [R | t] (w→c, mm), coefficients of the lens."""

import numpy as np

from epipolar_jax.rigs import documents
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

# Numbers in the lines of a file; [R | t] may have a fourth line 0 0 0 1.
_LENGTHS = [1, 1, 3, 3, 3, 4, 4, 4]


def _is_camera(document: Document) -> bool:
  lengths = [len(row) for row in document.value] if document.kind == "numbers" else []
  return lengths[:8] == _LENGTHS and len(lengths) in (9, 10) and lengths[-1] >= 4


def _cameras(document: Document) -> dict[str, Document]:
  if document.kind != "folder":
    return {document.path.name.split(".")[0]: document}
  paths = [path for name, path in document.value.items() if name.endswith(".calib")]
  return {path.name.removesuffix(".calib"): documents.load(path) for path in paths}


def recognise(document: Document) -> bool:
  if document.kind == "folder":
    return any(name.endswith(".calib") for name in document.value)
  return _is_camera(document)


def read(document: Document, checker: Checker) -> None:
  for name, camera in _cameras(document).items():
    if not _is_camera(camera):
      checker.fault(name, "file", "should be lines of 1 1 3 3 3 4 4 4 numbers and the lens's")
      continue
    rows = camera.value
    if len(rows) == 10 and rows[8] != [0, 0, 0, 1]:
      checker.fault(name, "line 4 of [R | t]", f"should be 0 0 0 1; got {rows[8]}")
    pose = checker.numbers(rows[5:8], (3, 4), name, "[R | t]")
    checker.add(
      name,
      checker.numbers(rows[2:5], (3, 3), name, "K"),
      pose[:, :3],
      np.array(pose[:, 3]),
      checker.lens(rows[-1], name, "last line"),
      checker.size([rows[0][0], rows[1][0]], name, "width, height"),
      ("K", "[R | t]", "[R | t]"),
    )
