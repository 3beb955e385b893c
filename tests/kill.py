"""Kills trainings and resumes them: `python -m tests.kill [--kills 100] [--seed 0] [--folder DIR]`.

A run of a small network (tests/job.py) that saves at every line of its log is killed at random
moments of every stage and started again with the same command, until it is complete. Then its last
checkpoint must have the digests of a run that nobody killed, bit for bit, and no kill may take a
checkpoint away. Prints a line for each kill and a table for docs/reliability.md.
"""

import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_JOB = pathlib.Path(__file__).with_name("job.py")
_ROOT = _JOB.parent.parent
# When it is killed: while it imports and compiles, between steps, while a checkpoint is half
# written, when the last one is written and the evaluation is under way.
STAGES = ("start", "steps", "saving", "evaluating")
_LINGER_S = {"start": 4.0, "steps": 0.3, "saving": 0.03, "evaluating": 2.0}
_POLL_S = 0.002
_LONGEST_S = 600


class Kill(NamedTuple):
  """One kill.

  Attributes:
    stage: of `STAGES`.
    signal: SIGKILL, or SIGTERM, which is not answered outside of the steps.
    before: the newest checkpoint when the process was started, 0 for none.
    after: the newest when it was dead.
  """

  stage: str
  signal: str
  before: int
  after: int


class Runs:
  """Trainings of one config in folders of their own, with one cache of programs.

  Args:
    folder: for all of them.
    steps: of a run, a multiple of 4.
    linger: how long a run may go on in its stage before it is killed, as a share of `_LINGER_S`;
      small where every kill must come before the run's end, however quick the machine.
  """

  def __init__(self, folder: pathlib.Path, *, steps: int, linger: float = 1.0):
    self.folder, self.steps, self.linger = folder, steps, linger

  def start(self, name: str) -> subprocess.Popen:
    """Starts or resumes a run."""
    workdir = self.folder / name
    workdir.mkdir(parents=True, exist_ok=True)
    options = [f"--config.train.num_epochs={self.steps / 4}", "--config.train.log_steps=1"]
    options += ["--config.train.checkpoint_minutes=0.0", "--config.eval.num_images=0"]
    with (workdir / "output.txt").open("ab") as output:
      return subprocess.Popen(
        [
          sys.executable,
          _JOB,
          "1",
          "train.py",
          f"--config={_JOB}",
          f"--workdir={workdir}",
          *options,
        ],
        cwd=_ROOT,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "cache")},
        stdout=output,
        stderr=subprocess.STDOUT,
      )

  def finish(self, name: str) -> dict[str, dict[str, str]]:
    """Lets a run come to its end; the digests of its last checkpoint."""
    workdir = self.folder / name
    process = self.start(name)
    assert process.wait(_LONGEST_S) == 0, (workdir / "output.txt").read_text()[-3000:]
    assert not (workdir / "damaged_checkpoints").exists()
    assert not list((workdir / "checkpoints").glob("*tmp*"))
    json.loads((workdir / "eval.json").read_text())
    meta = workdir / "checkpoints" / str(self.steps) / "meta" / "metadata"
    return json.loads(meta.read_text())["digests"]

  def newest(self, name: str) -> int:
    """The last checkpoint of a run, 0 for none."""
    paths = (self.folder / name / "checkpoints").glob("*")
    return max((int(path.name) for path in paths if path.name.isdigit()), default=0)

  def kill(self, name: str, stage: str, number: int, rng: np.random.Generator) -> Kill | None:
    """Starts a run and kills it in a stage; None if it came to its end before."""
    before, process = self.newest(name), self.start(name)
    try:
      self._wait(name, stage, before, process, rng)
      if process.poll() is not None:
        return None
      process.send_signal(number)
      if number == signal.SIGTERM:
        process.wait(_LONGEST_S)
    finally:
      process.kill()
      process.wait()
    return Kill(stage, signal.Signals(number).name, before, self.newest(name))

  def _wait(self, name, stage, before, process, rng) -> None:
    """Until the process is in the stage, and a little longer; or until it ends."""
    folder, since = self.folder / name / "checkpoints", time.monotonic()
    old = set(folder.glob("*tmp*"))
    reached = {
      "start": lambda: True,
      "steps": lambda: self.newest(name) > before,
      "saving": lambda: bool(set(folder.glob("*tmp*")) - old) and self.newest(name) > 0,
      "evaluating": lambda: self.newest(name) == self.steps,
    }[stage]
    while process.poll() is None and not reached():
      assert time.monotonic() - since < _LONGEST_S, f"never reached {stage}"
      time.sleep(_POLL_S)
    time.sleep(rng.uniform(0, self.linger * _LINGER_S[stage]))


def main(arguments: Sequence[str] | None = None) -> None:
  """Kills as often as asked, resumes, compares."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--steps", type=int, default=200, help="of a run")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--folder", type=pathlib.Path, help="default: a temporary one")
  options = parser.parse_args(arguments)
  rng = np.random.default_rng(options.seed)
  with tempfile.TemporaryDirectory() as temporary:
    runs = Runs((options.folder or pathlib.Path(temporary)).absolute(), steps=options.steps)
    wanted = runs.finish("whole")
    kills, lost, different, number = [], 0, 0, 0
    while len(kills) < options.kills:
      number += 1
      name, last = f"killed_{number}", min(options.kills - len(kills), 25)
      for index in range(last):
        stage = STAGES[-1] if index == last - 1 else str(rng.choice(STAGES[:-1]))
        sent = signal.SIGTERM if rng.random() < 0.2 else signal.SIGKILL
        if (kill := runs.kill(name, stage, sent, rng)) is None:
          break
        kills.append(kill)
        lost += kill.after < kill.before
        print(len(kills), *kill, flush=True)
      different += runs.finish(name) != wanted
    counts = collections.Counter((kill.stage, kill.signal) for kill in kills)
    for (stage, sent), count in sorted(counts.items()):
      print(f"| {stage} | {sent} | {count} |")
    print(f"{len(kills)} kills of {number} runs: {lost} checkpoints lost, {different} runs differ")
  if lost or different:
    raise SystemExit(1)


if __name__ == "__main__":
  main()
