"""The original's pairwise.pkl: its lengths, and files that must not be believed."""

import io
import os
import pickle

import numpy as np
import pytest
from scipy import sparse

from epipolar_jax import skeletons
from epipolar_jax.original import pairwise_pickle
from tests import golden_files

_SMALL = skeletons.Skeleton("small", ("a", "b", "c"), (-1, 0, 1))


def _table(length: float, bins: int = 12) -> sparse.csr_matrix:
  """As the original makes them: pairs of places within 150 mm of the length, on 2 m."""
  axis = np.linspace(-1000, 1000, bins)
  places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
  distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
  return sparse.csr_matrix(np.abs(distance - length) <= 150.0)


def _file(path, tables, protocol=4, key="pairwise_constrain"):
  path.write_bytes(pickle.dumps({key: tables}, protocol=protocol))
  return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_lengths_make_the_tables_again(tmp_path, protocol):
  tables = {(0, 1): _table(453.0, 8), (1, 2): _table(120.0, 8)}
  path = _file(tmp_path / "pairwise.pkl", tables, protocol)
  length, halfwidth = pairwise_pickle.limb_lengths(path, _SMALL)
  assert np.all(np.abs(length - [453.0, 120.0]) <= halfwidth + 0.01)
  for limb, one in zip(_SMALL.limbs, length):
    assert (_table(one, 8) != tables[limb]).nnz == 0


def test_golden_first_level_tables(tmp_path):
  """Lengths of the average person of the original's file, 12 bins a side."""
  g = golden_files.load("rpsm")
  average = {tuple(edge): x for edge, x in zip(g["edges"].tolist(), g["limb_length_avg"])}
  limbs = skeletons.H36M_17.limbs
  path = _file(tmp_path / "pairwise.pkl", {limb: _table(average[limb]) for limb in limbs})
  length, halfwidth = pairwise_pickle.limb_lengths(path, skeletons.H36M_17)
  assert np.all(np.abs(length - [average[limb] for limb in limbs]) <= halfwidth + 0.01)


class _Evil:
  def __reduce__(self):
    return os.system, ("touch owned",)


def test_files_that_must_not_be_believed(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  good = _table(700.0, 4)
  gaps = sparse.csr_matrix(np.eye(64, dtype=bool) | np.eye(64, k=63, dtype=bool))
  cut = good.copy()
  cut.indptr = cut.indptr[:-1]
  outside = good.copy()
  outside.indices = outside.indices + 10_000
  both = {(0, 1): good, (1, 2): good}
  cases = {
    "os": (_Evil(), "posix.system|nt.system"),
    "missing limb": ({(0, 1): good}, "no table for the limb from joint 1 to joint 2"),
    "not a matrix": (both | {(0, 1): np.zeros(3)}, "must hold a sparse matrix"),
    "shape": (both | {(0, 1): sparse.csr_matrix(np.ones((5, 5)))}, r"shape \(5, 5\)"),
    "gaps": (
      both | {(0, 1): gaps},
      "limb from joint 0 to joint 1: the allowed distances have gaps",
    ),
    "cut": (both | {(0, 1): cut}, "do not fit together"),
    "outside": (both | {(0, 1): outside}, "an index outside its shape"),
    "nothing": (both | {(0, 1): sparse.csr_matrix((64, 64), dtype=bool)}, "no entry"),
    "no table": ({}, "it has no dict"),
  }
  for name, (tables, message) in cases.items():
    path = _file(tmp_path / f"{name}.pkl", tables)
    with pytest.raises(pairwise_pickle.PickleError, match=message):
      pairwise_pickle.limb_lengths(path, _SMALL)
  assert not (tmp_path / "owned").exists()
  with pytest.raises(pairwise_pickle.PickleError, match="it has no dict 'pairwise_constrain'"):
    pairwise_pickle.limb_lengths(_file(tmp_path / "k.pkl", both, key="other"), _SMALL)


def test_any_damage_is_an_error_that_names_the_file(tmp_path):
  """Cut anywhere, or with any byte changed: an error of ours, or a file that still makes sense."""
  data = _file(tmp_path / "good.pkl", {(0, 1): _table(900.0, 3), (1, 2): _table(900.0, 3)})
  data = data.read_bytes()
  rng = np.random.default_rng(0)
  path = tmp_path / "damaged.pkl"
  for trial in range(300):
    broken = bytearray(data)
    if trial % 3 == 0:
      del broken[int(rng.integers(len(data))) :]
    else:
      broken[int(rng.integers(len(data)))] = int(rng.integers(256))
    path.write_bytes(broken)
    try:
      length, _ = pairwise_pickle.limb_lengths(path, _SMALL)
      assert np.isfinite(length).all()
    except pairwise_pickle.PickleError as error:
      assert str(path) in str(error)


def test_a_call_of_the_matrix_class_is_refused(tmp_path):
  """NEWOBJ makes an empty matrix; REDUCE would call scipy."""
  stream = io.BytesIO()
  stream.write(b"\x80\x04cscipy.sparse._csr\ncsr_matrix\n(tR.")
  path = tmp_path / "call.pkl"
  path.write_bytes(stream.getvalue())
  with pytest.raises(pairwise_pickle.PickleError, match="calls something"):
    pairwise_pickle.limb_lengths(path, _SMALL)
