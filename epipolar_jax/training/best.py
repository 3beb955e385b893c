"""Early stopping: the best weights of a run by its validation error, and when to give up."""

import math
import pathlib
import shutil
from typing import Any

import jax

from epipolar_jax import checkpointing, metric_writer


class Best:
  """Follows a run's validation error; keeps the weights that had the smallest.

  What was measured so far stands in metrics.jsonl, so a run that is killed and resumed stops where
  it would have stopped.

  Attributes:
    step: of the best evaluation so far; 0 before the first.
    error: there; infinite before the first.
  """

  def __init__(self, workdir: pathlib.Path, *, patience: int, name: str, start: int):
    """Reads what a run has measured up to step `start`.

    Args:
      workdir: of the run.
      patience: evaluations in a row without a smaller error that end the training; at least 1.
      name: of the error in metrics.jsonl.
      start: step from which it goes on.
    """
    self.step, self.error = 0, math.inf
    self._workdir, self._patience, self._since = workdir, patience, 0
    for step, error in metric_writer.read(workdir, name):
      if step <= start:
        self._note(step, error)

  @property
  def exhausted(self) -> bool:
    """No smaller error came for as long as one waits."""
    return self._since >= self._patience

  def update(self, step: int, error: float | None, weights: Any, meta: dict[str, Any]) -> None:
    """Takes an evaluation; writes the weights, of all devices alike, if they are the best.

    Args:
      step: of the evaluation.
      error: of the validation split.
      weights: variables of the model.
      meta: of the task, which a restore must agree with.

    Raises:
      ValueError: nothing could be measured.
    """
    if error is None or math.isnan(error):
      raise ValueError(
        "train.patience waits for a smaller error on the validation split, which has none at step "
        f"{step}: no joint of it has a truth in 3D. Set train.patience to 0"
      )
    if not self._note(step, error):
      return
    folder = self._workdir / checkpointing.BEST
    half = folder / f"{step}.part"
    shutil.rmtree(half, ignore_errors=True)
    shutil.rmtree(folder / str(step), ignore_errors=True)
    checkpointing.write_weights(half, weights=jax.device_get(weights), meta=meta, step=step)
    half.rename(folder / str(step))
    for old in folder.iterdir():
      if old.name != str(step):
        shutil.rmtree(old)

  def _note(self, step: int, error: float) -> bool:
    """Whether it is the best so far."""
    if error < self.error:
      self.step, self.error, self._since = step, error, 0
      return True
    self._since += 1
    return False
