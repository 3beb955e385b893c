"""CMU Panoptic's json: w→c, matrices, centimetres, five coefficients."""

from typing import Any

from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document


def _cameras(document: Document) -> Any:
  is_table = document.kind == "json" and isinstance(document.value, dict)
  return document.value.get("cameras") if is_table else None


def recognise(document: Document) -> bool:
  cameras = _cameras(document)
  return isinstance(cameras, list) and any(
    isinstance(camera, dict) and "distCoef" in camera for camera in cameras
  )


def read(document: Document, checker: Checker) -> None:
  for number, table in enumerate(_cameras(document)):
    where = f"number {number}"
    table = checker.table(table, where, "camera")
    name = checker.name(table.get("name"), where)
    checker.add(
      name,
      checker.numbers(table.get("K"), (3, 3), name, "K"),
      checker.numbers(table.get("R"), (3, 3), name, "R"),
      checker.numbers(table.get("t"), (3,), name, "t"),
      checker.lens(table.get("distCoef"), name, "distCoef"),
      checker.size(table.get("resolution"), name, "resolution"),
      ("K", "R", "t"),
    )
