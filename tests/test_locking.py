"""One process at a time; the lock of a dead process holds nobody up."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from epipolar_jax import locking
from epipolar_jax.training import run_folder

_ROOT = pathlib.Path(__file__).parent.parent
_HOLD = """
import pathlib, sys, time
from epipolar_jax import locking
with locking.alone(pathlib.Path(sys.argv[1])):
  print("held", flush=True)
  time.sleep(600)
"""


@contextlib.contextmanager
def _holder(file):
  """Another process that holds a lock; killed at the end."""
  command = [sys.executable, "-c", _HOLD, str(file)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as other:
    try:
      assert other.stdout.readline() == "held\n"
      yield other
    finally:
      other.kill()


def test_a_second_training_is_refused_until_the_first_is_dead(tmp_path):
  with _holder(tmp_path / ".lock") as other:
    message = rf"in use: process {other.pid} on .* --workdir"
    with pytest.raises(locking.BusyError, match=message), run_folder.alone(tmp_path):
      pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert (tmp_path / ".lock.json").exists(), "a killed process leaves its name"
    with run_folder.alone(tmp_path):
      pass
  assert not (tmp_path / ".lock.json").exists()


def test_a_builder_waits_for_another_one(tmp_path):
  file, said = tmp_path / "new" / ".lock", []
  with _holder(file) as other:
    killer = threading.Timer(0.5, other.kill)
    with_lock = locking.alone(file, waiting=lambda who: (said.append(who), killer.start()))
    with with_lock:
      assert other.wait(10) == -signal.SIGKILL
  assert said[0].startswith(f"process {other.pid} on ")


def test_the_lock_is_free_after_an_error(tmp_path):
  with pytest.raises(KeyError), locking.alone(tmp_path / "a"):
    raise KeyError
  with locking.alone(tmp_path / "a"):
    pass
