"""Looks at what a builder prepared: can every example be read, and do its joints reproject?"""

import pathlib

import numpy as np

from data import opening

# Of float32 cameras and labels; Human3.6M's own labels are off by less.
_TOLERANCE_PX = 5.0


def recognizes(path: pathlib.Path) -> bool:
  """Whether TFDS data sets lie in or below a folder."""
  return any(_folders(path))


def check(path: pathlib.Path, *, samples: int) -> tuple[list[str], list[str]]:
  """Reads some examples of every split of every data set; arguments as `data.check.check`."""
  facts, problems = [], []
  for folder in _folders(path):
    try:
      builder = opening.open_folder(folder)
    except opening.UnsafeData as error:
      problems.append(str(error))
      continue
    for split, info in builder.info.splits.items():
      facts.append(f"{folder}: {split}, {info.num_examples:,} examples")
      try:
        problems += _check_split(builder, split, f"{folder}, {split}", samples)
      except Exception as error:
        # Whatever a damaged file raises is the finding.
        problems.append(f"{folder}, {split} cannot be read: {error}")
  return facts, problems


def _folders(path):
  """Folders of prepared data sets, at most three levels down."""
  for depth in range(4):
    yield from (
      file.parent
      for file in sorted(path.glob("*/" * depth + "dataset_info.json"))
      if "incomplete" not in str(file)
    )


def _check_split(builder, split, name, samples) -> list[str]:
  source = builder.as_data_source(split)
  problems = []
  count = min(samples or len(source), len(source))
  for index in np.linspace(0, len(source) - 1, count).round().astype(int):
    error = _reprojection_error(source[int(index)])
    # Written so that NaN fails.
    if not error <= _TOLERANCE_PX:
      problems.append(f"{name}, example {index}: joints reproject {error:.1f} px off (median)")
  return problems


def _reprojection_error(example) -> float:
  """Median over the joints of the worst view, px; a single view's joints are in its own frame."""
  joints, intrinsics = example["joints_3d"], example["intrinsics"]
  if intrinsics.ndim == 2:
    views = [joints]
    intrinsics, points = intrinsics[None], example["joints_2d"][None]
  else:
    views = [joints @ r.T + t for r, t in zip(example["rotation"], example["translation"])]
    points = example["joints_2d"]
  errors = []
  for in_camera, matrix, labels in zip(views, intrinsics, points):
    projected = in_camera @ matrix.T
    distance = np.linalg.norm(projected[:, :2] / projected[:, 2:] - labels, axis=-1)
    errors.append(np.median(distance))
  return float(max(errors))
