"""Pickles of protocol 0: lists of names, against Python's own, and nothing else."""

import pickle

import numpy as np
import pytest

from epipolar_jax.pickles import restricted, text_pickle
from tests import damage

_NAMES = [("net", "näse", "x"), ("net", "näse", "y"), ("net", "日本", "x")]


def test_names_as_python_pickles_them():
  for value in (_NAMES, [], [(1, _NAMES)], [None, "a\nb\\u0041"]):
    assert text_pickle.loads(pickle.dumps(value, protocol=0)) == value


class _Evil:
  def __reduce__(self):
    return (exec, ("raise SystemExit('code of a pickle was run')",))


def test_nothing_runs_and_nothing_else_is_read():
  for value in (_Evil(), [_Evil()], {"a": 1}, 1.5):
    with pytest.raises(restricted.PickleError, match="not allowed in a table's attribute"):
      text_pickle.loads(pickle.dumps(value, protocol=0))
  with pytest.raises(restricted.PickleError, match="bytes follow the pickle"):
    text_pickle.loads(pickle.dumps(_NAMES, protocol=0) + b"x")
  with pytest.raises(restricted.PickleError, match="'9999999999999999999' is not a whole number"):
    text_pickle.loads(b"I9999999999999999999\n.")


def test_damage():
  rng, whole = np.random.default_rng(0), pickle.dumps(_NAMES, protocol=0)
  for _ in range(1000):
    try:
      text_pickle.loads(damage.damage(whole, rng))
    except restricted.PickleError as error:
      assert str(error)
