"""Runs an entry point on images of dots: `python tests/job.py DEVICES train.py --config ...`.

`DEVICES,stopped` tells the process to stop (SIGTERM) when it reads the first training frame;
`DEVICES,shard_map` maps by `shard_map` in place of `pmap`. For tests that need a process of its
own; `tests/job.py` is also the config it names.
"""

import functools
import os
import pathlib
import runpy
import signal
import sys

_ROOT = pathlib.Path(__file__).parent.parent


def get_config():
  """Six steps of four frames, logged in twos; two of six test frames are in the last batch."""
  from tests import dots

  config = dots.config()
  config.model.fusion.merge = "none"
  config.data.image_size = 32
  config.train.log_steps = 2
  return config


class _Stopping(list):
  """Frames whose first reader is told to stop."""

  def __getitem__(self, index):
    os.kill(os.getpid(), signal.SIGTERM)
    return super().__getitem__(index)


def install(*, stopped: bool = False) -> None:
  """Puts dots in place of the data set and two layers in place of the backbone."""
  from epipolar_jax.inputs import datasets
  from epipolar_jax.models import pose_resnet
  from tests import dots, small_network

  kind = _Stopping if stopped else list
  frames = {"train": kind(dots.frames(16)), "test": dots.frames(6, seed=2)}
  datasets.open_split = lambda config, split: frames[split]
  pose_resnet.PoseResNet = small_network.SmallNetwork


def _map_by_shard_map() -> None:
  """Every step of training, and every prediction, by the twin of `pmap`."""
  from epipolar_jax.runtime import parallel

  for name in ("make_step", "make_predict"):
    setattr(parallel, name, functools.partial(getattr(parallel, name), by_shard_map=True))


def main() -> None:
  """Sets up the devices and the data, then runs the script as `python SCRIPT ...` would."""
  setting, script, *arguments = sys.argv[1:]
  devices, *options = setting.split(",")
  # First of the path is the folder of the script that runs, as Python has it.
  sys.path[0] = str(_ROOT)
  import jax

  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", int(devices))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  install(stopped="stopped" in options)
  if "shard_map" in options:
    _map_by_shard_map()
  sys.argv = [script, *arguments]
  runpy.run_path(str(_ROOT / script), run_name="__main__")


if __name__ == "__main__":
  main()
