"""Collects the cameras of a calibration file, and everything that is wrong with them."""

import math
import pathlib
import reprlib
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig

# Of R Rᵀ - 1. Files with four decimals are within it.
_ROTATION_TOLERANCE = 1e-3
_MAX_NUMBERS = 10_000
_MAX_CAMERAS = 5000
_MAX_SHOWN = 100
# Larger numbers are damage, and would overflow in products.
_LARGEST = 1e30
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxstring = 2, 4, 60


class Checker:
  """What readers put cameras into.

  A fault is noted and reading goes on, so that all are told at once. A value with a fault becomes
  NaN, which is not reported again.

  Args:
    path: of the file, for messages.
    size_wh: (width, height) px of images of which the file says no size.
  """

  no_lens = lenses.Pinhole()

  def __init__(self, path: pathlib.Path, size_wh: tuple[int, int] | None = None):
    self.path, self.size_wh = path, size_wh
    self.unit_mm: float | None = None
    self.faults: list[str] = []
    self._names: list[str] = []
    self._sizes: list[tuple[int, int] | None] = []
    self._lenses: list[lenses.Lens] = []
    self._cameras: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

  def fault(self, camera: str | None, field: str, text: str) -> None:
    where = f"camera {camera}, {field}" if camera is not None else field
    self.faults.append(f"{where}: {text}")

  def table(self, value: Any, camera: str | None, field: str) -> dict[str, Any]:
    """A dict; an empty one where the value is something else, which is a fault."""
    if isinstance(value, dict):
      return value
    text = "is missing" if value is None else f"should be a table; got {_show(value)}"
    self.fault(camera, field, text)
    return {}

  def name(self, value: Any, where: str) -> str:
    """A camera's name as text."""
    if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
      return str(value)[:200]
    self.fault(where, "name", f"should be a text; got {_show(value)}")
    return where

  def numbers(
    self, value: Any, shape: tuple[int, ...], camera: str | None, field: str
  ) -> np.ndarray:
    """Finite numbers of a shape; rows and columns of a matrix that is a vector count as one.

    Args:
      value: nested lists, an array, text, or OpenCV's matrix (rows, cols, data).
      shape: what it should be; -1 for a vector of any length.
      camera: for the message.
      field: for the message.

    Returns:
      float64; NaN where there was a fault.
    """
    failed = np.full([abs(n) for n in shape], np.nan)
    if value is None:
      self.fault(camera, field, "is missing")
      return failed
    wanted = "×".join("n" if n < 0 else str(n) for n in shape) or "one"
    try:
      array = _array(value)
    except (ValueError, TypeError, OverflowError):
      self.fault(camera, field, f"should be {wanted} numbers; got {_show(value)}")
      return failed
    if shape == (-1,) and array.size == max(array.shape, default=1):
      array = array.ravel()
    elif array.size == failed.size and _squeezed(array.shape) == _squeezed(shape):
      array = array.reshape(shape)
    else:
      shown = "×".join(map(str, array.shape)) or "one"
      self.fault(camera, field, f"should be {wanted} numbers; got {shown}")
      return failed
    if not np.isfinite(array).all():
      self.fault(camera, field, f"has a number that is not finite: {_show(array.tolist())}")
      return failed
    if np.any(np.abs(array) > _LARGEST):
      self.fault(camera, field, f"has a number beyond all reason: {_show(array.tolist())}")
      return failed
    return array

  def rotation(self, value: Any, camera: str, field: str) -> np.ndarray:
    """A rotation matrix, from Rodrigues' vector or a matrix."""
    try:
      is_vector = _array(value).size == 3
    except (ValueError, TypeError, OverflowError):
      is_vector = False
    if not is_vector:
      return self.numbers(value, (3, 3), camera, field)
    vector = self.numbers(value, (3,), camera, field)
    return matrix_of(vector) if np.isfinite(vector).all() else np.full((3, 3), np.nan)

  def quaternion(self, xyzw: np.ndarray, camera: str, field: str) -> np.ndarray:
    """The rotation matrix of a unit quaternion (x, y, z, w)."""
    if not np.isfinite(xyzw).all():
      return np.full((3, 3), np.nan)
    if abs(np.linalg.norm(xyzw) - 1) > 1e-3:
      self.fault(camera, field, f"should be a unit quaternion; got {xyzw.tolist()}")
      return np.full((3, 3), np.nan)
    return Rotation.from_quat(xyzw).as_matrix()

  def lens(
    self, value: Any, camera: str, field: str, *, fisheye: Any = False, missing_ok: bool = False
  ) -> lenses.Lens:
    """OpenCV's lens, or cv2.fisheye's; Pinhole where there was a fault."""
    if value is None and missing_ok:
      return lenses.Pinhole()
    coefficients = self.numbers(value, (-1,), camera, field)
    if not np.isfinite(coefficients).all():
      return lenses.Pinhole()
    is_fisheye = str(fisheye).lower() in ("true", "1", "yes", "equidistant")
    try:
      return (lenses.Fisheye if is_fisheye else lenses.OpenCV)(tuple(coefficients.tolist()))
    except ValueError as error:
      self.fault(camera, field, str(error))
      return lenses.Pinhole()

  def size(self, value: Any, camera: str, field: str) -> tuple[int, int] | None:
    """(width, height) px; None is allowed."""
    if value is None or (isinstance(value, list) and value and all(x is None for x in value)):
      return None
    size = self.numbers(value, (2,), camera, field)
    if not np.isfinite(size).all():
      return None
    if np.any(size != np.round(size)) or np.any(size < 1) or np.any(size > 100_000):
      self.fault(camera, field, f"should be a width and a height in px; got {size.tolist()}")
      return None
    return int(size[0]), int(size[1])

  def add(
    self,
    name: str,
    intrinsics: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    lens: lenses.Lens,
    size_wh: tuple[int, int] | None,
    fields: tuple[str, str, str] = ("matrix", "rotation", "translation"),
  ) -> None:
    """Adds a camera and checks it.

    Args:
      name: as the file has it.
      intrinsics: [3, 3], K, px.
      rotation: [3, 3], R_cw.
      translation: [3], t_cw, in the unit of the file.
      lens: of the camera.
      size_wh: (width, height) px, None where the file does not say.
      fields: what the file calls K, R and t, for messages.
    """
    if len(self._names) >= _MAX_CAMERAS:
      raise ValueError(f"{self.path}: more than {_MAX_CAMERAS} cameras")
    if name in self._names:
      self.fault(name, "name", "two cameras are called that")
    self._check_intrinsics(name, intrinsics, fields[0])
    self._check_rotation(name, rotation, fields[1])
    self._names.append(name)
    self._sizes.append(self.size_wh if size_wh is None else size_wh)
    self._lenses.append(lens)
    self._cameras.append((intrinsics, rotation, translation))

  def _check_intrinsics(self, name: str, matrix: np.ndarray, field: str) -> None:
    if not np.isfinite(matrix).all():
      return
    if np.abs(matrix[2] - [0, 0, 1]).max() > 1e-9:
      transposed = np.abs(matrix[:, 2] - [0, 0, 1]).max() <= 1e-9
      hint = "; is it transposed?" if transposed else ""
      self.fault(name, field, f"row 3 should be 0 0 1; got {matrix[2].tolist()}{hint}")
    for axis, row in enumerate("xy"):
      if matrix[axis, axis] <= 0:
        self.fault(name, field, f"f{row} should be positive; got {matrix[axis, axis]}")

  def _check_rotation(self, name: str, matrix: np.ndarray, field: str) -> None:
    if not np.isfinite(matrix).all():
      return
    with np.errstate(over="ignore", invalid="ignore"):
      off = np.abs(matrix @ matrix.T - np.eye(3)).max()
    if not off <= _ROTATION_TOLERANCE:
      self.fault(name, field, f"is not a rotation: R Rᵀ is {off:.3g} away from 1")
    elif np.linalg.det(matrix) < 0:
      self.fault(name, field, "is not a rotation but a reflection: its determinant is -1")

  def rig(self, unit_mm: float | None) -> Rig:
    """The rig of the cameras added.

    Args:
      unit_mm: mm in one unit of the translations; None: not known, they are taken for mm.

    Raises:
      ValueError: there were faults, or no cameras; the message lists all by camera and field.
    """
    if not self._names and not self.faults:
      self.faults.append("there are no cameras in it")
    if self.faults:
      count = len(self.faults)
      shown = [*self.faults[:_MAX_SHOWN], *(["..."] if count > _MAX_SHOWN else [])]
      word = "fault" if count == 1 else "faults"
      raise ValueError(f"{self.path}: {count} {word}\n  " + "\n  ".join(shown))
    intrinsics, rotation, translation = map(np.stack, zip(*self._cameras))
    return Rig(
      names=tuple(self._names),
      sizes_wh=tuple(self._sizes),
      lenses=tuple(self._lenses),
      cameras=Cameras(intrinsics, rotation, translation * (1.0 if unit_mm is None else unit_mm)),
      unit_mm=unit_mm,
    )


