"""The training loop: restore, step, log, checkpoint, evaluate."""

import contextlib
import functools
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import tqdm

from epipolar_jax import checkpointing, config_ranges, metric_writer, skeletons, tasks
from epipolar_jax.evaluation import driver, figures
from epipolar_jax.inputs import batches as inputs
from epipolar_jax.original import pretrained
from epipolar_jax.runtime import parallel, processes
from epipolar_jax.training import best as early_stopping
from epipolar_jax.training import run_folder, schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step

_IN_FLIGHT = 2  # steps that the devices have been given and need not have done


class Interrupted(KeyboardInterrupt):
  """Ctrl-C ended a training, which is saved; says where."""


def resume_hint(step: int, workdir: pathlib.Path) -> str:
  """What is said of a run that can be resumed."""
  return f"Stopped at step {step} and saved in {workdir}; the same command resumes."


@contextlib.contextmanager
def open_log(workdir: pathlib.Path, step: int) -> Iterator[metric_writer.Writer]:
  """The log of a run at a step; of a job's processes the first one writes."""
  leads = processes.leads()
  kind = metric_writer.MetricWriter(workdir, start_step=step) if leads else metric_writer.NoWriter()
  with contextlib.closing(kind) as log:
    yield log


def train(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  *,
  stop_at: int | None = None,
  allow_changes: bool = False,
) -> tuple[train_state.TrainState, bool]:
  """Trains from scratch or from the newest checkpoint of `workdir` to the end of the run.

  SIGTERM and Ctrl-C finish the running step and save; a second Ctrl-C does not wait. A resumed run
  takes the same steps as one that was never stopped, bit for bit on CPU.

  In a job of several processes all call this; the first one writes. They stop together, at the
  next line of the log, when any of them is told to.

  Args:
    config: the whole config.
    workdir: receives config.json, metrics.jsonl, tensorboard/, checkpoints/. One training at a time
      may have it.
    stop_at: stops (and saves) after this step, as a kill would; None runs to the end.
    allow_changes: goes on with other options of the optimizer and of training than the run in
      `workdir` had so far; config_history.json then keeps what it had.

  Returns:
    The state and whether training is complete.

  Raises:
    Interrupted: after Ctrl-C, when everything is saved.
    run_folder.MismatchError: `workdir` holds a run of another config; names the fields.
    OSError: there is no room for a checkpoint.
    ValueError: it holds weights of another model, is in use, or is no local folder; a field of the
      config is out of range; the training split has no joint in any image.
  """
  checkpointing.check_local(workdir, "--workdir")
  config_ranges.check(config)
  with run_folder.alone(workdir):
    return _train(config, workdir, stop_at, allow_changes)


