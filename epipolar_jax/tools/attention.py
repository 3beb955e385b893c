"""Where the epipolar attention of a network of fused features looks, measured at the joints.

python -m epipolar_jax.tools.attention runs/clothed_late [--frames 64] [--data_dir data_cache]

At the pixel of every joint, and of each view that its view looks at: the share of the weights that
lies within two feature pixels of where the joint really is in that view, beside what equal weights
would have there; how far off the sample of the largest weight is; and over how many samples the
weights are spread (the exponential of their entropy). An image of it is in the viewer
(`tools.view`).
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from epipolar_jax import models, predicting, tasks
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import batches
from epipolar_jax.models import fusion
from epipolar_jax.models.fusion import lines
from epipolar_jax.tasks import task as task_lib

# Feature pixels from the true joint that count as there.
_NEAR = 2.0


class Look(NamedTuple):
  """Of n looks, a joint of a view in another view each.

  Attributes:
    near: [n], share of the weights within two feature pixels of the true joint.
    even: [n], share of the samples there.
    off: [n], distance of the sample with the largest weight from the true joint, feature px.
    spread: [n], exponential of the weights' entropy: over how many samples they are spread.
    samples: [n], that lie in the map.
  """

  near: np.ndarray
  even: np.ndarray
  off: np.ndarray
  spread: np.ndarray
  samples: np.ndarray


def looks(
  weights: np.ndarray,
  others: np.ndarray,
  cameras: Cameras,
  joints: np.ndarray,
  labelled: np.ndarray,
  *,
  side: int,
) -> Look:
  """The looks of one frame, where both views hold the joint and the line meets the map.

  Args:
    weights: [v, m, p, k], of the samples on the line of each pixel.
    others: [v, m], the views that each view looks at.
    cameras: [v], of the network's images.
    joints: [v, j, 2], true joints, px of these images.
    labelled: [v, j], bool: there is such a truth.
    side: of the images, px.
  """
  size = side // models.STRIDE
  samples = np.asarray(_samples(cameras, others, size, weights.shape[-1]))
  true = (np.asarray(joints, np.float64) - (models.STRIDE - 1) / 2) / models.STRIDE
  pixel = np.rint(true).astype(int)
  inside = labelled & ((pixel >= 0) & (pixel < size)).all(axis=-1)
  view, other, joint = np.nonzero(inside[:, None] & inside[others])
  u, v = pixel[view, joint].T
  seen = others[view, other]
  weight = weights[view, other, v * size + u].astype(np.float64)
  at = samples[view, other, v * size + u]
  in_map = ((at >= -0.5) & (at <= size - 0.5)).all(axis=-1)
  weight = np.where(in_map, weight, 0.0)
  some = weight.sum(axis=1) > 0
  weight, at, in_map, goal = weight[some], at[some], in_map[some], true[seen, joint][some]
  weight /= weight.sum(axis=1, keepdims=True)
  distance = np.linalg.norm(at - goal[:, None], axis=-1)
  close = in_map & (distance < _NEAR)
  entropy = -np.sum(weight * np.log(np.maximum(weight, 1e-300)), axis=1)
  count = in_map.sum(axis=1)
  return Look(
    np.sum(weight * close, axis=1),
    close.sum(axis=1) / count,
    distance[np.arange(len(weight)), weight.argmax(axis=1)],
    np.exp(entropy),
    count,
  )


def _samples(cameras: Cameras, others: np.ndarray, size: int, count: int) -> jax.Array:
  """Samples [v, m, p, k, 2] on all lines, feature px."""
  fundamental = lines.fundamentals(cameras, others, stride=models.STRIDE)

  def on_lines(matrix):
    return lines.sample_lines(matrix, size_hw=(size, size), num_samples=count)[0]

  return jax.vmap(jax.vmap(on_lines))(fundamental)


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints a row for every split of `eval.splits`."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("run", help="a run folder, a checkpoint, or a shipped network's name")
  parser.add_argument("--frames", type=int, default=64, help="of each split (64)")
  parser.add_argument("--data_dir", type=pathlib.Path, help="where data sets are; the run's own")
  options = parser.parse_args(arguments)
  try:
    _run(options)
  except (OSError, ValueError) as error:
    raise SystemExit(str(error)) from error


def _run(options: argparse.Namespace) -> None:
  if options.frames < 1:
    raise ValueError(f"--frames {options.frames}: at least 1")
  model = predicting.load(options.run)
  config = ml_collections.ConfigDict(model.config)
  if not fusion.of_model(config.model).matches:
    raise ValueError(
      f"{options.run}: model.fusion.merge is {config.model.fusion.merge!r}, which compares no "
      "features of two views: there is no attention to look at but of early, late and both"
    )
  if options.data_dir is not None:
    config.data.dir = str(options.data_dir)
  config.eval.max_frames = options.frames
  task = tasks.build(config, axis_name=None)
  inspect = jax.jit(task.inspect)
  print(
    "split              looks   near the joint: weights  samples   largest is off   spread over"
  )
  for split in config.eval.splits:
    found = Look(*map(np.concatenate, zip(*_of_split(config, inspect, model.variables, split))))
    print(
      f"{split:<18} {len(found.near):>5} {found.near.mean():>24.1%} {found.even.mean():>8.1%} "
      f"{np.median(found.off):>10.1f} px {found.spread.mean():>9.1f} of {found.samples.mean():.1f}"
    )


def _of_split(config, inspect, variables, split: str) -> list[Look]:
  found = []
  for batch in batches.eval_batches(config, batches.open_split(config, split)):
    part = batches.device_part(batch)
    seen = jax.device_get(inspect(variables, part))
    cameras, crop = task_lib.crop_cameras(part), np.asarray(batch["crop"])
    joints = (
      np.einsum("fvab,fvjb->fvja", crop[..., :2], batch["joints_2d"]) + crop[:, :, None, :, 2]
    )
    for frame in np.flatnonzero(batch["valid"]):
      # Those that the layer looks at, nearest first, not all that it could look at.
      used = seen["source"].shape[2]
      weights, others = (seen[name][frame][:, :used] for name in ("weights", "others"))
      known, side = batch["labelled"][frame], config.data.image_size
      found.append(looks(weights, others, cameras[frame], joints[frame], known, side=side))
  return found


if __name__ == "__main__":
  main()
