"""What may not be in an ONNX file that is run: data in other files, operators of other libraries.

The file is walked as the protobuf that it is, before any runtime reads it; numbers of fields are
those of onnx.proto3 (IR version 13).
"""

import pathlib
from collections.abc import Iterator

# Messages inside messages, by field number.
_INSIDE = {
  "model": {7: "graph", 20: "training", 25: "function"},
  "training": {1: "graph", 2: "graph"},
  "graph": {1: "node", 5: "tensor", 15: "sparse"},
  "function": {7: "node", 11: "attribute"},
  "node": {5: "attribute"},
  "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
  "sparse": {1: "tensor", 2: "tensor"},
}
# Of a tensor: where external data are, and that there are some; of a node: operator and domain.
_EXTERNAL, _LOCATION, _OPERATOR, _DOMAIN = 13, 14, 4, 7
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
# Operators that name files.
_REFUSED = ("EPContext",)
_MOST_BYTES, _MOST_DEPTH = (1 << 31) - 1, 64


def read(path: pathlib.Path) -> bytes:
  """The bytes of an ONNX file that stands for itself.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is too large, is no ONNX file, or needs other files or operators of others; the
      message names the file and says what to do.
  """
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such network")
  if not 0 < path.stat().st_size <= _MOST_BYTES:
    raise ValueError(
      f"{path}: {path.stat().st_size} bytes; ONNX files have from 1 to {_MOST_BYTES}"
    )
  data = path.read_bytes()
  try:
    _check(memoryview(data), "model", 0)
  except _RefusedError as error:
    raise ValueError(f"{path}: {error}") from None
  except (IndexError, ValueError, RecursionError, UnicodeDecodeError) as error:
    raise ValueError(f"{path} is no ONNX file: {error}") from error
  return data


class _RefusedError(Exception):
  """The file has what is not run."""


def _check(data: memoryview, kind: str, depth: int) -> None:
  if depth > _MOST_DEPTH:
    raise ValueError(f"graphs are nested more than {_MOST_DEPTH} deep")
  inside = _INSIDE.get(kind, {})
  for number, value in _fields(data):
    if kind == "tensor" and (number == _EXTERNAL or (number == _LOCATION and value != 0)):
      raise _RefusedError(
        "its weights lie in another file, which is not read: save it as one file "
        "(onnx.save with save_as_external_data=False)"
      )
    if kind == "node" and number in (_OPERATOR, _DOMAIN):
      text = bytes(value).decode("utf-8")
      if (number == _DOMAIN and text not in _DOMAINS) or text in _REFUSED:
        raise _RefusedError(f"operators of {text!r:.60} are not run: export it with ONNX's own")
    if number in inside and isinstance(value, memoryview):
      _check(value, inside[number], depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
  """(number, value) of each field of a message; raises ValueError or IndexError if it is none."""
  at = 0
  while at < len(data):
    key, at = _varint(data, at)
    number, wire = key >> 3, key & 7
    if number == 0:
      raise ValueError(f"field 0 at byte {at}")
    if wire == 0:
      value, at = _varint(data, at)
      yield number, value
      continue
    if wire == 2:
      size, at = _varint(data, at)
    elif wire in (1, 5):
      size = 8 if wire == 1 else 4
    else:
      raise ValueError(f"wire type {wire} at byte {at}")
    if size > len(data) - at:
      raise ValueError(f"a field of {size} bytes at byte {at} of {len(data)}")
    yield number, data[at : at + size]
    at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    byte = data[at]
    value |= (byte & 127) << shift
    at, shift = at + 1, shift + 7
    if byte < 128:
      return value, at
    if shift > 63:
      raise ValueError(f"a number of more than 64 bits at byte {at}")
