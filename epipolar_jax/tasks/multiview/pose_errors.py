"""Errors of many poses, by alignment, joint and frame, and their means over any part of them."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from epipolar_jax import metrics

_BLOCKS, _DRAWS = 20, 1000  # of the bootstrap
ALIGNMENTS = ("absolute", "relative", "scaled", "procrustes")


class PoseErrors(NamedTuple):
  """(sum, count) of every joint of every frame; parts of a data set are merged by concatenation.

  Attributes:
    total: [n, j] each, mm, by alignment; 0 where it does not count.
    counts: [n, j] each, bool, by alignment.
  """

  total: dict[str, np.ndarray]
  counts: dict[str, np.ndarray]

  def mean(self, alignment: str, where: np.ndarray | bool = True) -> float | None:
    """Mean over the joints of `where` [n, j] (or what broadcasts); None when there are none."""
    counted = self.counts[alignment] & where
    return float(self.total[alignment][counted].mean(dtype=np.float64)) if counted.any() else None

  def interval(self, alignment: str) -> list[float] | None:
    """95 % interval of the mean over all joints, by a bootstrap over blocks of frames.

    Neighbouring frames err alike, so a split of few seconds holds less than its frames count:
    twenty blocks of consecutive frames (fewer where there are fewer frames) are drawn with
    replacement, a thousand times, with a fixed seed.

    Returns:
      [low, high], mm; None with fewer than two blocks that have a joint.

    References:
      Künsch, The Jackknife and the Bootstrap for General Stationary Observations, Annals of
      Statistics 17, 1989.
    """
    counted = self.counts[alignment]
    frames = np.where(counted, self.total[alignment], 0.0).sum(axis=1, dtype=np.float64)
    parts = np.array_split(np.arange(len(frames)), min(_BLOCKS, len(frames)) or 1)
    sums = np.array([frames[part].sum() for part in parts])
    numbers = np.array([counted[part].sum() for part in parts])
    sums, numbers = sums[numbers > 0], numbers[numbers > 0]
    if len(sums) < 2:
      return None
    drawn = np.random.default_rng(0).integers(len(sums), size=(_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / numbers[drawn].sum(axis=1)
    return [float(x) for x in np.percentile(means, (2.5, 97.5))]

  def count(self, alignment: str, where: np.ndarray | bool = True) -> int:
    """Joints of `where` that count."""
    return int((self.counts[alignment] & where).sum())


def errors(
  points: np.ndarray,
  truth: np.ndarray,
  valid: np.ndarray,
  *,
  root: int,
  clamp_mm: float | None = None,
) -> PoseErrors:
  """Errors of all joints after every alignment.

  Args:
    points, truth: [n, j, 3], mm.
    valid: [n, j]; an alignment uses these joints alone.
    root: joint that "relative" and "scaled" align.
    clamp_mm: errors above it count as it.
  """
  clamp = np.float32(np.inf if clamp_mm is None else clamp_mm)
  points, truth = np.asarray(points, np.float32), np.asarray(truth, np.float32)
  states = jax.device_get(_all_alignments(points, truth, np.asarray(valid), clamp, root=root))
  return PoseErrors(
    {name: total for name, (total, _) in states.items()},
    {name: count > 0 for name, (_, count) in states.items()},
  )


def concatenate(parts: list[PoseErrors]) -> PoseErrors:
  """Several parts together: batches, hosts or choices of cameras."""
  return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


@functools.partial(jax.jit, static_argnames="root")
def _all_alignments(points, truth, valid, clamp, *, root):
  """(sum, count) [n, j] each, by alignment."""
  aligned = {
    "absolute": lambda *pose: pose,
    "relative": functools.partial(metrics.align_root, root=root),
    "scaled": functools.partial(metrics.align_scale, root=root),
    "procrustes": metrics.align_similarity,
  }

  def one_frame(*pose):
    found = {}
    for name, align in aligned.items():
      prediction, target, counts = align(*pose)
      distance = metrics.position_errors(prediction, target, clamp=clamp)
      found[name] = metrics.masked_each(distance, counts)
    return found

  return jax.vmap(one_frame)(points, truth, valid)
