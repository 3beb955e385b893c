"""The command `epipolar`: files of a laboratory in, files for the next tool out."""

import csv
import dataclasses

import numpy as np
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.motion import files, formats
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from tests import scenes

_NAMES = ("cam1", "cam10", "left", "right")


@pytest.fixture
def laboratory(tmp_path):
  """A rig file and a csv of every camera, of two frames with a bent lens; the joints [j, 3]."""
  scene = scenes.make_scene(2, rotated=False, size=1000)
  lens = lenses.OpenCV((-0.2, 0.05, 1e-3, -1e-3, 0.0))
  rig = Rig(_NAMES, ((1000, 1000),) * 4, (lens,) * 4, Cameras(*scene.cameras), 1.0)
  rig.write(tmp_path / "rig.json")
  seen = rig.distort(scene.uv)
  for name, points in zip(_NAMES, seen):
    with (tmp_path / f"session_{name}.csv").open("w", newline="") as file:
      out = csv.writer(file)
      joints = [f"joint{i}" for i in range(17) for _ in range(3)]
      out.writerows([["scorer", *["net"] * 51], ["bodyparts", *joints]])
      out.writerow(["coords", *["x", "y", "likelihood"] * 17])
      for frame in range(2):
        row = [x for u, v in points for x in (repr(float(u)), repr(float(v)), "0.9")]
        out.writerow([frame, *row])
  return tmp_path, scene.joints


def test_triangulate_gives_the_joints_and_their_quality(laboratory, capsys):
  folder, joints = laboratory
  inputs = [str(folder / f"session_{name}.csv") for name in reversed(_NAMES)]
  out = folder / "out"
  arguments = ["--cameras", str(folder / "rig.json"), "--out", str(out), "--fps", "60"]
  assert command.main(["triangulate", "--keypoints", *inputs, *arguments]) == 0
  found, fps = files.read(out / "joints.npz")
  assert found.valid.all() and fps == 60.0 and found.joints[3] == "joint3"
  np.testing.assert_allclose(found.points[:, 0], np.stack([joints] * 2), atol=0.1)
  said = capsys.readouterr().out
  assert "2 frames, 17 joints, 100.0% triangulated by robust" in said
  assert all(f"  {name}: median 0.0" in said for name in _NAMES)


def test_a_camera_may_be_named_on_the_command_line(laboratory):
  folder, _ = laboratory
  (folder / "session_left.csv").rename(folder / "third.csv")
  inputs = [f"session_{name}.csv" for name in ("cam1", "cam10", "right")]
  inputs = [*(str(folder / name) for name in inputs), f"left={folder / 'third.csv'}"]
  arguments = ["--cameras", str(folder / "rig.json"), "--out", str(folder)]
  assert command.main(["triangulate", "--keypoints", *inputs, *arguments]) == 0
  assert files.read(folder / "joints.npz")[0].valid.all()


def test_a_file_that_is_called_as_its_camera_and_a_rate_that_is_none(laboratory, capsys):
  folder, _ = laboratory
  inputs = []
  for name in _NAMES:
    (folder / f"session_{name}.csv").rename(folder / name)
    inputs.append(str(folder / name))
  arguments = ["--cameras", str(folder / "rig.json"), "--out", str(folder / "out")]
  assert command.main(["triangulate", "--keypoints", *inputs, *arguments]) == 0
  assert command.main(["triangulate", "--keypoints", "left", *arguments]) == 2
  assert "No such file" in capsys.readouterr().err
  assert command.main(["triangulate", "--keypoints", *inputs, *arguments, "--fps", "0"]) == 2
  assert "--fps should be above 0" in capsys.readouterr().err


def test_files_for_the_next_tool(laboratory, capsys):
  folder, joints = laboratory
  inputs = [str(folder / f"session_{name}.csv") for name in _NAMES]
  arguments = ["triangulate", "--keypoints", *inputs, "--cameras", str(folder / "rig.json")]
  arguments += ["--out", str(folder / "out"), "--fps", "60", "--method", "dlt", "--format"]
  assert command.main([*arguments, "anipose,trc", "--up", "y"]) == 0
  for name, up in (("joints_anipose.csv", "z"), ("joints_trc.trc", "y")):
    found = formats.read(folder / "out" / name, up=up)
    np.testing.assert_allclose(found.points[1, 0], joints, atol=0.1, err_msg=name)
  assert command.main([*arguments, "anipose,bvh"]) == 2
  assert "format should be one of anipose, trc" in capsys.readouterr().err


def test_convert_says_what_it_left_out_and_a_mistake_is_a_sentence(laboratory, capsys):
  folder, _ = laboratory
  source, target = str(folder / "rig.json"), str(folder / "rig.toml")
  assert command.main(["convert", source, target, "--format", "aniposelib"]) == 0
  assert "not carried over: aniposelib does not state the unit" in capsys.readouterr().out
  again = Rig.read(target)
  assert again.names == _NAMES
  np.testing.assert_allclose(again.cameras.translation, Rig.read(source).cameras.translation)
  assert command.main(["convert", source, target, "--format", "mp3"]) == 2
  assert "epipolar convert: format should be one of" in capsys.readouterr().err
  assert command.main(["convert", str(folder / "none.toml"), target, "--format", "aniposelib"]) == 2
  with pytest.raises(ValueError, match="format should be one of"):
    command.main(["--debug", "convert", source, target, "--format", "mp3"])


def test_joints_npz_is_read_back_exactly_and_nothing_else_is(laboratory, tmp_path):
  folder, _ = laboratory
  inputs = [str(folder / f"session_{name}.csv") for name in _NAMES]
  arguments = ["--cameras", str(folder / "rig.json"), "--out", str(folder), "--method", "dlt"]
  assert command.main(["triangulate", "--keypoints", *inputs, *arguments]) == 0
  found, fps = files.read(folder / "joints.npz")
  assert fps is None
  files.write(tmp_path / "again.npz", found, fps=25.0)
  again, fps = files.read(tmp_path / "again.npz")
  assert fps == 25.0
  for name, value in dataclasses.asdict(found).items():
    np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)
  np.savez(tmp_path / "other.npz", points=np.zeros(3))
  (tmp_path / "text.npz").write_text("hello")
  np.savez(tmp_path / "code.npz", points=np.array([print], dtype=object))
  for name in ("other", "text", "code"):
    with pytest.raises(ValueError, match=f"{name}.npz is no joints.npz"):
      files.read(tmp_path / f"{name}.npz")
