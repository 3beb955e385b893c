"""The benchmark's arithmetic, and that its loops estimate what the methods do."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import triangulation
from epipolar_jax.tools import simulation
from epipolar_jax.tools.benchmark import __main__ as benchmark
from epipolar_jax.tools.benchmark import ceilings, memory, report, timing
from epipolar_jax.tools.benchmark import triangulation as suite


def test_rows_by_hand(monkeypatch):
  """A clock that ticks: 5 s for the call that compiles, then 2, 1 and 3 s."""
  ticks = itertools.accumulate([0, 5, 0, 2, 0, 1, 0, 3, 0, 99])
  monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
  row = timing.measure("f", lambda x: x, jnp.zeros(1), size="one", frames=10, seconds=4.0)
  assert (row.compile_s, row.median_s, row.low_s, row.high_s, row.calls) == (3, 2, 1, 3, 3)
  assert row.frames_per_s == 5.0
  slow = timing.Row("loop", "one", 0.0, 1.0, 1.0, 1.0, 3, 0.5)
  assert timing.against(row, slow).ratio == pytest.approx(10.0)
  lines = report.table([slow, timing.against(row, slow)]).splitlines()
  assert len(lines) == 4 and lines[3].endswith("| 10× |") and lines[2].endswith("|  |")


def test_shares_of_the_ceilings_by_hand():
  """Half a second for 10 GFLOP and 1 GB where 100 GFLOP/s and 4 GB/s are possible."""
  row = timing.Row("f", "one", 0.0, 0.5, 0.4, 0.6, 3, 2.0, flops=1e10, bytes_moved=1e9)
  row = dataclasses.replace(row, peak_bytes=2_000_000)
  plain = timing.Row("loop", "one", 0.0, 1.0, 1.0, 1.0, 3, 0.5)
  best = ceilings.Ceilings({"float32": 1e11}, 4e9)
  lines = report.table([row, plain], best).splitlines()
  assert lines[0].endswith("| ratio | peak MB | GFLOP/s | of matmul | of copy |")
  assert lines[2].endswith("|  | 2 | 20 | 20 % | 50 % |")
  assert lines[3].endswith("|  |  |  |  |  |")
  row = dataclasses.replace(row, error=1.5e-6)
  lines = report.table([row, plain], best).splitlines()
  assert lines[2].endswith("| 20 % | 50 % | 1.5e-06 |") and lines[3].endswith("|  |  |")


def test_compiled_and_called_memory():
  """64 MB come back from a compiled function; 64 MB are held by one that returns nothing."""
  x = jnp.zeros(1 << 24, jnp.float32)
  row = timing.measure("f", jax.jit(lambda x: x + 1), x, size="16 M", frames=1, seconds=0.0)
  assert row.peak_bytes == x.nbytes
  grown = memory.call_bytes(lambda: np.ones(1 << 24, np.float32))
  assert grown is None or abs(grown - x.nbytes) < 4e6


@pytest.mark.parametrize(
  ("words", "message"),
  [("triangulation --against torch", "brings its own baseline"), ("all", "invalid choice")],
)
def test_arguments_that_make_no_sense(words, message, capsys):
  with pytest.raises(SystemExit):
    benchmark.main(words.split())
  assert message in capsys.readouterr().err


def test_loops_find_the_joint():
  """Exact detections: every loop gives the point."""
  scenes = simulation.make_scenes(np.random.default_rng(0), 1)
  views = triangulation.Views(*(scenes.uv[0], None, scenes.cameras[0]))
  for name in ("dlt", "consensus", "robust"):
    found = suite.LOOPS[name](views, 5)
    np.testing.assert_allclose(found, scenes.joints[0, 5], atol=1.0, err_msg=name)


def test_loop_of_the_pictorial_model_finds_its_pose():
  """Measured 3.9 mm, at most 9: OpenCV looks up at 1/32 of a map pixel, and has other weights."""
  scenes, views = suite._frames(2)
  maps = suite._maps(jnp.asarray(views.joints_2d))
  locate = triangulation.make("rpsm", limb_length=np.array(simulation.LIMB_MM))
  found = locate(jax.tree.map(jnp.asarray, views._replace(heatmaps=maps, root=scenes.joints[:, 0])))
  tables = suite._pair_tables()
  for number in range(2):
    frame = jax.tree.map(lambda x, i=number: x[i], views)
    root = scenes.joints[number, 0]
    joints = suite.LOOPS["rpsm"](frame, np.asarray(maps[number]), root, tables)
    apart = np.linalg.norm(joints - found.points[number], axis=-1)
    assert apart.mean() < 6.0 and apart.max() < 15.0, apart
