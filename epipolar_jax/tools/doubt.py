"""Learns how large a network's errors are, and says how often its intervals hold.

python -m epipolar_jax.tools.doubt runs/clothed [--frames 160] [--seed N] [--data_dir data_cache]

The covariances of `robust` know only what views contradict each other in. On the validation split,
whose truth is known, their size is fitted to the errors (`triangulation.doubt`) and written to
doubt.json beside the run's config.json, where `epipolar predict --checkpoint` finds it. Printed:
the share of coordinates within the 68 and 95 % intervals, before and after, for every split of
`eval.splits`. With `--seed` the splits are drawn anew (synthetic data), and nothing is fitted or
written: what was learnt is judged on people, cameras and rooms that had no part in it.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from epipolar_jax import predicting
from epipolar_jax.evaluation import driver
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.runtime import parallel
from epipolar_jax.triangulation import doubt as doubt_lib
from epipolar_jax.triangulation import estimate as estimates

_FITTED_ON = "validation"
_GAUSSIAN = 1.96


def observed(
  predicted: dict[str, Any], labels: dict[str, np.ndarray], joints: Sequence[str]
) -> tuple[estimates.Estimate, np.ndarray, np.ndarray]:
  """What `robust` makes of predictions, frame by frame with its own cameras.

  Args:
    predicted: joints_2d [n, v, j, 2], network px, and score [n, v, j].
    labels: crop [n, v, 2, 3], intrinsics, rotation, translation of the stored images; joints_3d
      [n, j, 3], mm.
    joints: j names.

  Returns:
    The estimate [n, 1, ...], scores [n, 1, v, j] and the truth [n, 1, j, 3].
  """
  score = np.clip(np.asarray(predicted["score"], np.float64), 0.0, 1.0)
  views = tuple(f"view_{i + 1}" for i in range(score.shape[1]))
  found = []
  for frame, points in enumerate(np.asarray(predicted["joints_2d"], np.float64)):
    last = np.broadcast_to([0.0, 0.0, 1.0], (len(views), 1, 3))
    crop = np.concatenate([labels["crop"][frame], last], axis=1)
    cameras = Cameras(
      crop @ labels["intrinsics"][frame], labels["rotation"][frame], labels["translation"][frame]
    )
    seen = Observations(points[None, None], score[frame][None, None], tuple(joints), views)
    found.append(estimates.triangulate(seen, cameras))
  arrays = ("points", "valid", "covariance", "inlier", "reprojection_px")
  whole = {name: np.concatenate([getattr(x, name) for x in found]) for name in arrays}
  truth = np.asarray(labels["joints_3d"], np.float64)[:, None]
  return dataclasses.replace(found[0], **whole), score[:, None], truth


def main(arguments: Sequence[str] | None = None) -> None:
  """Fits, writes and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("run", help="a run folder, a checkpoint, or a shipped network's name")
  parser.add_argument("--frames", type=int, default=160, help="of the validation split (160)")
  parser.add_argument("--seed", type=int, help="of other synthetic data, to judge on")
  parser.add_argument("--data_dir", type=pathlib.Path, help="where data sets are; the run's own")
  options = parser.parse_args(arguments)
  try:
    _run(options)
  except (OSError, ValueError) as error:
    raise SystemExit(str(error)) from error


def _run(options: argparse.Namespace) -> None:
  model = predicting.load(options.run)
  config = ml_collections.ConfigDict(model.config)
  if options.data_dir is not None:
    config.data.dir = str(options.data_dir)
  if options.seed is not None:
    if config.data.name != "synthetic":
      raise ValueError(f"--seed draws synthetic data anew; the run's are {config.data.name}")
    config.data.synthetic.seed = options.seed
  if config.data.name == "synthetic":
    config.data.synthetic.validation_frames = options.frames
  config.eval.update(num_images=0, triangulation="robust", views="")
  predict, variables = driver.make_predict(config), parallel.replicate(model.variables)

  def of_split(split: str):
    predicted, labels, _ = driver.collect(config, predict, variables, split)
    return observed(predicted, labels, model.skeleton.joints)

  if options.seed is None:
    fitted = doubt_lib.fit(*of_split(_FITTED_ON))
    fitted.write(model.doubt_path)
    print(f"Wrote {model.doubt_path}, fitted on {fitted.frames} frames of {_FITTED_ON}.")
  elif model.doubt is None:
    raise ValueError(f"{options.run} has no doubt.json yet: fit it first, without --seed")
  else:
    fitted = model.doubt
  print("split              frames   within 68 %: before  after   within 95 %: before  after")
  for split in config.eval.splits:
    estimate, score, truth = of_split(split)
    after = fitted.apply(estimate, score)
    shares = [
      doubt_lib.covered(x, truth, width)
      for widths in ((1.0, 1.0), (_GAUSSIAN, fitted.wide))
      for x, width in zip((estimate, after), widths)
    ]
    numbers = "{:>20.1%} {:>6.1%} {:>20.1%} {:>6.1%}".format(*shares)
    print(f"{split:<18} {len(truth):>6} {numbers}")


if __name__ == "__main__":
  main()
