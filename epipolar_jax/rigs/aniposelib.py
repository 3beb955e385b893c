"""aniposelib's toml: Anipose, FreeMoCap, Lightning Pose. AIST++ has the same tables in a json.

One table a camera, w→c with Rodrigues' vector. The unit is that of the calibration board and is not
in the file. Cameras are told apart by `name`: aniposelib itself sorts its keys as text, which puts
cam_10 before cam_2.
"""

from typing import Any

from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

FIELDS = ("matrix", "distortions", "rotation", "translation")
# Tables beside the cameras'.
OTHERS = ("metadata", "capture_volume", "charuco", "checkerboard")


def tables(document: Document) -> dict[str, dict[str, Any]]:
  """The tables of cameras by key, in the order of the file."""
  value = document.value if document.kind == "toml" else None
  if not isinstance(value, dict):
    return {}
  if isinstance(value.get("cameras"), dict):
    value = value["cameras"]
  return {
    key: table
    for key, table in value.items()
    if isinstance(table, dict) and key not in OTHERS and any(field in table for field in FIELDS)
  }


def recognise(document: Document) -> bool:
  return bool(tables(document))


def read(document: Document, checker: Checker) -> None:
  for key, table in tables(document).items():
    read_table(table, checker, checker.name(table.get("name", key), key))


def recognise_aist(document: Document) -> bool:
  value = document.value if document.kind == "json" else None
  return isinstance(value, list) and any(
    isinstance(table, dict) and "matrix" in table and "rotation" in table for table in value
  )


def read_aist(document: Document, checker: Checker) -> None:
  for number, table in enumerate(document.value):
    table = checker.table(table, None, f"[{number}]")
    if table:
      read_table(table, checker, checker.name(table.get("name"), f"[{number}]"))


def read_table(table: dict[str, Any], checker: Checker, name: str) -> None:
  """Adds the camera of a table with aniposelib's fields."""
  checker.add(
    name,
    checker.numbers(table.get("matrix"), (3, 3), name, "matrix"),
    checker.rotation(table.get("rotation"), name, "rotation"),
    checker.numbers(table.get("translation"), (3,), name, "translation"),
    checker.lens(table.get("distortions"), name, "distortions", fisheye=table.get("fisheye")),
    checker.size(table.get("size"), name, "size"),
  )
