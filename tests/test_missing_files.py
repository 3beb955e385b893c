"""Files that are not there: the message names what their folder has instead."""

import pathlib

import pytest

from epipolar_jax import __main__ as command
from epipolar_jax import missing_files
from tests import walkers


def test_the_names_most_like_it_are_told_first(tmp_path):
  for name in ("notes.txt", "calibration.toml", "bad\nname", ".hidden", *"abcd"):
    (tmp_path / name).touch()
  said = str(missing_files.error(tmp_path / "calibratoin.toml"))
  start = f"No such file or folder: {tmp_path}/calibratoin.toml; in {tmp_path} there is "
  assert said.startswith(start + "calibration.toml, ")
  assert said.endswith(" and 2 more") and ".hidden" not in said and "\n" not in said
  (tmp_path / "runs").mkdir()
  said = str(missing_files.error(tmp_path / "run" / "session" / "keypoints.npz"))
  assert (
    f"keypoints.npz, nor is there a folder {tmp_path}/run; in {tmp_path} there is runs," in said
  )
  assert str(missing_files.error(tmp_path / "runs" / "x")).endswith("runs there is nothing")


def test_a_file_in_the_current_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "rig.json").touch()
  said = str(missing_files.error(pathlib.Path("rig.jsn")))
  assert said == "No such file or folder: rig.jsn; in the current folder there is rig.json"


@pytest.mark.parametrize("verb", ["check", "calibrate", "triangulate"])
def test_verbs_tell_what_is_there(tmp_path, capsys, verb):
  walkers.ring(2).write(tmp_path / "rig.json")
  (tmp_path / "joints.npz").touch()
  out = [] if verb == "check" else ["--out", str(tmp_path / "out.json")]
  for cameras, keypoints, wanted in (
    ("rig.toml", "joints.npz", f"{tmp_path}/rig.toml; in {tmp_path} there is rig.json"),
    ("rig.json", "keypoints.npz", f"keypoints.npz; in {tmp_path} there is joints.npz, rig.json"),
  ):
    files = ["--cameras", str(tmp_path / cameras), "--keypoints", str(tmp_path / keypoints)]
    assert command.main([verb, *files, *out]) == 2
    assert f"epipolar {verb}: No such file or folder: " in (said := capsys.readouterr().err)
    assert wanted in said
