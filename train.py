"""Trains a run, resumes it, or only evaluates it when training is complete.

python train.py --config configs/synthetic.py [--workdir DIR] [--config.GROUP.FIELD=VALUE ...]
    [--allow_changes]
    [--distributed | --coordinator_address HOST:PORT --num_processes N --process_id I]

A work folder holds one run: asked for with another config than its config.json, training stops and
names the fields that differ. Compiled programs are kept between starts
(epipolar_jax/compilation_cache.py says where).
"""

import pathlib

from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import compilation_cache, host_memory, processes
from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets
from epipolar_jax.training import batch_statistics, loop, run_folder

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config name>.")
_ALLOW_CHANGES = flags.DEFINE_bool(
  "allow_changes",
  False,
  "Resume with other optimizer.* and train.* options than the run had so far; both are recorded.",
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Join the job that the TPU pod, SLURM, Open MPI or Kubernetes describes."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator_address", None, "Or join this one: HOST:PORT of process 0; needs the next two."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Of the job.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Of this process, from 0.")


def main(argv: list[str]) -> None:
  """Trains to the end, then evaluates; a stopped run says how to go on."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  host_memory.keep()
  processes.join(
    detect=_DISTRIBUTED.value,
    coordinator_address=_COORDINATOR.value,
    num_processes=_NUM_PROCESSES.value,
    process_id=_PROCESS_ID.value,
  )
  compilation_cache.enable()
  name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{name}")
  try:
    state, complete = loop.train(_CONFIG.value, workdir, allow_changes=_ALLOW_CHANGES.value)
  except (datasets.MissingDataError, run_folder.MismatchError) as error:
    raise SystemExit(str(error)) from error
  step = int(state.step)
  if not complete:
    processes.tell(f"Stopped at step {step} and saved in {workdir}; the same command resumes.")
    return
  processes.tell(f"Training is complete at step {step}; evaluating.")
  variables = state.variables
  if _CONFIG.value.eval.recompute_bn_frames:
    variables = batch_statistics.recompute(_CONFIG.value, variables)
  trained = run_folder.read(workdir)
  driver.report(_CONFIG.value, variables, step=step, output=workdir / "eval.json", trained=trained)
  processes.tell(f"Everything about this run is in {workdir}/.")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  # Warnings: Orbax tells much at the info level. Not set_default, which app.run overrules.
  flags.FLAGS.verbosity = -1
  app.run(main)
