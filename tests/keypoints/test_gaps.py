"""Runs of frames with a point and without."""

import numpy as np

from epipolar_jax.keypoints import gaps


def test_runs_and_short_gaps():
  valid = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0], bool)
  assert gaps.runs(valid) == [(1, 2), (4, 6), (7, 8)]
  np.testing.assert_array_equal(np.flatnonzero(gaps.short(valid, 2)), [2, 3, 6])
  np.testing.assert_array_equal(np.flatnonzero(gaps.short(valid, 1)), [6])
