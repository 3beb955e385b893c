"""Trains a run, resumes it, or only evaluates it when training is complete.

python train.py --config configs/synthetic.py [--workdir DIR] [--config.GROUP.FIELD=VALUE ...]
    [--allow_changes] [--debug]
    [--distributed | --coordinator_address HOST:PORT --num_processes N --process_id I]

A work folder holds one run: asked for with another config than its config.json, training stops and
names the fields that differ. Compiled programs are kept between starts
(epipolar_jax/runtime/compilation_cache.py says where).
"""

import pathlib

import ml_collections
from absl import flags

from epipolar_jax.evaluation import driver
from epipolar_jax.runtime import processes, start
from epipolar_jax.training import loop, run_folder

_ALLOW_CHANGES = flags.DEFINE_bool(
  "allow_changes",
  False,
  "Resume with other optimizer.* and train.* options than the run had so far; both are recorded.",
)


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains to the end, then evaluates; a stopped run says how to go on."""
  state, complete = loop.train(config, workdir, allow_changes=_ALLOW_CHANGES.value)
  step = int(state.step)
  if not complete:
    processes.tell(loop.resume_hint(step, workdir))
    return
  processes.tell(f"Training is complete at step {step}; evaluating.")
  output, trained = workdir / "eval.json", run_folder.read(workdir)
  with loop.open_log(workdir, step) as log:
    driver.report(config, state.variables, step=step, output=output, trained=trained, log=log)
  processes.tell(f"Everything about this run is in {workdir}/.")


if __name__ == "__main__":
  start.run(main)
