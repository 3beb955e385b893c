"""The benchmark's arithmetic, and that its loops estimate what the methods do."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.tools import simulation
from epipolar_jax.tools.benchmark import timing, triangulation


def test_rows_by_hand(monkeypatch):
  """A clock that ticks: 5 s for the call that compiles, then 2, 1 and 3 s."""
  ticks = itertools.accumulate([0, 5, 0, 2, 0, 1, 0, 3, 0, 99])
  monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
  row = timing.measure("f", lambda x: x, jnp.zeros(1), size="one", frames=10, seconds=4.0)
  assert (row.compile_s, row.median_s, row.low_s, row.high_s, row.calls) == (3, 2, 1, 3, 3)
  assert row.frames_per_s == 5.0
  slow = timing.Row("loop", "one", 0.0, 1.0, 1.0, 1.0, 3, 0.5)
  assert timing.against(row, slow).ratio == pytest.approx(10.0)
  lines = timing.table([slow, timing.against(row, slow)]).splitlines()
  assert len(lines) == 4 and lines[3].endswith("| 10× |") and lines[2].endswith("|  |")


def test_loops_find_the_joint():
  """Exact detections: every loop gives the point."""
  scenes = simulation.make_scenes(np.random.default_rng(0), 1)
  views = triangulation.reconstruction.Views(
    *(scenes.uv[0], None, scenes.intrinsics[0], scenes.rotation[0], scenes.translation[0])
  )
  for name in ("dlt", "consensus", "robust"):
    found = triangulation.LOOPS[name](views, 5)
    np.testing.assert_allclose(found, scenes.joints[0, 5], atol=1.0, err_msg=name)
