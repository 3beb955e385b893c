"""Butterworth low-pass filter of joints over time, forward and backward: no delay."""

import dataclasses
import math

import numpy as np
from scipy import signal

from epipolar_jax.keypoints import gaps
from epipolar_jax.triangulation.estimate import Estimate

# Of each of the two passes; together they are the "fourth order" of biomechanics.
_ORDER = 2
# Shorter stretches are left alone; others are continued at both ends, mirrored at a point, by so
# many periods of the cut-off that the filter has forgotten where it began.
_LEAST_FRAMES, _PERIODS = 10, 2.0


def smooth(estimate: Estimate, *, fps: float, cutoff_hz: float = 6.0) -> Estimate:
  """The joints without what is faster than a cut-off.

  Each stretch of frames without a gap is filtered by itself; one of fewer than ten frames stays
  as it is. Covariances stay those of single frames.

  Args:
    estimate: of any number of people.
    fps: frames a second.
    cutoff_hz: frequency of which half the amplitude is left (each pass is 3 dB down there).

  Raises:
    ValueError: the cut-off is not between 0 and half the frame rate.
  """
  check(fps, cutoff_hz)
  sections = signal.butter(_ORDER, cutoff_hz, fs=fps, output="sos")
  margin = math.ceil(_PERIODS * fps / cutoff_hz)
  points = estimate.points.copy()
  for person, joint in np.ndindex(estimate.valid.shape[1:]):
    for start, end in gaps.runs(estimate.valid[:, person, joint]):
      if end - start >= _LEAST_FRAMES:
        part, padding = np.s_[start:end, person, joint], min(margin, end - start - 1)
        points[part] = signal.sosfiltfilt(sections, points[part], axis=0, padlen=padding)
  return dataclasses.replace(estimate, points=points)


def check(fps: float, cutoff_hz: float) -> None:
  """Raises ValueError if frames are too few a second for a cut-off, or it is not above 0."""
  if not 0 < cutoff_hz < fps / 2:
    raise ValueError(
      f"a cut-off at {cutoff_hz:g} Hz is not between 0 and half of {fps:g} frames a second"
    )
