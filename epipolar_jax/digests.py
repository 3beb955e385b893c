"""Digests of arrays: a flipped bit in a stored file does not pass for a weight."""

import hashlib
from typing import Any

import jax
import numpy as np


def of_tree(tree: Any) -> dict[str, str]:
  """SHA-256 of type, shape and values of every leaf, by path; all devices hold the same."""
  return {name: _digest(x) for name, x in _leaves(tree).items()}


def paths(tree: Any) -> list[str]:
  """The names `of_tree` gives to the leaves."""
  found = jax.tree_util.tree_flatten_with_path(tree)[0]
  return [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in found]


def faults(tree: Any, recorded: dict[str, str] | None) -> list[str]:
  """What is wrong with arrays that were read: one line for each leaf.

  Args:
    tree: as read.
    recorded: `of_tree` when they were written; None for files that are older than digests, of
      which only numbers that are not finite are noticed.
  """
  found = []
  for name, x in _leaves(tree).items():
    if recorded is not None and recorded.get(name) != _digest(x):
      found.append(f"{name}: its digest is not the one recorded when it was written")
    elif jax.numpy.issubdtype(x.dtype, np.inexact) and not np.isfinite(x).all():
      found.append(f"{name}: {int((~np.isfinite(x)).sum())} of {x.size} numbers are not finite")
  return found


def _digest(x: np.ndarray) -> str:
  head = f"{x.dtype.name} {x.shape} ".encode()
  return hashlib.sha256(head + np.ascontiguousarray(x).tobytes()).hexdigest()


def _leaves(tree: Any) -> dict[str, np.ndarray]:
  return dict(zip(paths(tree), map(_host, jax.tree.leaves(tree))))


def _host(x: Any) -> np.ndarray:
  # Of an array of a job this process has its own devices' copies only; one is enough.
  return np.asarray(x.addressable_data(0) if isinstance(x, jax.Array) else x)
