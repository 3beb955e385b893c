"""MAMMA's yaml: the pose of each camera in the world (c→w), quaternion w x y z, metres."""

from typing import Any

import numpy as np

from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.checking import Checker, calibration_matrix
from epipolar_jax.rigs.documents import Document


def _cameras(document: Document) -> Any:
  value = document.value
  is_table = document.kind in ("yaml", "json") and isinstance(value, dict)
  return value.get("cameras") if is_table else None


def recognise(document: Document) -> bool:
  cameras = _cameras(document)
  return isinstance(cameras, dict) and any(
    isinstance(camera, dict) and "rotation_quaternion" in camera for camera in cameras.values()
  )


def read(document: Document, checker: Checker) -> None:
  for name, table in _cameras(document).items():
    table = checker.table(table, name, "camera")
    fx, fy, cx, cy = checker.numbers(table.get("intrinsics"), (4,), name, "intrinsics")
    first = checker.numbers(table.get("rotation_quaternion"), (4,), name, "rotation_quaternion")
    order = _setting(document, table, "quaternion_order", ("wxyz", "xyzw"), checker, name)
    xyzw = first if order == "xyzw" else np.roll(first, -1)
    to_world = checker.quaternion(xyzw, name, "rotation_quaternion")
    given = checker.numbers(table.get("translation"), (3,), name, "translation")
    ways = ("cam2world", "world2cam")
    if _setting(document, table, "extrinsics_convention", ways, checker, name) == "cam2world":
      rotation, translation = to_world.T, -to_world.T @ given
    else:
      rotation, translation = to_world, given
    checker.add(
      name,
      calibration_matrix(fx, fy, cx, cy),
      rotation,
      translation,
      _lens(table, checker, name),
      checker.size(table.get("resolution"), name, "resolution"),
      ("intrinsics", "rotation_quaternion", "translation"),
    )


def _setting(
  document: Document,
  table: dict[str, Any],
  field: str,
  allowed: tuple[str, str],
  checker: Checker,
  name: str,
) -> str:
  """One of two words, of the camera or of the file; the first if neither says."""
  value = table.get(field, document.value.get(field, allowed[0]))
  if value not in allowed:
    checker.fault(name, field, f"should be {' or '.join(allowed)}; got {str(value)[:40]}")
  return value if value in allowed else allowed[0]


def _lens(table: dict[str, Any], checker: Checker, name: str) -> lenses.Lens:
  model = table.get("distortion_model", "radtan")
  if model == "vicon_radial_2":
    numbers = checker.numbers(table.get("distortion_coeffs"), (5,), name, "distortion_coeffs")
    if not np.isfinite(numbers).all():
      return checker.no_lens
    return lenses.ViconRadial(tuple(numbers[:2]), tuple(numbers[2:]))
  if model not in ("radtan", "opencv_brown"):
    text = f"should be radtan, opencv_brown or vicon_radial_2; got {str(model)[:40]}"
    checker.fault(name, "distortion_model", text)
    return checker.no_lens
  return checker.lens(table.get("distortion_coeffs"), name, "distortion_coeffs")
