"""A session of benchmarks: what it plans, and that one suite's failure costs no other's numbers."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from epipolar_jax.tools.benchmark import __main__ as benchmark
from epipolar_jax.tools.benchmark import probe, session

_GPU = probe.Surroundings("gpu", 1, "")


def _step(name, *programs, needs_s=20.0, **fields):
  commands = tuple((sys.executable, "-c", program) for program in programs)
  return session.Step(name, commands, needs_s, **fields)


def test_every_planned_command_is_one_that_the_program_takes(tmp_path, monkeypatch):
  monkeypatch.setattr(probe, "torch_missing", str)  # as if PyTorch were here
  steps = session.plan(_GPU, tmp_path, seconds=1.0, against="torch")
  assert tuple(step.name for step in steps) == session.NAMES
  for step in steps:
    for command in step.commands:
      assert command[1:3] == ("-m", "epipolar_jax.tools.benchmark")
      arguments = benchmark.parse(command[3:])
      assert arguments.output == tmp_path / f"{step.name}.json" and arguments.seconds == 1.0
  assert sum(step.needs_s for step in steps if not step.skipped) < 8 * 60


def test_plan_follows_what_is_there(tmp_path):
  def skipped(around, **options):
    return [x.name for x in session.plan(around, tmp_path, seconds=1.0, **options) if x.skipped]

  def compared(around):
    steps = session.plan(around, tmp_path, seconds=1.0, against="torch")
    return [x.name for x in steps if "--against" in x.commands[0]]

  assert skipped(_GPU) == ["scaling"]
  assert skipped(probe.Surroundings("cpu", 4, "")) == ["attention_kernel"]
  assert compared(_GPU) == ["attention", "step", "pipeline", "backbone"]
  assert compared(probe.Surroundings("gpu", 1, "PyTorch only on the CPU")) == []
  (only,) = session.plan(_GPU, tmp_path, seconds=1.0, only=("step",))
  assert only.name == "step" and len(only.commands) == 1
  with pytest.raises(ValueError, match="allowed: attention, attention_kernel"):
    session.plan(_GPU, tmp_path, seconds=1.0, only=("rpsm",))


def test_a_suite_that_fails_costs_no_other(tmp_path, capsys):
  crash = "import os, sys; print('out of memory', file=sys.stderr, flush=True); os.abort()"
  steps = [
    _step("first", "print('| table', 1, '|')"),
    _step("crashing", crash),
    _step("alone", crash, "print('| table', 2, '|')"),
    _step("absent", "", skipped="there is one device"),
    _step("large", "print('never')", needs_s=1e6),
    _step("last", "print('| table', 3, '|')"),
  ]
  assert session.run(steps, tmp_path, minutes=2.0, head="\nhere") == ["crashing"]
  parts = (tmp_path / "tables.md").read_text().split("\n## ")
  assert [part.split()[0] for part in parts] == ["#", *(step.name for step in steps)]
  head, first, crashing, alone, absent, large, last = parts
  assert "here" in head and "| table 1 |" in first and "| table 3 |" in last
  assert "**Failed**, exit status -6" in crashing and "out of memory" in crashing
  assert "out of memory" in alone and "| table 2 |" in alone
  assert "Skipped: there is one device." in absent and "Skipped: it needs 1000000 s" in large
  assert "never" not in capsys.readouterr().out
  # Another session in the same folder: the tables of this one stay.
  session.run(steps[:1], tmp_path, minutes=2.0)
  assert (tmp_path / "tables.md").read_text().count("| table 1 |") == 2


def test_a_suite_that_hangs_is_ended(tmp_path):
  hanging = _step("hanging", "import time; time.sleep(600)", needs_s=0.1)
  assert session.run([hanging], tmp_path, minutes=0.01) == ["hanging"]
  assert "it ran out of time" in (tmp_path / "tables.md").read_text()


_KILLED = """
import pathlib, sys
from epipolar_jax.tools.benchmark import __main__ as benchmark
from epipolar_jax.tools.benchmark import probe, session
folder = pathlib.Path(sys.argv[1])
beat = "import sys, time\\nwhile True: open(sys.argv[1], 'a').write('.'); time.sleep(0.05)"
step = session.Step("beating", ((sys.executable, "-c", beat, str(folder / "beats")),), 1.0)
probe.look = lambda: probe.Surroundings("cpu", 1, "")
session.plan = lambda *_, **__: [step]
benchmark.main(["all", "--output", str(folder)])
"""


def test_ending_a_session_ends_the_suite_that_runs(tmp_path):
  beats = tmp_path / "beats"
  process = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)])
  try:
    while not beats.exists():
      assert process.poll() is None
      time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
  finally:
    process.kill()
  before = beats.stat().st_size
  time.sleep(0.5)
  assert beats.stat().st_size == before


def test_probe_says_what_there_is(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
  around = probe.look()
  assert (around.platform, around.devices) == ("cpu", 2)
  assert around.no_torch == probe.torch_missing()


def test_a_torch_without_the_devices_of_jax_is_not_compared_with():
  torch = pytest.importorskip("torch", reason="PyTorch, which only the comparison needs")
  assert probe.no_torch("cpu") == ""
  assert bool(probe.no_torch("gpu")) != torch.cuda.is_available()


def test_a_session_from_the_command_line(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(probe, "look", lambda: probe.Surroundings("gpu", 1, "no CUDA"))
  words = ["all", "--against", "torch", "--minutes", "0", "--output", str(tmp_path)]
  benchmark.main(words)
  assert "Not compared with PyTorch: no CUDA." in capsys.readouterr().out
  text = pathlib.Path(tmp_path / "tables.md").read_text()
  assert text.count("Skipped: it needs") == len(session.NAMES) - 1
