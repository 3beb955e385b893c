"""The tracker finds, follows, loses and finds a person, on images whose joints are known."""

import numpy as np

from epipolar_jax.footage import tracker
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.footage import dots

_RIG = walkers.ring(3)


def _points(part):
  names = dots.DotDetector.skeleton.joints
  seen = Observations(part.own[:, None], part.own_score[:, None], names, _RIG.names)
  return estimate.triangulate(seen, _RIG.cameras).points[:, 0]


def test_a_person_is_found_and_followed():
  points = dots.spread(8)
  frames = dots.draw(points, _RIG)
  detector = dots.DotDetector()
  track = tracker.Tracker(detector, _RIG)
  part, pose = track(frames, None)
  assert part.found.all()
  first = detector.windows
  # Windows of about 2 m in 128 px: a pixel of them is 18 mm.
  assert np.median(np.linalg.norm(_points(part) - points, axis=-1)) < 15.0
  np.testing.assert_allclose(pose.points, _points(part)[-1], atol=1.0)
  # Windows hold the person and little else.
  box = np.ptp(walkers.project(points, _RIG.cameras), axis=2).max(axis=-1)
  np.testing.assert_allclose(part.windows[..., 2] / box, 1.35, atol=0.25)
  again, _ = track(frames, tracker.Pose(points[0], np.ones(17, bool)))
  assert again.found.all()
  # Known before: no whole images are searched.
  assert detector.windows - first < first


def test_a_person_who_leaves_is_lost_and_found_again():
  points = dots.spread(8)
  frames = dots.draw(points, _RIG)
  empty = [[np.zeros_like(image) for image in images] for images in frames]
  track = tracker.Tracker(dots.DotDetector(), _RIG)
  _, pose = track(frames, None)
  part, lost = track(empty, pose)
  assert not part.found.any() and lost is None
  part, _ = track(empty[:4] + frames[4:], None)
  assert part.found.tolist() == [False] * 4 + [True] * 4
  far = tracker.Pose(points[0] + [3000.0, 0, 0], np.ones(17, bool))
  part, _ = track(frames, far)
  assert part.found.all()


def test_views_that_ended_are_missing():
  points = dots.spread(4)
  frames = dots.draw(points, _RIG)
  frames[3][1] = None
  part, _ = tracker.Tracker(dots.DotDetector(), _RIG)(frames, None)
  assert part.found.all()
  assert np.isnan(part.own[3, 1]).all() and not part.own_score[3, 1].any()
  assert np.isnan(part.windows[3, 1]).all() and np.isfinite(part.windows[3, [0, 2]]).all()
  assert np.isfinite(part.own[:3]).all()
