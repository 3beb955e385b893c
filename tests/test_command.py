"""The command `epipolar`: files of a laboratory in, files for the next tool out."""

import csv
import dataclasses
import json
import re

import cv2
import numpy as np
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.calibration import judging, refining, timing
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints import writing
from epipolar_jax.motion import files, formats
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from tests import scenes, walkers

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
  assert all(re.search(rf"^ +{name} +0\.0\d / +0\.0\d", said, re.MULTILINE) for name in _NAMES)


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


def test_a_camera_that_stands_elsewhere_and_one_that_is_there_twice_are_named(laboratory, capsys):
  folder, joints = laboratory
  rig = Rig.read(folder / "rig.json")
  moved = rig.cameras.translation + np.array([0, 0, 150.0, 0])[:, None]
  wrong = dataclasses.replace(rig, cameras=dataclasses.replace(rig.cameras, translation=moved))
  wrong.write(folder / "wrong.json")
  inputs = [str(folder / f"session_{name}.csv") for name in _NAMES]
  arguments = ["triangulate", "--keypoints", *inputs, "--out", str(folder / "out"), "--cameras"]
  assert command.main([*arguments, str(folder / "wrong.json")]) == 0
  said = capsys.readouterr().out
  assert "left hardly agrees with the others: is its calibration or its timing wrong?" in said
  assert said.count("hardly agrees") == 1
  np.testing.assert_allclose(
    files.read(folder / "out" / "joints.npz")[0].points[0, 0], joints, atol=5
  )
  dataclasses.replace(rig, cameras=rig.cameras[np.array([0, 1, 2, 2])]).write(folder / "twice.json")
  assert command.main([*arguments, str(folder / "twice.json"), "--trust_names"]) == 0
  assert "Cameras left and right have the same pose in" in capsys.readouterr().out


def test_a_prediction_is_not_replaced(laboratory, capsys):
  folder, _ = laboratory
  out = folder / "out"
  out.mkdir()
  (out / "predict.json").write_text("{}")
  (out / "joints.npz").write_bytes(b"joints")
  # Before any work: the keypoint file need not be there.
  arguments = ["--keypoints", "none.csv", "--cameras", str(folder / "rig.json"), "--out", str(out)]
  assert command.main(["triangulate", *arguments]) == 2
  assert "holds a prediction" in capsys.readouterr().err
  assert (out / "joints.npz").read_bytes() == b"joints"


def test_swapped_cameras_are_refused_unless_the_names_are_trusted(laboratory, capsys):
  folder, joints = laboratory
  swap = {"left": "right", "right": "left"}
  inputs = [f"{name}={folder / f'session_{swap.get(name, name)}.csv'}" for name in _NAMES]
  arguments = ["triangulate", "--keypoints", *inputs, "--cameras", str(folder / "rig.json")]
  arguments += ["--out", str(folder / "out"), "--method", "dlt"]
  assert command.main(arguments) == 2
  said = capsys.readouterr().err
  assert "px with left taken by right, right taken by left (--trust_names goes on" in said
  assert not (folder / "out").exists()
  assert command.main([*arguments, "--trust_names"]) == 0
  found = files.read(folder / "out" / "joints.npz")[0]
  assert np.abs(found.points[0, 0] - joints).max() > 100


def test_people_are_kept_by_number(laboratory, capsys):
  """Beside the person somebody whom two cameras see, each in a place that fits no other's."""
  folder, joints = laboratory
  for number, name in enumerate(_NAMES):
    path = folder / f"session_{name}.csv"
    head, *rows = path.read_text().splitlines()
    two = [head + head.removeprefix("scorer"), "individuals" + ",a" * 51 + ",b" * 51]
    for row in rows:
      start, _, cells = row.partition(",")
      other = cells
      if start.isdecimal():
        moved = [
          float(x) + (250 * number - 150) * (i % 3 < 2) for i, x in enumerate(cells.split(","))
        ]
        other = ",".join(map(repr, moved)) if number < 2 else "," * 50
      two.append(f"{start},{other},{cells}")
    path.write_text("\n".join(two))
  inputs = [str(folder / f"session_{name}.csv") for name in _NAMES]
  arguments = ["triangulate", "--keypoints", *inputs, "--cameras", str(folder / "rig.json")]
  arguments += ["--out", str(folder / "out"), "--method", "dlt", "--people"]
  for people in ("1", "all"):
    assert command.main([*arguments, people]) == 0
    found = files.read(folder / "out" / "joints.npz")[0]
    assert found.points.shape[1] == 1
    assert f"Kept 1 of up to 2 people in a frame (--people {people})" in capsys.readouterr().out
    np.testing.assert_allclose(found.points[1, 0], joints, atol=0.1)
  assert command.main([*arguments, "few"]) == 2
  assert "--people should be a number above 0 or all, got 'few'" in capsys.readouterr().err


