"""Scalars and images of a run: JSONL is the record, TensorBoard a view of it."""

import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorboardX

_FILE = "metrics.jsonl"


class MetricWriter:
  """Appends scalars to `metrics.jsonl` and TensorBoard events in a work folder.

  A resumed run first drops the lines after its step: they were written between the last checkpoint
  and the kill and will be written again.
  """

  def __init__(self, workdir: pathlib.Path, *, start_step: int):
    """Opens both logs of `workdir`; `start_step` is the step of the restored state."""
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / _FILE
    _truncate(path, start_step)
    self._file = path.open("a", encoding="utf-8")
    # purge_step tells TensorBoard to hide what an earlier, killed run wrote after this step.
    self._events = tensorboardX.SummaryWriter(
      str(workdir / "tensorboard"), purge_step=start_step + 1 if start_step else None
    )

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes scalars, named as `train/loss`, `eval/mpjpe_mm`, `perf/examples_per_s`."""
    row = {"step": step, "time": round(time.time(), 3)}
    row |= {name: float(value) for name, value in values.items()}
    self._file.write(json.dumps(row) + "\n")
    self._file.flush()
    for name, value in values.items():
      self._events.add_scalar(name, float(value), step)

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """Writes one RGB image, [h, w, 3] uint8, to TensorBoard."""
    self._events.add_image(name, image, step, dataformats="HWC")

  def close(self) -> None:
    """Flushes and closes both logs."""
    self._file.close()
    self._events.close()


class NoWriter:
  """Writes nothing: for the processes of a job that do not lead it."""

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Ignores scalars."""

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """Ignores an image."""

  def close(self) -> None:
    """Nothing to close."""


Writer = MetricWriter | NoWriter


def read(workdir: pathlib.Path, name: str) -> list[tuple[int, float]]:
  """(step, value) of one scalar of a run, in the order in which they were written."""
  path = workdir / _FILE
  if not path.exists():
    return []
  return [(row["step"], float(row[name])) for _, row in _rows(path) if name in row]


def _truncate(path: pathlib.Path, step: int) -> None:
  """Keeps the lines up to `step`; what is no line, as a kill or a full disk leaves it, goes."""
  if not path.exists():
    return
  kept = [line + b"\n" for line, row in _rows(path) if row["step"] <= step]
  temporary = path.with_suffix(".tmp")
  temporary.write_bytes(b"".join(kept))
  temporary.replace(path)


def _rows(path: pathlib.Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
  """The whole lines of a log, and what they say."""
  for line in path.read_bytes().splitlines():
    try:
      row = json.loads(line)
    except (ValueError, RecursionError):
      continue
    if isinstance(row, dict) and isinstance(row.get("step"), int):
      yield line, row
