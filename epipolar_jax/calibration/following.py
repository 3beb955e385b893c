"""One person of a recording with several, even in the view of a camera that is wrong."""

import dataclasses

import numpy as np

from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import people
from epipolar_jax.rigs.rig import Rig

# A view of whose frames fewer than this share are confirmed by other views is lost.
_LEAST_CONFIRMED = 0.5


def follow(observations: Observations, rig: Rig) -> tuple[Observations, tuple[str, ...]]:
  """Keeps the person seen most, by matching across views.

  Matching drops what no second view confirms: all that a wrong camera saw. In such a view the
  detection with the largest sum of scores stands in for it, which is right where that person is
  alone or nearest.

  Returns:
    Observations [f, 1, v, j], and the views that were not confirmed.

  Raises:
    ValueError: nobody is confirmed by a second view.
  """
  found = people.match(observations, rig, people=1)
  if not found.points.shape[1]:
    raise ValueError(
      "nobody is confirmed by a second view, so that people cannot be told apart: use frames "
      "with one person"
    )
  before = observations.seen.any(axis=(1, 3)).sum(axis=0)
  after = found.seen.any(axis=(1, 3)).sum(axis=0)
  lost = after < _LEAST_CONFIRMED * before
  alone = foremost(observations)
  found = dataclasses.replace(
    found,
    points=np.where(lost[:, None, None], alone.points, found.points),
    score=np.where(lost[:, None], alone.score, found.score),
  )
  return found, tuple(name for name, is_lost in zip(observations.views, lost) if is_lost)


def foremost(observations: Observations) -> Observations:
  """In each view and frame the detection with the largest sum of scores, [f, 1, v, j]."""
  slot = observations.score.sum(axis=3).argmax(axis=1)
  frames, views = np.ogrid[: len(slot), : slot.shape[1]]
  return dataclasses.replace(
    observations,
    points=observations.points[frames, slot, views][:, None],
    score=observations.score[frames, slot, views][:, None],
    people=(),
    matched=False,
  )
