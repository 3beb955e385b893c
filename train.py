"""Trains a run, resumes it, or only evaluates it when training is complete.

python train.py --config configs/synthetic.py [--workdir DIR] [--config.GROUP.FIELD=VALUE ...]
"""

import pathlib

from absl import app, flags
from ml_collections import config_flags

from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets
from epipolar_jax.training import batch_statistics, loop

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config name>.")


def main(argv: list[str]) -> None:
  """Trains to the end, then evaluates; a stopped run says how to go on."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{name}")
  try:
    state, complete = loop.train(_CONFIG.value, workdir)
  except datasets.MissingDataError as error:
    raise SystemExit(str(error)) from error
  step = int(state.step)
  if not complete:
    print(f"Stopped at step {step} and saved in {workdir}; the same command resumes.")
    return
  print(f"Training is complete at step {step}; evaluating.")
  variables = state.variables
  if _CONFIG.value.eval.recompute_bn_frames:
    variables = batch_statistics.recompute(_CONFIG.value, variables)
  driver.report(_CONFIG.value, variables, step=step, output=workdir / "eval.json")
  print(f"Everything about this run is in {workdir}/.")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  # Warnings: Orbax tells much at the info level. Not set_default, which app.run overrules.
  flags.FLAGS.verbosity = -1
  app.run(main)