def _train(config, workdir, stop_at, allow_changes) -> tuple[train_state.TrainState, bool]:
  """`train`, in a folder that is its own."""
  manager = checkpointing.open_manager(workdir)
  changes = []
  if manager.latest_step() is not None:
    changes = run_folder.check(workdir, config, allow_changes=allow_changes)
  config_ranges.check_devices(config, jax.device_count())
  task = tasks.build(config, axis_name=parallel.AXIS)
  source = processes.first_alone(functools.partial(inputs.open_split, config, "train"))
  config_ranges.check_frames(config, len(source))
  # What is wrong with the evaluation is noticed now, not after the training.
  splits = [*config.eval.splits, *(["validation"] if config.train.eval_epochs else [])]
  processes.first_alone(functools.partial(driver.check_splits, config, splits))
  steps_per_epoch = len(source) / config.train.batch_size
  num_steps = round(config.train.num_epochs * steps_per_epoch)
  schedule = schedules.learning_rate(
    config.optimizer, steps_per_epoch=steps_per_epoch, num_steps=num_steps
  )
  optimizer = schedules.optimizer(config.optimizer, schedule)
  state, start = _restore_or_init(config, task, optimizer, manager, changes)
  best = None
  if config.train.patience:
    if jax.process_count() > 1:
      raise ValueError("train.patience is for one process; set it to 0 in a job of several")
    best = early_stopping.Best(
      workdir,
      patience=config.train.patience,
      name=f"eval/{task.evaluation.logged[0]}",
      start=start,
    )
  if start >= num_steps or (best is not None and best.exhausted):
    manager.close()
    if changes:
      raise run_folder.MismatchError(
        f"training in {workdir} is complete at step {start} of {num_steps}: nothing would be "
        "trained with\n" + "\n".join(changes)
      )
    return _best_of(best, state, workdir, task), True
  if start and processes.leads():
    said = [f"Resuming at step {start} of {num_steps} in {workdir}.", *changes]
    tqdm.tqdm.write("\n".join(said), file=sys.stderr)

  checkpointing.check_space(workdir, state)
  if processes.leads():
    run_folder.write(workdir, config, resumed=start > 0)
  batches = inputs.train_batches(
    config,
    source,
    start_step=start,
    num_steps=num_steps,
    shard_index=jax.process_index(),
    shard_count=jax.process_count(),
  )
  step_fn = parallel.make_step(
    train_step.make_train_step(
      task,
      optimizer,
      seed=config.seed,
      cumulative_stats=config.model.bn_momentum < 0,
      accumulate=config.train.accumulate,
    )
  )
  predict = driver.make_predict(config)
  eval_steps = round(config.train.eval_epochs * steps_per_epoch)
  draw = None
  if eval_steps:
    draw = processes.first_alone(functools.partial(figures.make, config, "validation"))

  bar = tqdm.tqdm(
    total=num_steps,
    initial=start,
    desc="train",
    unit="step",
    smoothing=0.05,
    disable=not processes.leads(),
  )
  bar.set_postfix_str("compiling the first step")
  step, last_save, last_log, pending = start, time.monotonic(), time.monotonic(), []
  learnt = False
  with open_log(workdir, start) as writer, contextlib.closing(bar), _StopSignal() as stop:
    for batch in parallel.prefetch(map(inputs.device_part, batches)):
      state, values = step_fn(state, batch)
      step += 1
      if step == start + 1:
        bar.unpause()  # the time of compiling says nothing about the rest
      pending.append(values)
      if len(pending) > _IN_FLIGHT:
        # Steps that are only asked for are not done, and every one of them holds a batch.
        jax.block_until_ready(pending[-1 - _IN_FLIGHT])
      bar.update()
      finished = step in (stop_at, num_steps)
      if jax.process_count() == 1:
        # Processes that stop by themselves would leave the others waiting.
        finished = finished or stop.requested
      if step % config.train.log_steps == 0 or finished:
        # Also the check that the loss is finite, so nothing below saves a broken state.
        last_log = _log(writer, bar, step, pending, schedule, last_log, config.train.batch_size)
        learnt |= any(float(values["loss"]) for values in pending)
        if not learnt and (step - start >= steps_per_epoch or step == num_steps):
          raise ValueError(
            f"the loss was exactly 0 in all {step - start} steps: no joint with a label lies in "
            "any image, so nothing is learnt. Look at boxes and labels: python -m data.check FOLDER"
          )
        pending = []
        old = time.monotonic() - last_save > 60 * config.train.checkpoint_minutes
        stopped, due = processes.agree([stop.requested, old])
        finished = finished or stopped
        if due:
          _save(manager, state, task)
          last_save = time.monotonic()
      if finished:
        break
      if eval_steps and step % eval_steps == 0:
        error = _evaluate(config, task.evaluation, predict, draw, state, writer, step)
        last_log = time.monotonic()
        if best is not None:
          best.update(step, error, state.variables, task.meta)
          if best.exhausted:
            break
  _save(manager, state, task)
  manager.wait_until_finished()
  manager.close()
  if stop.number == signal.SIGINT and step < num_steps:
    raise Interrupted(resume_hint(step, workdir))
  if best is not None and best.exhausted:
    tqdm.tqdm.write(
      f"Stopped at step {step}: {best.error:.1f} at step {best.step} is the smallest validation "
      "error, and what is used.",
      file=sys.stderr,
    )
    return _best_of(best, state, workdir, task), True
  if step >= num_steps:
    state = _best_of(best, state, workdir, task)
  return state, step >= num_steps


