"""Images of Human3.6M: from a folder or an archive, undistorted, cut to the person."""

import dataclasses
import functools
import pathlib
import zipfile
import zlib

import cv2
import numpy as np

from data import faults, files
from epipolar_jax.inputs import image_header

# Two of the four cameras have two rows more, which are cut off.
SIDE = 1000
_ROWS = (1000, 1002)
_LARGEST_FILE = 64 << 20
# Both spellings are in use.
_UNDISTORTED = ("undistoredimages.zip", "undistortedimages.zip")
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class Store:
  """Where the images are.

  Attributes:
    path: a folder of images, or an archive whose members start with images/.
    undistorted: they have no lens distortion any more.
  """

  path: pathlib.Path
  undistorted: bool

  def read(self, image: str, where: str) -> bytes:
    """The bytes of an image's file.

    Args:
      image: path as the annotations have it.
      where: for messages.

    Raises:
      faults.BadRecord: it is not there or cannot be read.
    """
    try:
      if self.path.suffix == ".zip":
        return self._read_member(f"images/{image}")
      return files.read(self.path / image, largest=_LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError, KeyError) as error:
      raise faults.BadRecord("no image", f"{where}: {image} is not in {self.path}") from error
    except (OSError, ValueError, *_ZIP_ERRORS) as error:
      raise faults.BadRecord(
        "damaged image", f"{where}: {image!r:.200} of {self.path} cannot be read: {error}"
      ) from error

  def _read_member(self, name: str) -> bytes:
    archive = _open_archive(self.path)
    member = archive.getinfo(name)
    if member.file_size > _LARGEST_FILE:
      raise zipfile.BadZipFile(f"{member.file_size} bytes are too many for an image")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      raise zipfile.BadZipFile("its compression is neither stored nor deflated")
    # With a length: without one, a member that lies about its size would be inflated whole.
    with archive.open(member) as file:
      return file.read(member.file_size)


@functools.lru_cache(maxsize=2)
def _open_archive(path: pathlib.Path) -> zipfile.ZipFile:
  files.check_regular(path)
  # Kept open: the directory of an archive of 400,000 images takes seconds to read.
  return zipfile.ZipFile(path)


def find_store(root: pathlib.Path, kind: str = "auto") -> Store:
  """Chooses where to read images from.

  Args:
    root: of the raw data set.
    kind: folder, zip, undistorted_zip, or auto: the first of these that is there.

  Raises:
    FileNotFoundError: it is not there.
    ValueError: an unknown kind.
  """
  stores = {
    "folder": [Store(root / "images", False)],
    "zip": [Store(root / "images.zip", False)],
    "undistorted_zip": [Store(root / name, True) for name in _UNDISTORTED],
  }
  if kind != "auto" and kind not in stores:
    raise ValueError(f"images is {kind!r}; allowed: auto, {', '.join(stores)}")
  wanted = [s for k, group in stores.items() if kind in ("auto", k) for s in group]
  for store in wanted:
    if store.path.exists():
      return store
  names = ", ".join(store.path.name for store in wanted)
  raise FileNotFoundError(f"{root} has none of {names}: the images of Human3.6M go there")


def decode(data: bytes, where: str, image: str) -> np.ndarray:
  """An image [1000, 1000, 3] BGR.

  Raises:
    faults.BadRecord: it is truncated, no JPEG, or of another size (which its header says: a wrong
      image is not decoded).
  """
  if not data.startswith(b"\xff\xd8") or not image_header.jpeg_is_whole(data):
    what = "is truncated" if data.startswith(b"\xff\xd8") else "is not a JPEG"
    raise faults.BadRecord("damaged image", f"{where}: {image} {what} ({len(data)} bytes)")
  try:
    columns, rows = image_header.read(data)
  except ValueError as error:
    raise faults.BadRecord("damaged image", f"{where}: {image} is {error}") from error
  if rows not in _ROWS or columns != SIDE:
    raise faults.BadRecord(
      "wrong size",
      f"{where}: {image} is {columns} x {rows} px; Human3.6M has {SIDE} x {_ROWS[0]} or {_ROWS[1]}",
    )
  flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
  try:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    pixels = None
  if pixels is None or pixels.shape[:2] != (rows, columns):
    raise faults.BadRecord("damaged image", f"{where}: {image} cannot be decoded")
  return pixels[:SIDE]


def undistort(image: np.ndarray, intrinsics: np.ndarray, distortion: np.ndarray) -> np.ndarray:
  """The image of a lens without distortion and the same intrinsics, bilinear."""
  maps = _undistortion_maps(intrinsics.tobytes(), distortion.tobytes())
  return cv2.remap(image, *maps, cv2.INTER_LINEAR)


@functools.lru_cache(maxsize=16)
def _undistortion_maps(intrinsics: bytes, distortion: bytes) -> tuple[np.ndarray, np.ndarray]:
  matrix, lens = np.frombuffer(intrinsics).reshape(3, 3), np.frombuffer(distortion)
  return cv2.initUndistortRectifyMap(matrix, lens, None, matrix, (SIDE, SIDE), cv2.CV_16SC2)


def undistort_points(
  points: np.ndarray, intrinsics: np.ndarray, distortion: np.ndarray
) -> np.ndarray:
  """Where points [n, 2] px of the distorted image are in the undistorted one."""
  return cv2.undistortPoints(points[:, None], intrinsics, distortion, P=intrinsics)[:, 0]


def cut(
  image: np.ndarray, center: np.ndarray, side: float, *, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Cuts a square out of an image and scales it; what lies outside is black.

  Averages over the pixels it merges, so that a later smaller crop has no moiré.

  Args:
    image: [h, w, 3].
    center: [2], (u, v) of the middle of the square, px.
    side: of the square, px; rounded to whole pixels.
    size: side of the result, px.

  Returns:
    image: [size, size, 3].
    affine: [2, 3], pixels of `image` to pixels of the result; integers are pixel centres.
  """
  height, width = image.shape[:2]
  side = max(1, round(side))
  left, top = (int(x) for x in np.round(center - side / 2))
  canvas = np.zeros((side, side, 3), image.dtype)
  x0, x1 = np.clip([left, left + side], 0, width)
  y0, y1 = np.clip([top, top + side], 0, height)
  canvas[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
  scale = size / side
  mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
  offset = (np.array([0.5 - left, 0.5 - top])) * scale - 0.5
  affine = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
  return cv2.resize(canvas, (size, size), interpolation=mode), affine
