"""Predicts every frame of a split, then prints, writes and draws what its task asks for."""

import functools
import json
import math
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import tqdm

import epipolar_jax
from epipolar_jax import checkpointing, config_ranges, metric_writer, tasks
from epipolar_jax.evaluation import batch_statistics
from epipolar_jax.inputs import batches as inputs
from epipolar_jax.runtime import parallel, processes
from epipolar_jax.visualize import film, predictions

_ENLARGED = 0.75  # a person's box and the network's input differ by more than this
_FPS, _HOLD_S = 20, 1.5  # of a video; how long it shows each frame


def report(
  config: ml_collections.ConfigDict,
  variables: Any,
  *,
  step: int,
  output: pathlib.Path,
  video: pathlib.Path | None = None,
  draw: bool = True,
  trained: dict[str, Any] | None = None,
  log: metric_writer.Writer | None = None,
) -> dict[str, dict[str, Any]]:
  """Evaluates `config.eval.splits`, prints the table, writes the JSON and the figures.

  Of several processes each predicts its share; all know the results, the first one writes them.

  Args:
    config: the whole config.
    variables: of the model, replicated.
    step: at which they were saved.
    output: the JSON file; figures go next to it as `<stem>_<split>.png`.
    draw: whether to draw figures.
    trained: the config that the weights were trained with, as recorded, if it is known.
    log: of the run, where the numbers and images belong too, as `SPLIT/mpjpe_mm` and so on.
    video: an MP4 file of the drawn frames, `<stem>_<split>.mp4` if there are several splits.

  Returns:
    For each split the summary of its task.

  Raises:
    ValueError: a field is out of range, a split unknown; a video of a task that has none, or of no
      frames. Before anything is evaluated, as all that is below.
    OSError: `output` or `video` cannot be written.
  """
  config_ranges.check(config)
  config_ranges.check_devices(config, jax.device_count())
  evaluation = tasks.build(config, axis_name=None).evaluation
  if video is not None and evaluation.film is None:
    raise ValueError("--video shows multi-view tasks; this task has no film")
  if video is not None and not config.eval.num_images:
    raise ValueError(
      "--video shows eval.num_images frames, which is 0: give --config.eval.num_images=4"
    )
  if processes.leads():
    for path, name in ((output, "--output"), (video, "--video")):
      if path is not None:
        _check_writable(path, name)
  processes.first_alone(functools.partial(check_splits, config, config.eval.splits))
  if config.eval.recompute_bn_frames:
    variables = batch_statistics.recompute(config, variables)
  predict = make_predict(config)
  results = {}
  drawings = []
  for split in config.eval.splits:
    predicted, labels, images = collect(config, predict, variables, split)
    results[split] = evaluation.summarize(predicted, labels)
    if evaluation.boxes_off is not None and config.eval.box_error:
      error = config.eval.box_error
      again = collect(config, predict, variables, split, box_error=error)[:2]
      results[split]["boxes_off"] = evaluation.boxes_off.summarize(*again)
    if not processes.leads():
      continue
    drawings.append((split, (images, predicted, labels)))
  if not processes.leads():
    return results
  print(table(results, evaluation))
  if evaluation.legend:
    print(evaluation.legend)
  for split, result in results.items():
    for doubt in result.get("doubts", ()):
      processes.tell(f"WARNING: {split}: {doubt}")
  # Numbers first: a disk that is full of figures must not cost them.
  write_json(output, results, config, step=step, trained=trained)
  for split, frames in drawings:
    if log is not None:
      log.scalars(step, logged(evaluation, results[split], split))
    if draw and evaluation.figure is not None and len(frames[0]):
      path, figure = output.with_name(f"{output.stem}_{split}.png"), evaluation.figure(*frames)
      predictions.write_png(path, figure)
      if log is not None:
        log.image(step, f"{split}/predictions", figure)
    if video is not None:
      several = len(config.eval.splits) > 1
      path = video.with_name(f"{video.stem}_{split}.mp4") if several else video
      _write_film(path, evaluation, *frames)
  return results


