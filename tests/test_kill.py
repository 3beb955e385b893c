"""A run that is killed in every stage ends as one that was not; tests/kill.py does more."""

import signal

import numpy as np

from tests import kill


def test_a_run_killed_in_every_stage_ends_the_same(tmp_path):
  runs, rng = kill.Runs(tmp_path, steps=24, linger=0.1), np.random.default_rng(0)
  wanted = runs.finish("whole")
  killed = [
    runs.kill("killed", stage, number, rng)
    for stage, number in (
      ("start", signal.SIGKILL),
      ("saving", signal.SIGKILL),
      ("steps", signal.SIGTERM),
      ("evaluating", signal.SIGKILL),
    )
  ]
  assert all(killed), killed
  assert all(x.after >= x.before for x in killed)
  assert killed[1].after > 0 and killed[-1].after == runs.steps
  assert runs.finish("killed") == wanted
