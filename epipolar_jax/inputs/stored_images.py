"""Stored images, decoded as far as a crop needs them: numpy and OpenCV.

A JPEG with restart markers is a sequence of runs of blocks that can each be decoded alone. Where
the runs divide the rows of blocks they are tiles, and the tiles around a crop make a smaller JPEG
with the same pixels: the time to decode follows the crop, not the image. The builders of large
sets write such files (`data.storing.encode_jpeg`); any other JPEG is decoded whole.
"""

import dataclasses
import math
from typing import NamedTuple

import cv2
import numpy as np

from epipolar_jax.inputs import image_header

_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
# Around what a crop samples, px: its bilinear neighbours, and those of the coarser colours. With
# them the pixels that count are those of the whole image.
_MARGIN = 4
_COLOR_CHANNELS = 3
# Second bytes of JPEG markers.
_BASELINE, _FIRST_RESTART, _END, _SCAN, _INTERVAL = 0xC0, 0xD0, 0xD9, 0xDA, 0xDD


class _Tiles(NamedTuple):
  """How a JPEG is divided.

  Attributes:
    frame: position of the frame header, which holds the size.
    edges: [rows, columns + 1], positions in the file where tiles start and the last one ends.
    size_wh: of the image, px.
    tile_wh: of a tile, px.
  """

  frame: int
  edges: np.ndarray
  size_wh: tuple[int, int]
  tile_wh: tuple[int, int]


class Jpeg:
  """An encoded image; `numpy.asarray` decodes it whole, [h, w, 3] uint8 RGB.

  Args:
    data: of the file.
    size_wh: (width, height) px that it must have, to which cameras and labels belong; None is any.
  """

  def __init__(self, data: bytes, size_wh: tuple[int, int] | None = None):
    self.data, self.size_wh = data, size_wh

  def check(self) -> None:
    """Reads the header.

    Raises:
      ValueError: it is no image, too large a one, or of another size than declared.
    """
    try:
      found = image_header.check(self.data)
    except ValueError as error:
      raise ValueError(_undecodable(self.data, str(error))) from error
    if self.size_wh not in (None, found):
      width, height = self.size_wh
      raise ValueError(
        f"a stored image is {found[0]} x {found[1]} px, but its data set declares {width} x "
        f"{height}, to which intrinsics, joints_2d and boxes belong: prepare it again at one size"
      )

  def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
    self.check()
    return np.asarray(_decode(np.frombuffer(self.data, np.uint8)), dtype)


@dataclasses.dataclass(frozen=True)
class Cut:
  """The network's input from a stored image, not yet drawn.

  Attributes:
    image: [h, w, 3] uint8 RGB, or encoded.
    affine: [2, 3], stored px to network px.
    table: [256] uint8, new grey levels of the channels; None leaves them.
    erased: rows and columns to cover, and their colour; or None.
  """

  image: np.ndarray | Jpeg
  affine: np.ndarray
  table: np.ndarray | None = None
  erased: tuple[tuple[slice, slice], np.ndarray] | None = None

  def draw(self, out: np.ndarray) -> None:
    """Draws it.

    Args:
      out: [size, size, 3] uint8 RGB, contiguous, to write to.

    Raises:
      ValueError: the image cannot be decoded.
    """
    warp(self.image, self.affine, out)
    if self.table is not None:
      cv2.LUT(out, self.table, dst=out)
    if self.erased is not None:
      box, color = self.erased
      out[box] = color


def warp(image: np.ndarray | Jpeg, affine: np.ndarray, out: np.ndarray) -> None:
  """Cuts the network's input out of a stored image, bilinear; black outside.

  Args:
    image: [h, w, 3] uint8 RGB, or encoded.
    affine: [2, 3], stored px to network px.
    out: [size, size, 3] uint8 RGB, contiguous, to write to.

  Raises:
    ValueError: the image cannot be decoded.
  """
  size = len(out)
  if isinstance(image, Jpeg):
    image.check()
    image, origin = decode_part(image.data, *_sampled(affine, size))
    if origin != (0, 0):
      affine = affine.astype(np.float64)
      affine[:, 2] += affine[:, :2] @ origin
  # OpenCV warps four channels in half the time of three, to the same numbers.
  four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
  four = cv2.warpAffine(four, affine, (size, size), flags=cv2.INTER_LINEAR)
  cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, dst=out)


