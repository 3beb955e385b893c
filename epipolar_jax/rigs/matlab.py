"""Reads MATLAB files up to version 7: numbers, texts, cells and structs, and nothing else.

scipy.io.loadmat ends the process (a segmentation fault) on some damaged files; this reader needs
memory in proportion to its input and raises ValueError.

References:
  MathWorks, MAT-File Format, "Level 5 MAT-File Format".
"""

import math
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_NUMBERS |= {12: "i8", 13: "u8"}
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _FIRST_NUMERIC, _LAST_NUMERIC = 1, 2, 4, 6, 15
_COMPLEX = 0x0800
# What the wanted variables may unpack to; others are not unpacked.
_LIMIT_BYTES = 16 << 20
_DEPTH = 8


class _Element(NamedTuple):
  kind: int
  data: memoryview


def loads(data: bytes, names: frozenset[str]) -> dict[str, Any]:
  """Variables of a file.

  Args:
    data: the file.
    names: of the variables that are wanted.

  Returns:
    By name: arrays, texts, lists (cells, and structs with more than one entry) and dicts (structs).

  Raises:
    ValueError: a damaged file, or one of version 7.3.
  """
  if data[:8] == b"\x89HDF\r\n\x1a\n" or data[:10] == b"MATLAB 7.3":
    raise ValueError("a MATLAB 7.3 file; save it in MATLAB with save(..., '-v7')")
  if data[126:128] not in (b"IM", b"MI"):
    raise ValueError("damaged MATLAB file: its header is cut short")
  order = "<" if data[126:128] == b"IM" else ">"
  found = {}
  for kind, content in _elements(memoryview(data)[128:], order):
    if kind == _COMPRESSED:
      content = _unpack(content, names, order)
    elif kind != _MATRIX:
      continue
    if content is not None and _name(content, order) in names:
      found[_name(content, order)] = _value(content, order, 0)
  return found


def _elements(data: memoryview, order: str) -> Iterable[_Element]:
  """The elements of a piece of a file, one after the other."""
  while len(data) >= 8:
    kind, count = (int(x) for x in np.frombuffer(data[:8], f"{order}u4"))
    if kind >> 16:  # small: the count, and up to four bytes, are in the tag
      kind, count, start, length = kind & 0xFFFF, kind >> 16, 4, 8
    else:
      padding = 0 if kind == _COMPRESSED else -count % 8
      start, length = 8, 8 + count + padding
    if count > len(data) - start or (start == 4 and count > 4):
      raise ValueError("damaged MATLAB file: an element is cut short")
    yield _Element(kind, data[start : start + count])
    data = data[length:]


def _unpack(packed: memoryview, names: frozenset[str], order: str) -> memoryview | None:
  """The content of a compressed matrix; None if it is not wanted."""
  try:
    head = memoryview(zlib.decompressobj().decompress(packed, 1024))
    if len(head) < 8 or int(np.frombuffer(head[:4], f"{order}u4")[0]) != _MATRIX:
      return None
    if _name(head[8:], order) not in names:
      return None
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, _LIMIT_BYTES)
  except zlib.error as error:
    raise ValueError(f"damaged MATLAB file: {error}") from error
  if unpacker.unconsumed_tail:
    raise ValueError(f"a variable unpacks to more than {_LIMIT_BYTES} bytes")
  return memoryview(data)[8:]


def _head(content: memoryview, order: str) -> tuple[int, tuple[int, ...], str, Iterable[_Element]]:
  """Flags, shape and name of a matrix, and the elements after these."""
  elements = iter(_elements(content, order))
  first = [element for _, element in zip(range(3), elements)]
  if len(first) < 3 or len(first[0].data) != 8 or len(first[1].data) % 4:
    raise ValueError("damaged MATLAB file: a matrix without flags, shape and name")
  flags = int(np.frombuffer(first[0].data, f"{order}u4")[0])
  shape = tuple(int(n) for n in np.frombuffer(first[1].data, f"{order}i4"))
  if len(shape) > 8 or any(n < 0 for n in shape):
    raise ValueError(f"damaged MATLAB file: a matrix of shape {shape[:8]}")
  return flags, shape, bytes(first[2].data).decode("latin1"), elements


def _name(content: memoryview, order: str) -> str:
  return _head(content, order)[2]


def _value(content: memoryview, order: str, depth: int) -> Any:
  """The value of a matrix."""
  if depth > _DEPTH:
    raise ValueError("damaged MATLAB file: values are nested too deeply")
  if not len(content):
    return np.zeros((0, 0))
  flags, shape, _, elements = _head(content, order)
  kind, count = flags & 0xFF, math.prod(shape)
  if kind == _CELL:
    return _values(elements, count, content, order, depth)
  if kind == _STRUCT:
    width, names = next(elements, None), next(elements, None)
    if width is None or names is None or len(width.data) != 4:
      raise ValueError("damaged MATLAB file: a struct without fields")
    size = int(np.frombuffer(width.data, f"{order}i4")[0])
    if size <= 0:
      raise ValueError("damaged MATLAB file: a struct without fields")
    text = bytes(names.data).decode("latin1")
    fields = [text[i : i + size].split("\0")[0] for i in range(0, len(text), size)]
    values = _values(elements, count * len(fields), content, order, depth)
    step = max(len(fields), 1)
    structs = [dict(zip(fields, values[i : i + step])) for i in range(0, len(values), step)]
    return structs[0] if count == 1 and structs else structs
  element = next(elements, None)
  if element is None:
    raise ValueError("damaged MATLAB file: a matrix without values")
  if kind == _CHAR:
    if element.kind not in _TEXTS:
      raise ValueError("damaged MATLAB file: a text of an unknown kind")
    encoding = _TEXTS[element.kind] + {"<": "-le", ">": "-be"}[order] * (element.kind in (4, 17))
    return bytes(element.data).decode(encoding)
  if not _FIRST_NUMERIC <= kind <= _LAST_NUMERIC or flags & _COMPLEX:
    raise ValueError("only real numbers, texts, cells and structs of MATLAB are read")
  if element.kind not in _NUMBERS:
    raise ValueError("damaged MATLAB file: numbers of an unknown kind")
  dtype = np.dtype(order + _NUMBERS[element.kind])
  if len(element.data) != count * dtype.itemsize:
    raise ValueError(f"damaged MATLAB file: not the numbers of a matrix of shape {shape}")
  return np.frombuffer(element.data, dtype).reshape(shape, order="F")


def _values(
  elements: Iterable[_Element], count: int, content: memoryview, order: str, depth: int
) -> list[Any]:
  """The values of the entries of a cell, or of the fields of structs."""
  if count * 8 > len(content):
    raise ValueError(f"damaged MATLAB file: {count} values in {len(content)} bytes")
  values = []
  for _, element in zip(range(count), elements):
    if element.kind != _MATRIX:
      raise ValueError("damaged MATLAB file: a value that is no matrix")
    values.append(_value(element.data, order, depth + 1))
  if len(values) != count:
    raise ValueError(f"damaged MATLAB file: {len(values)} of {count} values")
  return values
