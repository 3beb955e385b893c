"""Part of a data set, or the same data set in another skeleton: views of a source, made as read."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.inputs import fields

Example = dict[str, Any]


class Subset(Sequence):
  """Some examples of a source.

  Args:
    source: random access to examples.
    indices: of those to keep, in this order.
  """

  def __init__(self, source: Sequence[Example], indices: np.ndarray):
    self._source, self._indices = source, np.asarray(indices)

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, index: int) -> Example:
    return self._source[int(self._indices[index])]


class Labelled(Sequence):
  """A source whose examples say which joints are labelled, where the data do not.

  Args:
    source: random access to examples.
    rule: from an example to `labelled` [v, j] bool; a function of a module, for workers.
  """

  def __init__(self, source: Sequence[Example], rule: Callable[[Example], np.ndarray]):
    self._source, self._rule = source, rule

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    example = self._source[index]
    if "labelled" in example:
      return example
    return {**example, "labelled": self._rule(example)}


def all_joints(example: Example) -> np.ndarray:
  """[v, j] True: hidden joints are labelled like others."""
  return np.ones(np.shape(example["joints_2d"])[:-1], bool)


class UnionJoints(Sequence):
  """A source of 17 joints in the 20-joint skeleton of Human3.6M and MPII together.

  The three joints that Human3.6M lacks are at zero, not visible and not `labelled`.

  Args:
    source: examples with joints in the order of `skeletons.H36M_17`.
  """

  def __init__(self, source: Sequence[Example]):
    self._source = source

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    example = dict(self._source[index])
    example["labelled"] = fields.labelled(example)
    for name, axis in (("joints_3d", 0), ("joints_2d", 1), ("visible", 1), ("labelled", 1)):
      values = np.asarray(example[name])
      shape = [*values.shape]
      shape[axis] = skeletons.UNION_20.num_joints
      example[name] = np.zeros(shape, values.dtype)
      example[name][(slice(None),) * axis + (list(skeletons.UNION_TO_H36M),)] = values
    return example


def every(num_examples: int, step: int, left_out: Sequence[tuple[int, int]] = ()) -> np.ndarray:
  """Every `step`-th of the examples that are not left out, the first included.

  Args:
    num_examples: in the source.
    step: 1 for all.
    left_out: ranges [start, stop).

  Returns:
    [n] indices, ascending.

  Raises:
    ValueError: a step below one, or nothing is left.
  """
  if step < 1:
    raise ValueError(f"every {step}-th example: must be at least 1")
  keep = np.ones(num_examples, bool)
  for start, stop in left_out:
    keep[start:stop] = False
  indices = np.flatnonzero(keep)[::step]
  if not len(indices):
    raise ValueError(f"none of {num_examples} examples is left")
  return indices
