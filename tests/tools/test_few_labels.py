"""The table of few labels: which trainings it runs, what it makes of their results."""

import json
import subprocess
import sys

import pytest

from epipolar_jax import skeletons
from epipolar_jax.models import movenet
from epipolar_jax.tools import few_labels


def _evaluated(folder, run, error):
  numbers = {"dlt": {"mpjpe_mm": error}, "robust": {"mpjpe_mm": error - 10}}
  split = {"error_2d_px": error / 20, "methods": numbers}
  (folder / run.name).mkdir(parents=True)
  (folder / run.name / "eval.json").write_text(
    json.dumps({"splits": {"test": split, "test_occluded_2": split}})
  )


def test_no_published_head_knows_the_animal(tmp_path):
  skeleton = skeletons.read(few_labels.animal(tmp_path))
  assert not set(skeleton.joints) & set(movenet.JOINTS)
  assert skeleton.parents == skeletons.H36M_17.parents


def test_the_command_is_a_training_of_so_many_steps(tmp_path):
  """train.py itself takes every option; 200 steps on 10 labels, 600 on 200."""
  for run in (few_labels.Run(10, "MoveNet", "late", 1), few_labels.Run(200, "scratch", "none", 0)):
    command = few_labels.command(run, tmp_path, tmp_path / "data")
    (epochs,) = [float(x.split("=")[1]) for x in command if "num_epochs" in x]
    assert epochs * run.labels / 4 == run.steps == {10: 200, 200: 600}[run.labels]
    few_labels.animal(tmp_path)
    code = "import sys; from epipolar_jax.runtime import start; start.run(lambda config, w: None)"
    ran = subprocess.run(
      [sys.executable, "-c", code, *command[2:]], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr


def test_means_and_ranges_of_what_is_there(tmp_path):
  runs = [
    few_labels.Run(10, "MoveNet", fusion, seed) for fusion in ("none", "late") for seed in (0, 1)
  ]
  _evaluated(tmp_path, runs[0], 100.0)
  _evaluated(tmp_path, runs[1], 120.0)
  _evaluated(tmp_path, runs[2], 60.0)
  lines = few_labels.table(tmp_path, runs).splitlines()
  assert lines[2] == "| labelled frames | start | none | late | heatmaps |"
  assert lines[4] == "| 10 | MoveNet | 5.5 / 110 / 100 (100–120) | 3.0 / 60 / 50 | – |"


def test_what_is_done_is_not_done_again_and_failures_name_the_file(tmp_path, monkeypatch):
  run = few_labels.Run(10, "MoveNet", "none", 0)
  monkeypatch.setattr(few_labels, "command", lambda *a: [sys.executable, "-c", "print(1/0)"])
  with pytest.raises(RuntimeError, match=r"see .*10_movenet_none_seed0.output\.txt"):
    few_labels.train(run, tmp_path, tmp_path)
  assert "ZeroDivisionError" in (tmp_path / run.name / "output.txt").read_text()
  (tmp_path / run.name / "eval.json").write_text("{}")
  few_labels.train(run, tmp_path, tmp_path)
  with pytest.raises(SystemExit):
    few_labels.main(["--output", str(tmp_path), "--labels", "ten"])
