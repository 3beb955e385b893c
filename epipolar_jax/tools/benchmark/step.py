"""The whole training step of configs/h36m.py: 4 views of 256², fusion, loss, Adam.

As `train.py` takes it, mapped over all devices. Against PyTorch it is a step of the original's
structure (`torch_pipeline`) on one device, which goes through the network twice for each view.
"""

import jax

from epipolar_jax import tasks
from epipolar_jax.runtime import parallel
from epipolar_jax.tools.benchmark import pipeline, timing, training_step
from epipolar_jax.training import schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step

# Frames on each device, by platform.
_FRAMES = {"cpu": 1, "gpu": 4, "tpu": 4}
_LEARNING_RATE = 1e-3


def run(seconds: float, only: tuple[str, ...] = (), against: str = "") -> list[timing.Row]:
  """Measures training steps; ratios are to PyTorch's in float32.

  Args:
    seconds: for each measurement.
    only: types of the network's arithmetic; () is float32, on a GPU or TPU also bfloat16.
    against: "torch" measures the original's structure, with as many frames as one device has.

  Raises:
    ValueError: there is no such type.
  """
  names = pipeline.choose_types(only)
  each = _FRAMES[jax.default_backend()]
  frames = each * jax.local_device_count()
  rows = []
  for name in names:
    config = pipeline.make_config(name)
    task = tasks.build(config, axis_name=parallel.AXIS)
    variables = task.init(jax.random.key(config.seed, impl="rbg"))
    if against == "torch" and not rows:
      from epipolar_jax.tools.benchmark import torch_pipeline

      pairs = pipeline.as_pairs(variables, pipeline.make_batch(each))
      rows.append(torch_pipeline.measure_step(pairs, **_about(each, seconds, "float32")))
    optimizer = schedules.optimizer(config.optimizer, lambda _: _LEARNING_RATE)
    step = parallel.make_step(train_step.make_train_step(task, optimizer, seed=config.seed))
    state = parallel.replicate(train_state.create(variables, optimizer))
    batch = next(parallel.prefetch([pipeline.make_batch(frames)]))
    row = training_step.measure(
      "training step", step, state, batch, **_about(frames, seconds, name)
    )
    rows.append(timing.against(row, rows[0]) if against else row)
  return rows


def _about(frames: int, seconds: float, dtype: str) -> dict:
  return {
    "size": f"{pipeline.size(frames)}, {dtype}",
    "frames": frames,
    # Backward, every layer's output meets both its factors once more.
    "flops": 3 * pipeline.forward_flops(frames),
    "seconds": seconds,
    "dtype": dtype,
  }
