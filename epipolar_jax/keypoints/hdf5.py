"""HDF5 files of other tools, read with care: sizes before contents, nothing outside the file.

h5py is an optional package (the extra `files`).
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

# Compressed data may unpack to much more; a file of gaps alone to a thousand times its size.
_MOST_BYTES = 8 << 30
_ALWAYS_BYTES, _MOST_RATIO = 64 << 20, 2000
_MOST_TEXTS = 100_000


def library():
  """The module h5py.

  Raises:
    ModuleNotFoundError: it is not installed; the message says what to do.
  """
  try:
    import h5py
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "HDF5 files (.h5, .slp) need h5py: pip install h5py", name="h5py"
    ) from error
  return h5py


class File:
  """What readers take from an open file; each method raises ValueError, naming the dataset."""

  def __init__(self, path: pathlib.Path, handle):
    self.path, self._handle = path, handle
    self._left = min(_MOST_BYTES, _ALWAYS_BYTES + _MOST_RATIO * path.stat().st_size)

  def has(self, name: str) -> bool:
    """Whether there is such a group or dataset in the file itself."""
    return self._get(name) is not None

  def is_dataset(self, name: str) -> bool:
    return isinstance(self._get(name), library().Dataset)

  def array(self, name: str, kinds: str, ndim: int) -> np.ndarray:
    """A dataset of numbers (kinds: numpy's letters, V for a table) with so many axes."""
    dataset = self._dataset(name)
    with self._faults(name):
      kind, shape = dataset.dtype.kind, dataset.shape
      if kind not in kinds or shape is None or len(shape) != ndim:
        raise ValueError(f"should have {ndim} axes of kind {kinds}; it has {shape} of {kind}")
      if dataset.external or dataset.is_virtual:
        raise ValueError("lies in another file")
      self._take(dataset.dtype.itemsize * int(np.prod(shape, dtype=object)))
      return np.asarray(dataset[()])

  def texts(self, name: str, *, fixed: bool = False) -> list[str]:
    """A dataset of texts; fixed: all of one stated length, as one may read in this process."""
    dataset = self._dataset(name)
    with self._faults(name):
      size = dataset.shape and dataset.shape[0]
      if (
        dataset.ndim != 1
        or dataset.dtype.kind not in ("S" if fixed else "SO")
        or size > _MOST_TEXTS
      ):
        raise ValueError(f"should be a list of texts; it is {dataset.shape} of {dataset.dtype}")
      self._take(dataset.dtype.itemsize * size)
      return [_text(value) for value in dataset[()].tolist()]

  def attribute(self, name: str, key: str) -> Any:
    """An attribute as text, number or array of numbers; None if there is none."""
    with self._faults(f"{name or 'the file'}, attribute {key}"):
      owner = self._get(name)
      if owner is None or key not in owner.attrs:
        return None
      value = owner.attrs[key]
      return _text(value) if isinstance(value, bytes | str | np.bytes_) else value

  def _get(self, name: str):
    with self._faults(name):
      here = self._handle
      for part in name.strip("/").split("/"):
        if not part:
          continue
        if not isinstance(here, library().Group) or part not in here:
          return None
        if isinstance(here.get(part, getlink=True), library().ExternalLink):
          raise ValueError("is a link to another file")
        here = here[part]
      return here

  def _dataset(self, name: str):
    found = self._get(name)
    if not isinstance(found, library().Dataset):
      raise ValueError(f"{self.path}: has no dataset {name}")
    return found

  def _take(self, count: int) -> None:
    self._left -= count
    if self._left < 0:
      raise ValueError(f"would take {count:,} bytes, which is too much for such a file")

  @contextlib.contextmanager
  def _faults(self, name: str) -> Iterator[None]:
    try:
      yield
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
      if str(error).startswith(str(self.path)):
        raise
      raise ValueError(f"{self.path}, {name}: {str(error)[:300]}") from error


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[File]:
  """Opens a file to read.

  Raises:
    ValueError: it is damaged.
    ModuleNotFoundError: h5py is not installed.
  """
  h5py = library()
  try:
    handle = h5py.File(path, "r")
  except (OSError, RuntimeError, ValueError, KeyError) as error:
    raise ValueError(f"{path}: a damaged HDF5 file: {str(error)[:300]}") from error
  with handle:
    yield File(path, handle)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator:
  """An HDF5 file to write that appears at the path when it is complete.

  Raises:
    ModuleNotFoundError: h5py is not installed.
  """
  h5py = library()
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    with h5py.File(temporary, "w") as file:
      yield file
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def _text(value: Any) -> str:
  if isinstance(value, bytes):
    return value.decode("utf-8")
  if not isinstance(value, str):
    raise ValueError(f"a {type(value).__name__} where a text belongs")
  return value
