"""Ctrl-C: one sentence and status 130, and a prediction says where it goes on."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import pytest

from epipolar_jax import __main__ as command
from epipolar_jax.cli import check
from tests import walkers
from tests.footage import dots

_JOB = pathlib.Path(__file__).with_name("predict_job.py")
_RIG = walkers.ring(2)
_FRAMES = 24


def _predict(folder: pathlib.Path) -> subprocess.Popen:
  words = ["--videos", "cam?", "--cameras", "rig.json", "--out", "out", "--no_film"]
  return subprocess.Popen(
    [sys.executable, str(_JOB), "predict", *words],
    cwd=folder,
    env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "programs")},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_a_stopped_prediction_goes_on(tmp_path):
  for index, images in enumerate(dots.draw(dots.spread(_FRAMES), _RIG)):
    for name, image in zip(_RIG.names, images):
      (tmp_path / name).mkdir(exist_ok=True)
      cv2.imwrite(str(tmp_path / name / f"{index:02}.png"), image[..., ::-1])
  _RIG.write(tmp_path / "rig.json")
  process = _predict(tmp_path)
  while not list(tmp_path.glob("out/parts/0*.npz")):
    assert process.poll() is None, process.communicate()
    time.sleep(0.005)
  process.send_signal(signal.SIGINT)
  said, errors = process.communicate(timeout=300)
  assert process.returncode == 130 and "Traceback" not in errors
  assert errors.endswith("Stopped. The same command goes on where it was.\n")
  assert "already" not in said
  process = _predict(tmp_path)
  said, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  assert said.count("frames already: ") == 1 and f" of {_FRAMES} frames already: " in said


def test_other_verbs_just_stop(monkeypatch, capsys):
  def stop(_):
    raise KeyboardInterrupt

  monkeypatch.setattr(check, "run", stop)
  assert command.main(["check", "--cameras", "rig.json"]) == 130
  assert capsys.readouterr().err == "Stopped.\n"
  with pytest.raises(KeyboardInterrupt):
    command.main(["--debug", "check", "--cameras", "rig.json"])
