"""Learns limb lengths for the pictorial structure model, or reads them from the original's file.

python -m epipolar_jax.tools.limb_priors OUT.json --config configs/synthetic_full.py
    [--frames 1000] [--config.GROUP.FIELD=VALUE ...]
python -m epipolar_jax.tools.limb_priors OUT.json --pairwise pairwise.pkl

Then: eval.py --triangulation rpsm --config.eval.limb_priors=OUT.json. The training split is used,
so that nothing is learned from what is tested.
"""

import pathlib

import numpy as np
from absl import app, flags
from ml_collections import config_flags

from epipolar_jax import skeletons
from epipolar_jax.inputs import datasets
from epipolar_jax.original import pairwise_pickle
from epipolar_jax.triangulation import limb_priors


def learn(config, output: pathlib.Path, *, max_frames: int) -> limb_priors.LimbPriors:
  """Learns from frames spread evenly over the training split of a config's data set.

  Args:
    config: the whole config.
    output: JSON file to write.
    max_frames: at most so many; 0 is all.

  Raises:
    ValueError: max_frames is negative.
  """
  if max_frames < 0:
    raise ValueError(f"--frames is {max_frames}; 0 is all of them")
  source = datasets.open_split(config.data, "train")
  count = min(max_frames or len(source), len(source))
  picked = np.unique(np.linspace(0, len(source) - 1, count).round().astype(int))
  joints = np.stack([source[int(i)]["joints_3d"] for i in picked])
  skeleton = skeletons.of_model(config.model)
  priors = limb_priors.learn(joints, skeleton)
  what = {"data": config.data.name, "split": "train", "frames": len(picked)}
  limb_priors.write(output, priors, skeleton, what)
  return priors


def convert(source: pathlib.Path, output: pathlib.Path) -> limb_priors.LimbPriors:
  """Reads the lengths out of the original's tables, of the 17 joints of Human3.6M.

  `std_mm` is how far the length is open: the tables are of a coarse grid.

  Raises:
    PickleError: it is not such a file.
  """
  skeleton = skeletons.H36M_17
  priors = limb_priors.LimbPriors(*pairwise_pickle.limb_lengths(source, skeleton))
  limb_priors.write(output, priors, skeleton, {"pairwise": source.name})
  return priors


def main(argv: list[str]) -> None:
  """Makes the file that the arguments name."""
  if len(argv) != 2:
    raise app.UsageError("expected OUT.json")
  output, pairwise = pathlib.Path(argv[1]), flags.FLAGS.pairwise
  if (pairwise is None) == (flags.FLAGS.config is None):
    raise app.UsageError("give either --config or --pairwise")
  if pairwise is not None:
    priors = convert(pathlib.Path(pairwise), output)
  else:
    priors = learn(flags.FLAGS.config, output, max_frames=flags.FLAGS.frames)
  lengths = priors.mean_mm
  print(f"Wrote {output}: {len(lengths)} limbs of {min(lengths):.0f} to {max(lengths):.0f} mm.")


if __name__ == "__main__":
  # Here, not above: two tools that a test imports would both define them.
  config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
  flags.DEFINE_string("pairwise", None, "The original's pairwise.pkl.")
  flags.DEFINE_integer("frames", 1000, "Training frames to look at; 0 is all.")
  app.run(main)
