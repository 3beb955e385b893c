"""Training steps on 1, 2, 4 ... devices, each with the same share of frames: weak scaling.

Mapped by `pmap`, and by its twin `shard_map` (`runtime.parallel`), which gives the same bits. The
ratio is to one device by `pmap`; n devices of their own should reach n. Without accelerators

  JAX_NUM_CPU_DEVICES=4 python -m epipolar_jax.tools.benchmark scaling

makes four devices of one processor. They share its cores, so there the ratio only says what
splitting and reducing cost, less what one device's step leaves unused of the cores.
"""

import dataclasses
import time

import jax
import numpy as np
from jax import sharding

from configs import synthetic_full
from epipolar_jax import tasks
from epipolar_jax.runtime import parallel
from epipolar_jax.tools import simulation
from epipolar_jax.tools.benchmark import timing
from epipolar_jax.training import schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step

_FRAMES = 2  # of each device
_WAYS = ("pmap", "shard_map")


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures the step of configs/synthetic_full.py, two frames of four views a device.

  Args:
    seconds: for each number of devices.
    only: numbers of devices, for example ("1", "4"); () is every power of two there is.

  Raises:
    ValueError: a number of devices that this machine does not have.
  """
  devices = jax.devices()
  chosen = [int(name) for name in only] or [2**i for i in range(len(devices).bit_length())]
  if wrong := [n for n in chosen if not 0 < n <= len(devices)]:
    raise ValueError(f"there are {len(devices)} devices, not {wrong[0]}")
  rows = [_measure(devices[:n], seconds, way) for n in chosen for way in _WAYS]
  return [rows[0], *(timing.against(row, rows[0]) for row in rows[1:])]


def _measure(devices: list[jax.Device], seconds: float, way: str) -> timing.Row:
  config = synthetic_full.get_config()
  task = tasks.build(config, axis_name=parallel.AXIS)
  optimizer = schedules.optimizer(config.optimizer, lambda step: 1e-3)
  run = _mapped(train_step.make_train_step(task, optimizer, seed=0), devices, way)
  state = train_state.create(task.init(jax.random.key(0, impl="rbg")), optimizer)
  count = len(devices)
  batch = jax.tree.map(
    lambda x: x.reshape(count, _FRAMES, *x.shape[1:]),
    _batch(count * _FRAMES, config.data.image_size),
  )

  def advance():
    nonlocal state
    state, values = run(state, batch)
    return state, values

  start = time.perf_counter()
  jax.block_until_ready(advance())
  compile_s = time.perf_counter() - start
  # The second call compiles once more: its state lies where the first one left it.
  jax.block_until_ready(advance())
  row = timing.measure(
    f"{count} devices, {way}" if count > 1 else f"1 device, {way}",
    advance,
    size=f"{count} x {_FRAMES} frames, 4 x 128 px",
    frames=count * _FRAMES,
    compiled=False,
    seconds=seconds,
  )
  return dataclasses.replace(row, compile_s=compile_s)


def _mapped(step, devices: list[jax.Device], way: str):
  """The step over some of the devices, as `parallel.make_step` maps it over all."""
  if way == "shard_map":
    mesh, whole = sharding.Mesh(np.asarray(devices), (parallel.AXIS,)), sharding.PartitionSpec()
    return jax.jit(parallel.shard_mapped(step, mesh, whole), donate_argnums=0)
  return jax.pmap(
    step,
    axis_name=parallel.AXIS,
    in_axes=(None, 0),
    out_axes=(None, None),
    devices=devices,
    donate_argnums=0,
  )


def _batch(count: int, size: int) -> dict[str, np.ndarray]:
  """Noise for images; cameras and joints of simulated people."""
  rng = np.random.default_rng(0)
  scenes = simulation.make_scenes(rng, count)
  views = scenes.uv.shape[1]
  shrink = np.float32([[size / simulation.SIZE, 0, 0], [0, size / simulation.SIZE, 0]])
  return {
    "image": rng.integers(0, 256, (count, views, size, size, 3), np.uint8),
    "crop": np.broadcast_to(shrink, (count, views, 2, 3)),
    "intrinsics": scenes.cameras.intrinsics,
    "rotation": scenes.cameras.rotation,
    "translation": scenes.cameras.translation,
    "joints_2d": scenes.uv,
    "joints_3d": scenes.joints,
    "labelled": np.ones(scenes.uv.shape[:3], bool),
    "valid": np.ones(count, bool),
  }
