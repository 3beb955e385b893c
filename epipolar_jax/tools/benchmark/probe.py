"""Says what there is to measure on, as JSON: `python -m epipolar_jax.tools.benchmark.probe`.

A program of its own, because a process that has looked at a GPU may keep its memory.
"""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax


@dataclasses.dataclass(frozen=True)
class Surroundings:
  """What jax and PyTorch find.

  Attributes:
    platform: cpu, gpu or tpu.
    devices: how many.
    no_torch: why nothing can be compared with PyTorch; "" where it can.
  """

  platform: str
  devices: int
  no_torch: str


def look() -> Surroundings:
  """What another process finds here."""
  ran = subprocess.run(
    [sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True, check=True
  )
  return Surroundings(**json.loads(ran.stdout.splitlines()[-1]))


def torch_missing() -> str:
  """Why PyTorch cannot be imported; "" where it can."""
  if importlib.util.find_spec("torch") is None:
    return "PyTorch is not installed here; pip install torch"
  return ""


def no_torch(platform: str) -> str:
  """Why nothing can be compared with PyTorch on a platform of jax; "" where it can."""
  if reason := torch_missing():
    return reason
  from epipolar_jax.tools.benchmark import torch_timing

  if platform != "cpu" and torch_timing.device().type == "cpu":
    return f"jax runs on a {platform}, PyTorch only on the CPU here"
  return ""


if __name__ == "__main__":
  where = jax.default_backend()
  print(json.dumps(dataclasses.asdict(Surroundings(where, jax.device_count(), no_torch(where)))))