def logged(evaluation: tasks.Evaluation, summary: dict[str, Any], group: str) -> dict[str, float]:
  """The numbers of a split that the log of a run gets, as `GROUP/NAME`; those that there are."""
  values = {f"{group}/{name}": summary[name] for name in evaluation.logged}
  if "boxes_off" in summary:
    values |= {f"{group}/{n}_boxes_off": summary["boxes_off"][n] for n in evaluation.logged}
  for name, rules in summary.get("protocols", {}).items():
    values[f"{group}/mpjpe_mm_{name}"] = rules["mpjpe_mm"]
  return {name: x for name, x in values.items() if x is not None}


def check_splits(config: ml_collections.ConfigDict, splits: Sequence[str]) -> None:
  """Opens (and if need be makes) what will be evaluated; says so when its images are small.

  Raises:
    ValueError: an unknown split, one without frames, or `eval.views` names cameras it has not.
  """
  evaluation = tasks.build(config, axis_name=None).evaluation
  boxes = []
  for split in splits:
    try:
      source = inputs.open_split(config, split)
    except ValueError as error:
      raise ValueError(f"eval.splits (or train.eval_epochs), {split!r}: {error}") from error
    if not len(source):
      raise ValueError(f"eval.splits (or train.eval_epochs): {split!r} has no frames")
    boxes += [float(x) for x in np.ravel(source[0].get("box_size", ()))]
    evaluation.check(source[0])
  if boxes and np.median(boxes) < _ENLARGED * config.data.image_size:
    processes.tell(
      f"NOTE: people are stored {np.median(boxes):.0f} px large and enlarged to data.image_size "
      f"{config.data.image_size}, which shows nothing more of them."
    )


def _check_writable(path: pathlib.Path, name: str) -> None:
  """Makes the folder of a file and sees that the file can be written there."""
  checkpointing.check_local(path, name)
  if path.is_dir():
    raise IsADirectoryError(
      f"{name} {path} is a folder: name a file in it, for example {path / 'eval.json'}"
    )
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
      pass
  except OSError as error:
    raise type(error)(f"{name} {path} cannot be written: {error}") from error


def _write_film(path, evaluation, images, predicted, labels) -> None:
  stills = evaluation.film(images, predicted, labels, fps=_FPS, hold_s=_HOLD_S)
  count = film.write_mp4(path, stills, fps=_FPS)
  print(f"Wrote {path}: {count / _FPS:.0f} s.")


def make_predict(config: ml_collections.ConfigDict) -> Callable[..., Any]:
  """The network of a config as `predict(variables, sharded batch)` over all devices."""
  return parallel.make_predict(tasks.build(config, axis_name=None).predict)


