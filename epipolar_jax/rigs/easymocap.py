"""EasyMocap's pair intri.yml and extri.yml: w→c, metres; R_ is Rodrigues' vector, Rot_ the matrix.

The pair is read from its folder or from either file. Only newer files know the image size (H_, W_).
"""

import numpy as np

from epipolar_jax.rigs import documents
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

_PAIR = ("intri.yml", "extri.yml")


def recognise(document: Document) -> bool:
  if document.kind == "folder":
    return all(name in document.value for name in _PAIR)
  value = document.value
  is_table = document.kind == "yaml" and isinstance(value, dict)
  return is_table and "names" in value and any(k[:2] == "K_" or k[:4] == "Rot_" for k in value)


def read(document: Document, checker: Checker) -> None:
  folder = document.path if document.kind == "folder" else document.path.parent
  tables = []
  for name in _PAIR:
    path = folder / name
    if not path.is_file():
      raise ValueError(f"{document.path}: EasyMocap's calibration is a pair, and {path} is missing")
    tables.append(checker.table(documents.load(path).value, None, name))
  intri, extri = tables
  names = intri.get("names", extri.get("names"))
  if not isinstance(names, list):
    checker.fault(None, "names", "should be a list of the cameras")
    return
  for name in names:
    _read_camera(intri, extri, checker, checker.name(name, "names"))


def _read_camera(intri: dict, extri: dict, checker: Checker, name: str) -> None:
  size = [intri.get(f"{axis}_{name}", extri.get(f"{axis}_{name}")) for axis in "WH"]
  checker.add(
    name,
    checker.numbers(intri.get(f"K_{name}"), (3, 3), name, f"K_{name}"),
    _rotation(extri, checker, name),
    checker.numbers(extri.get(f"T_{name}"), (3,), name, f"T_{name}"),
    checker.lens(intri.get(f"dist_{name}", intri.get(f"D_{name}")), name, f"dist_{name}"),
    checker.size(size, name, f"W_{name}, H_{name}"),
    (f"K_{name}", f"Rot_{name}", f"T_{name}"),
  )


def _rotation(extri: dict, checker: Checker, name: str) -> np.ndarray:
  """The matrix if there is one, else the vector; they must agree."""
  vector, matrix = extri.get(f"R_{name}"), extri.get(f"Rot_{name}")
  if matrix is None:
    return checker.rotation(vector, name, f"R_{name}")
  found = checker.numbers(matrix, (3, 3), name, f"Rot_{name}")
  if vector is not None:
    other = checker.rotation(vector, name, f"R_{name}")
    if np.abs(found - other).max() > 1e-3:
      checker.fault(name, f"Rot_{name}", f"is not the rotation of R_{name}")
  return found
