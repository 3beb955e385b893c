"""The table of several evaluations, as Markdown, as README and docs have them.

python -m epipolar_jax.tools.results runs/clothed runs/clothed_none [--boxes_off] [--intervals]

Each argument is a run folder, or an eval.json. They must be comparable: of the same data,
splits, views and rules, and of one version of this software, or the table is refused.
"""

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from epipolar_jax import checkpointing

# What two rows of one table must have in common; the fusion is what they usually compare.
_SAME = (
  *("version", "config.task", "config.data.name", "config.data.image_size", "protocol.views"),
  *("config.data.synthetic", "config.data.footage", "config.data.h36m", "config.eval.splits"),
  *("config.eval.max_frames", "protocol.mpjpe", "protocol.crop", "config.eval.box_error"),
)
# Sizes of splits that are not evaluated may differ, and with them how long a network has trained.
_FREE = ("config.data.synthetic.train_frames", "config.data.synthetic.validation_frames")


def table(records: dict[str, dict[str, Any]], *, boxes_off: bool, intervals: bool) -> str:
  """The Markdown table of evaluations, and the conditions it holds under.

  Args:
    records: contents of eval.json, by the name of the row.
    boxes_off: errors with boxes that are off, of the main method alone, instead of true boxes.
    intervals: adds 95 % intervals.

  Raises:
    ValueError: they are not comparable; names the field and both values.
  """
  _check(records)
  first = next(iter(records.values()))
  splits = list(first["splits"])
  lines = [f"| network | triangulation | {' | '.join(splits)} |"]
  lines.append("|---" * (len(splits) + 2) + "|")
  for name, record in records.items():
    methods = list(record["splits"][splits[0]]["methods"])
    for method in methods[:1] if boxes_off else methods:
      cells = [_cell(record["splits"][s], method, boxes_off, intervals) for s in splits]
      lines.append(f"| {name} | {method} | {' | '.join(cells)} |")
  steps = ", ".join(f"{name} {record['step']}" for name, record in records.items())
  frames = ", ".join(f"{s} {first['splits'][s]['frames']}" for s in splits)
  error = 100 * first["config"]["eval"]["box_error"]
  boxes = f"boxes off by up to {error:g} %" if boxes_off else "true boxes"
  lines.append(
    f"\nMPJPE, mm ({first['protocol']['mpjpe']}), {boxes}, views: {first['protocol']['views']}. "
    f"Frames: {frames}. Steps: {steps}. Version {first['version']}."
  )
  return "\n".join(lines)


def _cell(summary: dict[str, Any], method: str, boxes_off: bool, intervals: bool) -> str:
  numbers = (summary["boxes_off"] if boxes_off else summary)["methods"][method]
  if numbers["mpjpe_mm"] is None:
    return "–"
  text = f"{numbers['mpjpe_mm']:.1f}"
  if intervals and numbers["mpjpe_mm_interval"]:
    text += " ({:.1f}–{:.1f})".format(*numbers["mpjpe_mm_interval"])
  return text


def _check(records: dict[str, dict[str, Any]]) -> None:
  (first, expected), *others = [
    (name, checkpointing.flatten(record)) for name, record in records.items()
  ]
  for name, found in others:
    for field in sorted(expected.keys() | found.keys()):
      same = field.startswith(tuple(f"{f}." for f in _SAME)) or field in _SAME
      if same and field not in _FREE and expected.get(field) != found.get(field):
        raise ValueError(
          f"{first} and {name} stand in no table together: {field} is {expected.get(field)!r} and "
          f"{found.get(field)!r}. Evaluate both alike (python eval.py)"
        )


def read(path: pathlib.Path) -> dict[str, Any]:
  """An eval.json, or that of a run folder.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it is not the record of a multi-view evaluation of this version's form.
  """
  file = path / "eval.json" if path.is_dir() else path
  record = json.loads(file.read_text(encoding="utf-8"))
  if not isinstance(record, dict) or not {"version", "splits", "config"} <= record.keys():
    raise ValueError(f"{file} is no evaluation of this version: run eval.py again")
  if record["config"].get("task") != "multiview":
    raise ValueError(f"{file} is of the task {record['config'].get('task')!r}, not multiview")
  return record


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints the table of the evaluations that are named."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("runs", nargs="+", type=pathlib.Path, help="run folders or eval.json files")
  parser.add_argument("--boxes_off", action="store_true", help="with boxes that are off")
  parser.add_argument("--intervals", action="store_true", help="add 95 %% intervals")
  options = parser.parse_args(arguments)
  names = [path.name if path.is_dir() else path.parent.name for path in options.runs]
  if len(set(names)) < len(names):
    names = [str(path) for path in options.runs]
  records = dict(zip(names, map(read, options.runs), strict=True))
  print(table(records, boxes_off=options.boxes_off, intervals=options.intervals))


if __name__ == "__main__":
  main()
