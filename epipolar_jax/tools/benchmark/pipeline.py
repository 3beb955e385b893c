"""From the images of a frame to its 3D joints: configs/h36m.py, 4 views of 256².

One pass of the network for each view, fusion, peaks, triangulation, in one compiled function.
Against PyTorch it is the original's structure (`torch_pipeline`); both start from random weights,
so the joints mean nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import h36m
from epipolar_jax import heatmaps, models, tasks
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models.fusion import lines
from epipolar_jax.tasks import task as task_lib
from epipolar_jax.tools import model_size, simulation
from epipolar_jax.tools.benchmark import timing

VIEWS = 4
# Frames at once, by platform.
_FRAMES = {"cpu": 1, "gpu": 16, "tpu": 16}
TYPES = ("float32", "bfloat16")


def run(seconds: float, only: tuple[str, ...] = (), against: str = "") -> list[timing.Row]:
  """Measures the way from images to joints; ratios are to PyTorch's in float32.

  Args:
    seconds: for each measurement.
    only: types of the network's arithmetic; () is float32, on a GPU or TPU also bfloat16.
    against: "torch" measures the original's structure.

  Raises:
    ValueError: there is no such type.
  """
  names = choose_types(only)
  frames = _FRAMES[jax.default_backend()]
  rows = []
  for name in names:
    config = make_config(name)
    task = tasks.build(config, axis_name=None)
    variables = task.init(jax.random.key(config.seed, impl="rbg"))
    batch = make_batch(frames)
    about = {
      "size": f"{size(frames)}, {name}",
      "frames": frames,
      "flops": forward_flops(frames),
      "seconds": seconds,
    }
    if against == "torch" and not rows:
      from epipolar_jax.tools.benchmark import torch_pipeline

      theirs = about | {"size": f"{size(frames)}, float32"}
      rows.append(torch_pipeline.measure_locate(as_pairs(variables, batch), **theirs))
    row = timing.measure(
      "images to 3D", jax.jit(task.predict), variables, batch, dtype=name, **about
    )
    rows.append(timing.against(row, rows[0]) if against else row)
  return rows


def choose_types(only: tuple[str, ...]) -> tuple[str, ...]:
  """The types to measure.

  Raises:
    ValueError: there is no such type.
  """
  if not set(only) <= set(TYPES):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(TYPES)}")
  return only or (TYPES[:1] if jax.default_backend() == "cpu" else TYPES)


def make_config(dtype: str) -> ml_collections.ConfigDict:
  """configs/h36m.py with the network in a type."""
  config = h36m.get_config()
  config.model.dtype = dtype
  return config


def size(frames: int) -> str:
  """The size of a batch, in words."""
  return f"{frames} x {VIEWS} views, {simulation.SIZE}²"


def forward_flops(frames: int) -> float:
  """Operations of the network's forward pass by formula, fusion included."""
  return (
    2.0 * frames * model_size.total(model_size.measure(make_config("float32"), views=VIEWS)).macs
  )


def make_batch(frames: int) -> dict[str, np.ndarray]:
  """Simulated people and rigs; noise for images."""
  rng = np.random.default_rng(0)
  scenes = simulation.make_scenes(rng, frames, num_views=VIEWS)
  side, joints = simulation.SIZE, scenes.joints.shape[1]
  return {
    "image": rng.integers(0, 256, (frames, VIEWS, side, side, 3), np.uint8),
    "crop": np.tile(np.eye(2, 3, dtype=np.float32), (frames, VIEWS, 1, 1)),
    "intrinsics": scenes.cameras.intrinsics,
    "rotation": scenes.cameras.rotation,
    "translation": scenes.cameras.translation,
    "joints_2d": scenes.uv,
    "joints_3d": scenes.joints,
    "labelled": np.ones((frames, VIEWS, joints), bool),
    "valid": np.ones(frames, bool),
  }


def as_pairs(variables: Any, batch: dict[str, np.ndarray]) -> dict[str, Any]:
  """What `torch_pipeline.build` takes: the size of the network, and the batch as pairs of views."""
  config = make_config("float32").model
  frames = len(batch["valid"])
  source, samples = jax.jit(jax.vmap(_samples))(
    Cameras(*(batch[name] for name in ("intrinsics", "rotation", "translation")))
  )
  side = simulation.SIZE // models.STRIDE
  samples = np.asarray(samples).reshape(frames * VIEWS, side, side, -1, 2)
  source = np.asarray(source)[..., 0] + VIEWS * np.arange(frames)[:, None]
  images = np.asarray(task_lib.normalize_images(jnp.asarray(batch["image"]), bgr=False))
  pose = np.concatenate([batch["rotation"], batch["translation"][..., None]], axis=-1)
  return {
    "depth": config.backbone_depth,
    "parameters": sum(x.size for x in jax.tree.leaves(variables["params"])),
    "images": np.moveaxis(images.reshape(-1, *images.shape[2:]), -1, 1),
    "other": source.ravel(),
    "samples": np.moveaxis(samples, 3, 1),
    "projection": batch["intrinsics"] @ pose,
    "targets": np.asarray(jax.jit(_targets)(batch["joints_2d"])),
  }


def _samples(cameras: Cameras):
  """The nearest view [v, 1] of each view of a frame, and samples [v, 1, p, k, 2] in it."""
  config = make_config("float32").model.fusion
  side = simulation.SIZE // models.STRIDE
  source = lines.choose_sources(cameras, rule=config.sources)
  matrices = lines.fundamentals(cameras, source, stride=models.STRIDE)

  def sample(matrix):
    return lines.sample_lines(matrix, size_hw=(side, side), num_samples=config.num_samples)[0]

  return source, jax.vmap(jax.vmap(sample))(matrices)


def _targets(uv: jax.Array) -> jax.Array:
  """Gaussians [b·v, j, h, w] at uv [b, v, j, 2]."""
  side = simulation.SIZE // models.STRIDE

  def one(uv):
    return heatmaps.gaussian_target(uv, size_hw=(side, side), stride=models.STRIDE, sigma=8.0)

  return jax.vmap(jax.vmap(one))(uv.reshape(-1, *uv.shape[2:]))
