"""The size that an encoded image promises, read from its header before anything is decoded.

A JPEG of a few hundred bytes may promise 16000 x 16000 px, and a decoder would take gigabytes for
it. The headers are read as libjpeg and libpng read them.
"""

import re

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Baseline, progressive and the others: all markers that start a frame.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
# Markers without a length: TEM and the restarts.
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
# What ends a run of compressed pixels: a marker other than a restart.
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
# px; the largest cameras in use have 61 million.
LARGEST = 1 << 26


def read(data: bytes) -> tuple[int, int]:
  """(width, height) px that the header of a JPEG or PNG promises.

  Raises:
    ValueError: neither, or a header without a size.
  """
  data = memoryview(data)
  if bytes(data[:8]) == _PNG:
    if bytes(data[12:16]) != b"IHDR" or len(data) < 24:
      raise ValueError("a PNG without its header")
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
  elif bytes(data[:2]) == _JPEG:
    size = _jpeg_size(data)
  else:
    raise ValueError(f"neither a JPEG nor a PNG: it starts with {bytes(data[:4])!r}")
  if not (size[0] and size[1]):
    raise ValueError(f"its header promises {size[0]} x {size[1]} px")
  return size


def check(data: bytes, *, largest: int = LARGEST) -> tuple[int, int]:
  """(width, height) px of an image that is not too large to be decoded.

  Args:
    data: of the file.
    largest: pixels.

  Raises:
    ValueError: as `read`, or there are more pixels; the message names the size and the limit.
  """
  width, height = read(data)
  if width * height > largest:
    raise ValueError(
      f"its header promises {width} x {height} px in {len(data):,} bytes; at most {largest:,} px "
      "are decoded: store it smaller"
    )
  return width, height


def jpeg_is_whole(data: bytes) -> bool:
  """Whether a JPEG goes on to the marker at its end; what follows that does not matter.

  Decoders fill the missing part of a truncated JPEG with grey and say nothing.
  """
  position = 2 if data[:2] == _JPEG else len(data)
  while found := _MARKER.search(data, position):
    marker, position = data[found.end() - 1], found.end()
    if marker == _END:
      return True
    if marker not in _BARE:
      position += int.from_bytes(data[position : position + 2], "big")
  return False


def _jpeg_size(data: memoryview) -> tuple[int, int]:
  position, count = 2, len(data)
  while position < count:
    # Anything between two segments is skipped, and so are fill bytes.
    while position < count and data[position] != 0xFF:
      position += 1
    while position < count and data[position] == 0xFF:
      position += 1
    if position >= count:
      break
    marker = data[position]
    position += 1
    if marker == 0 or marker in _BARE:
      continue
    if marker in (_START, _END, _SCAN) or position + 7 > count:
      break
    if marker in _FRAMES:
      height = int.from_bytes(data[position + 3 : position + 5], "big")
      width = int.from_bytes(data[position + 5 : position + 7], "big")
      return width, height
    position += max(2, int.from_bytes(data[position : position + 2], "big"))
  raise ValueError("a JPEG without a frame header")
