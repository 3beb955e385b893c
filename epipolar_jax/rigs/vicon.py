"""Vicon's .xcp: XML, mm, quaternions x y z w of world to camera, and the camera's centre.

The lens is Vicon's own (`lenses.ViconRadial`): its coefficients are per px², and used as OpenCV's
k1 and k2, as some tools do, they correct nothing. Where there are video cameras the others
(markers only) are left out. Of several key frames the first counts.
"""

from xml.etree import ElementTree

import numpy as np

from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.checking import Checker, calibration_matrix
from epipolar_jax.rigs.documents import Document


def recognise(document: Document) -> bool:
  return document.kind == "xml" and document.value.find(".//Camera//KeyFrame") is not None


def _is_video(camera: ElementTree.Element) -> bool:
  return camera.get("SYSTEM") == "DV" or camera.get("TYPE") == "VideoFile"


def read(document: Document, checker: Checker) -> None:
  cameras = list(document.value.iter("Camera"))
  cameras = [camera for camera in cameras if _is_video(camera)] or cameras
  for number, camera in enumerate(cameras):
    _read_camera(camera, checker, checker.name(camera.get("DEVICEID"), f"number {number}"))


def _read_camera(camera: ElementTree.Element, checker: Checker, name: str) -> None:
  frame = camera.find(".//KeyFrame")
  given = {} if frame is None else frame.attrib

  def values(attribute: str, *shape: int) -> np.ndarray:
    return checker.numbers(given.get(attribute), shape, name, attribute)

  focal = values("FOCAL_LENGTH")
  aspect = checker.numbers(camera.get("PIXEL_ASPECT_RATIO", "1"), (), name, "PIXEL_ASPECT_RATIO")
  if aspect <= 0:
    checker.fault(name, "PIXEL_ASPECT_RATIO", f"should be positive; got {aspect}")
    aspect = np.array(1.0)
  rotation = checker.quaternion(values("ORIENTATION", 4), name, "ORIENTATION")
  size = camera.get("SENSOR_SIZE")
  checker.add(
    name,
    calibration_matrix(focal, focal / aspect, *values("PRINCIPAL_POINT", 2)),
    rotation,
    -rotation @ values("POSITION", 3),
    _lens(given, checker, name),
    checker.size(size, name, "SENSOR_SIZE"),
    ("FOCAL_LENGTH", "ORIENTATION", "POSITION"),
  )


def _lens(given: dict[str, str], checker: Checker, name: str) -> lenses.Lens:
  text = given.get("VICON_RADIAL2")
  if text is None:
    older = given.get("VICON_RADIAL")
    if older is not None and np.any(checker.numbers(older, (-1,), name, "VICON_RADIAL") != 0):
      checker.fault(name, "VICON_RADIAL", "only VICON_RADIAL2 is read, which is missing")
    return lenses.Pinhole()
  kind, _, rest = text.strip().partition(" ")
  if kind != "Vicon3Parameter":
    checker.fault(name, "VICON_RADIAL2", f"should be a Vicon3Parameter; got {kind[:40]!r}")
    return lenses.Pinhole()
  numbers = checker.numbers(rest, (5,), name, "VICON_RADIAL2")
  if not np.isfinite(numbers).all():
    return lenses.Pinhole()
  return lenses.ViconRadial(tuple(numbers[:2]), tuple(numbers[2:]))
