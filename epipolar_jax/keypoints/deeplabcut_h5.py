"""DeepLabCut's and Lightning Pose's h5: the csv's table as pandas stores it (`df_with_missing`).

pandas has two layouts: one of PyTables' own (a table with the names of its columns in a pickled
attribute, which is read here without running anything) and "fixed" (levels and codes).
"""

import numpy as np

from epipolar_jax.keypoints import deeplabcut, hdf5
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.keypoints.sources import Source
from epipolar_jax.pickles import text_pickle

_KEYS = ("df_with_missing", "tracks")
_MOST_BLOCKS = 64


def recognise(source: Source) -> bool:
  """An HDF5 file with a pandas table under the key that DeepLabCut uses."""
  if source.kind != "hdf5":
    return False
  with hdf5.opened(source.path) as file:
    return _key(file) is not None


def read(source: Source, joint_set: str | None) -> Observations:
  """Reads one camera's file as `deeplabcut.read` does its csv.

  Raises:
    ValueError: the file is damaged or its columns are not DeepLabCut's; names the part.
    ModuleNotFoundError: h5py is not installed.
  """
  with hdf5.opened(source.path) as file:
    key = _key(file)
    reader = _table if file.is_dataset(f"{key}/table") else _fixed
    names, values, index = reader(file, key)
  levels = {len(name) for name in names}
  if not names or levels - {3, 4} or len(levels) > 1 or values.shape[1] != len(names):
    raise ValueError(
      f"{source.path}: {values.shape[1]} columns with {len(names)} names of {levels} levels; "
      "DeepLabCut's have 3 (scorer, bodyparts, coords), or 4 with individuals"
    )
  columns = [("", *name[1:]) if len(name) == 3 else name[1:] for name in names]
  numbers = deeplabcut.frame_numbers([[entry] for entry in index])
  return deeplabcut.arrange(source.path, columns, values, numbers)


def _key(file: hdf5.File) -> str | None:
  kinds = {key: file.attribute(key, "pandas_type") for key in _KEYS if file.has(key)}
  return next((key for key, kind in kinds.items() if kind in ("frame_table", "frame")), None)


def _table(file: hdf5.File, key: str) -> tuple[list[tuple[str, ...]], np.ndarray, list[str]]:
  """Names, values [f, c] and index of PyTables' layout."""
  name = f"{key}/table"
  table = file.array(name, "V", 1)
  fields = table.dtype.names or ()
  blocks = [f"values_block_{i}" for i in range(_MOST_BLOCKS) if f"values_block_{i}" in fields]
  names, parts = [], []
  for block in blocks:
    text = file.attribute(name, f"{block}_kind")
    if not isinstance(text, str):
      raise ValueError(f"{file.path}, {name}: {block} has no names of columns")
    names += _names(file, text_pickle.loads(text.encode("latin1", "replace")))
    if table[block].dtype.kind not in "fiub" or table[block].ndim != 2:
      raise ValueError(f"{file.path}, {name}: {block} holds no rows of numbers")
    parts.append(table[block].astype(np.float64))
  if not parts or "index" not in fields:
    raise ValueError(f"{file.path}, {name}: its columns are {', '.join(fields)}")
  return names, np.concatenate(parts, axis=1), _index(table["index"])


def _names(file: hdf5.File, value) -> list[tuple[str, ...]]:
  rows = value if isinstance(value, list) else []
  good = all(isinstance(row, tuple) and all(isinstance(x, str) for x in row) for row in rows)
  if not good or not rows:
    raise ValueError(f"{file.path}: the names of its columns are no list of tuples of texts")
  return rows


def _fixed(file: hdf5.File, key: str) -> tuple[list[tuple[str, ...]], np.ndarray, list[str]]:
  """Names, values [f, c] and index of pandas' fixed layout."""
  blocks = [i for i in range(_MOST_BLOCKS) if file.is_dataset(f"{key}/block{i}_values")]
  names, parts = [], []
  for i in blocks:
    names += _multi(file, f"{key}/block{i}_items")
    parts.append(file.array(f"{key}/block{i}_values", "fiu", 2).astype(np.float64))
  if not parts or len({len(part) for part in parts}) != 1:
    raise ValueError(f"{file.path}, {key}: its blocks of values differ in length, or there is none")
  if file.is_dataset(f"{key}/axis1"):
    values = file.array(f"{key}/axis1", "iufS", 1)
    index = _index(values)
  else:
    index = [row[-1] for row in _multi(file, f"{key}/axis1")]
  values = np.concatenate(parts, axis=1)
  if len(index) != len(values):
    raise ValueError(f"{file.path}, {key}: {len(index)} rows are named, {len(values)} have values")
  return names, values, index


def _multi(file: hdf5.File, name: str) -> list[tuple[str, ...]]:
  """The entries of a multi-level index: a code per level, into the texts of the level."""
  columns = []
  while file.is_dataset(f"{name}_level{len(columns)}") and len(columns) < 8:
    level = file.texts(f"{name}_level{len(columns)}")
    codes = file.array(f"{name}_label{len(columns)}", "iu", 1)
    if len(codes) and not (codes.min() >= 0 and codes.max() < len(level)):
      raise ValueError(f"{file.path}, {name}: a code is beyond the {len(level)} texts of its level")
    columns.append([level[code] for code in codes])
  if not columns or len({len(column) for column in columns}) != 1:
    raise ValueError(f"{file.path}, {name}: no index of several levels")
  return list(zip(*columns))


def _index(values: np.ndarray) -> list[str]:
  texts = values.tolist()
  return [x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in texts]