def matrix_of(vector: np.ndarray) -> np.ndarray:
  """The rotation matrix of Rodrigues' vector [3]."""
  return Rotation.from_rotvec(vector).as_matrix()


def vector_of(matrix: np.ndarray) -> np.ndarray:
  """Rodrigues' vector of a rotation matrix; accurate at 180° too, where cv2's has 1e-8."""
  return Rotation.from_matrix(matrix).as_rotvec()


def calibration_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
  """K without skew."""
  return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
  return tuple(n for n in shape if n != 1)


def _array(value: Any) -> np.ndarray:
  """float64 of nested lists, texts, an array or OpenCV's matrix; raises for all else."""
  if isinstance(value, dict):
    sizes = value.get("sizes") if "sizes" in value else [value.get("rows"), value.get("cols")]
    sizes = [int(n) for n in np.ravel(_nested(sizes, [_MAX_NUMBERS], 0))]
    data = np.ravel(_nested(value.get("data"), [_MAX_NUMBERS], 0)).astype(np.float64)
    if min(sizes, default=-1) < 0 or math.prod(sizes) != data.size:
      raise ValueError("a matrix has another number of values than rows × cols")
    return data.reshape(sizes)
  if isinstance(value, np.ndarray):
    if value.dtype.kind not in "fiu" or value.size > _MAX_NUMBERS:
      raise ValueError("not numbers")
    return value.astype(np.float64)
  return np.array(_nested(value, [_MAX_NUMBERS], 0), np.float64)


def _nested(value: Any, budget: list[int], depth: int) -> Any:
  budget[0] -= 1
  if budget[0] < 0 or depth > 4:
    raise ValueError("too many numbers")
  if isinstance(value, str) and len(value.split()) > 1:
    value = value[:100_000].split()
  if isinstance(value, (list, tuple)):
    return [_nested(x, budget, depth + 1) for x in value]
  return _scalar(value)


def _scalar(value: Any) -> float:
  if isinstance(value, bool) or not isinstance(value, (int, float, str, np.number)):
    raise ValueError("not a number")
  if isinstance(value, str):
    # YAML writes .nan and .inf.
    value = value.strip().lower().replace(".nan", "nan").replace(".inf", "inf")
  return float(value)


def _show(value: Any) -> str:
  """A value for a message, cut short."""
  try:
    return _SHORT.repr(value)
  except ValueError:  # an integer of thousands of digits
    return f"a {type(value).__name__}"
