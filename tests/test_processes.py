"""One job in several processes, through train.py: the same numbers, the same checkpoints."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from epipolar_jax import checkpointing, processes, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets
from epipolar_jax.models import pose_resnet
from epipolar_jax.training import loop
from tests import job

_JOB = pathlib.Path(job.__file__)


def _start(workdir, index, count, address, cache):
  command = [
    *(sys.executable, str(_JOB), "1", "train.py", f"--config={_JOB}", f"--workdir={workdir}"),
    f"--coordinator_address={address}",
    f"--num_processes={count}",
    f"--process_id={index}",
  ]
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
  return subprocess.Popen(command, env=environment, **pipes)


def _free_port():
  with socket.socket() as s:
    s.bind(("localhost", 0))
    return s.getsockname()[1]


def _losses(workdir):
  rows = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
  return {row["step"]: row["train/loss"] for row in rows}


def test_two_processes_go_on_where_one_stopped_and_the_other_way_round(tmp_path, monkeypatch):
  config = job.get_config()
  # Taken back at the end.
  monkeypatch.setattr(datasets, "open_split", datasets.open_split)
  monkeypatch.setattr(pose_resnet, "PoseResNet", pose_resnet.PoseResNet)
  job.install()
  one, two = tmp_path / "one", tmp_path / "two"
  # Four devices of one process write; two processes of one device each read, go on, and evaluate.
  loop.train(config, one, stop_at=3)
  shutil.copytree(one, two)
  address = f"localhost:{_free_port()}"
  started = [_start(two, i, 2, address, tmp_path / "cache") for i in range(2)]
  loop.train(config, one)
  output = [process.communicate(timeout=500)[0] for process in started]
  assert [process.returncode for process in started] == [0, 0], "\n".join(output)
  assert "Training is complete at step 6" in output[0] and "MPJPE" in output[0]
  assert "Training is complete" not in output[1] and "MPJPE" not in output[1]
  # Sums in another order, and three steps of Adam on top; measured 2e-7.
  want, got = _losses(one), _losses(two)
  assert sorted(got) == sorted(want) == [1, 2, 3, 4, 5, 6]
  np.testing.assert_allclose([got[i] for i in got], [want[i] for i in want], rtol=1e-5)
  # What two processes wrote, four devices read; their share of six frames was three each, padded.
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  path = checkpointing.newest(two)
  assert path.name == "6"
  variables, _ = checkpointing.restore_variables(path, template, task.meta)
  again = driver.report(config, variables, step=6, output=tmp_path / "again.json")["test"]
  told = json.loads((two / "eval.json").read_text())["splits"]["test"]
  assert told["frames"] == again["frames"] == 6
  assert (two / "eval_test.png").exists()
  np.testing.assert_allclose(told["mpjpe_mm"], again["mpjpe_mm"], rtol=1e-5)
  np.testing.assert_allclose(told["error_2d_px"], again["error_2d_px"], rtol=1e-5)
  assert told["per_action_mm"]["absolute"].keys() == {"dots"}


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
