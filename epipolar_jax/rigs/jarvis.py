"""JARVIS: a yaml a camera, made for row vectors [x 1] [R; T] K, so all matrices are transposed.

mm; a camera is called as its file. JARVIS itself uses only k1 and k2 of the coefficients; here all
count, as OpenCV estimated them.
"""

from typing import Any

import numpy as np

from epipolar_jax.rigs import documents
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

_FIELDS = ("intrinsicMatrix", "R", "T")


def _tables(document: Document) -> dict[str, Any]:
  if document.kind != "folder":
    return {document.path.stem: document.value}
  paths = [p for n, p in document.value.items() if n.lower().endswith((".yaml", ".yml"))]
  return {path.stem: documents.load(path).value for path in paths}


def recognise(document: Document) -> bool:
  if document.kind not in ("folder", "yaml"):
    return False
  tables = _tables(document).values()
  return any(isinstance(table, dict) and "intrinsicMatrix" in table for table in tables)


def read(document: Document, checker: Checker) -> None:
  for name, table in _tables(document).items():
    table = checker.table(table, name, "file")
    checker.add(
      name,
      checker.numbers(table.get("intrinsicMatrix"), (3, 3), name, "intrinsicMatrix").T,
      np.swapaxes(checker.numbers(table.get("R"), (3, 3), name, "R"), 0, 1),
      checker.numbers(table.get("T"), (3,), name, "T"),
      checker.lens(table.get("distortionCoefficients"), name, "distortionCoefficients"),
      checker.size([table.get("image_width"), table.get("image_height")], name, "image size"),
      _FIELDS,
    )
