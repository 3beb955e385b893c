"""Joins observations of different views, frame by frame number."""

from collections.abc import Sequence

import numpy as np

from epipolar_jax.keypoints import frames
from epipolar_jax.keypoints.observations import Observations


def join(parts: Sequence[Observations], labels: Sequence[str] = ()) -> Observations:
  """All views in one, frame by frame number; who or what a view lacks was not seen.

  Args:
    parts: of different views.
    labels: what messages call them; their views without.

  Raises:
    ValueError: joints, or frames a second, differ.
  """
  labels = labels or [", ".join(part.views) for part in parts]
  joints = parts[0].joints
  for part, label in zip(parts, labels):
    if set(part.joints) != set(joints):
      odd = sorted(set(part.joints) ^ set(joints))
      raise ValueError(f"{labels[0]} and {label} differ in joints: {', '.join(odd)}")
  rates = {part.fps for part in parts} - {None}
  if len(rates) > 1:
    raise ValueError(f"frames a second differ: {', '.join(map(str, sorted(rates)))}")
  filled = [part for part in parts if len(part.score)] or parts[:1]
  first = min(part.first_frame for part in filled)
  last = max(part.first_frame + len(part.score) for part in filled)
  given = sum(len(part.score) for part in parts)
  span = frames.check_span(first, max(first, last - 1), given, ", ".join(labels))
  span = span if last > first else 0
  people = max(part.score.shape[1] for part in parts)
  views = tuple(view for part in parts for view in part.views)
  frames.check_values(span * people * len(views) * len(joints), ", ".join(labels))
  points = np.full((span, people, len(views), len(joints), 2), np.nan)
  score = np.zeros(points.shape[:-1])
  view = 0
  for part in parts:
    count, slots = part.score.shape[:2]
    order = [part.joints.index(joint) for joint in joints]
    start = part.first_frame - first if count else 0
    place = np.s_[start : start + count, :slots, view : view + len(part.views)]
    points[place], score[place] = part.points[:, :, :, order], part.score[:, :, :, order]
    view += len(part.views)
  named = {part.people for part in parts}
  sized = all(part.sizes_wh for part in parts)
  return Observations(
    points,
    score,
    joints,
    views,
    fps=next(iter(rates), None),
    sizes_wh=tuple(size for part in parts for size in part.sizes_wh) if sized else (),
    first_frame=first,
    people=next(iter(named)) if len(named) == 1 else (),
  )
