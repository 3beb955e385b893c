"""The loop as a system: devices, resume, kill, logs, on images of dots."""

import json
import os
import signal
import threading
import time

import jax
import numpy as np
import pytest

from epipolar_jax import checkpointing, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets, multiview
from epipolar_jax.runtime import parallel
from epipolar_jax.training import loop, run_folder, schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step
from tests import runs

_RATE = 1e-3


@pytest.fixture(autouse=True)
def small_run(monkeypatch):
  """Sixteen training frames and six test frames, and a network that compiles in no time."""
  runs.install(monkeypatch)


def _first_batch(config):
  batches = multiview.eval_batches(
    datasets.open_split(config.data, "train"),
    size=config.data.image_size,
    batch_size=config.train.batch_size,
    num_threads=1,
  )
  return multiview.device_part(next(batches))


def _step_on(config, devices):
  """State and metrics after one step on some devices."""
  task = tasks.build(config, axis_name=parallel.AXIS)
  optimizer = schedules.optimizer(config.optimizer, lambda step: _RATE)
  state = train_state.create(task.init(jax.random.key(3, impl="rbg")), optimizer)
  batch = {k: x.reshape(len(devices), -1, *x.shape[1:]) for k, x in _first_batch(config).items()}
  function = jax.pmap(
    train_step.make_train_step(task, optimizer, seed=config.seed),
    axis_name=parallel.AXIS,
    in_axes=(None, 0),
    out_axes=0,
    devices=devices,
  )
  return jax.device_get(function(state, batch))


def test_four_devices_equal_one():
  config = runs.config(
    model__fusion__merge="late", optimizer__name="sgd", optimizer__weight_decay=0.0
  )
  (four, four_metrics), (one, one_metrics) = (_step_on(config, jax.devices()[:n]) for n in (4, 1))
  # Float32 sums in another order; measured 4e-6 of the loss, 2e-4 of a BN statistic's scale.
  np.testing.assert_allclose(four_metrics["loss"][0], one_metrics["loss"][0], rtol=2e-5)
  for a in jax.tree.leaves(four):
    # out_axes=None in the real step would hide a forgotten reduction: every copy must agree.
    for copy in a[1:]:
      np.testing.assert_array_equal(copy, a[0])
  stats = zip(
    jax.tree.leaves(four.variables["batch_stats"]), jax.tree.leaves(one.variables["batch_stats"])
  )
  for a, b in stats:
    np.testing.assert_allclose(a[0], b[0], rtol=1e-3, atol=1e-4)
  # SGD's first step is the rate times the gradient (Adam's has one size whatever the gradient).
  start = tasks.build(config, axis_name=None).init(jax.random.key(3, impl="rbg"))["params"]
  for begin, a, b in zip(
    *map(jax.tree.leaves, (start, four.variables["params"], one.variables["params"]))
  ):
    np.testing.assert_allclose(a[0] - begin, b[0] - begin, rtol=1e-3, atol=1e-3 * _RATE)


def test_resume_is_exact_and_logs_line_up(tmp_path):
  config = runs.config()
  whole, complete = loop.train(config, tmp_path / "whole")
  assert complete and int(whole.step) == 6
  parts, complete = loop.train(config, tmp_path / "parts", stop_at=3)
  assert not complete and int(parts.step) == 3
  # A killed run may have logged beyond its last checkpoint, the last line cut in two.
  log = tmp_path / "parts" / "metrics.jsonl"
  log.write_text(log.read_text() + '{"step": 4, "time": 0, "train/loss": 1.0}\n{"step": 5, "ti')
  parts, complete = loop.train(config, tmp_path / "parts")
  assert complete
  jax.tree.map(np.testing.assert_array_equal, whole, parts)
  rows = {
    name: [json.loads(x) for x in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
    for name in ("whole", "parts")
  }
  assert [r["step"] for r in rows["parts"]] == [1, 2, 3, 4, 5, 6]
  assert [r["train/loss"] for r in rows["parts"]] == [r["train/loss"] for r in rows["whole"]]
  again, complete = loop.train(config, tmp_path / "parts")
  assert complete
  jax.tree.map(np.testing.assert_array_equal, whole, again)


def test_sigterm_saves_and_returns(tmp_path):
  config = runs.config()
  config.train.num_epochs = 500.0

  def kill_after_first_log():
    log = tmp_path / "metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") >= 2):
      time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=kill_after_first_log, daemon=True).start()
  state, complete = loop.train(config, tmp_path)
  assert not complete and int(state.step) >= 2
  assert checkpointing.newest(tmp_path).name == str(int(state.step))


def test_another_model_is_refused(tmp_path):
  config = runs.config()
  loop.train(config, tmp_path, stop_at=1)
  config.model.fusion.merge = "late"
  asked = r"model.fusion.merge: the run has 'none', asked for is 'late'"
  with pytest.raises(run_folder.MismatchError, match=asked):
    loop.train(config, tmp_path)
  (tmp_path / "config.json").unlink()
  with pytest.raises(ValueError, match=r"fusion.merge: the checkpoint has 'none', .* 'late'"):
    loop.train(config, tmp_path)


def test_loss_that_is_not_finite_stops_before_a_checkpoint(tmp_path):
  config = runs.config()
  config.optimizer.learning_rate = 1e38
  with pytest.raises(FloatingPointError, match="learning_rate"):
    loop.train(config, tmp_path)
  with pytest.raises(FileNotFoundError, match="train first"):
    checkpointing.newest(tmp_path)


def test_training_learns_and_weights_alone_give_the_same_numbers(tmp_path, capsys):
  config = runs.config(train__num_epochs=15.0, optimizer__learning_rate=1e-2)
  state, _ = loop.train(config, tmp_path / "run")
  rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  # From 4.3 to 3.85 in these 60 steps; 4.16 is uniform over 64 pixels.
  losses = [row["train/loss"] for row in rows]
  assert np.mean(losses[-10:]) < losses[0] - 0.3
  after = driver.report(
    config, state.variables, step=int(state.step), output=tmp_path / "after.json"
  )
  shipped = checkpointing.newest(tmp_path / "run")
  for file in (shipped / "training").rglob("*"):
    if file.is_file():
      file.unlink()
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0, impl="rbg"))
  variables, step = checkpointing.restore_variables(shipped, template, task.meta)
  again = driver.report(config, variables, step=step, output=tmp_path / "again.json")
  assert again == after
  record = json.loads((tmp_path / "after.json").read_text())
  assert record["mpjpe_mm"] == after["test"]["mpjpe_mm"] and record["step"] == 60
  assert len(record["mpjpe_per_joint_mm"]) == 17 and record["frames"] == 6
  off = record["boxes_off"]
  assert off["box_error"] == 0.06 and off["frames"] == 6 and set(off["methods"]) == {"dlt"}
  assert off["mpjpe_mm"] != record["mpjpe_mm"] and "dlt, boxes off 6 %" in capsys.readouterr().out
  config.eval.box_error, config.eval.num_images = 0.0, 0
  alone = driver.report(config, variables, step=step, output=tmp_path / "alone.json")
  assert alone["test"] == {k: x for k, x in after["test"].items() if k != "boxes_off"}
  assert (tmp_path / "after_test.png").stat().st_size > 10_000
