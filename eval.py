"""Evaluates a checkpoint: MPJPE and friends as a table, as JSON and as images.

python eval.py --config configs/synthetic.py [--workdir DIR] [--checkpoint STEP_DIR]
    [--output FILE.json] [--triangulation dlt,robust,rpsm] [--views 0,2|pairs|triples|every]
    [--nosave_images] [--video FILE.mp4] [--config.GROUP.FIELD=VALUE ...] [--debug]
    [--distributed | --coordinator_address HOST:PORT --num_processes N --process_id I]

One pass over the data compares all methods named; configs/h36m.py, group eval, says what there is.
"""

import pathlib

import jax
import ml_collections
from absl import flags

from epipolar_jax import checkpointing, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.runtime import processes, start
from epipolar_jax.training import run_folder

_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "Folder of one checkpoint; default the best of the run, or its newest."
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


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Restores the weights and reports."""
  config = config.copy_and_resolve_references()
  for field, flag in (("triangulation", _TRIANGULATION), ("views", _VIEWS)):
    if flag.value is not None:
      config.eval[field] = flag.value
  checkpoint = pathlib.Path(_CHECKPOINT.value or checkpointing.chosen(workdir))
  differences = run_folder.check_evaluation(checkpoint, config)
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, step = checkpointing.restore_variables(checkpoint, template, task.meta)
  processes.tell(f"Evaluating {checkpoint}, step {step}.")
  if differences:
    processes.tell("\n".join(["On other data than it was trained on:", *differences]))
  output = pathlib.Path(_OUTPUT.value or workdir / "eval.json")
  driver.report(
    config,
    variables,
    step=step,
    output=output,
    video=pathlib.Path(_VIDEO.value) if _VIDEO.value else None,
    draw=_SAVE_IMAGES.value,
    trained=run_folder.of_checkpoint(checkpoint),
  )
  images = " and images beside it" if _SAVE_IMAGES.value and config.eval.num_images else ""
  processes.tell(f"Wrote {output}{images}.")


if __name__ == "__main__":
  start.run(main)
