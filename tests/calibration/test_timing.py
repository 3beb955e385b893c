"""Time offsets and drift: found where cameras are known to be out of step, and taken out again."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.calibration import diagnosis, judging, offsets, telling, timing
from tests import walkers


def _out_of_step(rig, offset, drift, *, frames=240, noise_px=1.0, outliers=0.0):
  """A walk that each camera shows at its own times; camera v is `offset` behind the first."""
  middle, parts = (frames - 1) / 2, []
  for view in range(len(rig.names)):
    clock = (np.arange(frames) - offset[view] + drift[view] * middle) / (1 + drift[view])
    walk = walkers.walk(frames, times=clock)
    parts.append(walkers.observed(walk, rig, noise_px=noise_px, outliers=outliers, seed=view))
  points = np.stack([part.points[:, :, view] for view, part in enumerate(parts)], axis=2)
  return dataclasses.replace(parts[0], points=points)


@pytest.mark.parametrize("views", [2, 4])
def test_offsets_are_found_in_parts_of_a_frame_and_taken_out(views):
  rig = walkers.ring(views)
  offset = np.array([0.0, 5.3, -17.75, 0.4])[:views]
  observations = _out_of_step(rig, offset, 0 * offset, noise_px=2.0, outliers=0.05)
  found = offsets.estimate(observations, rig, drift=True)
  # The errors here are up to 0.05 frames.
  np.testing.assert_allclose(found.offset, offset, atol=0.1)
  assert found.drift == (0.0,) * views and found.offset[0] == found.sigma[0] == 0
  assert np.all(np.abs(found.offset - offset) < 5 * np.array(found.sigma) + 1e-9)
  assert found.after_px < 0.5 * found.before_px
  together = timing.apply(observations, found)
  if views > 2:
    error = np.nanmedian(judging.leave_one_out(together, rig.cameras))
    assert error < 0.5 * np.nanmedian(judging.leave_one_out(observations, rig.cameras))


def test_offsets_that_the_recording_does_not_support_are_taken_as_none():
  rig = walkers.ring(3)
  observations = _out_of_step(rig, [0.0, 0.0, 4.6], np.zeros(3), noise_px=2.0)
  found = offsets.estimate(observations, rig)
  verdicts = [found.verdict(name) for name in rig.names]
  assert [sure for sure, _ in verdicts] == [True, False, True]
  assert verdicts[1][1].startswith("not supported: ") and verdicts[2][1].startswith("supported: ")
  assert found.gain[2] > 500 and abs(found.gain[1]) < 20
  kept = found.supported()
  assert kept.offset[:2] == (0.0, 0.0) and kept.offset[2] == found.offset[2]
  said, suspicious = telling.step(found, diagnosis.diagnose(observations, rig))
  assert suspicious and len(said) == 1 and "camera cam2 shows what most others show " in said[0]
  assert abs(_frames(said[0]) - 4.6) < 0.1 and "frames later (supported: " in said[0]
  # The first camera is the clock, and may be the one that is late.
  observations = _out_of_step(rig, [0.0, -7.0, -7.0], np.zeros(3))
  first = offsets.estimate(observations, rig)
  said, suspicious = telling.step(first, diagnosis.diagnose(observations, rig))
  assert suspicious and len(said) == 1 and "cam0 shows what most others show " in said[0]
  assert abs(_frames(said[0]) - 7.0) < 0.1


def test_a_short_offset_is_not_called_supported_where_the_calibration_may_be_wrong():
  rig = walkers.ring(3)
  observations = _out_of_step(rig, [0.0, 0.0, 0.4], np.zeros(3), noise_px=0.3)
  found = offsets.estimate(observations, rig)
  assert found.verdict("cam2")[0] and abs(found.offset[2] - 0.4) < 0.1
  right = diagnosis.diagnose(observations, rig)
  said, suspicious = telling.step(found, right)
  assert not suspicious and len(said) == 1 and "(supported: " in said[0]
  # Taken out, the offset leaves far more than jitter; or it explains little of an alarm.
  left = dataclasses.replace(found, before_px=12.0, after_px=11.0)
  alarmed = dataclasses.replace(right, suspect="cam1", noise=np.full((3, 3), np.nan))
  for diagnosed in (right, alarmed):
    said, suspicious = telling.step(left, diagnosed)
    assert not suspicious and len(said) == 1 and "supported: " not in said[0]
    assert "cam2 seems to show" in said[0] and "11.0 px between cameras are left" in said[0]
    assert "refine the cameras first" in said[0]
  # An offset that explains the alarm is supported all the same.
  assert found.after_px < 0.5 * found.before_px
  assert "(supported: " in telling.step(found, alarmed)[0][0]
  # Half a frame and more stays suspicious.
  late = dataclasses.replace(left, offset=(0.0, 0.0, 0.9))
  assert telling.step(late, right)[1]


def _frames(sentence: str) -> float:
  """How far a sentence says that a camera is out of step."""
  return float(sentence.split(" ±")[0].split()[-1])


def test_motion_that_is_slow_beside_the_noise_tells_nothing():
  """0.2 px a frame under 2 px of noise: offsets come out frames off, and are said to be unknown."""
  rig, still = walkers.ring(3), []
  for view in range(3):
    walk = walkers.walk(120, times=0.05 * np.arange(120))
    still.append(walkers.observed(walk, rig, noise_px=2.0, seed=view).points[:, :, view])
  observations = walkers.observed(walkers.walk(120), rig)
  observations = dataclasses.replace(observations, points=np.stack(still, axis=2))
  found = offsets.estimate(observations, rig)
  assert all(not found.verdict(name)[0] for name in rig.names[1:])
  assert "too slow to tell" in found.verdict("cam1")[1] and found.supported().offset == (0.0,) * 3
  said, suspicious = telling.step(found, diagnosis.diagnose(observations, rig))
  assert not suspicious and "the motion is too slow beside the noise" in said[0]


def test_another_frame_rate_is_drift():
  rig = walkers.ring(3)
  offset, drift = np.array([0.0, 2.0, -3.5]), np.array([0.0, 0.0, 0.01])
  found = offsets.estimate(_out_of_step(rig, offset, drift), rig, drift=True)
  np.testing.assert_allclose(found.offset, offset, atol=0.1)
  np.testing.assert_allclose(found.drift, drift, atol=5e-4)
  assert found.drift[1] == 0.0


def test_missing_stays_missing_and_scores_are_the_lower():
  rig = walkers.ring(2)
  observations = walkers.observed(walkers.walk(6), rig)
  points, score = observations.points.copy(), observations.score.copy()
  points[2, :, 1, 0] = np.nan
  score[:, 0, 1, 1] = [0.9, 0.1, 0.8, 0.7, 0.6, 0.5]
  given = dataclasses.replace(
    observations, points=points, score=np.where(np.isfinite(points[..., 0]), score, 0.0)
  )
  moved = timing.apply(given, timing.Timing(given.views, (0.0, 0.5), (0.0, 0.0), 0.0))
  np.testing.assert_array_equal(moved.points[:, :, 0], given.points[:, :, 0])
  seen = np.isfinite(moved.points[:, 0, 1, 0, 0])
  assert seen.tolist() == [True, False, False, True, True, False]
  np.testing.assert_array_equal(moved.score[:, 0, 1, 0] > 0, seen)
  np.testing.assert_allclose(moved.score[:, 0, 1, 1], [0.1, 0.1, 0.7, 0.6, 0.5, 0.0])
  middle = (given.points[3, 0, 1] + given.points[4, 0, 1]) / 2
  np.testing.assert_allclose(moved.points[3, 0, 1], middle)


def test_whole_frames_and_a_first_frame_count_as_in_the_videos():
  observations = dataclasses.replace(
    walkers.observed(walkers.walk(8), walkers.ring(2)), first_frame=100
  )
  one = timing.Timing(observations.views, (0.0, -2.0), (0.0, 0.5), 104.0)
  moved = timing.apply(observations, one)
  # At the middle two frames back; a frame later half a frame less.
  np.testing.assert_array_equal(moved.points[4, 0, 1], observations.points[2, 0, 1])
  np.testing.assert_array_equal(moved.points[6, 0, 1], observations.points[5, 0, 1])
  assert np.isnan(moved.points[0, 0, 1]).all()


def test_offsets_survive_a_file_and_bad_files_are_named(tmp_path):
  path = tmp_path / "timing.json"
  timing.Timing(("a", "b"), (0.0, -2.25), (0.0, 1e-4), 49.5).write(path)
  found = timing.read(path)
  assert found.views == ("a", "b") and found.offset == (0.0, -2.25) and found.middle == 49.5
  with pytest.raises(ValueError, match="no time offset of view c; there are a, b"):
    found.times("c", np.arange(3))
  for text in ("[", "{}", '{"middle_frame": 0, "cameras": {"a": {"offset": 1}}}', "\x80"):
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"timing\.json: time offsets are json"):
      timing.read(path)
  path.write_text('{"middle_frame": 0, "cameras": {"a": {"offset": NaN, "drift": 0}}}')
  with pytest.raises(ValueError, match="nan is no number"):
    timing.read(path)


def test_people_have_to_be_matched_and_points_shared():
  observations = walkers.observed(walkers.walk(20), walkers.ring(2))
  two = dataclasses.replace(
    observations,
    points=np.repeat(observations.points, 2, axis=1),
    score=np.repeat(observations.score, 2, axis=1),
  )
  with pytest.raises(ValueError, match="match them over time first"):
    timing.apply(two, timing.Timing(two.views, (0.0, 1.0), (0.0, 0.0), 0.0))
  score = observations.score.copy()
  score[:, :, 1] = 0
  blind = dataclasses.replace(observations, score=score)
  with pytest.raises(ValueError, match="camera cam1 shares fewer than 40 points"):
    offsets.estimate(blind, walkers.ring(2))


def test_whole_frames_shifted_and_the_rest_interpolated_are_the_offsets():
  rig = walkers.ring(3)
  observed = walkers.observed(walkers.walk(30), rig)
  whole = timing.Timing(observed.views, (0.0, 2.4, -3.5), (0.0, 0.0, 0.01), 15.0)
  shifts, rest = whole.whole()
  assert [shifts[name] for name in observed.views] == [0, 2, -4]
  assert np.abs(rest.offset).max() <= 0.5 and rest.drift == whole.drift
  points = observed.points.copy()
  for view, name in enumerate(observed.views):
    points[:, :, view] = timing.rows(observed.points[:, :, view], np.arange(30) + shifts[name])
  score = np.where(np.isfinite(points).all(-1), observed.score, 0.0)
  shifted = dataclasses.replace(observed, points=points, score=score)
  found, expected = timing.apply(shifted, rest), timing.apply(observed, whole)
  inside = np.s_[6:26]
  assert np.isfinite(expected.points[inside]).all()
  np.testing.assert_allclose(found.points[inside], expected.points[inside], atol=1e-9)