def test_files_for_the_next_tool(laboratory, capsys):
  folder, joints = laboratory
  inputs = [str(folder / f"session_{name}.csv") for name in _NAMES]
  arguments = ["triangulate", "--keypoints", *inputs, "--cameras", str(folder / "rig.json")]
  arguments += ["--out", str(folder / "out"), "--fps", "60", "--method", "dlt", "--format"]
  assert command.main([*arguments, "anipose,trc,c3d", "--up", "y"]) == 0
  for name, up in (("anipose.csv", "z"), ("trc.trc", "y"), ("c3d.c3d", "z")):
    found = formats.read(folder / "out" / f"joints_{name}", up=up)
    np.testing.assert_allclose(found.points[1, 0], joints, atol=0.1, err_msg=name)
  without = [x for x in arguments if x not in ("--fps", "60")]
  assert command.main([*without, "trc", "--out", str(folder / "none")]) == 2
  assert "frames a second, and they are not known: say --fps" in capsys.readouterr().err
  assert not (folder / "none").exists(), "nothing is written if something cannot be"
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
  said = capsys.readouterr().err
  assert "epipolar convert: --format should be one of calibrations: plain json, " in said
  assert "; 2D keypoints: plain npz, " in said and "; 3D joints: anipose, " in said
  assert command.main(["convert", str(folder / "none.toml"), target, "--format", "aniposelib"]) == 2
  with pytest.raises(ValueError, match="--format should be one of"):
    command.main(["--debug", "convert", source, target, "--format", "mp3"])


def test_convert_2d_and_3d_and_say_what_is_lost(laboratory, capsys):
  folder, joints = laboratory
  source = str(folder / "session_left.csv")
  target = folder / "left_json"
  assert command.main(["convert", source, str(target), "--format", "openpose"]) == 0
  said = capsys.readouterr().out
  assert "2 frames, up to 1 people, 17 joints, views session_left" in said
  assert "not carried over: joint names" in said and len(list(target.iterdir())) == 2
  inputs = [str(folder / f"session_{name}.csv") for name in _NAMES]
  arguments = ["--cameras", str(folder / "rig.json"), "--out", str(folder), "--method", "dlt"]
  assert command.main(["triangulate", "--keypoints", *inputs, *arguments]) == 0
  moved = str(folder / "joints.trc")
  assert command.main(["convert", str(folder / "joints.npz"), moved]) == 2
  assert "frames a second, and they are not known: say --fps" in capsys.readouterr().err
  assert command.main(["convert", str(folder / "joints.npz"), moved, "--fps", "60"]) == 0
  said = capsys.readouterr().out
  assert "not carried over: reprojection errors" in said
  assert "not carried over: covariances, and errors and weights of single views" in said
  np.testing.assert_allclose(formats.read(folder / "joints.trc").points[1, 0], joints, atol=0.1)


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


def _moved(rig, mm):
  """The rig with its second camera elsewhere."""
  t = np.array(rig.cameras.translation)
  t[1] += mm
  return dataclasses.replace(rig, cameras=dataclasses.replace(rig.cameras, translation=t))


def test_calibrate_puts_cameras_in_step_and_reports(tmp_path, capsys):
  rig = walkers.ring(4)
  parts = [
    walkers.observed(walkers.walk(40, times=np.arange(40) - late), rig, noise_px=0.5)
    for late in (0.0, 2.5, 0.0, 0.0)
  ]
  points = np.stack([part.points[:, :, view] for view, part in enumerate(parts)], axis=2)
  observations = dataclasses.replace(parts[0], points=points)
  keypoints = tmp_path / "keypoints.npz"
  writing.write(keypoints, observations, "plain npz")
  _moved(rig, 20.0).write(tmp_path / "wrong.json")
  offsets, page = tmp_path / "offsets.json", tmp_path / "report.html"
  arguments = ["calibrate", "--keypoints", str(keypoints)]
  arguments += ["--cameras", str(tmp_path / "wrong.json"), "--out", str(tmp_path / "better.json")]
  options = ["--sync", str(offsets), "--report", str(page), "--free", "focal"]
  assert command.main([*arguments, *options, "--length", "joint0,joint1,1000"]) == 0
  said = capsys.readouterr().out
  assert "for the known one" in said and "cam1    +2." in said
  late = json.loads(offsets.read_text())["cameras"]
  assert abs(late["cam1"]["offset"] - 2.5) < 0.1 and abs(late["cam2"]["offset"]) < 0.1
  text = page.read_text(encoding="utf-8")
  assert "<h2>Uncertainty</h2>" in text and "focal length, %" in text and "<h2>Time</h2>" in text
  # The same file puts the keypoints in step for triangulate.
  shown = []
  for extra in ([], ["--timing", str(offsets)]):
    folder = tmp_path / f"out{len(extra)}"
    files_of = ["--keypoints", str(keypoints), "--cameras", str(tmp_path / "better.json")]
    assert command.main(["triangulate", *files_of, "--out", str(folder), *extra]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.strip().startswith("cam1"))
    shown.append(float(line.split()[4]))
  assert shown[1] < 2.0 < shown[0]
  for wrong, text in (
    (["--free", "lens"], "there are focal, principal, radial"),
    (["--length", "a,b"], "--length is JOINT,JOINT,MM"),
    (["--drift"], "--drift is of --sync"),
    (["--from", "intrinsics"], "needs a scale"),
    (["--size_mm", "2000"], "is of --from intrinsics"),
    (["--image_wh", "640x480"], "is of --from guess without --cameras"),
    (["--board", "4x5"], "a board is COLUMNSxROWSxMM"),
    (["--report", "x.txt"], "--report is a page"),
    (["--videos", "a.mp4"], "either --keypoints, or --videos"),
    (["--charuco", "DICT_4X4_50,40"], "--charuco is of --videos"),
  ):
    assert command.main([*arguments, *wrong]) == 2
    assert text in capsys.readouterr().err


