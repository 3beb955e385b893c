"""Detections listed by frame number to arrays with a row a frame; what is not there is NaN."""

import pathlib
import re
from typing import NamedTuple

import numpy as np

_MOST_PEOPLE = 200
# A file may skip frames, but a row is made for each: of these many more than it has detections.
_SPARSEST, _ALWAYS_FRAMES = 1000, 100_000
_MOST_VALUES = 1 << 28


class Detection(NamedTuple):
  """One person in one frame: slot None is the next free one; values [j, 3] are x, y and score."""

  frame: int
  slot: int | None
  values: np.ndarray


def number_in(name: str) -> int | None:
  """The last whole number in a file's name without its suffix: 12 of video_000012_keypoints.json.

  None if there is none, or one of more digits than any frame has.
  """
  found = re.findall(r"\d+", pathlib.PurePath(name).stem)
  return int(found[-1]) if found and len(found[-1]) <= 15 else None


def fill(
  detections: list[Detection], numbers: list[int], joints: int, where: str
) -> tuple[np.ndarray, np.ndarray, int]:
  """Arrays of a view.

  Args:
    detections: of all frames, in any order.
    numbers: of the frames that the file has, those with nobody in them included.
    joints: j.
    where: the file, for messages.

  Returns:
    points [f, p, 1, j, 2] px, score [f, p, 1, j], and the number of the first frame; p is at
    least 1.

  Raises:
    ValueError: frames lie too far apart, or too many people are in one.
  """
  if not numbers:
    raise ValueError(f"{where}: holds no frames")
  first, last = min(numbers), max(numbers)
  span = check_span(first, last, len(numbers), where)
  taken: set[tuple[int, int]] = set()
  free: dict[int, int] = {}
  places = []
  for frame, slot, _ in detections:
    if slot is None:
      slot = free.get(frame, 0)
      free[frame] = slot + 1
    if (frame, slot) in taken:
      raise ValueError(f"{where}, frame {frame}: person {slot} is in it twice")
    taken.add((frame, slot))
    places.append((frame - first, slot))
  people = 1 + max((slot for _, slot in places), default=0)
  if people > _MOST_PEOPLE:
    raise ValueError(f"{where}: {people} people in one frame; at most {_MOST_PEOPLE} are read")
  check_values(span * people * joints, where)
  values = np.full((span, people, joints, 3), np.nan)
  for place, detection in zip(places, detections):
    values[place] = detection.values
  return values[:, :, None, :, :2], values[:, :, None, :, 2], first


def check_span(first: int, last: int, given: int, where: str) -> int:
  """The number of rows from the first to the last frame.

  Raises:
    ValueError: they would be far more than the frames given.
  """
  span = last - first + 1
  if first < 0:
    raise ValueError(f"{where}: a frame has the number {first}; they count from 0")
  if span > max(_ALWAYS_FRAMES, _SPARSEST * given):
    raise ValueError(
      f"{where}: its {given} frames are numbered from {first} to {last}: that is no video's count"
    )
  return span


def check_values(count: int, where: str) -> None:
  """Raises ValueError if arrays of so many points are more than is read at once."""
  if count > _MOST_VALUES:
    raise ValueError(f"{where}: {count:,} points at once; at most {_MOST_VALUES:,} are read")
