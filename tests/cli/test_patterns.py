"""Patterns in quotes are expanded; one that fits nothing says where it looked and what is there."""

import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.cli import patterns
from epipolar_jax.keypoints import writing
from epipolar_jax.motion import files
from tests import walkers


def test_a_pattern_that_fits_nothing_says_what_is_there(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "day").mkdir()
  with pytest.raises(
    FileNotFoundError, match=r"no video is called day/\*\.mp4: in day there is nothing"
  ):
    patterns.expanded(["day/*.mp4"], "video")
  for number in range(7):
    (tmp_path / "day" / f"{number}.csv").touch()
  with pytest.raises(
    FileNotFoundError, match=r"in day there is 0.csv, 1.csv, .*, 4.csv and 2 more"
  ):
    patterns.expanded(["day/*.mp4"], "video")
  with pytest.raises(FileNotFoundError, match=r"there is no folder .*night"):
    patterns.expanded(["night/*/a.mp4"], "video")
  with pytest.raises(FileNotFoundError, match="in the current folder there is day"):
    patterns.expanded(["*.mp4"], "video")
  with pytest.raises(FileNotFoundError, match=r"cam1=day/\*\.mp4: in day there is 0.csv"):
    patterns.expanded(["cam1=day/*.mp4"], "video")
  assert patterns.expanded(["day/[01].csv", "none.csv"], "video") == [
    "day/0.csv",
    "day/1.csv",
    "none.csv",
  ]


def test_keypoints_of_triangulate_and_check(tmp_path, capsys):
  rig, truth = walkers.ring(3), walkers.walk(12)
  seen = walkers.observed(truth, rig)
  for name in rig.names:
    writing.write(tmp_path / f"{name}.npz", seen.select(views=(name,)), "plain npz")
  rig.write(tmp_path / "rig.json")
  arguments = ["--cameras", str(tmp_path / "rig.json"), "--keypoints", f"{tmp_path}/cam*.npz"]
  assert command.main(["triangulate", *arguments, "--out", str(tmp_path / "out")]) == 0
  assert files.read(tmp_path / "out" / "joints.npz")[0].valid.all()
  assert command.main(["check", *arguments]) == 0
  capsys.readouterr()
  for verb in (["check"], ["triangulate", "--out", str(tmp_path / "out")]):
    assert command.main([*verb, *arguments[:-1], f"{tmp_path}/cam*.h5"]) == 2
    assert "no keypoint file is called" in capsys.readouterr().err
