"""Figures of the inside of a network while it trains."""

import collections
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from epipolar_jax import models, tasks
from epipolar_jax.geometry import sampling
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import batches as inputs
from epipolar_jax.inputs import multiview
from epipolar_jax.visualize import panels, predictions

_ROWS = 2  # frames in a figure
_JOINT = -1  # whose attention is drawn: the last one of the skeleton, an end of a limb


def make(config: ml_collections.ConfigDict, split: str) -> Callable[[Any], dict[str, np.ndarray]]:
  """Figures of the same frames of a split each time, for weights as they change.

  Args:
    config: the whole config.
    split: the frames are spread over it.

  Returns:
    A function of the variables (replicated) to RGB figures by name: "heatmaps" and, with fusion,
    "attention". Empty for tasks without images and with `eval.num_images` 0.
  """
  task = tasks.build(config, axis_name=None)
  if task.inspect is None or not config.eval.num_images:
    return lambda variables: {}
  source = inputs.open_split(config, split)
  chosen = [source[i] for i in predictions.picked(len(source), _ROWS)]
  inspect = jax.jit(task.inspect)

  def read(example: dict[str, Any]) -> multiview.Batch:
    return next(
      multiview.eval_batches([example], size=config.data.image_size, batch_size=1, num_threads=1)
    )

  frames = [read(example) for example in chosen]

  def draw(variables: Any) -> dict[str, np.ndarray]:
    local = jax.device_get(variables)  # one device is enough for a few frames
    rows = collections.defaultdict(list)
    for batch in frames:
      seen = jax.device_get(inspect(local, inputs.device_part(batch)))
      rows["heatmaps"].append(panels.heatmap_row(batch["image"][0], seen["heatmaps"][0]))
      if "source" in seen:
        num_samples = config.model.fusion.num_samples
        rows["attention"].append(_attention(batch, seen, num_samples))
    return {name: np.vstack(panes) for name, panes in rows.items()}

  return draw


def _attention(batch: multiview.Batch, seen: dict[str, np.ndarray], num_samples: int) -> np.ndarray:
  """Where the views of the one frame look to find a joint."""
  # The views come nearest first, and the nearest is always fused.
  source = seen["source"][0][:, 0]

  def weigh(view: int, cell: np.ndarray, samples: np.ndarray) -> np.ndarray:
    if "weights" in seen:
      width = seen["heatmaps"].shape[3]
      # Pooled samples, k / 2 apart, share one weight.
      return np.resize(seen["weights"][0][view, 0, cell[1] * width + cell[0]], num_samples)
    evidence = seen["evidence"][0][source[view], ..., _JOINT, None]
    found = sampling.bilinear(evidence, samples)[:, 0]
    return np.asarray(jax.nn.softmax(seen["sharpness"][0][_JOINT] * found))

  bottom = np.broadcast_to(np.array([[[0.0, 0.0, 1.0]]]), (len(batch["crop"][0]), 1, 3))
  intrinsics = np.concatenate([batch["crop"][0], bottom], 1) @ batch["intrinsics"][0]
  return panels.attention_row(
    batch["image"][0],
    seen["joints_2d"][0][:, _JOINT],
    weigh,
    source,
    Cameras(intrinsics, batch["rotation"][0], batch["translation"][0]),
    num_samples=num_samples,
    stride=models.STRIDE,
  )
