"""What a few labels give: trainings on 10 to 200 labelled frames of a body no network knows.

python -m epipolar_jax.tools.few_labels --output runs/few_labels [--seeds 3] [--labels 10,25,50]

Rendered people in everyday clothes stand for an animal: their joints have other names, so that the
head starts afresh, and the people, cameras and rooms of the test are others. A run makes twelve
passes over its frames, and 200 steps at least. Each is `python train.py` in a folder of its own;
those that are complete are not repeated, so the command may be killed and given again. Prints a
Markdown table at the end, or with `--table` of what is there.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from epipolar_jax import skeletons

LABELS = (10, 25, 50, 100, 200)
# The table's columns: model.fusion.merge, and which views each looks at.
FUSIONS = {"none": "nearest", "late": "nearest", "heatmaps": "all"}
# Where the trunk starts, and the rates that suit a head from noise on a trunk that knows, and both
# from noise.
STARTS = {
  "MoveNet": (
    *("--config.model.init=movenet:lightning", "--config.optimizer.learning_rate=1e-2"),
    "--config.optimizer.trunk_factor=0.01",
  ),
  "scratch": (
    *("--config.model.init=", "--config.optimizer.learning_rate=2e-3"),
    "--config.optimizer.trunk_factor=1.0",
  ),
}
# Steps of a run: twelve passes over its frames, but no fewer than this.
_PASSES, _FEWEST_STEPS = 12, 200
_BATCH = 4
_ROOT = pathlib.Path(__file__).parents[2]
_OPTIONS = (
  "--config.data.image_size=128",
  "--config.data.flip_probability=0.0",
  "--config.data.synthetic.image_size=160",
  "--config.data.synthetic.actions=('walking','running','dancing','kicking','boxing','jumping')",
  "--config.data.synthetic.train_identities=30",
  "--config.data.synthetic.train_rigs=12",
  "--config.data.synthetic.validation_frames=4",
  "--config.data.synthetic.test_frames=48",
  f"--config.train.batch_size={_BATCH}",
  "--config.train.eval_epochs=0.0",
  "--config.eval.splits=('test','test_occluded_2')",
  "--config.eval.triangulation=dlt,robust,pymvg",
  "--config.eval.limb_priors=",
  "--config.eval.box_error=0.0",
  "--config.eval.num_images=0",
)


class Run(NamedTuple):
  """One training: how many labelled frames, `STARTS`, `FUSIONS`, and the seed of everything."""

  labels: int
  start: str
  fusion: str
  seed: int

  @property
  def name(self) -> str:
    return f"{self.labels}_{self.start.lower()}_{self.fusion}_seed{self.seed}"

  @property
  def steps(self) -> int:
    return max(_FEWEST_STEPS, _PASSES * self.labels // _BATCH)


def animal(folder: pathlib.Path) -> pathlib.Path:
  """Writes Human3.6M's skeleton with names that no published head has; its file."""
  known = skeletons.H36M_17
  names = tuple(f"part_{i + 1}" for i in range(known.num_joints))
  path = folder / "animal.toml"
  path.write_text(
    skeletons.to_toml(dataclasses.replace(known, name="animal_17", joints=names)), encoding="utf-8"
  )
  return path


def command(run: Run, folder: pathlib.Path, data_dir: pathlib.Path) -> list[str]:
  """The training of a run, as one would type it in the repository's root."""
  return [
    *(sys.executable, "train.py", "--config=configs/clothed.py"),
    f"--workdir={folder / run.name}",
    f"--config.seed={run.seed}",
    f"--config.model.skeleton={folder / 'animal.toml'}",
    f"--config.model.fusion.merge={run.fusion}",
    f"--config.model.fusion.sources={FUSIONS[run.fusion]}",
    f"--config.data.dir={data_dir}",
    f"--config.data.synthetic.seed={run.seed}",
    f"--config.data.synthetic.train_frames={run.labels}",
    f"--config.train.num_epochs={run.steps * _BATCH / run.labels}",
    *STARTS[run.start],
    *_OPTIONS,
  ]


def train(run: Run, folder: pathlib.Path, data_dir: pathlib.Path) -> None:
  """Trains and evaluates, unless it is done; what the training prints goes to a file.

  Raises:
    RuntimeError: the training failed; names the file.
  """
  workdir = folder / run.name
  if (workdir / "eval.json").exists():
    return
  workdir.mkdir(parents=True, exist_ok=True)
  with (workdir / "output.txt").open("ab") as output:
    found = subprocess.run(
      command(run, folder, data_dir), cwd=_ROOT, stdout=output, stderr=subprocess.STDOUT
    )
  if found.returncode:
    raise RuntimeError(f"the training failed, see {workdir / 'output.txt'}")


def table(folder: pathlib.Path, runs: Sequence[Run]) -> str:
  """The Markdown table of the runs that are complete.

  A cell is 2D error in px of 128 / MPJPE in mm by `dlt` / by `robust`: means over the seeds and,
  where there are several, the smallest and the largest MPJPE by `dlt`.
  """
  parts = []
  for split in ("test", "test_occluded_2"):
    rows = [f"| labelled frames | start | {' | '.join(FUSIONS)} |", "|---" * 5 + "|"]
    for labels, start in sorted({(run.labels, run.start) for run in runs}):
      cells = [
        _cell(folder, [r for r in runs if r[:3] == (labels, start, fusion)], split)
        for fusion in FUSIONS
      ]
      rows.append(f"| {labels} | {start} | {' | '.join(cells)} |")
    parts.append(f"{split}:\n\n" + "\n".join(rows))
  return "\n\n".join(parts)


def _cell(folder: pathlib.Path, runs: Sequence[Run], split: str) -> str:
  paths = [folder / run.name / "eval.json" for run in runs]
  read = [json.loads(path.read_text())["splits"][split] for path in paths if path.exists()]
  if not read:
    return "–"
  dlt, robust = ([x["methods"][method]["mpjpe_mm"] for x in read] for method in ("dlt", "robust"))
  error = np.mean([x["error_2d_px"] for x in read])
  text = f"{error:.1f} / {np.mean(dlt):.0f} / {np.mean(robust):.0f}"
  return text + (f" ({min(dlt):.0f}–{max(dlt):.0f})" if len(read) > 1 else "")


def main(arguments: Sequence[str] | None = None) -> None:
  """Trains what is not trained yet, a line for each run, then prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the runs")
  parser.add_argument("--seeds", type=int, default=3, help="runs of each kind (3)")
  parser.add_argument("--labels", default=",".join(map(str, LABELS)), help="10,25,50,100,200")
  parser.add_argument("--data_dir", type=pathlib.Path, default=pathlib.Path("data_cache"))
  parser.add_argument("--table", action="store_true", help="only print the table")
  options = parser.parse_args(arguments)
  try:
    labels = [int(x) for x in options.labels.split(",")]
  except ValueError:
    parser.error(f"--labels {options.labels}: numbers of frames, separated by commas")
  if options.seeds < 1 or min(labels) < 1:
    parser.error("--seeds and --labels are at least 1")
  folder = options.output.expanduser().absolute()
  runs = [
    Run(count, start, fusion, seed)
    for start, seed, count, fusion in itertools.product(
      STARTS, range(options.seeds), labels, FUSIONS
    )
  ]
  if not options.table:
    folder.mkdir(parents=True, exist_ok=True)
    animal(folder)
    for number, run in enumerate(runs, 1):
      print(f"{number}/{len(runs)} {run.name}", flush=True)
      train(run, folder, options.data_dir.expanduser().absolute())
  print(table(folder, runs))


if __name__ == "__main__":
  main()
