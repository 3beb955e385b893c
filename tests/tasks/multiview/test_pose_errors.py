"""The interval of a mean error over frames that err alike."""

import numpy as np

from epipolar_jax.tasks.multiview import pose_errors


def _errors(total, counts=None):
  counts = np.ones(total.shape, bool) if counts is None else counts
  return pose_errors.PoseErrors({"absolute": total}, {"absolute": counts})


def test_the_interval_covers_the_mean_as_often_as_it_says():
  rng = np.random.default_rng(0)
  # Independent frames, and frames in runs of twenty that err alike.
  for length, lowest in ((1, 0.9), (20, 0.88)):
    hits = 0
    for _ in range(200):
      runs = rng.normal(30.0, 5.0, (400 // length, 1))
      total = np.repeat(runs, length, axis=0) + rng.normal(0.0, 1.0, (400, 17))
      low, high = _errors(total).interval("absolute")
      hits += low <= 30.0 <= high
    assert lowest <= hits / 200 <= 0.98, length


def test_joints_that_do_not_count_are_in_no_interval():
  total = np.full((40, 3), 7.0)
  counts = np.ones((40, 3), bool)
  total[5:, 1], counts[5:, 1] = 1e6, False
  assert _errors(total, counts).interval("absolute") == [7.0, 7.0]


def test_one_block_has_no_interval():
  assert _errors(np.ones((1, 3))).interval("absolute") is None
  assert _errors(np.ones((0, 3))).interval("absolute") is None
  counts = np.zeros((40, 3), bool)
  counts[3] = True
  assert _errors(np.ones((40, 3)), counts).interval("absolute") is None
