"""One job in several processes, through train.py: the same numbers, the same checkpoints."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from epipolar_jax import checkpointing, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets
from epipolar_jax.models import pose_resnet
from epipolar_jax.runtime import processes
from epipolar_jax.training import loop
from tests import job

_JOB = pathlib.Path(job.__file__)


def _explicit(port: int, index: int) -> tuple[list[str], dict[str, str]]:
  flags = [f"--coordinator_address=localhost:{port}", "--num_processes=2", f"--process_id={index}"]
  return flags, {}


def _open_mpi(port: int, index: int) -> tuple[list[str], dict[str, str]]:
  """What mpirun tells its processes."""
  variables = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,127.0.0.2:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": f"{index}",
    "OMPI_COMM_WORLD_LOCAL_RANK": f"{index}",
    "JAX_COORDINATOR_PORT": f"{port}",
  }
  return ["--distributed"], variables


def _slurm(port: int, index: int) -> tuple[list[str], dict[str, str]]:
  """What srun tells its processes."""
  variables = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": f"{index}",
    "SLURM_LOCALID": f"{index}",
    "JAX_COORDINATOR_PORT": f"{port}",
  }
  return ["--distributed"], variables


def _run(script, workdir, cache, *flags, joined=_explicit, stopped=None, mapped="pmap"):
  """Both processes of a job, to their end; what each printed.

  Args:
    script: train.py or eval.py.
    workdir: of the run.
    cache: of compiled programs.
    flags: of the script.
    joined: how the processes find each other.
    stopped: the process that gets a SIGTERM.
    mapped: "pmap", or "shard_map" for its twin.
  """
  port = _free_port()
  started = []
  for index in range(2):
    job_flags, variables = joined(port, index)
    setting = "1" + ",stopped" * (index == stopped) + ",shard_map" * (mapped == "shard_map")
    command = [sys.executable, str(_JOB), setting, script, f"--config={_JOB}"]
    started.append(
      subprocess.Popen(
        [*command, f"--workdir={workdir}", *flags, *job_flags],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
      )
    )
  output = [process.communicate(timeout=500)[0] for process in started]
  assert [process.returncode for process in started] == [0, 0], "\n".join(output)
  return output


def _free_port():
  with socket.socket() as s:
    s.bind(("localhost", 0))
    return s.getsockname()[1]


def _losses(workdir):
  rows = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
  return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


def _test_split(path):
  """The numbers of the test split, without those of the run."""
  return json.loads(path.read_text())["splits"]["test"]


def test_jobs_of_two_processes(tmp_path, monkeypatch):
  """One process, then jobs of two: stopped and resumed, found by --distributed, evaluating."""
  config = job.get_config()
  cache = tmp_path / "cache"
  # Taken back at the end.
  monkeypatch.setattr(datasets, "open_split", datasets.open_split)
  monkeypatch.setattr(pose_resnet, "PoseResNet", pose_resnet.PoseResNet)
  job.install()
  one, two, whole = tmp_path / "one", tmp_path / "two", tmp_path / "whole"
  # Four devices of one process write; two processes of one device each read, and go on.
  loop.train(config, one, stop_at=3)
  shutil.copytree(one, two)
  shutil.copytree(one, whole)
  loop.train(config, one)

  # SIGTERM reaches the process that does not lead before step 4, whose line in the log is next.
  output = _run("train.py", two, cache, stopped=1)
  assert "Stopped at step 4" in output[0] and "Stopped" not in output[1]
  assert checkpointing.newest(two).name == "4" and not (two / "eval.json").exists()
  output = _run("train.py", two, cache)
  assert "Training is complete at step 6" in output[0] and "MPJPE" in output[0]
  assert "Training is complete" not in output[1] and "MPJPE" not in output[1]
  # Sums in another order, and three steps of Adam on top; measured 2e-7.
  want, got = _losses(one), _losses(two)
  assert sorted(got) == sorted(want) == [2, 3, 4, 6]
  np.testing.assert_allclose([got[i] for i in got], [want[i] for i in want], rtol=1e-5)

  # A job that was never stopped, that nobody described, and whose steps are mapped by `shard_map`
  # takes the very same steps.
  _run("train.py", whole, cache, joined=_open_mpi, mapped="shard_map")
  assert _losses(whole) == got
  assert _test_split(whole / "eval.json") == _test_split(two / "eval.json")

  # What two processes wrote, four devices read; their share of six frames was three each, padded.
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  path = checkpointing.newest(two)
  assert path.name == "6"
  variables, _ = checkpointing.restore_variables(path, template, task.meta)
  again = driver.report(config, variables, step=6, output=tmp_path / "again.json")["test"]
  told = _test_split(two / "eval.json")
  assert told["frames"] == again["frames"] == 6
  assert (two / "eval_test.png").exists()
  np.testing.assert_allclose(told["mpjpe_mm"], again["mpjpe_mm"], rtol=1e-5)
  np.testing.assert_allclose(told["error_2d_px"], again["error_2d_px"], rtol=1e-5)
  off = [x["boxes_off"]["mpjpe_mm"] for x in (told, again)]
  np.testing.assert_allclose(*off, rtol=1e-5)
  assert told["per_action_mm"]["absolute"].keys() == {"dots"}

  # eval.py as a job: what training told, printed and written by the first process alone.
  elsewhere = tmp_path / "elsewhere" / "eval.json"
  output = _run("eval.py", two, cache, f"--output={elsewhere}", joined=_slurm)
  assert "step 6." in output[0] and "MPJPE" in output[0] and f"Wrote {elsewhere}" in output[0]
  assert not any(word in output[1] for word in ("Evaluating", "MPJPE", "Wrote"))
  assert _test_split(elsewhere) == told
  assert elsewhere.with_name("eval_test.png").exists()


@pytest.mark.parametrize(
  ("detect", "given", "message"),
  [
    (False, ("localhost:1", None, 0), "missing: --num_processes"),
    (False, (None, 2, 0), "missing: --coordinator_address"),
    (True, ("localhost:1", 2, 0), "finds out by itself"),
  ],
)
def test_half_a_description_of_a_job_is_refused(detect, given, message):
  names = ("coordinator_address", "num_processes", "process_id")
  with pytest.raises(ValueError, match=message):
    processes.join(detect=detect, **dict(zip(names, given)))


_ALONE = """
import os, signal, sys, time
import jax
jax.config.update("jax_platforms", "cpu")
from epipolar_jax.runtime import processes
given = {"coordinator_address": None, "num_processes": None, "process_id": None}
try:
  processes.join(detect=True, **given)
except ValueError as error:
  print(error, flush=True)
processes.join(detect=False, coordinator_address=sys.argv[1], num_processes=1, process_id=0)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


def test_sigterm_ends_a_process_of_a_job_and_no_job_is_found_where_none_is():
  environment = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SLURM_", "OMPI_", "KUBERNETES_", "JAX_COORDINATOR"))
  }
  ran = subprocess.run(
    [sys.executable, "-c", _ALONE, f"localhost:{_free_port()}"],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert "--distributed finds no TPU pod" in ran.stdout
  assert ran.returncode == -signal.SIGTERM, ran.stderr
