"""train.py and eval.py as commands: what a user gets for mistakes, and what eval.json then says."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import jax
import pytest

from epipolar_jax.runtime import start

_ROOT = pathlib.Path(__file__).parents[2]
_JOB = _ROOT / "tests" / "job.py"


def _run(script, workdir, *more):
  return subprocess.run(
    [sys.executable, str(_JOB), "1", script, f"--config={_JOB}", f"--workdir={workdir}", *more],
    env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "cache")},
    capture_output=True,
    text=True,
    timeout=500,
  )


def test_a_run_and_what_may_be_said_of_it(tmp_path):
  workdir = tmp_path / "run"
  ran = _run("train.py", workdir)
  assert ran.returncode == 0, ran.stderr
  assert "Training is complete at step 6" in ran.stdout
  record = json.loads((workdir / "eval.json").read_text())
  last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  assert last["step"] == 6 and last["test/mpjpe_mm"] == record["mpjpe_mm"]
  events = b"".join(path.read_bytes() for path in (workdir / "tensorboard").iterdir())
  assert b"test/predictions" in events and b"test/mpjpe_mm" in events

  # A finished run under another config: a sentence, and nothing changes.
  ran = _run("train.py", workdir, "--config.seed=5", "--config.optimizer.learning_rate=0.5")
  assert ran.returncode == 1 and "Traceback" not in ran.stderr
  assert "seed: the run has 0, asked for is 5" in ran.stderr
  assert "optimizer.learning_rate: the run has 0.002, asked for is 0.5" in ran.stderr
  assert json.loads((workdir / "eval.json").read_text()) == record

  options = ["--config.seed=5", "--triangulation=dlt", "--nosave_images"]
  ran = _run("eval.py", workdir, *options)
  assert ran.returncode == 0, ran.stderr
  again = json.loads((workdir / "eval.json").read_text())
  assert again["seed"] == 0 and again["trained"]["seed"] == 0
  assert again["methods"]["dlt"]["mpjpe_mm"] == record["mpjpe_mm"]


def test_ctrl_c_saves_and_ends_with_130(tmp_path):
  command = [sys.executable, str(_JOB), "1", "train.py", f"--config={_JOB}"]
  command += [f"--workdir={tmp_path}", "--config.train.num_epochs=500.0"]
  said = tmp_path / "said.txt"  # a pipe that nobody reads would stop it when it is full
  with said.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as ran:
    log = tmp_path / "metrics.jsonl"
    while ran.poll() is None and not (log.exists() and log.read_text()):
      time.sleep(0.05)
    ran.send_signal(signal.SIGINT)
    ran.wait(timeout=300)
  error = said.read_text()
  assert ran.returncode == 130, error
  assert "the same command resumes" in error and list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(
  ("script", "arguments", "message"),
  [
    ("train.py", [], "--config is missing"),
    (
      "eval.py",
      ["--config=configs/h36m.py", "--config.model.backbone_dept=50"],
      "model.backbone_depth",
    ),
    ("train.py", ["--config=configs/h36m.py", "--config.train.batch_size=x"], "batch_size"),
    ("eval.py", ["--config", "configs/nope.py"], "nope.py"),
  ],
)
def test_a_wrong_command_is_told_what_there_is(script, arguments, message):
  ran = subprocess.run(
    [sys.executable, script, *arguments], cwd=_ROOT, capture_output=True, text=True
  )
  assert ran.returncode == 1 and "Traceback" not in ran.stderr
  assert message in ran.stderr
  if "h36m" not in " ".join(arguments):
    assert "configs/synthetic.py" in ran.stderr
  if "backbone" in message:
    assert "did you mean" in ran.stderr and "\n  optimizer.gradient_clip, learning_r" in ran.stderr


def _fails(error):
  raise error


@pytest.mark.parametrize(
  ("error", "said", "status"),
  [
    (ValueError("train.batch_size is 0"), "ERROR: train.batch_size is 0\n", 1),
    (FileNotFoundError("no such folder"), "ERROR: no such folder\n", 1),
    (FloatingPointError("the loss is nan"), "ERROR: the loss is nan\n", 1),
    (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB"), "lower train.batch_size", 1),
    (KeyboardInterrupt("Stopped at step 3"), "Stopped at step 3\n", 130),
  ],
)
def test_a_mistake_is_a_sentence_unless_debug_is_asked_for(
  error, said, status, monkeypatch, capsys
):
  for debug in (False, True):
    monkeypatch.setattr(start, "_DEBUG", types.SimpleNamespace(value=debug))
    raised = type(error) if debug and status == 1 else SystemExit
    with pytest.raises(raised) as ended:
      start.guarded(lambda: _fails(error))
    if raised is SystemExit:
      assert ended.value.code == status
      assert said in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyError("x"), jax.errors.JaxRuntimeError("INTERNAL: broken")])
def test_what_is_a_fault_of_ours_keeps_its_traceback(error, monkeypatch):
  monkeypatch.setattr(start, "_DEBUG", types.SimpleNamespace(value=False))
  with pytest.raises(type(error)):
    start.guarded(lambda: _fails(error))


def test_help_lists_configs_and_fields():
  ran = subprocess.run(
    [sys.executable, "eval.py", "--help"], cwd=_ROOT, capture_output=True, text=True
  )
  assert "configs/synthetic_full.py" in ran.stdout and "triangulation" in ran.stdout
  assert "--coordinator_address" in ran.stdout and "--video" in ran.stdout


def test_all_configs_are_listed_with_what_they_are():
  lines = start.configs().splitlines()
  assert len(lines) == len(list((_ROOT / "configs").glob("*.py"))) - 1
  assert max(map(len, lines)) <= 100
  assert any("synthetic.py" in line and "Quick start" in line for line in lines)
