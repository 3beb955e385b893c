"""Limb lengths of people in general: learned from poses, kept as JSON, used by `pictorial`."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from epipolar_jax import skeletons


class LimbPriors(NamedTuple):
  """Lengths of the limbs, in the order of `skeleton.limbs`.

  Attributes:
    mean_mm: [l].
    std_mm: [l], over people and poses.
  """

  mean_mm: np.ndarray
  std_mm: np.ndarray


def learn(joints_3d: np.ndarray, skeleton: skeletons.Skeleton) -> LimbPriors:
  """Mean and spread of every limb's length over poses; a limb with an end that is NaN is left out.

  Args:
    joints_3d: [n, j, 3], mm.
    skeleton: of the joints.

  Raises:
    ValueError: joints of another skeleton, or a limb that no pose has.
  """
  if joints_3d.ndim != 3 or joints_3d.shape[1:] != (skeleton.num_joints, 3):
    raise ValueError(f"{skeleton.name} wants [n, {skeleton.num_joints}, 3], got {joints_3d.shape}")
  parents, children = np.array(skeleton.limbs).T
  lengths = np.linalg.norm(joints_3d[:, parents] - joints_3d[:, children], axis=-1)
  seen = np.isfinite(lengths)
  count = seen.sum(axis=0)
  if not count.all():
    missing = [skeleton.joints[c] for c, n in zip(children, count) if n == 0]
    raise ValueError(f"no pose has the limbs that end at {', '.join(missing)}")
  mean = np.where(seen, lengths, 0.0).sum(axis=0) / count
  square = np.where(seen, (lengths - mean) ** 2, 0.0).sum(axis=0) / count
  return LimbPriors(mean, np.sqrt(square))


def write(
  path: str | pathlib.Path,
  priors: LimbPriors,
  skeleton: skeletons.Skeleton,
  source: dict[str, Any],
) -> None:
  """Writes the JSON file; `source` says what they were learned from."""
  limbs = {
    f"{skeleton.joints[parent]}-{skeleton.joints[child]}": [
      round(float(priors.mean_mm[i]), 2),
      round(float(priors.std_mm[i]), 2),
    ]
    for i, (parent, child) in enumerate(skeleton.limbs)
  }
  record = {"skeleton": skeleton.name, "source": source, "mean_and_std_mm": limbs}
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read(path: str | pathlib.Path, skeleton: skeletons.Skeleton) -> LimbPriors:
  """Reads what `write` wrote; a name without a folder or suffix is a file that is shipped here.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is not such a file, or of another skeleton; names the file and what is wrong.
  """
  if str(path).isidentifier():
    path = pathlib.Path(__file__).parents[1] / "shipped" / f"limbs_{path}.json"
    if not path.exists():
      raise FileNotFoundError(f"no limb lengths {path.stem[6:]!r} are shipped: give a .json file")
  wanted = [f"{skeleton.joints[p]}-{skeleton.joints[c]}" for p, c in skeleton.limbs]
  try:
    limbs = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["mean_and_std_mm"]
    rows = np.array([limbs[name] for name in wanted], np.float64)
  except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
    raise ValueError(
      f"{path} is not a file of limb lengths of {skeleton.name} ({type(error).__name__}: {error}); "
      "make one with python -m epipolar_jax.tools.limb_priors"
    ) from error
  if rows.shape != (len(wanted), 2) or not (np.isfinite(rows).all() and (rows[:, 0] > 0).all()):
    raise ValueError(f"{path}: every limb needs a mean above 0 and a standard deviation, in mm")
  return LimbPriors(rows[:, 0], rows[:, 1])
