"""`epipolar triangulate --smooth`: joints over time from the command line to the file."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.keypoints import writing
from epipolar_jax.motion import files
from tests import walkers

_FRAMES = 40


@pytest.fixture(scope="module")
def session(tmp_path_factory):
  """Arguments of `triangulate` for a noisy walk with a gap, its folder, and the joints."""
  folder = tmp_path_factory.mktemp("session")
  rig, truth = walkers.ring(3), walkers.walk(_FRAMES)
  seen = walkers.observed(truth, rig, noise_px=3.0)
  points = seen.points.copy()
  points[20:24, :, :, 5] = np.nan
  writing.write(folder / "seen.npz", dataclasses.replace(seen, points=points), "plain npz")
  rig.write(folder / "rig.json")
  inputs = ["--keypoints", str(folder / "seen.npz"), "--cameras", str(folder / "rig.json")]
  return ["triangulate", *inputs, "--out", str(folder)], folder, truth


def _error(folder, truth, frames=slice(None)) -> float:
  found = files.read(folder / "joints.npz")[0]
  off = np.linalg.norm(found.points[frames, 0] - truth[frames], axis=-1)
  return float(off[found.valid[frames, 0]].mean())


def test_kalman_smooths_and_fills_and_says_so(session, capsys):
  arguments, folder, truth = session
  assert command.main(arguments) == 0
  plain, _ = files.read(folder / "joints.npz")
  before = _error(folder, truth)
  assert plain.filled is None and not plain.valid[20:24, 0, 5].any()
  assert command.main([*arguments, "--smooth", "kalman"]) == 0
  found, _ = files.read(folder / "joints.npz")
  assert found.filled.sum() == 4 and found.filled[20:24, 0, 5].all() and found.valid.all()
  assert _error(folder, truth) < 0.8 * before
  said = capsys.readouterr().out
  assert "4 in gaps of up to 10 frames were filled" in said and "stood out" in said
  assert command.main([*arguments, "--smooth", "kalman", "--fill", "3"]) == 0
  assert not files.read(folder / "joints.npz")[0].filled.any()


def test_butterworth_smooths_and_needs_a_rate(session, capsys):
  arguments, folder, truth = session
  assert command.main(arguments) == 0
  before = _error(folder, truth)
  smooth = [*arguments, "--smooth", "butterworth"]
  assert command.main([*smooth, "--fps", "20", "--cutoff_hz", "4"]) == 0
  assert _error(folder, truth, slice(5, 35)) < 0.9 * before
  assert "cut-off at 4 Hz" in capsys.readouterr().out
  for more, message in (
    ((), "say --fps"),
    (("--fps", "10"), "between 0 and half of 10 frames a second"),
    (("--fps", "20", "--fill", "3"), "--fill belongs to --smooth kalman"),
  ):
    assert command.main([*smooth, *more]) == 2
    assert message in capsys.readouterr().err


def test_options_of_no_smoothing_are_refused(session, capsys):
  arguments = session[0]
  for more, message in (
    (("--cutoff_hz", "6"), "--cutoff_hz belongs to --smooth butterworth"),
    (("--smooth", "kalman", "--fill", "-1"), "--fill should be at least 0, got -1"),
  ):
    assert command.main([*arguments, *more]) == 2
    assert message in capsys.readouterr().err


def test_a_file_whose_mask_of_filled_frames_is_no_mask_is_refused(session, tmp_path):
  arguments, folder, _ = session
  assert command.main([*arguments, "--smooth", "kalman"]) == 0
  with np.load(folder / "joints.npz") as file:
    arrays = dict(file)
  np.savez(tmp_path / "joints.npz", **{**arrays, "filled": arrays["filled"][:, :, :3]})
  with pytest.raises(ValueError, match="filled is"):
    files.read(tmp_path / "joints.npz")
