"""Arrays of an npz file, with their sizes checked before they are unpacked; no pickles."""

import ast
import math
import pathlib
import struct
import zipfile
import zlib

import numpy as np

_MOST_BYTES = 16 << 30
_MOST_ENTRIES = 1000
_MOST_HEADER = 10_000


def names(path: pathlib.Path) -> set[str]:
  """Names of the arrays in a file.

  Raises:
    ValueError: it is no npz.
  """
  try:
    with zipfile.ZipFile(path) as file:
      return {entry.removesuffix(".npy") for entry in file.namelist()[:_MOST_ENTRIES]}
  except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
    raise ValueError(f"{path}: a damaged npz file: {error}") from error


def read(path: pathlib.Path, wanted: set[str]) -> dict[str, np.ndarray]:
  """Those of the wanted arrays that are there: of numbers, booleans or texts.

  Raises:
    ValueError: the file is damaged, or an array of other things or larger than the file says.
  """
  found, left = {}, _MOST_BYTES
  try:
    with zipfile.ZipFile(path) as file:
      entries = {info.filename: info for info in file.infolist()[:_MOST_ENTRIES]}
      for name in sorted(wanted):
        info = entries.get(f"{name}.npy")
        if info is None:
          continue
        with file.open(info) as stream:
          shape, dtype, header = _header(stream)
        left -= info.file_size
        if left < 0 or math.prod(shape) * dtype.itemsize != info.file_size - header:
          raise ValueError(f"{name} is {shape} of {dtype}, its entry has {info.file_size:,} bytes")
        with file.open(info) as stream:
          found[name] = np.lib.format.read_array(stream, allow_pickle=False)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  except (zipfile.BadZipFile, OSError, EOFError, KeyError, TypeError, SyntaxError) as error:
    raise ValueError(f"{path}: a damaged npz file: {error}") from error
  except (NotImplementedError, RuntimeError, struct.error, zlib.error) as error:
    raise ValueError(f"{path}: a damaged npz file: {error}") from error
  return found


def _header(stream) -> tuple[tuple[int, ...], np.dtype, int]:
  """Shape, dtype and the length of the header."""
  start = stream.read(8)
  if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\x01", b"\x02"):
    raise ValueError("an entry is no numpy array")
  layout = "<H" if start[6:7] == b"\x01" else "<I"
  (length,) = struct.unpack(layout, stream.read(struct.calcsize(layout)))
  if length > _MOST_HEADER:
    raise ValueError(f"an array's header has {length} bytes")
  fields = ast.literal_eval(stream.read(length).decode("latin1"))
  shape, dtype = fields["shape"], np.dtype(fields["descr"])
  good = isinstance(shape, tuple) and all(isinstance(n, int) and 0 <= n < 1 << 48 for n in shape)
  if dtype.kind not in "fiubU" or not good:
    raise ValueError(f"an array of {str(dtype)[:40]} and shape {str(shape)[:80]} is not read")
  return shape, dtype, 8 + struct.calcsize(layout) + length
