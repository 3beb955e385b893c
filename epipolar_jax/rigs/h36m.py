"""Human3.6M's metadata.xml: 11 subjects × 4 cameras, angles about x, y, z, centres in mm.

<w0> holds 6 numbers for each camera and subject (three angles, R = Rx Ry Rz, and the centre), then
9 for each camera (focal lengths, principal point, k1 k2 k3, p1 p2). Cameras are called
"S1.54138969": `Rig.select` takes those of a subject.
"""

import re

import numpy as np
from scipy.spatial.transform import Rotation

from epipolar_jax.rigs.checking import Checker, calibration_matrix
from epipolar_jax.rigs.documents import Document

_SUBJECTS = 11
# With the (width, height) of their videos.
_CAMERAS = {
  "54138969": (1000, 1002),
  "55011271": (1000, 1000),
  "58860488": (1000, 1000),
  "60457274": (1000, 1002),
}
_COUNT = len(_CAMERAS) * (6 * _SUBJECTS + 9)


def recognise(document: Document) -> bool:
  return document.kind == "xml" and document.value.find(".//w0") is not None


def read(document: Document, checker: Checker) -> None:
  text = (document.value.find(".//w0").text or "").strip().strip("[]")
  w0 = checker.numbers(re.sub(r"[,;]", " ", text), (_COUNT,), None, "w0")
  if not np.isfinite(w0).all():
    return
  poses = w0[: -9 * len(_CAMERAS)].reshape(len(_CAMERAS), _SUBJECTS, 6)
  lenses = w0[-9 * len(_CAMERAS) :].reshape(len(_CAMERAS), 9)
  for subject in range(_SUBJECTS):
    for number, (camera, size_wh) in enumerate(_CAMERAS.items()):
      name = f"S{subject + 1}.{camera}"
      angles, centre = np.split(poses[number, subject], 2)
      fx, fy, cx, cy, k1, k2, k3, p1, p2 = lenses[number]
      rotation = Rotation.from_euler("XYZ", angles).as_matrix()
      checker.add(
        name,
        calibration_matrix(fx, fy, cx, cy),
        rotation,
        -rotation @ centre,
        checker.lens([k1, k2, p1, p2, k3], name, "w0"),
        size_wh,
        ("w0", "w0", "w0"),
      )
