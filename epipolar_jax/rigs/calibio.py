"""calib.io's json: w→c, Rodrigues' vector, metres, fy = f·ar; all of OpenCV's 14 coefficients.

Only the first camera names its model; the others have the same.
"""

from typing import Any

import numpy as np

from epipolar_jax.rigs.checking import Checker, calibration_matrix
from epipolar_jax.rigs.documents import Document

_OPENCV = ["k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tauX", "tauY"]
_FISHEYE = ["k1", "k2", "k3", "k4"]


def _cameras(document: Document) -> Any:
  value = document.value if document.kind == "json" else None
  calibration = value.get("Calibration") if isinstance(value, dict) else None
  return calibration.get("cameras") if isinstance(calibration, dict) else None


def recognise(document: Document) -> bool:
  cameras = _cameras(document)
  return isinstance(cameras, list) and any(isinstance(c, dict) and "model" in c for c in cameras)


def read(document: Document, checker: Checker) -> None:
  model = ""
  for number, camera in enumerate(_cameras(document)):
    where = f"number {number}"
    camera = checker.table(camera, where, "camera")
    name = checker.name(camera.get("serial"), where)
    inner = checker.table(camera.get("model"), name, "model")
    named = inner.get("polymorphic_name")
    model = named if isinstance(named, str) else model
    _read_camera(camera, inner, "fisheye" in model.lower(), checker, name)


def _read_camera(
  camera: dict[str, Any], model: dict[str, Any], fisheye: bool, checker: Checker, name: str
) -> None:
  wrapper = checker.table(model.get("ptr_wrapper"), name, "model.ptr_wrapper")
  data = checker.table(wrapper.get("data"), name, "model.ptr_wrapper.data")
  parameters = checker.table(data.get("parameters"), name, "parameters")
  transform = checker.table(camera.get("transform"), name, "transform")

  def parameter(field: str, default: float | None = None) -> np.ndarray:
    entry = parameters.get(field, {"val": default})
    value = entry.get("val") if isinstance(entry, dict) else entry
    return checker.numbers(value, (), name, f"parameters.{field}")

  def vector(field: str, names: str) -> np.ndarray:
    table = checker.table(transform.get(field), name, f"transform.{field}")
    values = [checker.numbers(table.get(n), (), name, f"{field}.{n}") for n in names.split()]
    return np.array(values)

  f = parameter("f")
  coefficients = [float(parameter(n, 0.0)) for n in (_FISHEYE if fisheye else _OPENCV)]
  lens = checker.no_lens
  if np.isfinite(coefficients).all():
    lens = checker.lens(coefficients, name, "parameters", fisheye=fisheye)
  rotation = vector("rotation", "rx ry rz")
  finite = np.isfinite(rotation).all()
  checker.add(
    name,
    calibration_matrix(f, f * parameter("ar", 1.0), parameter("cx"), parameter("cy")),
    checker.rotation(rotation, name, "rotation") if finite else np.full((3, 3), np.nan),
    vector("translation", "x y z"),
    lens,
    checker.size(_size(data), name, "imageSize"),
    ("parameters", "transform.rotation", "transform.translation"),
  )


def _size(data: dict[str, Any]) -> list[Any]:
  """[width, height] from `CameraModelBase.imageSize`, which may be inside `CameraModelCRT`."""
  for key in ("CameraModelCRT", "CameraModelBase"):
    data = data[key] if isinstance(data.get(key), dict) else data
  size = data.get("imageSize")
  if isinstance(size, dict):
    return [size.get("width"), size.get("height")]
  if isinstance(size, list):
    return size
  return [data.get("imageWidth"), data.get("imageHeight")]
