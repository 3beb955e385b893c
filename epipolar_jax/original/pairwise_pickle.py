"""Reads the original's `pairwise.pkl`: which pairs of grid places a limb allows; executes nothing.

The file holds, for every limb, a sparse table over all pairs of places of the pictorial structure
model's first grid. A pair is allowed if its distance is within a tolerance of the limb's length in
an average person, so the length can be told from the table to within the spacing of distances.
"""

import itertools
import os
import pathlib
from typing import Any

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.pickles import numpy_pickle, restricted

PickleError = restricted.PickleError

_KEY = "pairwise_constrain"
_MATRICES = ("scipy.sparse._csr.csr_matrix", "scipy.sparse.csr.csr_matrix")
_MOST_BINS = 32


def limb_lengths(
  path: str | os.PathLike,
  skeleton: skeletons.Skeleton,
  *,
  grid_size_mm: float = 2000.0,
  tolerance_mm: float = 150.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Limb lengths that make the tables of a file.

  Args:
    path: of the pickle.
    skeleton: whose (parent, child) pairs are the file's limbs.
    grid_size_mm: side of the grid the tables were made on.
    tolerance_mm: largest difference from the limb's length they were made with.

  Returns:
    length: [l], mm, in the order of `skeleton.limbs`: the middle of the lengths that give exactly
      the table.
    halfwidth: [l], mm, how far those lengths reach either way.

  Raises:
    FileNotFoundError: no such file.
    PickleError: damaged, not such a file, or tables that no length gives; the message names the
      file.
  """
  path = pathlib.Path(path)
  try:
    tables = _tables(_loads(path.read_bytes()))
    found = []
    for parent, child in skeleton.limbs:
      if (parent, child) not in tables:
        raise PickleError(f"no table for the limb from joint {parent} to joint {child}")
      try:
        found.append(_interval(tables[parent, child], grid_size_mm, tolerance_mm))
      except PickleError as error:
        raise PickleError(f"limb from joint {parent} to joint {child}: {error}") from error
  except PickleError as error:
    raise PickleError(f"{path}: {error}") from error
  low, high = np.array(found).T
  return (low + high) / 2, (high - low) / 2


class _Matrix:
  """A sparse matrix whose attributes come next, then have come."""

  __slots__ = ("attributes",)

  def __init__(self):
    self.attributes: dict[str, Any] | None = None


class _Machine(numpy_pickle.Machine):
  """Knows sparse matrices and keys that are pairs of numbers too."""

  kind = "a file of pairwise tables"
  hint = "only dicts, numpy arrays of numbers and scipy's csr_matrix are read"

  def __init__(self, data: bytes):
    super().__init__(data)
    self.functions |= dict.fromkeys(_MATRICES)

  def new_object(self) -> None:
    arguments, kind = self.pop(), self.pop()
    if type(kind) is not restricted.Global or kind.name not in _MATRICES or arguments != ():
      raise PickleError(f"it makes an object that is not allowed in {self.kind}: {self.hint}")
    self.push(_Matrix())

  def call(self) -> None:
    function = self.stack[-2] if len(self.stack) > 1 else None
    if type(function) is restricted.Global and function.name in _MATRICES:
      raise PickleError(f"it calls something that is not a function of {self.kind}")
    super().call()

  def build(self) -> None:
    state = self.pop()
    target = self.pop()
    if type(target) is not _Matrix:
      self.push(target)
      self.push(state)
      super().build()
      return
    if type(state) is not dict or target.attributes is not None:
      raise PickleError("damaged pickle: not the state of a sparse matrix")
    target.attributes = state
    self.push(target)

  def set_items(self, values: list[Any]) -> None:
    target = self.top(dict)
    if len(values) % 2:
      raise PickleError("damaged pickle: a key without a value")
    for key, value in zip(values[::2], values[1::2]):
      pair = type(key) is tuple and [type(x) for x in key] == [int, int]
      target[key if pair else restricted.check_key(key)] = value


_Machine.steps = {
  **numpy_pickle.Machine.steps,
  b"R": _Machine.call,
  b"b": _Machine.build,
  b"s": lambda m: m.set_items(m.pair()),
  b"u": lambda m: m.set_items(m.pop_mark()),
  b"\x81": _Machine.new_object,
}


def _loads(data: bytes) -> Any:
  machine = _Machine(data)
  value = machine.run()
  if machine.unfinished or machine.position != len(data):
    raise PickleError("damaged pickle: it is unfinished, or something follows it")
  return value


def _tables(content: Any) -> dict[tuple[int, int], dict[str, Any]]:
  """The attributes of every limb's matrix, by (parent, child)."""
  tables = content.get(_KEY) if type(content) is dict else None
  if type(tables) is not dict or not tables:
    raise PickleError(f"it has no dict {_KEY!r}")
  for limb, table in tables.items():
    if type(table) is not _Matrix or table.attributes is None or type(limb) is not tuple:
      raise PickleError(f"{_KEY} must hold a sparse matrix for every (parent, child)")
  return {limb: table.attributes for limb, table in tables.items()}


def _interval(table: dict[str, Any], grid_size_mm: float, tolerance_mm: float) -> tuple:
  """Shortest and longest limb that gives a table."""
  allowed, spacing, squares = _allowed_squares(table, grid_size_mm)
  # Distances of the grid next to the nearest and to the farthest that are allowed.
  below, above = squares[squares < allowed[0]], squares[squares > allowed[-1]]
  if not np.array_equal(allowed, squares[(squares >= allowed[0]) & (squares <= allowed[-1])]):
    raise PickleError("the allowed distances have gaps: not a limb length with a tolerance")
  near, far = spacing * np.sqrt(allowed[0]), spacing * np.sqrt(allowed[-1])
  low, high = max(far - tolerance_mm, 0.0), near + tolerance_mm
  if len(below):
    low = max(low, spacing * np.sqrt(below[-1]) + tolerance_mm)
  if len(above):
    high = min(high, spacing * np.sqrt(above[0]) - tolerance_mm)
  if low > high + 0.01:
    raise PickleError(
      f"no length allows distances from {near:.0f} to {far:.0f} mm with a tolerance of "
      f"{tolerance_mm:g} mm on a grid of {grid_size_mm:g} mm"
    )
  return low, max(low, high)


def _allowed_squares(table: dict[str, Any], grid_size_mm: float) -> tuple:
  """Squared distances that a table allows and the spacing of its grid, and all there are; sorted.

  Squares are in spacings; entries of the matrix that are zero do not allow.
  """
  shape = table.get("_shape")
  bins = round(shape[0] ** (1 / 3)) if type(shape) is tuple and type(shape[0]) is int else 0
  if not 2 <= bins <= _MOST_BINS or shape != (bins**3, bins**3):
    raise PickleError(
      f"a table of shape {restricted.show(shape)}; it must be n³ x n³, n up to {_MOST_BINS}"
    )
  starts, columns, values = (table.get(name) for name in ("indptr", "indices", "data"))
  vectors = all(isinstance(x, np.ndarray) and x.ndim == 1 for x in (starts, columns, values))
  if not vectors or starts.dtype.kind not in "iu" or columns.dtype.kind not in "iu":
    raise PickleError("a sparse matrix without its arrays")
  counts = np.diff(starts.astype(np.int64))
  fits = len(starts) == bins**3 + 1 and len(columns) == len(values) == starts[-1]
  if not fits or starts[0] != 0 or (counts < 0).any() or not len(columns):
    raise PickleError("a sparse matrix whose arrays do not fit together, or with no entry")
  if columns.min() < 0 or columns.max() >= bins**3:
    raise PickleError("a sparse matrix with an index outside its shape")
  rows = np.repeat(np.arange(bins**3), counts)[values != 0]
  columns = columns[values != 0].astype(np.int64)
  place = np.stack(np.unravel_index(np.arange(bins**3), (bins,) * 3), axis=-1)
  allowed = np.unique(np.sum((place[rows] - place[columns]) ** 2, axis=-1))
  if not len(allowed):
    raise PickleError("a table that allows nothing")
  steps = np.arange(bins) ** 2
  squares = np.unique([sum(x) for x in itertools.product(steps, repeat=3)])
  return allowed, grid_size_mm / (bins - 1), squares
