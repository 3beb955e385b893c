"""DANNCE and Label3D: MATLAB files for row vectors [x 1] [R; t] K, in mm, pixels counted from 1.

Either one file with `params` (a struct a camera) and `camnames`, or a folder of `*_params.mat` with
the fields of a camera each. MATLAB's first pixel centre is (1, 1), here it is (0, 0).
"""

from typing import Any

import numpy as np

from epipolar_jax.rigs import documents
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

_TO_ZERO_BASED = np.array([[1.0, 0, -1], [0, 1, -1], [0, 0, 1]])


def _is_camera(value: Any) -> bool:
  return isinstance(value, dict) and "K" in value and "RDistort" in value


def _params(document: Document) -> dict[str, Any]:
  """Tables of cameras by name."""
  if document.kind == "folder":
    paths = {n: p for n, p in document.value.items() if n.endswith("params.mat")}
    return {
      n.removesuffix("params.mat").rstrip("_"): documents.load(p).value for n, p in paths.items()
    }
  value = document.value
  if _is_camera(value):
    return {document.path.stem: value}
  tables, names = value.get("params"), value.get("camnames")
  tables = tables if isinstance(tables, list) else [tables]
  names = [str(name) for name in names] if isinstance(names, list) else [str(names)]
  if len(names) != len(tables):
    names = [f"Camera{number + 1}" for number in range(len(tables))]
  return _by_name(names, tables)


def _by_name(names: list[str], tables: list[Any]) -> dict[str, Any]:
  if len(set(names)) < len(names):
    raise ValueError(f"camnames: two cameras of {', '.join(names)[:500]} are called the same")
  return dict(zip(names, tables))


def recognise(document: Document) -> bool:
  if document.kind == "folder":
    return any(_is_camera(table) for table in _params(document).values())
  return document.kind == "mat" and ("params" in document.value or _is_camera(document.value))


def read(document: Document, checker: Checker) -> None:
  for name, table in _params(document).items():
    table = checker.table(table, name, "params")
    rotation = table.get("r", table.get("R"))
    checker.add(
      name,
      _TO_ZERO_BASED @ checker.numbers(table.get("K"), (3, 3), name, "K").T,
      checker.numbers(rotation, (3, 3), name, "r").T,
      checker.numbers(table.get("t"), (3,), name, "t"),
      _lens(table, checker, name),
      None,
      ("K", "r", "t"),
    )


def _lens(table: dict[str, Any], checker: Checker, name: str):
  radial = checker.numbers(table.get("RDistort"), (-1,), name, "RDistort")
  tangential = checker.numbers(table.get("TDistort", [0, 0]), (2,), name, "TDistort")
  if not np.isfinite([*radial, *tangential]).all():
    return checker.no_lens
  if len(radial) not in (2, 3):
    checker.fault(name, "RDistort", f"should be 2 or 3 numbers; got {len(radial)}")
    return checker.no_lens
  return checker.lens([*radial[:2], *tangential, *radial[2:]], name, "RDistort")