def decode_part(
  data: bytes, low: tuple[int, int], high: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
  """Decodes the tiles of a JPEG that touch a rectangle, or all of it where it has none.

  The pixels at the border of the part may differ by a few grey levels from those of the whole
  image, as the colours of their neighbours are not there; two pixels inside they are equal.

  Args:
    data: of the file.
    low: (u, v) of the rectangle's first pixel; it may lie outside the image.
    high: (u, v) past its last pixel.

  Returns:
    pixels: [h, w, 3] uint8 RGB.
    origin: (u, v) in the whole image of their first pixel.

  Raises:
    ValueError: it cannot be decoded.
  """
  tiles = _find_tiles(data)
  if tiles is None:
    return _decode(np.frombuffer(data, np.uint8)), (0, 0)
  (left, right), (top, bottom) = map(_cover, low, high, tiles.size_wh, tiles.tile_wh)
  wanted = tiles.edges[top:bottom, left : right + 1]
  runs = [data[start:stop] for start, stop in wanted[:, [0, -1]].tolist()]
  head = data[: tiles.edges[0, 0]]
  part = np.frombuffer(bytearray().join([head, *runs]), np.uint8)
  # Each tile ends in a marker, which counts modulo 8; the last one is the end of the file.
  ends = len(head) + np.cumsum(np.diff(wanted, axis=1))
  part[ends - 2] = 0xFF
  part[ends - 1] = _FIRST_RESTART + np.arange(len(ends)) % 8
  part[-1] = _END
  origin = (left * tiles.tile_wh[0], top * tiles.tile_wh[1])
  limits = (right * tiles.tile_wh[0], bottom * tiles.tile_wh[1])
  width, height = (min(x, n) - x0 for x, n, x0 in zip(limits, tiles.size_wh, origin))
  part[tiles.frame + 5 : tiles.frame + 9] = (height >> 8, height & 255, width >> 8, width & 255)
  return _decode(part), origin


def _decode(data: np.ndarray) -> np.ndarray:
  reason = "it is damaged"
  try:
    image_header.check(data.data)
    pixels = cv2.imdecode(data, _FLAGS)
  except cv2.error:
    pixels = None
  except ValueError as error:
    pixels, reason = None, str(error)
  if pixels is None:
    raise ValueError(_undecodable(data, reason))
  return pixels


def _undecodable(data: bytes | np.ndarray, reason: str) -> str:
  return (
    f"a stored image of {len(data)} bytes cannot be decoded: {reason}. `python -m data.check "
    "FOLDER` finds out which"
  )


def _sampled(affine: np.ndarray, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
  """The rectangle [low, high) of stored pixels that a crop may depend on."""
  (a, b, u0), (c, d, v0) = cv2.invertAffineTransform(affine).tolist()
  last = size - 1.0
  # Plain numbers: arrays of four would take longer than the sums.
  us = (0.0, a * last, b * last, (a + b) * last)
  vs = (0.0, c * last, d * last, (c + d) * last)
  low = (math.floor(u0 + min(us)) - _MARGIN, math.floor(v0 + min(vs)) - _MARGIN)
  high = (math.ceil(u0 + max(us)) + _MARGIN + 1, math.ceil(v0 + max(vs)) + _MARGIN + 1)
  return low, high


def _cover(low: int, high: int, size: int, tile: int) -> tuple[int, int]:
  """First and past the last tile that touch [low, high); at least one."""
  first = min(max(low, 0), size - 1) // tile
  return first, max(-(-min(high, size) // tile), first + 1)


def _find_tiles(data: bytes) -> _Tiles | None:
  """Finds the tiles of a baseline colour JPEG; None where there are none or something is odd."""
  position, frame, interval, scan = 2, 0, 0, 0
  while not scan and position + 4 <= len(data) and data[position] == 0xFF:
    marker = data[position + 1]
    if marker == _BASELINE:
      frame = position
    elif marker == _INTERVAL:
      interval = int.from_bytes(data[position + 4 : position + 6], "big")
    position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    scan = position if marker == _SCAN else 0
  if not (frame and interval and scan) or data[frame + 9] != _COLOR_CHANNELS:
    return None
  height, width = (int.from_bytes(data[frame + i : frame + i + 2], "big") for i in (5, 7))
  sampling = [data[frame + 11 + 3 * channel] for channel in range(_COLOR_CHANNELS)]
  block_w, block_h = 8 * max(x >> 4 for x in sampling), 8 * max(x & 15 for x in sampling)
  if not (height and width and block_w and block_h) or -(-width // block_w) % interval:
    return None
  columns, rows = -(-width // block_w) // interval, -(-height // block_h)
  array = np.frombuffer(data, np.uint8)
  escapes = np.flatnonzero(array[scan:-1] == 0xFF) + scan
  restarts = escapes[array[escapes + 1] & 0xF8 == _FIRST_RESTART] + 2
  if len(restarts) != rows * columns - 1:
    return None
  starts = np.concatenate([[scan], restarts, [len(data)]])
  edges = starts[np.arange(rows)[:, None] * columns + np.arange(columns + 1)]
  return _Tiles(frame, edges, (width, height), (interval * block_w, block_h))