def _best_of(best, state, workdir, task) -> train_state.TrainState:
  """The state with the weights that a complete run is used by."""
  if best is None or not best.step:
    return state
  weights, step = checkpointing.restore_variables(
    checkpointing.chosen(workdir), state.variables, task.meta
  )
  return state.replace(step=jnp.int32(step), variables=weights)


def _restore_or_init(config, task, optimizer, manager, changes):
  """The state to go on from, replicated, and its step."""
  variables = task.init(jax.random.key(config.seed, impl="rbg"))
  if manager.latest_step() is None:
    joints = skeletons.of_model(config.model).joints
    variables = pretrained.initialize(
      variables, config.model.init, joints=joints, say=processes.tell
    )
  fresh = train_state.create(variables, optimizer)
  try:
    restored = checkpointing.restore(
      manager, weights=fresh.variables, training=_training_part(fresh), meta=task.meta
    )
  except checkpointing.DamagedError:
    raise
  except (KeyError, TypeError, ValueError) as error:
    # Trees that do not match.
    if not any(line.strip().startswith("optimizer.") for line in changes):
      raise
    raise run_folder.MismatchError(
      "the checkpoint cannot be restored with the new options, which may need another optimizer "
      "state:\n"
      + "\n".join(changes)
      + f"\nKeep the run's own values. ({type(error).__name__}: {str(error)[:160]})"
    ) from error
  if restored is not None:
    fresh = train_state.TrainState(variables=restored[0], **restored[1])
  return parallel.replicate(fresh), int(fresh.step)


def _save(manager, state, task) -> None:
  checkpointing.save(
    manager,
    int(state.step),
    weights=state.variables,
    training=_training_part(state),
    meta=task.meta,
  )


def _training_part(state: train_state.TrainState) -> dict[str, Any]:
  """What resuming needs besides the weights."""
  return {"step": state.step, "opt_state": state.opt_state}


def _log(writer, bar, step, pending, schedule, last_log, batch_size) -> float:
  """Writes the mean of the values since the last line; stops a run whose loss is not finite."""
  rows = jax.device_get(pending)
  values = {f"train/{k}": float(np.mean([r[k] for r in rows])) for k in rows[0]}
  if not np.isfinite(values["train/loss"]):
    raise FloatingPointError(
      f"the loss is {values['train/loss']} at step {step}: lower optimizer.learning_rate, set "
      "optimizer.gradient_clip, or look at the data (python -m data.check FOLDER)"
    )
  now = time.monotonic()
  values["train/learning_rate"] = float(schedule(step - 1))
  values["perf/examples_per_s"] = batch_size * len(rows) / (now - last_log)
  writer.scalars(step, values)
  bar.set_postfix(loss=f"{values['train/loss']:.4f}", ex_s=f"{values['perf/examples_per_s']:.1f}")
  return now


def _evaluate(config, evaluation, predict, draw, state, writer, step) -> float | None:
  """Evaluates the validation split; logs numbers and figures. Returns the error told in words."""
  predicted, labels, images = driver.collect(config, predict, state.variables, "validation")
  if not processes.leads():
    return None
  result = evaluation.summarize(predicted, labels)
  writer.scalars(step, driver.logged(evaluation, result, "eval"))
  if evaluation.figure is not None and len(images):
    writer.image(step, "eval/predictions", evaluation.figure(images, predicted, labels))
  for name, figure in draw(state.variables).items():
    writer.image(step, f"eval/{name}", figure)
  name = evaluation.logged[0]
  tqdm.tqdm.write(f"step {step}: validation {name} {result[name]:.1f}")
  return result[name]


class _StopSignal:
  """Turns SIGTERM and Ctrl-C into a flag while it is open."""

  def __init__(self) -> None:
    self.requested, self.number = False, None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> "_StopSignal":
    # Python only allows signal handlers in the main thread; elsewhere nothing is caught.
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._request)
    return self

  def _request(self, number: int, frame: Any) -> None:
    if self.requested and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.requested, self.number = True, number

  def __exit__(self, *exception: Any) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
