"""Every reader bears a few damaged files, and tests/fuzz.py notices what a reader does wrong."""

import json
import pathlib
import subprocess
import sys

import pytest

from tests import fuzz, readers

# Each is a process of its own, or the description of a whole data set.
_SLOW = ("h5", "sleap", "prepared data: examples")
_INPUTS, _INPUTS_SLOW = 12, 2


@pytest.mark.parametrize("name", readers.READERS)
def test_damaged_files_are_refused_or_sound(name, tmp_path):
  slow = name.startswith(("keypoints", "prepared")) and any(text in name for text in _SLOW)
  count = _INPUTS_SLOW if slow else _INPUTS
  outcomes = []
  for path, outcome in fuzz.inputs(name, tmp_path, seed=1, turn=0):
    if outcome:
      assert outcome in ("read", "refused"), f"{name}, {path.name}:\n{outcome}"
      outcomes.append(outcome)
    if len(outcomes) == count:
      break


def test_good_files_are_read(tmp_path):
  for number, reader in enumerate(readers.READERS.values()):
    (folder := tmp_path / str(number)).mkdir()
    if reader is not readers.READERS["archive of images"]:
      reader.make(folder).read()


# Runs alone: a process in which JAX has threads must not be forked.
_WRONG = """
import json, os, pathlib, signal, sys
from tests import fuzz, readers

def fail(error):
  raise error

kinds = {
  "another exception": lambda: fail(KeyError("what")),
  "no words": lambda: fail(ValueError("")),
  "memory": lambda: bytearray(8 << 30),
  "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
  "hang": lambda: signal.pause(),
  "nothing": lambda: None,
}
fuzz._HANG_S, found = 1.0, {}
for name, act in kinds.items():
  def make(folder, act=act):
    path, calls = folder / "a", []
    path.write_bytes(bytes(100))
    def read():
      calls.append(1)
      return act() if len(calls) > 3 else None
    return readers.Target((path,), read)
  readers.READERS[name] = readers.Reader(make)
  found[name] = fuzz.turn(name, pathlib.Path(name).absolute(), seed=0, number=0, seconds=0.5)
print(json.dumps(found))
"""


def test_what_is_wrong_is_noticed_and_its_file_kept(tmp_path):
  root = pathlib.Path(__file__).parent.parent
  ran = subprocess.run(
    [sys.executable, "-c", _WRONG],
    cwd=tmp_path,
    env={"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert ran.returncode == 0, ran.stderr
  found = json.loads(ran.stdout)
  for kind, message in {
    "another exception": "KeyError: 'what'",
    "no words": "ValueError",
    "memory": "MemoryError",
    "crash": "ended with status -11",
    "hang": "hangs for 1 s",
  }.items():
    tried, _, faults = found[kind]
    assert tried >= 4 and message in faults[-1], (kind, faults)
    assert any(path.name.endswith("_a") for path in (tmp_path / kind).iterdir())
  tried, refused, faults = found["nothing"]
  assert tried > 4 and not refused and not faults and not (tmp_path / "nothing").exists()
