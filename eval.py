"""Evaluates a checkpoint: MPJPE and friends as a table, as JSON and as pictures.

python eval.py --config configs/synthetic.py [--workdir DIR] [--checkpoint STEP_DIR]
    [--output FILE.json] [--triangulation dlt,robust,rpsm] [--views 0,2|pairs|triples|every]
    [--nosave_images] [--video FILE.mp4] [--config.GROUP.FIELD=VALUE ...]
    [--distributed | --coordinator_address HOST:PORT --num_processes N --process_id I]

One pass over the data compares all methods named; configs/h36m.py, group eval, says what there is.
"""

import copy
import pathlib

import jax
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import checkpointing, compilation_cache, host_memory, processes, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets
from epipolar_jax.training import batch_statistics, run_folder

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config name>.")
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "Folder of one checkpoint; default the newest of the run."
)
_SAVE_IMAGES = flags.DEFINE_bool(
  "save_images", True, "Draw eval.num_images predictions of every split beside the JSON file."
)
_VIDEO = flags.DEFINE_string(
  "video", None, "MP4 of eval.num_images frames: the views, and the skeletons turning in 3D."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file; default eval.json in the run's folder.")
_TRIANGULATION = flags.DEFINE_string(
  "triangulation", None, "Methods, separated by commas, the main one first; eval.triangulation."
)
_VIEWS = flags.DEFINE_string(
  "views", None, "Cameras like 0,2, or pairs, triples, every: the curve over them; eval.views."
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
  """Restores the weights and reports."""
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
  config = copy.deepcopy(_CONFIG.value)
  for field, flag in (("triangulation", _TRIANGULATION), ("views", _VIEWS)):
    if flag.value is not None:
      config.eval[field] = flag.value
  name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{name}")
  checkpoint = pathlib.Path(_CHECKPOINT.value or checkpointing.newest(workdir))
  try:
    differences = run_folder.check_evaluation(checkpoint, config)
  except run_folder.MismatchError as error:
    raise SystemExit(str(error)) from error
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, step = checkpointing.restore_variables(checkpoint, template, task.meta)
  if config.eval.recompute_bn_frames:
    variables = batch_statistics.recompute(config, variables)
  if processes.leads():
    print(f"Evaluating {checkpoint}, step {step}.")
    if differences:
      print("On other data than it was trained on:", *differences, sep="\n")
  output = pathlib.Path(_OUTPUT.value or workdir / "eval.json")
  video = pathlib.Path(_VIDEO.value) if _VIDEO.value else None
  try:
    driver.report(
      config,
      variables,
      step=step,
      output=output,
      video=video,
      draw=_SAVE_IMAGES.value,
      trained=run_folder.of_checkpoint(checkpoint),
    )
  except datasets.MissingDataError as error:
    raise SystemExit(str(error)) from error
  if processes.leads():
    images = " and images beside it" if _SAVE_IMAGES.value and config.eval.num_images else ""
    print(f"Wrote {output}{images}.")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  # Warnings: Orbax tells much at the info level. Not set_default, which app.run overrules.
  flags.FLAGS.verbosity = -1
  app.run(main)
