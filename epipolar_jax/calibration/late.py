"""A view that started before or after the others: by how many frames, and how sure that is."""

from typing import NamedTuple

import numpy as np

from epipolar_jax.calibration import offsets, timing
from epipolar_jax.calibration.recording import LEAST_POINTS, Judged, Recording, median

# Parts of a frame tried around the best time offset, each around the best of the one before.
_PARTS = (0.25, 0.125, 0.0625)
# An offset that is sure leaves this share of the error at most, both smoothed alike; is not shorter
# than this, frames; and gains so much log likelihood. By chance the best of 60 offsets gains up to
# 36 with 6 px of noise, 4 with 2 px.
_SHARE, _SHORTEST, _LEAST_GAIN = 0.85, 0.5, 50.0


class Late(NamedTuple):
  """What the others show in frame f a view shows in frame f + offset.

  Attributes:
    offset: frames; not 0.
    ideal: [n·j, 2], what the view saw then, px without lens distortion.
    gain: log likelihood that it gains, where noise of the keypoints does not explain that; else 0.
  """

  offset: float
  ideal: np.ndarray
  gain: float


def find(recording: Recording, given: Judged, view: int) -> Late:
  """The time offset of a view that agrees best with the others."""
  frames, most = recording.frames, offsets.MOST_OFFSET
  wanted = np.unique(frames[:, None] + np.arange(-most - 4, most + 5))
  wanted = wanted[(wanted >= 0) & (wanted < recording.points.shape[1])]
  joints = len(recording.joints)
  table = np.full((recording.points.shape[1], joints, 2), np.nan)
  seen = recording.undistort(view, recording.points[view, wanted])
  table[wanted] = seen.reshape(-1, joints, 2)

  def off(offset: float, sample) -> np.ndarray:
    moved = sample(table, frames + offset).reshape(-1, 2)
    return recording.off(given, view, recording.poses[view], moved)

  def error(offset: float, sample=timing.sample) -> float:
    return float(np.nan_to_num(median(off(offset, sample)), nan=np.inf))

  best: float = min((x for x in range(-most, most + 1) if x), key=error)
  for part in _PARTS:
    steps = (-3, -2, -1, 0, 1, 2, 3) if part == _PARTS[0] else (-1, 0, 1)
    # Linear interpolation is noisiest at whole frames, and would prefer parts of them.
    near = [best + i * part for i in steps if best + i * part]
    best = min(near, key=lambda x: error(x, offsets.smooth))
  ideal = timing.sample(table, frames + best).reshape(-1, 2)
  return Late(best, ideal, _gain(best, off(0.0, offsets.smooth), off(best, offsets.smooth)))


def _gain(offset: float, before: np.ndarray, after: np.ndarray) -> float:
  """What an offset gains by which distances [n] fell; 0 if that may be chance."""
  known = np.isfinite(before) & np.isfinite(after)
  if known.sum() < LEAST_POINTS or abs(offset) < _SHORTEST:
    return 0.0
  before, after = before[known], after[known]
  scale = max(float(np.median(after)), 1e-6)
  gain = np.log1p((before / scale) ** 2).sum() - np.log1p((after / scale) ** 2).sum()
  clear = np.median(after) < _SHARE * np.median(before) and gain > _LEAST_GAIN
  return float(gain) if clear else 0.0
