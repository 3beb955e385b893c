"""Builders side by side, and workers whose builder was killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from data import sharded

_BUILDER = """
import os, pathlib, time
from data import sharded
import concurrent.futures, multiprocessing

if __name__ == "__main__":
  context = multiprocessing.get_context("spawn")
  pool = concurrent.futures.ProcessPoolExecutor(1, context, initializer=sharded._start_worker)
  print(pool.submit(os.getpid).result(), flush=True)
  pool.submit(time.sleep, 600)
  time.sleep(600)
"""


def _runs(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")
def test_workers_end_with_a_killed_builder(tmp_path):
  script = tmp_path / "build.py"
  script.write_text(_BUILDER)
  environment = os.environ | {"PYTHONPATH": os.getcwd()}
  builder = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
  worker = int(builder.stdout.readline())
  assert _runs(worker)
  os.kill(builder.pid, signal.SIGKILL)
  builder.wait()
  builder.stdout.close()
  deadline = time.monotonic() + 20
  while _runs(worker) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not _runs(worker)


def test_one_builder_at_a_time(tmp_path):
  parts = tmp_path / "cache" / ".rhd_train"
  with (
    sharded.alone(parts),
    pytest.raises(ValueError, match=r"process \d+ on .* is making .*--data_dir"),
    sharded.alone(parts),
  ):
    pass
  with sharded.alone(parts):
    pass
