"""Observations: what is not seen, what is refused."""

import numpy as np
import pytest

from epipolar_jax.keypoints.observations import Observations


def _made(points=None, score=None, **names):
  points = np.zeros((2, 1, 3, 4, 2)) + 5.0 if points is None else points
  score = np.full((2, 1, 3, 4), 0.5) if score is None else score
  names = {"joints": tuple("abcd"), "views": ("x", "y", "z")} | names
  return Observations(points, score, **names)


def test_not_seen_is_nan_and_score_0_whichever_of_the_two_says_so():
  points, score = np.full((2, 1, 3, 4, 2), 5.0), np.full((2, 1, 3, 4), 0.5)
  points[0, 0, 0, 0, 1] = np.nan
  points[0, 0, 0, 1] = np.inf
  score[0, 0, 0, 2] = 0.0
  score[0, 0, 0, 3] = np.nan
  made = _made(points, score)
  np.testing.assert_array_equal(made.seen[0, 0, 0], [False] * 4)
  assert np.isnan(made.points[0, 0, 0]).all() and not made.score[0, 0, 0].any()
  assert made.seen.sum() == 20 and np.isfinite(made.points[made.seen]).all()
  assert points[0, 0, 0, 2, 0] == 5.0, "the given array was changed"


def test_views_by_name():
  points = np.arange(3.0).reshape(1, 1, 3, 1, 1) * np.ones((1, 1, 3, 4, 2))
  made = _made(points, np.ones((1, 1, 3, 4)), sizes_wh=((1, 2), (3, 4), (5, 6)))
  chosen = made.select(views=("z", "x"))
  assert chosen.views == ("z", "x") and chosen.sizes_wh == ((5, 6), (1, 2))
  np.testing.assert_array_equal(chosen.points[0, 0, :, 0, 0], [2.0, 0.0])
  with pytest.raises(ValueError, match="no keypoints of view w; there are x, y, z"):
    made.select(views=("x", "w"))


def test_what_does_not_belong_together_is_refused():
  with pytest.raises(ValueError, match=r"with 3 views and 3 joints; got points \[2, 1, 3, 4, 2\]"):
    _made(joints=tuple("abc"))
  with pytest.raises(ValueError, match="more than one view is called x"):
    _made(views=("x", "x", "z"))
  with pytest.raises(ValueError, match="more than one joint is called a"):
    _made(joints=tuple("aabc"))
  with pytest.raises(ValueError, match="2 image sizes for 3 views"):
    _made(sizes_wh=((1, 2), (3, 4)))
  with pytest.raises(ValueError, match="2 names for 1 people"):
    _made(people=("a", "b"))
  score = np.full((2, 1, 3, 4), 0.5)
  score[1, 0, 2, 3] = 5.9
  with pytest.raises(ValueError, match=r"frame 1, person 0, view z, joint d has 5.9 \(1 such\)"):
    _made(score=score)
