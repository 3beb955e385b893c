"""Caliscope's toml: aniposelib's fields in metres, by number; rotations may be matrices.

`rotation_count` turns the detector's input only, the calibration is that of the images as they are.
Cameras that the user told Caliscope to ignore are left out. A field that is missing or "null" was
not calibrated, which is a fault of a camera that is not ignored.
"""

from epipolar_jax.rigs import aniposelib
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

_MARKS = ("cam_id", "port", "rotation_count", "grid_count", "verified_resolutions")


def _tables(document: Document) -> dict:
  value = document.value if document.kind == "toml" else None
  if not isinstance(value, dict):
    return {}
  if isinstance(value.get("cameras"), dict):
    value = value["cameras"]
  return {
    key: table
    for key, table in value.items()
    if isinstance(table, dict) and any(mark in table for mark in _MARKS)
  }


def recognise(document: Document) -> bool:
  return bool(_tables(document))


def read(document: Document, checker: Checker) -> None:
  for key, table in _tables(document).items():
    if table.get("ignore") is True:
      continue
    name = checker.name(table.get("cam_id", table.get("port", key)), key)
    calibrated = {field: value for field, value in table.items() if value != "null"}
    aniposelib.read_table(calibrated, checker, name)