def test_calibrate_writes_a_better_rig_and_no_other(tmp_path, capsys, monkeypatch):
  rig = walkers.ring(4)
  observations = walkers.observed(walkers.walk(16), rig, noise_px=0.5)
  writing.write(tmp_path / "keypoints.npz", observations, "plain npz")
  _moved(rig, 80.0).write(tmp_path / "wrong.json")
  out = tmp_path / "new" / "better.toml"
  arguments = ["calibrate", "--keypoints", str(tmp_path / "keypoints.npz"), "--cameras"]
  arguments += [str(tmp_path / "wrong.json"), "--out", str(out)]
  assert command.main(arguments) == 0
  assert "Fitted 10 frames; left-out error of the other 6" in capsys.readouterr().out
  better = Rig.read(out)
  assert better.names == rig.names
  before, after = (
    np.nanmedian(judging.leave_one_out(observations, x.cameras))
    for x in (_moved(rig, 80.0), better)
  )
  assert after < 1.2 < 5.0 < before
  out.unlink()
  refine = refining.refine

  def spoilt(*args, **options):
    found = refine(*args, **options)
    return dataclasses.replace(found, after=2 * found.before)

  monkeypatch.setattr(refining, "refine", spoilt)
  assert command.main(arguments) == 2
  assert "did not fall" in capsys.readouterr().err and not out.exists()

  def dragged(*args, **options):
    return dataclasses.replace(refine(*args, **options), far=("cam1",))

  monkeypatch.setattr(refining, "refine", dragged)
  assert command.main(arguments) == 2
  assert "camera cam1 would change" in capsys.readouterr().err and not out.exists()
  assert command.main([*arguments, "--far"]) == 0 and out.exists()


def test_predict_finds_nobody_in_noise_and_says_so(tmp_path, capsys):
  rig = walkers.ring(2)
  rig.write(tmp_path / "rig.json")
  rng = np.random.default_rng(0)
  for name in rig.names:
    (tmp_path / name).mkdir()
    for frame in range(3):
      image = rng.integers(0, 256, (120, 160, 3), np.uint8)
      cv2.imwrite(str(tmp_path / name / f"{frame}.png"), image)
  arguments = ["--videos", str(tmp_path / "cam?"), "--cameras", str(tmp_path / "rig.json")]
  arguments += ["--detector", "lightning", "--out", str(tmp_path / "out"), "--trust_names"]
  assert command.main(["predict", *arguments, "--format", "anipose"]) == 1
  said = capsys.readouterr().out
  assert "MoveNet finds people only: for animals see docs/own_data.md" in said
  assert "No person between 0.2 and 4.0 m long" in said and "resized by 0.125" in said
  found, _ = files.read(tmp_path / "out" / "joints.npz")
  assert found.valid.shape == (3, 1, 17) and not found.valid.any()
  assert np.isfinite(found.points).all() and np.isfinite(found.covariance).all()
  assert (tmp_path / "out" / "joints_anipose.csv").exists()
  everybody = [*arguments[:-2], str(tmp_path / "all"), "--trust_names", "--people", "all"]
  assert command.main(["predict", *everybody]) == 1
  assert "No person between" in capsys.readouterr().out
  assert not files.read(tmp_path / "all" / "joints.npz")[0].valid.any()
  assert command.main(["predict", *everybody, "--bones", "constant"]) == 1
  assert "no length is known" in capsys.readouterr().out
  timing.Timing(rig.names, (0.0, 1.2), (0.0, 0.0), 1.0).write(tmp_path / "timing.json")
  late = ["--timing", str(tmp_path / "timing.json")]
  assert command.main(["predict", *everybody, *late]) == 2
  assert (
    "holds another prediction: recordings cam1 shift: not given there, " in capsys.readouterr().err
  )
  timing.Timing(("cam0",), (0.0,), (0.0,), 1.0).write(tmp_path / "timing.json")
  assert command.main(["predict", *everybody, *late]) == 2
  assert "no time offset of view cam1" in capsys.readouterr().err
  assert command.main(["predict", *everybody, "--to_label", "3"]) == 2
  assert "--to_label takes frames of one person" in capsys.readouterr().err
  assert command.main(["predict", *arguments, "--no_fusion"]) == 2
  assert "holds another prediction: detector gain: 1.0 there, 0.0 now" in capsys.readouterr().err
  assert command.main(["predict", *arguments, "--method", "rpsm"]) == 2
  assert "needs more than 2D points" in capsys.readouterr().err
  assert command.main(["predict", *arguments[:-1], "--detector", "thor"]) == 2
  assert "thunder, lightning" in capsys.readouterr().err
