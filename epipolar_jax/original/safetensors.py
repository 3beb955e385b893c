"""Reads .safetensors files: a JSON header with types, shapes and places, then the bytes.

The format: https://github.com/huggingface/safetensors#format. Sizes are checked before anything is
allocated, and every tensor must lie inside the file.
"""

import json
import math
import os
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from epipolar_jax.original import pth

_LARGEST_HEADER = 100 << 20  # the format's own limit
_DTYPES = {
  "F64": np.dtype("<f8"),
  "F32": np.dtype("<f4"),
  "F16": np.dtype("<f2"),
  "BF16": np.dtype(ml_dtypes.bfloat16),
  "I64": np.dtype("<i8"),
  "I32": np.dtype("<i4"),
  "I16": np.dtype("<i2"),
  "I8": np.dtype("i1"),
  "U8": np.dtype("u1"),
  "BOOL": np.dtype("?"),
}
_MAX_AXES = 32


def recognizes(path: str | os.PathLike[str]) -> bool:
  """Whether a file is named .safetensors, or begins as one does."""
  path = pathlib.Path(path)
  with path.open("rb") as file:
    head = file.read(9)
  return path.suffix == ".safetensors" or (head[8:] == b"{" and head[6:8] == b"\0\0")


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads all tensors of a file, by name, read-only.

  Raises:
    pth.CheckpointError: not such a file, truncated or damaged; names the file and the reason.
    OSError: the file cannot be opened.
  """
  data = pathlib.Path(path).read_bytes()
  try:
    header, start = _header(data)
    return {
      name: _tensor(name, entry, data, start)
      for name, entry in header.items()
      if name != "__metadata__"
    }
  except pth.CheckpointError as error:
    raise pth.CheckpointError(f"{path}: {error}") from error


def _header(data: bytes) -> tuple[dict[str, Any], int]:
  """The header, and where the tensors start."""
  length = int.from_bytes(data[:8], "little")
  if len(data) < 8 or length > min(_LARGEST_HEADER, len(data) - 8):
    raise pth.CheckpointError(
      f"truncated, or no safetensors file: it names a header of {length} bytes in a file of "
      f"{len(data)}"
    )
  try:
    header = json.loads(data[8 : 8 + length])
  except (ValueError, RecursionError) as error:
    raise pth.CheckpointError(f"its header is not JSON: {str(error)[:100]}") from error
  if type(header) is not dict:
    raise pth.CheckpointError(f"its header is a {type(header).__name__}, not a JSON object")
  return header, 8 + length


def _tensor(name: str, entry: Any, data: bytes, start: int) -> np.ndarray:
  if type(entry) is not dict or not {"dtype", "shape", "data_offsets"} <= entry.keys():
    raise pth.CheckpointError(f"tensor {name!r:.60} lacks dtype, shape or data_offsets")
  kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
  if type(kind) is not str or kind not in _DTYPES:
    allowed = ", ".join(_DTYPES)
    raise pth.CheckpointError(f"tensor {name!r:.60} is of type {kind!r:.20}; allowed: {allowed}")
  if not _counts(shape) or len(shape) > _MAX_AXES or not _counts(offsets) or len(offsets) != 2:
    raise pth.CheckpointError(f"tensor {name!r:.60} has a damaged shape or place")
  dtype, (begin, end) = _DTYPES[kind], offsets
  size = math.prod(shape) * dtype.itemsize
  if end - begin != size or start + end > len(data):
    raise pth.CheckpointError(
      f"tensor {name!r:.60} of {size} bytes lies at {begin} to {end} of {len(data) - start}: "
      "truncated or damaged"
    )
  if dtype.kind == "b":  # any byte is a legal bool
    return (np.frombuffer(data, np.uint8, size, start + begin) != 0).reshape(shape)
  return np.frombuffer(data, dtype, math.prod(shape), start + begin).reshape(shape)


def _counts(values: Any) -> bool:
  return type(values) is list and all(type(x) is int and 0 <= x < 1 << 62 for x in values)
