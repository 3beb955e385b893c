"""Runs one suite, prints its table and writes JSON.

python -m epipolar_jax.tools.benchmark attention|backbone|step|pipeline|triangulation|inputs|scaling
    [--only dlt,robust] [--seconds 3] [--against torch] [--output runs/benchmark.json]
"""

import argparse
import dataclasses
import datetime
import importlib.util
import json
import pathlib
import platform

import jax

from epipolar_jax import host_memory
from epipolar_jax.tools.benchmark import (
  attention,
  backbone,
  inputs,
  pipeline,
  report,
  scaling,
  step,
  triangulation,
)
from epipolar_jax.tools.benchmark import ceilings as ceilings_lib

# name: (seconds for each measurement, names of what to measure or () for all) -> rows
_SUITES = {"inputs": inputs.run, "scaling": scaling.run, "triangulation": triangulation.run}
# The same with a third argument, against: "torch" measures the original's way in PyTorch too, and
# the ratios are to it; "" does not.
_COMPARED_SUITES = {
  "attention": attention.run,
  "backbone": backbone.run,
  "pipeline": pipeline.run,
  "step": step.run,
}


def main() -> None:
  """Measures the suite that the arguments name."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("suite", choices=sorted(_SUITES | _COMPARED_SUITES))
  parser.add_argument("--seconds", type=float, default=3.0, help="time for each measurement")
  parser.add_argument("--only", default="", help="what to measure, separated by commas")
  parser.add_argument("--against", default="", choices=["torch"], help="compare with PyTorch")
  parser.add_argument("--output", type=pathlib.Path, help="JSON file")
  arguments = parser.parse_args()
  only = tuple(name for name in arguments.only.split(",") if name)
  if arguments.against and arguments.suite not in _COMPARED_SUITES:
    parser.error(
      f"--against compares {', '.join(_COMPARED_SUITES)}; {arguments.suite} brings its own baseline"
    )
  if arguments.against == "torch" and importlib.util.find_spec("torch") is None:
    parser.error(
      "--against torch: PyTorch is not installed here; pip install torch, or leave it out"
    )
  host_memory.keep()
  ceilings = ceilings_lib.measure(min(arguments.seconds, 1.0))
  if arguments.suite in _COMPARED_SUITES:
    rows = _COMPARED_SUITES[arguments.suite](arguments.seconds, only, arguments.against)
  else:
    rows = _SUITES[arguments.suite](arguments.seconds, only)
  device = jax.devices()[0]
  setting = {
    "suite": arguments.suite,
    "date": datetime.date.today().isoformat(),
    "device": f"{len(jax.devices())} x {device.device_kind} ({device.platform})",
    "machine": f"{platform.machine()}, {platform.system()}",
    "jax": jax.__version__,
  } | ceilings.words()
  print(", ".join(f"{name} {value}" for name, value in setting.items()) + "\n")
  print(report.table(rows, ceilings))
  if arguments.output is not None:
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    record = setting | {"rows": [dataclasses.asdict(row) for row in rows]}
    arguments.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"\nWrote {arguments.output}.")


if __name__ == "__main__":
  main()
