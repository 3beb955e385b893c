"""What `calibrate` says and writes: the format and unit of the input, percentiles that rose."""

import argparse
import dataclasses
import pathlib
import types

import numpy as np
import pytest

from epipolar_jax.calibration import timing
from epipolar_jax.cli import calibrate, calibrate_report
from epipolar_jax.rigs import documents, reading, writing
from epipolar_jax.rigs.rig import Rig
from tests import walkers


@pytest.mark.parametrize(
  "given, unit, out, format, written, scale, words",
  [
    ("pose2sim", None, "better.toml", None, "pose2sim", 1000, "translations in m; as cameras.x"),
    ("aniposelib", None, "better.toml", None, "aniposelib", 1, "in mm; as cameras.x"),
    ("aniposelib", "m", "better.toml", None, "aniposelib", 1000, "in m; as cameras.x"),
    ("opencv json", None, "better.json", None, "opencv json", 1, "as cameras.x"),
    ("plain json", None, "better.toml", None, "aniposelib", 1, "cameras.x is plain json; the form"),
    ("pose2sim", None, "better.json", None, "plain json", 1, "cameras.x is pose2sim"),
    ("pose2sim", None, "better.toml", "aniposelib", "aniposelib", 1, "as --format says"),
    (None, None, "better.toml", None, "aniposelib", 1, "in mm; the format for .toml"),
  ],
)
def test_cameras_keep_format_and_unit_or_it_is_said(
  tmp_path, given, unit, out, format, written, scale, words
):
  rig, cameras = walkers.ring(3), None
  if given is not None:
    cameras = tmp_path / "cameras.x"
    writing.write(rig, cameras, given, unit=unit)
  out = tmp_path / out
  options = argparse.Namespace(cameras=cameras, unit=unit, out=out, format=format)
  target = calibrate._target(options)
  assert target.format == written and words in target.said and target.said.startswith(written)
  rig.write(out, target.format, unit=target.unit)
  # The numbers in the file are of the unit that is said.
  back = Rig.read(out, unit="mm")
  np.testing.assert_allclose(scale * back.cameras.translation, rig.cameras.translation, rtol=1e-9)


def test_a_format_that_is_not_written_is_named(tmp_path):
  cameras = tmp_path / "calibration.toml"
  cameras.write_text(
    "[cameras.0]\ncam_id = 0\nsize = [640, 480]\nmatrix = [[600, 0, 320], [0, 600, 240], [0, 0, 1]]"
  )
  given = reading.recognise(documents.load(cameras))
  options = argparse.Namespace(
    cameras=cameras, unit=None, out=pathlib.Path("better.toml"), format=None
  )
  target = calibrate._target(options)
  assert given not in writing.WRITERS and target.format == "aniposelib"
  assert f"{given}, which calibration.toml is, is not written" in target.said


def test_a_percentile_that_rose_though_the_median_fell_is_said(capsys):
  rig = walkers.ring(3)
  before = np.tile(np.linspace(1.0, 10.0, 20)[:, None, None], (1, 3, 5))
  after = 0.5 * before
  after[-4:, 1] = 30.0
  refined = types.SimpleNamespace(
    rig=rig,
    before=before,
    after=after,
    fitted=np.arange(20),
    held_out=np.arange(20),
    corners_mm=(),
    factor=1.0,
    moved_mm=7.25,
  )
  said = calibrate_report.tell(refined, rig, rig.names)
  assert "Points lie 7.2 mm (median) from where" in said.pop()
  rose = (
    "The 90th percentile rose though the median fell: cam1 9.10 to 30.00 px (median 5.50 to 2.75)"
  )
  assert rose in said[-1]
  # Cameras are judged by the median, and no option is advised that may not help.
  assert "judged by the median of all held-out errors, 5.50 px before and 2.75 px" in said[-1]
  assert "before these cameras are used" not in said[-1] and "--free" not in said[-1]
  assert said[-1] in capsys.readouterr().out
  assert "all cameras" in said[-1] or np.percentile(after, 90) < 9.1
  good = types.SimpleNamespace(**{**vars(refined), "after": 0.5 * before})
  assert not any("percentile rose" in text for text in calibrate_report.tell(good, rig, rig.names))


def test_a_suffix_that_tells_no_format_is_refused():
  options = argparse.Namespace(cameras=None, unit=None, out=pathlib.Path("x.txt"), format=None)
  with pytest.raises(ValueError, match=r"x\.txt: the suffix .* \.json \(plain json\), \.toml"):
    calibrate._target(options)
  options.format = "aniposelib"
  assert calibrate._target(options).format == "aniposelib"


def test_folders_are_made_before_the_work(tmp_path):
  new = tmp_path / "a" / "b"
  options = argparse.Namespace(out=new / "x.toml", sync=tmp_path / "c" / "y.json", report=None)
  calibrate._make_folders(options, "aniposelib")
  assert new.is_dir() and (tmp_path / "c").is_dir() and not options.out.exists()
  options.out = new
  with pytest.raises(ValueError, match="is a folder: name the file"):
    calibrate._make_folders(options, "aniposelib")
  calibrate._make_folders(options, "easymocap")
  (tmp_path / "file").touch()
  options.out = tmp_path / "file" / "x.toml"
  with pytest.raises(OSError):
    calibrate._make_folders(options, "aniposelib")


def test_the_heading_of_offsets_follows_their_verdicts(capsys):
  found = timing.Timing(
    ("a", "b"), (0.0, 0.3), (0.0, 0.0), 10.0, (0.0, 0.1), 9.0, 8.5, gain=(0.0, 5.0)
  )
  calibrate_report.tell_timing(found)
  said = capsys.readouterr().out
  assert said.startswith("Taken to be in step: no offset is supported") and "taken as 0" in said
  calibrate_report.tell_timing(dataclasses.replace(found, offset=(0.0, 3.0), gain=(0.0, 90.0)))
  said = capsys.readouterr().out
  assert said.startswith("Out of step, in frames of a") and "taken as 0" not in said
  calibrate_report.tell_timing(dataclasses.replace(found, drift=(0.0, 0.01)))
  assert capsys.readouterr().out.startswith("Out of step")
