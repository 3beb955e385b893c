"""Reads pickles of numpy arrays and plain containers, as data sets ship them, without running them.

Annotations of pose data sets are dicts and lists of arrays, pickled. `load` reads protocols 2 to 5
as Python and any numpy write them. Anything but data in the file is refused.
"""

import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from epipolar_jax.pickles import restricted

PickleError = restricted.PickleError

# Booleans, whole numbers and floating-point numbers.
_NUMBERS = re.compile("b1|[iu][1248]|f[248]")
_MAX_AXES = 8


def load(path: str | os.PathLike) -> Any:
  """Reads a pickle file.

  Args:
    path: of the file. It is read whole; the values take about as much memory as the file.

  Returns:
    Dicts, lists, tuples, texts, bytes, numbers (numpy's become Python's), booleans, None and
    read-only numpy arrays of numbers.

  Raises:
    FileNotFoundError: no such file.
    PickleError: a damaged file, or one that holds something else; the message names the file.
  """
  path = pathlib.Path(path)
  try:
    return loads(path.read_bytes())
  except PickleError as error:
    raise PickleError(f"{path}: {error}") from error


def loads(data: bytes) -> Any:
  """Reads a pickle from memory; see `load`.

  Raises:
    PickleError: a damaged pickle, or one that holds something else.
  """
  machine = Machine(data)
  value = machine.run()
  if machine.unfinished:
    raise PickleError("damaged pickle: an array without contents")
  if machine.position != len(data):
    raise PickleError(f"{len(data) - machine.position} bytes follow the pickle")
  return value


class _Unfinished:
  """An array or a dtype whose state comes next; the memo may hold it already.

  Attributes:
    code: of the dtype, for example "f8"; None for an array.
    value: the finished object, once its state has come.
  """

  __slots__ = ("code", "value")

  def __init__(self, code: str | None):
    self.code, self.value = code, None


class Machine(restricted.Machine):
  """Knows bytes too, and how numpy pickles."""

  kind = "an annotation file"
  hint = "only numpy arrays of numbers, and dicts, lists and tuples of them and of texts, are read"

  def __init__(self, data: bytes):
    functions = {
      "__builtin__.bytes": _no_bytes,
      "_codecs.encode": self.encode,
      "numpy.dtype": _new_dtype,
    }
    # numpy 2 renamed its inner packages.
    for core in ("numpy.core", "numpy._core"):
      functions[f"{core}.multiarray._reconstruct"] = _new_array
      functions[f"{core}.multiarray.scalar"] = self.scalar
      functions[f"{core}.numeric._frombuffer"] = self.view
    names = frozenset({"numpy.ndarray"})
    super().__init__(data, 0, functions=functions, names=names, persistent_load=None)
    self.unfinished = 0
    # A text that is recalled again and again must not become more bytes than the file has.
    self._left = len(data)

  def binary(self, layout: str) -> None:
    self.push(self.take(self.number(layout)))

  def get(self, layout: str) -> None:
    super().get(layout)
    value = self.stack[-1]
    if type(value) is _Unfinished:
      if value.value is None:
        raise PickleError("damaged pickle: an array is used before its contents come")
      self.stack[-1] = value.value

  def call(self) -> None:
    super().call()
    self.unfinished += type(self.stack[-1]) is _Unfinished

  def build(self) -> None:
    state, target = self.pop(), self.pop()
    if type(target) is not _Unfinished or type(state) is not tuple:
      raise PickleError(f"it sets the state of an object, which is not allowed in {self.kind}")
    target.value = self.array(state) if target.code is None else _dtype(target.code, state)
    self.unfinished -= 1
    self.push(target.value)

  def array(self, state: tuple[Any, ...]) -> np.ndarray:
    """An array from its state: version, shape, dtype, column-major?, contents."""
    if len(state) != 5:
      raise PickleError("damaged pickle: not the state of an array")
    _, shape, dtype, by_columns, contents = state
    return self.view((contents, dtype, shape, "F" if by_columns is True else "C"))

  def view(self, arguments: tuple[Any, ...]) -> np.ndarray:
    """Bytes as a read-only array, given as many as the shape needs."""
    if len(arguments) != 4:
      raise PickleError("damaged pickle: not the contents of an array")
    contents, dtype, shape, order = arguments
    if type(contents) is str:
      # Python 2 writes bytes as texts.
      contents = self.encode((contents, "latin1"))
    if not isinstance(dtype, np.dtype):
      raise PickleError(f"an array of {restricted.show(dtype)}; only numbers are allowed")
    good = type(contents) is bytes and order in ("C", "F") and type(shape) is tuple
    good = good and len(shape) <= _MAX_AXES
    size = restricted.show(shape)
    if not good or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
      raise PickleError(f"damaged pickle: an array of shape {size}")
    needed = math.prod(shape) * dtype.itemsize
    if len(contents) != needed:
      raise PickleError(f"an array of shape {size} needs {needed} bytes, not {len(contents)}")
    return np.frombuffer(contents, dtype).reshape(shape, order=order)

  def scalar(self, arguments: tuple[Any, ...]) -> int | float | bool:
    """A numpy number, as Python's."""
    if len(arguments) != 2:
      raise PickleError("damaged pickle: not a number")
    return self.view((arguments[1], arguments[0], (), "C")).item()

  def encode(self, arguments: tuple[Any, ...]) -> bytes:
    """Bytes that were written as text, which is how Python 3 puts them into protocol 2."""
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] != "latin1":
      raise PickleError("damaged pickle: bytes that were not encoded as latin1")
    self._left -= len(arguments[0])
    if self._left < 0:
      raise PickleError("damaged pickle: its arrays are larger than the file")
    try:
      return arguments[0].encode("latin1")
    except UnicodeEncodeError as error:
      raise PickleError("damaged pickle: bytes beyond 255") from error


def _dtype(code: str, state: tuple[Any, ...]) -> np.dtype:
  """A dtype from its code and its state, of which only the byte order matters for numbers."""
  if len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
    raise PickleError("damaged pickle: not the state of a dtype")
  return np.dtype(state[1] + code)


def _new_array(arguments: tuple[Any, ...]) -> _Unfinished:
  """An array that is still empty; its state brings the rest."""
  return _Unfinished(None)


def _new_dtype(arguments: tuple[Any, ...]) -> _Unfinished:
  code = arguments[0] if arguments else None
  if type(code) is not str or not _NUMBERS.fullmatch(code):
    raise PickleError(f"arrays of dtype {restricted.show(code)}; only numbers are allowed")
  return _Unfinished(code)


def _no_bytes(arguments: tuple[Any, ...]) -> bytes:
  """Empty bytes in protocol 2."""
  if arguments:
    raise PickleError("damaged pickle: it makes bytes of a value")
  return b""


Machine.steps = {
  **restricted.Machine.steps,
  b"R": Machine.call,
  b"b": Machine.build,
  b"B": lambda m: m.binary("<I"),
  b"C": lambda m: m.binary("<B"),
  b"\x8e": lambda m: m.binary("<Q"),
  b"\x96": lambda m: m.binary("<Q"),
}
