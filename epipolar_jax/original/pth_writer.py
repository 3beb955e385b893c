"""Writes PyTorch checkpoints (.pth) without torch: dicts of arrays and numbers.

The legacy format is the default: every version of torch reads it, and those that the original code
runs on (1.2, 1.3) read nothing else. The pickle is put together opcode by opcode, because Python's
pickler only writes names of functions that it can import.
"""

import io
import os
import pathlib
import struct
import zipfile
from typing import Any

import numpy as np

from epipolar_jax.original import pth

FORMATS = ("legacy", "zip")
_KINDS = {dtype: name for name, dtype in pth.STORAGES.items()}


def write(path: str | os.PathLike[str], tree: Any, *, file_format: str = "legacy") -> None:
  """Writes a tree so that `torch.load` and `pth.read` give it back; never half a file.

  Args:
    path: the file; replaced if it is there.
    tree: dicts (text or integer keys), lists, texts, numbers, None and
      numpy arrays of the types of `pth.STORAGES`. One array in two places is stored once.
    file_format: "legacy" or "zip" (torch 1.6 and later).

  Raises:
    ValueError: something else in the tree, or another format.
  """
  if file_format not in FORMATS:
    raise ValueError(f"file_format {file_format!r} is not one of {FORMATS}")
  path = pathlib.Path(path)
  temporary = path.with_name(path.name + ".tmp")
  with temporary.open("wb") as file:
    (_write_legacy if file_format == "legacy" else _write_zip)(file, tree)
  temporary.replace(path)


def _write_legacy(file: io.BufferedWriter, tree: Any) -> None:
  system = {"protocol_version": pth.LEGACY_VERSION, "little_endian": True}
  system["type_sizes"] = {"short": 2, "int": 4, "long": 4}
  body = _Pickle(legacy=True)
  body.value(tree)
  keys = sorted(body.storages)
  for part in (pth.MAGIC, pth.LEGACY_VERSION, system):
    file.write(_pickled(part))
  file.write(body.finish())
  file.write(_pickled(keys))
  for key in keys:
    array = body.storages[key]
    file.write(struct.pack("<q", array.size))
    file.write(array.tobytes())


def _write_zip(file: io.BufferedWriter, tree: Any) -> None:
  body = _Pickle(legacy=False)
  body.value(tree)
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    # A fixed date: equal weights give equal files.
    archive.writestr(zipfile.ZipInfo("archive/data.pkl"), body.finish())
    archive.writestr(zipfile.ZipInfo("archive/byteorder"), b"little")
    for key, array in body.storages.items():
      archive.writestr(zipfile.ZipInfo(f"archive/data/{key}"), array.tobytes())
    archive.writestr(zipfile.ZipInfo("archive/version"), b"3\n")


def _pickled(value: Any) -> bytes:
  body = _Pickle(legacy=True)
  body.value(value)
  return body.finish()


class _Pickle:
  """A pickle of protocol 2 under construction, and the storages that it refers to by key."""

  def __init__(self, *, legacy: bool):
    self.storages: dict[str, np.ndarray] = {}
    self._legacy = legacy
    self._keys: dict[int, str] = {}
    self._given: list[np.ndarray] = []  # keeps the ids in `_keys` unique
    self._out = bytearray(b"\x80\x02")

  def finish(self) -> bytes:
    return bytes(self._out) + b"."

  def value(self, value: Any) -> None:
    """Appends one value."""
    if isinstance(value, dict):
      self._out += b"}"
      self._marked([x for item in value.items() for x in item], b"u")
    elif isinstance(value, list):
      self._out += b"]"
      self._marked(value, b"e")
    elif isinstance(value, tuple):
      self._marked(value, b"t")
    elif isinstance(value, np.ndarray):
      self._tensor(value)
    elif value is None or isinstance(value, bool):
      self._out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
    elif isinstance(value, int):
      data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
      self._out += b"\x8a" + struct.pack("<B", len(data)) + data
    elif isinstance(value, float):
      self._out += b"G" + struct.pack(">d", value)
    elif isinstance(value, str):
      data = value.encode()
      self._out += b"X" + struct.pack("<I", len(data)) + data
    else:
      raise ValueError(f"a {type(value).__name__} cannot be written to a .pth file")

  def _marked(self, values: Any, end: bytes) -> None:
    self._out += b"("
    for value in values:
      self.value(value)
    self._out += end

  def _tensor(self, array: np.ndarray) -> None:
    """A call of `_rebuild_tensor_v2` on a storage of its own."""
    if array.dtype not in _KINDS:
      raise ValueError(f"arrays of {array.dtype} cannot be written to a .pth file")
    if id(array) not in self._keys:
      self._keys[id(array)] = str(len(self._keys))
      self._given.append(array)
      self.storages[self._keys[id(array)]] = np.ascontiguousarray(array)
    strides = [1]
    for n in reversed(array.shape[1:]):
      strides.insert(0, strides[0] * n)
    self._out += b"ctorch._utils\n_rebuild_tensor_v2\n("
    self._storage(_KINDS[array.dtype], self._keys[id(array)], array.size)
    for part in (0, array.shape, tuple(strides[: array.ndim]), False):
      self.value(part)
    self._out += b"ccollections\nOrderedDict\n)RtR"

  def _storage(self, kind: str, key: str, size: int) -> None:
    """The persistent id ("storage", kind, key, place, size), in old files with (no) view."""
    self._out += b"("
    self.value("storage")
    self._out += f"c{kind.replace('.', chr(10))}\n".encode()
    for part in (key, "cpu", size, *([None] if self._legacy else [])):
      self.value(part)
    self._out += b"tQ"
