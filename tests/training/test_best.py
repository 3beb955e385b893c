"""Early stopping: the best weights by validation error, kept, resumed from and used."""

import json

import jax
import numpy as np
import pytest

from epipolar_jax import checkpointing, config_ranges, metric_writer
from epipolar_jax.training import best, loop, run_folder
from tests import runs

_META = {"model": "numbers"}


def _weights(x):
  return {"params": {"kernel": np.full(3, x, np.float32)}}


def _log(folder, errors):
  rows = [{"step": 10 * (i + 1), "eval/mpjpe_mm": e} for i, e in enumerate(errors)]
  folder.mkdir(exist_ok=True)
  lines = [json.dumps(row) for row in rows] + [json.dumps({"step": 5, "train/loss": 1.0}), "{"]
  (folder / "metrics.jsonl").write_text("\n".join(lines))


def test_the_smallest_error_is_kept_and_patience_ends(tmp_path):
  run = best.Best(tmp_path, patience=2, name="eval/mpjpe_mm", start=0)
  for step, error, done in ((1, 50.0, False), (2, 40.0, False), (3, 45.0, False), (4, 40.0, True)):
    run.update(step, error, _weights(step), _META)
    assert run.exhausted == done
  assert (run.step, run.error) == (2, 40.0)
  assert [p.name for p in (tmp_path / "best").iterdir()] == ["2"]
  folder = checkpointing.chosen(tmp_path)
  found, step = checkpointing.restore_variables(folder, _weights(0), _META)
  assert step == 2
  np.testing.assert_array_equal(found["params"]["kernel"], [2, 2, 2])


@pytest.mark.parametrize("start, exhausted, at", [(20, False, 20), (40, True, 20), (50, False, 50)])
def test_a_resumed_run_waits_as_long_as_it_would_have(tmp_path, start, exhausted, at):
  _log(tmp_path, [50.0, 40.0, 45.0, 41.0, 30.0])
  run = best.Best(tmp_path, patience=2, name="eval/mpjpe_mm", start=start)
  assert run.exhausted == exhausted and run.step == at


def test_no_error_is_no_reason_to_wait(tmp_path):
  run = best.Best(tmp_path, patience=1, name="eval/mpjpe_mm", start=0)
  with pytest.raises(ValueError, match="no joint of it has a truth in 3D"):
    run.update(1, None, _weights(1), _META)


def test_patience_without_evaluations_is_refused():
  config = runs.config(train__patience=3, train__eval_epochs=0.0)
  with pytest.raises(ValueError, match="nothing is evaluated while training"):
    config_ranges.check(config)


def test_training_stops_and_is_used_at_its_best(tmp_path, monkeypatch):
  runs.install(monkeypatch)
  # A rate that throws the network away after its first steps: the error soon grows.
  fields = {"train__num_epochs": 20.0, "train__eval_epochs": 0.5, "train__patience": 2}
  config = runs.config(optimizer__learning_rate=0.3, **fields)
  state, complete = loop.train(config, tmp_path)
  errors = dict(metric_writer.read(tmp_path, "eval/mpjpe_mm"))
  smallest = min(errors, key=errors.get)
  assert complete and int(state.step) == smallest
  assert max(errors) < 80  # of the 80 steps asked for
  assert len([step for step in errors if step > smallest]) == 2
  used = checkpointing.chosen(tmp_path)
  assert used == tmp_path / "best" / str(smallest)
  assert run_folder.record_of(used) == tmp_path / "config.json"
  again, complete = loop.train(config, tmp_path)
  assert complete
  jax.tree.map(np.testing.assert_array_equal, state.variables, again.variables)
