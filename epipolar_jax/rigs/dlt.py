"""DLT coefficients (easyWand, DLTdv, Argus): a csv with 11 rows and a column for each camera.

u = (L1 x + L2 y + L3 z + L4) / (L9 x + L10 y + L11 z + 1), v likewise with L5 to L8, counted up
from the bottom of the image: v here is the image height minus that. So the height must be given
(`size_wh`). There is no lens, no unit and no name in the file; pixels of Argus' lens profile have
to be undistorted before. MATLAB's programs count u from 1, Argus from 0; u is taken as it is.
"""

import numpy as np
import scipy.linalg

from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

_ROWS = 11


def recognise(document: Document) -> bool:
  rows = document.value if document.kind == "numbers" else []
  return len(rows) == _ROWS and len({len(row) for row in rows}) == 1


def read(document: Document, checker: Checker) -> None:
  if checker.size_wh is None:
    raise ValueError(
      f"{document.path}: DLT coefficients count v up from the bottom of the image, whose height is "
      "not in the file: give size_wh=(width, height)"
    )
  for number, column in enumerate(zip(*document.value)):
    name = f"cam{number + 1}"
    values = checker.numbers(list(column), (_ROWS,), name, "coefficients")
    if not np.isfinite(values).all():
      continue
    flip = np.array([[1.0, 0, 0], [0, -1, checker.size_wh[1]], [0, 0, 1]])
    try:
      intrinsics, rotation, translation = decompose(flip @ np.append(values, 1).reshape(3, 4))
    except (ValueError, np.linalg.LinAlgError):
      checker.fault(name, "coefficients", "are not those of a camera: a singular matrix")
      continue
    checker.add(name, intrinsics, rotation, translation, lenses.Pinhole(), checker.size_wh)


def decompose(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """K, R, t of a projection matrix [3, 4] up to scale; K may have skew.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 6.2.4.
  """
  scale = np.cbrt(np.linalg.det(matrix[:, :3]))
  if not np.isfinite(scale) or abs(scale) < 1e-100:
    raise ValueError("a singular matrix")
  intrinsics, rotation = scipy.linalg.rq(matrix[:, :3] / scale)
  signs = np.sign(np.diag(intrinsics))
  intrinsics, rotation = intrinsics * signs, signs[:, None] * rotation
  translation = np.linalg.solve(intrinsics, matrix[:, 3] / scale)
  return intrinsics / intrinsics[2, 2], rotation, translation
