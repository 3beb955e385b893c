"""AlphaPose's json: one list of people, [{"image_id": "12.jpg", "keypoints": [x, y, c, ...]}, ...].

Its confidence is no probability: models trained on COCO give 0 to 6, others 0 to 1.
"""

import numpy as np

from epipolar_jax.keypoints import coco, frames, sources
from epipolar_jax.keypoints.observations import Observations

_LARGEST = 6.0


def recognise(source: sources.Source) -> bool:
  """A json list of people in images that are files."""
  return coco.is_list_of_people(source) and isinstance(source.value[0]["image_id"], str)


def read(source: sources.Source, joint_set: str | None) -> Observations:
  """Reads the people of one video; the view is called as the file.

  Confidence is divided by 6 throughout if any in the file is above 1. Frames are numbered by the
  image's name.

  Raises:
    ValueError: a field is missing or wrong, or the joint set is not known; names the entry.
  """
  return coco.read_people(source, joint_set, _frame, _normalised)


def _frame(value, where: str) -> int:
  number = frames.number_in(value) if isinstance(value, str) else None
  if number is None:
    raise ValueError(f"{where}, image_id holds no number: {str(value)[:40]!r}")
  return number


def _normalised(score: np.ndarray, where: str) -> np.ndarray:
  """[n, j] scores of all people to 0..1."""
  if ((score < 0) | (score > _LARGEST)).any():
    raise ValueError(f"{where}: confidence from {score.min()} to {score.max()}; 0 to 6 is known")
  return score / _LARGEST if (score > 1).any() else score
