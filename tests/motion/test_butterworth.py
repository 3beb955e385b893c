"""The Butterworth filter: what passes, what does not, and gaps."""

import numpy as np
import pytest

from epipolar_jax.motion import butterworth
from tests.motion import tracks

_FPS = 100.0


def _wave(hertz: float, frames: int = 400) -> np.ndarray:
  time = np.arange(frames)[:, None, None] / _FPS
  return np.sin(2 * np.pi * hertz * time + np.array([0.0, 1.0, 2.0]))


def _filtered(points: np.ndarray, valid=None, **options) -> np.ndarray:
  covariance = np.broadcast_to(np.eye(3), (*points.shape, 3))
  made = tracks.estimate(points, covariance, valid)
  return butterworth.smooth(made, fps=_FPS, **options).points[:, 0]


def test_slow_motion_passes_without_delay_and_half_is_left_at_the_cutoff():
  middle = slice(100, 300)
  np.testing.assert_allclose(_filtered(_wave(0.5))[middle], _wave(0.5)[middle], atol=1e-3)
  at = _filtered(_wave(6.0))
  np.testing.assert_allclose(at[middle], 0.5 * _wave(6.0)[middle], atol=1e-3)
  assert np.abs(_filtered(_wave(30.0))[middle]).max() < 1e-3
  np.testing.assert_allclose(
    _filtered(_wave(10.0), cutoff_hz=10.0)[middle], 0.5 * _wave(10.0)[middle], atol=1e-3
  )


def test_a_straight_line_stays_one():
  line = np.arange(50.0)[:, None, None] * np.array([1.0, -2.0, 3.0])
  np.testing.assert_allclose(_filtered(line), line, atol=0.01)


def test_nothing_leaks_across_a_gap_and_short_stretches_stay():
  points = np.repeat([[[0.0, 0, 0]], [[1000.0, 0, 0]], [[7.0, 0, 0]]], (40, 40, 4), axis=0)
  points[-2] += 1
  valid = np.ones((84, 1), bool)
  valid[40] = valid[80] = False
  found = _filtered(points, valid)
  np.testing.assert_allclose(found[:40], points[:40], atol=1e-9)
  np.testing.assert_allclose(found[41:80], points[41:80], atol=1e-9)
  np.testing.assert_array_equal(found[81:], points[81:])
  assert not found[40].any() and not found[80].any()


@pytest.mark.parametrize("cutoff", (0.0, 50.0, float("nan")))
def test_a_cutoff_that_the_frame_rate_cannot_have_is_refused(cutoff):
  with pytest.raises(ValueError, match="between 0 and half of 100 frames a second"):
    _filtered(_wave(1.0), cutoff_hz=cutoff)