def collect(
  config: ml_collections.ConfigDict,
  predict: Callable[..., Any],
  variables: Any,
  split: str,
  *,
  box_error: float = 0.0,
) -> tuple[dict[str, Any], dict[str, np.ndarray], np.ndarray]:
  """Runs the network over one split.

  Args:
    config: the whole config.
    predict: from `make_predict`.
    variables: of the model, replicated.
    split: of the data set.
    box_error: share of its side by which a box is off; for tasks with `Evaluation.boxes_off`.

  Returns:
    predicted: arrays with one leading frame axis n, or dicts of them.
    labels: likewise.
    images: [m ...], the network inputs of m = `eval.num_images` frames spread over the split;
      their indices are `predictions.picked(n, m)`.
  """
  evaluation = tasks.build(config, axis_name=None).evaluation
  evaluation = evaluation.boxes_off if box_error else evaluation
  source = processes.first_alone(functools.partial(inputs.open_split, config, split))
  count = min(config.eval.max_frames or len(source), len(source))
  total = -(-count // config.eval.batch_size)
  wanted = list(predictions.picked(count, config.eval.num_images))

  def on_devices(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return parallel.gather(predict(variables, parallel.shard_batch(inputs.device_part(batch))))

  rows, images, seen = [], [], 0
  index, shards = jax.process_index(), jax.process_count()
  batches = inputs.eval_batches(
    config, source, shard_index=index, shard_count=shards, box_error=box_error
  )
  options = {"unit": "batch", "leave": False, "disable": not processes.leads()}
  for batch in tqdm.tqdm(batches, total=total, desc=f"evaluate {split}", **options):
    keep = batch["valid"]
    predicted = jax.tree.map(lambda x, keep=keep: x[keep], evaluation.run(on_devices, batch))
    labels = {k: batch[k][keep] for k in evaluation.labels if k in batch}
    numbers = index + shards * (seen + np.arange(keep.sum()))
    rows.append((numbers, predicted, labels))
    if "image" in batch:
      chosen = np.isin(numbers, wanted)
      images.append((numbers[chosen], batch["image"][keep][chosen]))
    seen += len(numbers)
  _, predicted, labels = _in_order(rows)
  return predicted, labels, _in_order(images)[1] if images else np.array([])


def _in_order(rows: list[Any]) -> Any:
  """Rows of all batches and processes, sorted by the frame numbers that are their first array."""
  stacked = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
  everything = processes.concatenate(stacked)
  order = np.argsort(everything[0], kind="stable")
  return jax.tree.map(lambda x: x[order], everything)


def table(results: dict[str, dict[str, Any]], evaluation: tasks.Evaluation) -> str:
  """The results as text, the rows of one split after the other."""
  found = {}
  for split, result in results.items():
    found |= evaluation.rows(split, result)
  numbers = [[_cell(row.get(key)) for row in found.values()] for key in evaluation.columns.values()]
  # A count that is 0 in every row is no news.
  shown = [(h, cells) for h, cells in zip(evaluation.columns, numbers) if set(cells) - {"0", "-"}]
  names = [(h, list(cells)) for h, cells in zip(evaluation.names, zip(*found))]
  columns = [[heading, *cells] for heading, cells in (*names, *shown)]
  widths = [max(map(len, column)) for column in columns]
  aligned = [
    [f"{cell:{'<' if i < len(names) else '>'}{width}}" for cell in column]
    for i, (column, width) in enumerate(zip(columns, widths))
  ]
  lines = ["  ".join(row) for row in zip(*aligned)]
  lines.insert(1, "  ".join("-" * width for width in widths))
  return "\n".join(lines)


def _cell(value: float | int | list[float] | None) -> str:
  if value is None:
    return "-"
  if isinstance(value, list):
    return "–".join(map(_cell, value))
  return str(value) if isinstance(value, int) else f"{value:.1f}"


def write_json(
  path: pathlib.Path,
  results: dict[str, dict[str, Any]],
  config: ml_collections.ConfigDict,
  *,
  step: int,
  trained: dict[str, Any] | None = None,
) -> None:
  """Writes `eval.json`: the first split's numbers on top, all splits below, and the protocol.

  `config` is that of the evaluation, `trained` that of the run the weights come from, null where it
  is not known; `seed` is the run's.
  """
  first = next(iter(results.values()))
  record = first | {
    "splits": results,
    "version": f"{epipolar_jax.__version__}, jax {jax.__version__}",
    "step": step,
    "seed": None if trained is None else trained.get("seed"),
    "protocol": tasks.build(config, axis_name=None).evaluation.protocol,
    "config": json.loads(config.to_json_best_effort()),
    "trained": trained,
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp")
  text = json.dumps(_finite(record), indent=2, allow_nan=False)
  temporary.write_text(text + "\n", encoding="utf-8")
  temporary.replace(path)


def _finite(tree: Any) -> Any:
  """The same with null for what is not a finite number, which JSON does not have."""
  if isinstance(tree, dict):
    return {key: _finite(value) for key, value in tree.items()}
  if isinstance(tree, list | tuple):
    return [_finite(value) for value in tree]
  return None if isinstance(tree, float) and not math.isfinite(tree) else tree
