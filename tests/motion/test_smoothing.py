"""Smoothing of triangulated joints: laws, coverage of its covariances, gaps and wild frames."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.motion import smoothing
from tests.motion import tracks

# One size, so that few programs are compiled.
_FRAMES, _JOINTS = 120, 20


def _noisy(process=0.05, **seeds):
  truth = tracks.wandering(_FRAMES, _JOINTS, process=process)
  covariance = tracks.covariances(_FRAMES, _JOINTS)
  return truth, covariance, tracks.measured(truth, covariance, **seeds)


def test_constant_velocity_stays_as_it_is():
  covariance = tracks.covariances(_FRAMES, _JOINTS)
  start, speed = np.random.default_rng(0).normal(0, 30, (2, _JOINTS, 3))
  points = start + np.arange(_FRAMES)[:, None, None] * speed
  found = smoothing.smooth(tracks.estimate(points, covariance)).estimate
  np.testing.assert_allclose(found.points[:, 0], points, rtol=0, atol=1e-4)


def test_covariances_cover_the_errors_and_errors_shrink():
  truth, covariance, points = _noisy()
  found = smoothing.smooth(tracks.estimate(points, covariance))
  error = found.estimate.points[:, 0] - truth
  spread = found.estimate.covariance[:, 0]
  off = np.abs(error) / np.sqrt(np.diagonal(spread, axis1=-2, axis2=-1))
  # 7,200 errors, each alike for some ten frames: good to 0.02.
  assert abs((off < 1).mean() - 0.683) < 0.04
  assert abs((off < 1.96).mean() - 0.95) < 0.03
  # The best that a smoother which knows both noises can do here is 0.53.
  assert np.square(error).mean() < 0.4 * np.square(points - truth).mean()
  assert 0.9 < np.median(found.noise) < 1.1 and not found.estimate.filled.any()


def test_the_scale_of_covariances_is_found():
  _, covariance, points = _noisy()
  right = smoothing.smooth(tracks.estimate(points, covariance))
  wrong = smoothing.smooth(tracks.estimate(points, 25 * covariance))
  np.testing.assert_allclose(wrong.noise, right.noise / 5, rtol=1e-6)
  np.testing.assert_allclose(wrong.estimate.covariance, right.estimate.covariance, atol=1e-5)


def test_units_origin_and_direction_of_time_do_not_matter():
  _, covariance, points = _noisy()
  found = smoothing.smooth(tracks.estimate(points, covariance))
  twice = smoothing.smooth(tracks.estimate(1024 * points, 1024**2 * covariance))
  np.testing.assert_array_equal(twice.estimate.points, 1024 * found.estimate.points)
  np.testing.assert_array_equal(twice.estimate.covariance, 1024**2 * found.estimate.covariance)
  metres = smoothing.smooth(tracks.estimate(points / 1000 + 7.0, covariance / 1e6))
  np.testing.assert_allclose(metres.estimate.points - 7.0, found.estimate.points / 1000, atol=1e-8)
  back = smoothing.smooth(tracks.estimate(points[::-1], covariance[::-1]))
  np.testing.assert_allclose(back.estimate.points[::-1], found.estimate.points, atol=1e-5)


@pytest.mark.parametrize("far", (40.0, 1e5))
def test_wild_frames_count_little(far):
  truth, covariance, points = _noisy()
  clean = smoothing.smooth(tracks.estimate(points, covariance))
  wild = np.zeros((_FRAMES, _JOINTS), bool)
  wild[10::17, ::2] = True
  thrown = points + far * wild[..., None] * np.array([1.0, -1.0, 0.5])
  found = smoothing.smooth(tracks.estimate(thrown, covariance))
  assert found.weight[:, 0][wild].max() < 0.05
  assert found.weight[:, 0][~wild].mean() > 0.98
  error, without = (x.estimate.points[:, 0] - truth for x in (found, clean))
  assert np.square(error).mean() < 1.3 * np.square(without).mean()
  assert np.abs(error[wild]).max() < 5.0


def test_a_fast_motion_that_frames_confirm_is_kept():
  truth, covariance, points = _noisy(process=1e-4)
  swing = 200 * np.tanh((np.arange(_FRAMES)[:, None] - 60) / 3)  # most of it within six frames
  points[:, 3] += swing
  found = smoothing.smooth(tracks.estimate(points, covariance))
  off = np.linalg.norm(found.estimate.points[:, 0, 3] - truth[:, 3] - swing, axis=-1)
  assert off.max() < 4 and found.weight[55:65, 0, 3].min() == 1


def test_gaps_are_filled_up_to_a_length_and_never_extrapolated():
  truth, covariance, points = _noisy()
  valid = np.ones((_FRAMES, _JOINTS), bool)
  valid[30:40, 0] = valid[30:41, 1] = valid[:5, 2] = valid[-3:, 2] = False
  valid[:, 4] = False
  smoothed = smoothing.smooth(tracks.estimate(points, covariance, valid), fill=10)
  found = smoothed.estimate
  wanted = np.zeros_like(valid)
  wanted[30:40, 0] = True
  np.testing.assert_array_equal(found.filled[:, 0], wanted)
  np.testing.assert_array_equal(found.valid[:, 0], valid | wanted)
  assert not found.points[~found.valid].any() and not found.covariance[~found.valid].any()
  assert np.isfinite(found.points).all() and np.isnan(smoothed.noise[0, 4])
  spread = np.trace(found.covariance[:, 0, 0], axis1=-2, axis2=-1)
  assert (np.diff(spread[29:35]) > 0).all() and (np.diff(spread[35:41]) < 0).all()
  error = found.points[30:40, 0, 0] - truth[30:40, 0]
  off = np.einsum(
    "fa,fa->f", error, np.linalg.solve(found.covariance[30:40, 0, 0], error[..., None])[..., 0]
  )
  assert off.max() < 16
  none = smoothing.smooth(tracks.estimate(points, covariance, valid), fill=0).estimate
  np.testing.assert_array_equal(none.valid[:, 0], valid)
  with pytest.raises(ValueError, match="at least 0, got -1"):
    smoothing.smooth(none, fill=-1)


@pytest.mark.parametrize("frames", (1, 2, 5))
def test_the_shortest_recordings_come_through(frames):
  covariance = tracks.covariances(frames, 2)
  points = tracks.measured(tracks.wandering(frames, 2, process=0.1), covariance)
  found = smoothing.smooth(tracks.estimate(points, covariance)).estimate
  assert found.valid.all() and np.isfinite(found.covariance).all()
  np.testing.assert_allclose(found.points[:, 0], points, atol=1e-5 if frames < 3 else 4.0)


def test_nobody_stays_nobody():
  covariance = tracks.covariances(4, 2)
  nothing = tracks.estimate(np.zeros((4, 2, 3)), covariance, np.zeros((4, 2), bool))
  found = smoothing.smooth(nothing)
  assert not found.estimate.valid.any() and np.isnan(found.noise).all()


def test_people_are_smoothed_each_by_themselves():
  _, covariance, points = _noisy()
  one = tracks.estimate(points, covariance)
  other = tracks.estimate(3 * points, covariance)
  names = ("points", "valid", "covariance", "inlier", "reprojection_px")
  both = {n: np.concatenate([getattr(one, n), getattr(other, n)], axis=1) for n in names}
  found = smoothing.smooth(dataclasses.replace(one, **both)).estimate
  for person, alone in enumerate((one, other)):
    wanted = smoothing.smooth(alone).estimate.points[:, 0]
    np.testing.assert_array_equal(found.points[:, person], wanted)


def test_motion_that_turns_within_three_frames_is_not_taken_for_noise():
  """A kick and back in six frames: a third of the frames sees it as noise of 300 mm."""
  time = np.arange(_FRAMES)[:, None, None]
  phase = np.arange(_JOINTS)[:, None]
  truth = 300 * np.sin(2 * np.pi * time / 6.3 + phase) * np.array([1.0, 0.5, 0.2])
  covariance = tracks.covariances(_FRAMES, _JOINTS)
  points = tracks.measured(truth, covariance)
  found = smoothing.smooth(tracks.estimate(points, covariance))
  error = np.linalg.norm(found.estimate.points[:, 0] - truth, axis=-1)
  assert error.mean() < 1.1 * np.linalg.norm(points - truth, axis=-1).mean()
  assert np.median(found.noise) < 3
