"""Qualisys' .qca.txt: XML, mm, pixels in 64ths, poses from camera to world with y up, z back."""

from xml.etree import ElementTree

import numpy as np

from epipolar_jax.rigs.checking import Checker, calibration_matrix
from epipolar_jax.rigs.documents import Document

# Qualisys' cameras look along -z.
_HALF_TURN = np.diag([1.0, -1.0, -1.0])
_SUBPIXELS = 64


def recognise(document: Document) -> bool:
  return document.kind == "xml" and document.value.find(".//camera/intrinsic") is not None


def read(document: Document, checker: Checker) -> None:
  for number, camera in enumerate(document.value.iter("camera")):
    _read_camera(camera, checker, checker.name(camera.get("serial"), f"number {number}"))


def _read_camera(camera: ElementTree.Element, checker: Checker, name: str) -> None:
  def values(element: str, *attributes: str) -> np.ndarray:
    found = camera.find(element)
    given = {} if found is None else found.attrib
    return np.array(
      [checker.numbers(given.get(a), (), name, f"{element}@{a}") for a in attributes], np.float64
    )

  left, top, right, bottom = values("fov_video", "left", "top", "right", "bottom")
  focal = values("intrinsic", "focalLengthU", "focalLengthV") / _SUBPIXELS
  centre = values("intrinsic", "centerPointU", "centerPointV") / _SUBPIXELS - [left, top]
  k1, k2, k3 = values("intrinsic", *(f"radialDistortion{i}" for i in (1, 2, 3)))
  p1, p2 = values("intrinsic", "tangentalDistortion1", "tangentalDistortion2")
  # Rows r11 r12 r13 ... are the axes of the camera in the world: R of world → camera.
  to_camera = values("transform", *(f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)))
  to_camera = _HALF_TURN @ to_camera.reshape(3, 3)
  position = values("transform", "x", "y", "z")
  found = camera.find("intrinsic")
  skew = "0" if found is None else found.get("skew", "0")
  if np.any(checker.numbers(skew, (), name, "intrinsic@skew") != 0):
    checker.fault(name, "intrinsic@skew", f"only 0 is read; got {skew[:20]}")
  size = [right - left + 1, bottom - top + 1]
  checker.add(
    name,
    calibration_matrix(*focal, *centre),
    to_camera,
    -to_camera @ position,
    checker.lens([k1, k2, p1, p2, k3], name, "intrinsic")
    if np.isfinite([k1, k2, p1, p2, k3]).all()
    else checker.no_lens,
    checker.size(size, name, "fov_video") if np.isfinite(size).all() else None,
    ("intrinsic", "transform", "transform"),
  )
