"""Many recordings: dealt out to two processes, one of them killed, finished ones left alone."""

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from epipolar_jax.cli import recording, recordings
from epipolar_jax.motion import files
from tests import walkers
from tests.footage import dots

_JOB = pathlib.Path(__file__).with_name("predict_job.py")
_FRAMES = {"walk_0": 9, "walk_1": 24, "walk_2": 3, "broken": 2}
_RIG = walkers.ring(3)


def _write(folder: pathlib.Path, frames: int, start: int) -> None:
  for index, images in enumerate(dots.draw(dots.spread(start + frames)[start:], _RIG)):
    for name, image in zip(_RIG.names, images):
      (folder / name).mkdir(parents=True, exist_ok=True)
      cv2.imwrite(str(folder / name / f"{index}.png"), image[..., ::-1])


class _Laboratory:
  """Four recordings, the last of which lacks two cameras; one calibration beside them."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    for start, (name, frames) in enumerate(_FRAMES.items()):
      _write(folder / "data" / name, frames, start)
    for name in _RIG.names[1:]:
      (folder / "data" / "broken" / name).rename(folder / f"away_{name}")
    _RIG.write(folder / "rig.json")

  def start(self, out: str, *more: str) -> subprocess.Popen:
    words = ["--videos", "cam?", "--cameras", "rig.json", "--recordings", "data/*", "--no_film"]
    return subprocess.Popen(
      [sys.executable, str(_JOB), "predict", *words, "--out", out, *more],
      cwd=self.folder,
      env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "programs")},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def table(self, out: str) -> dict[str, dict[str, str]]:
    with (self.folder / out / "summary.csv").open(encoding="utf-8") as file:
      return {row["recording"]: row for row in csv.DictReader(file)}

  def joints(self, out: str, name: str) -> np.ndarray:
    return files.read(self.folder / out / name / "joints.npz")[0].points


def _end(process: subprocess.Popen) -> tuple[int, str]:
  said, errors = process.communicate(timeout=1800)
  assert "Traceback" not in errors, errors[-3000:]
  return process.returncode, said


def test_two_processes_share_recordings_and_a_killed_one_goes_on(tmp_path):
  laboratory = _Laboratory(tmp_path)
  # In order of names: broken, walk_0, walk_1, walk_2; process 0 has the first and the third.
  first, second = (laboratory.start("shared", "--shard", f"{i}/2") for i in range(2))
  long = tmp_path / "shared" / "walk_1"
  while not list(long.glob("parts/0*.npz")):
    assert first.poll() is None, first.communicate()
    time.sleep(0.005)
  first.kill()
  first.communicate()
  assert not (long / "summary.json").exists()
  status, said = _end(second)
  assert status == 0 and "walk_0 (1 of 2)" in said and "walk_2 (2 of 2)" in said
  assert "broken (" not in said and "walk_1 (" not in said
  assert laboratory.table("shared")["walk_1"]["state"] == "not done"
  status, said = _end(laboratory.start("shared", "--shard", "0/2"))
  assert status == 2 and "failed: " in said
  table = laboratory.table("shared")
  assert {name: row["state"] for name, row in table.items()} == {
    "broken": "failed",
    "walk_0": "done",
    "walk_1": "done",
    "walk_2": "done",
  }
  assert [table[name]["frames"] for name in ("walk_0", "walk_1", "walk_2")] == ["9", "24", "3"]
  assert float(table["walk_1"]["triangulated"]) == 1.0 and "2 views" in table["broken"]["words"]
  # Again, by one process: what is finished stays as it is, what failed is mended and done.
  for name in _RIG.names[1:]:
    (tmp_path / f"away_{name}").rename(tmp_path / "data" / "broken" / name)
  before = (long / "joints.npz").stat().st_mtime_ns
  whole, again = laboratory.start("whole"), laboratory.start("shared")
  assert _end(whole)[0] == 0
  status, said = _end(again)
  assert status == 0 and said.count("is finished") == 3
  assert (long / "joints.npz").stat().st_mtime_ns == before
  for name in _FRAMES:
    np.testing.assert_array_equal(
      laboratory.joints("shared", name), laboratory.joints("whole", name)
    )


def _options(**changed) -> argparse.Namespace:
  options = {
    "recordings": ["data/*"],
    "videos": ["*.mp4"],
    "cameras": pathlib.Path("rig.json"),
    "timing": None,
    "detector": "thunder",
    "checkpoint": None,
    "method": "robust",
    "shard": None,
    "out": pathlib.Path("out"),
    "debug": False,
  }
  return argparse.Namespace(**options | changed)


def test_a_recording_with_nothing_in_it_is_status_1(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ("one", "two"):
    (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / name / "a.mp4").touch()

  def predictor(given):
    return _done(given)._replace(triangulated=0.5 * (given.out.name == "one"))

  assert recordings.predict(predictor, _options()) == 1
  assert recordings.predict(predictor, _options(recordings=["data/one"])) == 0


def _done(given: recording.Given) -> recording.Outcome:
  return recording.Outcome(5, 0.5, None, f"verdict on {given.out.name}")


def test_an_option_or_a_file_that_changed_is_predicted_again(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "data" / "one").mkdir(parents=True)
  (tmp_path / "data" / "one" / "a.mp4").write_bytes(b"1")
  (tmp_path / "rig.json").write_text("1")
  calls = []

  def predictor(given):
    calls.append(given)
    return _done(given)

  assert recordings.predict(predictor, _options()) == 0
  assert calls[0].videos == (str(tmp_path / "data/one/a.mp4"),)
  assert calls[0].cameras == pathlib.Path("rig.json")
  assert "verdict on one" in capsys.readouterr().out
  assert recordings.predict(predictor, _options(debug=True)) == 0 and len(calls) == 1
  assert recordings.predict(predictor, _options(method="dlt")) == 0 and len(calls) == 2
  (tmp_path / "data" / "one" / "rig.json").write_text("12")
  assert recordings.predict(predictor, _options(method="dlt")) == 0 and len(calls) == 3
  assert calls[2].cameras == tmp_path / "data" / "one" / "rig.json"
  (tmp_path / "out" / "one" / "summary.json").write_text("{")
  assert recordings.predict(predictor, _options(method="dlt")) == 0 and len(calls) == 4
  assert (tmp_path / "out" / "summary.csv").read_text().splitlines()[1] == (
    "one,done,5,0.5,,verdict on one"
  )


def test_a_recording_that_another_process_writes_to_is_left_to_it(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "data" / "one").mkdir(parents=True)
  with recordings.locking.alone(tmp_path / "out" / "one" / "lock"):
    assert recordings.predict(_done, _options()) == 0
  assert "left to it" in capsys.readouterr().out
  assert not (tmp_path / "out" / "one" / "summary.json").exists()


def test_what_makes_no_sense_is_said(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for text in ("4/4", "1", "-1/2", "a/b", "1/0", "1/2/3"):
    with pytest.raises(ValueError, match="I from 0 to N - 1"):
      recordings.shard(text)
  assert list(range(10))[recordings.shard("1/4")] == [1, 5, 9]
  with pytest.raises(FileNotFoundError, match="no folder is called data"):
    recordings.folders(["data/*"])
  for place in ("a/one", "b/one"):
    (tmp_path / place).mkdir(parents=True)
  with pytest.raises(ValueError, match="have one name"):
    recordings.folders(["a/*", "b/*"])
  with pytest.raises(ValueError, match="what it is called in each"):
    recordings.given(_options(videos=["/x/*.mp4"]), tmp_path, tmp_path)
  with pytest.raises(FileNotFoundError, match="no video in it is called"):
    recordings.given(_options(), tmp_path, tmp_path)
  named = recordings.given(_options(videos=["left=l.mp4"]), tmp_path / "a", tmp_path)
  assert named.videos == (f"left={tmp_path / 'a' / 'l.mp4'}",)
