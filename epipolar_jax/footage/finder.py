"""Finder: everybody in a whole image, by MoveNet's map of people's centres in tiles of it.

MoveNet is made for the one person in the middle, but its map of centres has a peak for each of a
few people who are about as large as its window. So tiles of three sizes are searched, and whoever
shows there gets a window of their own, in which the joints have to be found as well.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from epipolar_jax.footage import windows
from epipolar_jax.footage.detector import Detector

# The detector that is good and quick enough for it.
NETWORK = "lightning"
# Sides of the tiles in longer sides of the image; each half covers the next one.
_SIDES = (1.0, 0.5, 0.25)
# A centre is followed up from this probability times the mean score of the joints near it; it is a
# person if the mean score in a window of its own is this.
_WORTH, _PERSON = 0.1, 0.35
# So many centres of an image are followed up, the best first.
_MOST = 16
# Two detections are of one person if their boxes share this part of what they cover together, or if
# this part of the joints lies within so much of the smaller box: a window on somebody's upper half
# finds the legs there too.
_SAME, _SAME_JOINTS, _SAME_PLACE = 0.5, 0.25, 0.1

Cut = Callable[[np.ndarray], Iterable[np.ndarray]]


class Finder:
  """Finds people in images; `detector` has to tell the people of one window apart."""

  def __init__(self, detector: Detector):
    self._detector = detector
    self.size = detector.size
    self.joints = detector.skeleton.joints

  def __call__(self, cut: Cut, size_wh: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Joints of everybody who shows.

    Args:
      cut: gives the windows [size, size, 3] uint8 RGB of centres and sides [n, 3], px.
      size_wh: (width, height) of the image.

    Returns:
      uv: [p, j, 2], px of the image.
      score: [p, j], 0..1.
    """
    places = np.concatenate([tiles(size_wh, side * max(size_wh)) for side in _SIDES])
    seen = self._detector.people(cut(places))
    quality = seen.center * seen.score.mean(axis=-1)
    tile, rank = np.nonzero(quality > _WORTH)
    uv = _to_image(seen.uv[tile, rank], places[tile], self.size)
    quality = quality[tile, rank]
    return self.certain(*self.near(cut, boxes(uv[distinct(uv, quality)[:_MOST]])))

  def near(self, cut: Cut, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints and scores, as of a call, of whoever is in each of n boxes [n, 4] around people."""
    centre = (own[:, :2] + own[:, 2:]) / 2
    side = np.maximum((own[:, 2:] - own[:, :2]).max(axis=-1), 1.0) * windows.MARGIN
    places = np.concatenate([centre, side[:, None]], axis=-1)
    uv, score = self._detector.decode(self._detector.maps(cut(places)))
    return _to_image(uv, places, self.size), score

  def certain(self, uv: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of an image who are people, each once, the best first."""
    good = np.flatnonzero(score.mean(axis=-1) > _PERSON)
    uv, score = uv[good], score[good]
    kept = distinct(uv, score.mean(axis=-1))
    return uv[kept], score[kept]


def tiles(size_wh: Sequence[int], side: float) -> np.ndarray:
  """Windows that cover an image, each half covering the next: centres and side [n, 3], px.

  Args:
    size_wh: (width, height) of the image.
    side: of the windows; at most the longer side of the image.
  """
  axes = []
  for length in size_wh:
    count = max(1, int(np.ceil(2 * (length - side) / side)) + 1)
    low, high = (side - 1) / 2, length - (side + 1) / 2
    axes.append(np.linspace(low, high, count) if low < high else np.array([(length - 1) / 2]))
  u, v = np.meshgrid(*axes)
  return np.stack([u.ravel(), v.ravel(), np.full(u.size, side)], axis=-1)


def distinct(uv: np.ndarray, quality: np.ndarray) -> list[int]:
  """Indices of joints [n, j, 2] that do not repeat better ones, best first by their quality [n]."""
  around, kept = boxes(uv), []
  for index in np.argsort(-quality, kind="stable"):
    if kept:
      same = coinciding(uv[index], uv[kept]) > _SAME_JOINTS
      if (same | (overlap(around[index], around[kept]) > _SAME)).any():
        continue
    kept.append(int(index))
  return kept


def coinciding(uv: np.ndarray, others: np.ndarray) -> np.ndarray:
  """[n]: share of the joints [j, 2] that lie where those of others [n, j, 2] do."""
  sides = [np.ptp(x, axis=-2).max(axis=-1) for x in (uv, others)]
  off = np.linalg.norm(uv - others, axis=-1)
  return (off < _SAME_PLACE * np.minimum(*sides)[:, None]).mean(axis=-1)


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
  """[n]: what a box [4], (left, top, right, bottom), shares with others [n, 4] of their union."""
  shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
  shared = np.maximum(shared, 0.0).prod(axis=-1)
  area = (others[:, 2:] - others[:, :2]).prod(axis=-1) + (box[2:] - box[:2]).prod() - shared
  return shared / np.maximum(area, 1e-9)


def boxes(uv: np.ndarray) -> np.ndarray:
  """[p, 4], (left, top, right, bottom) of joints [p, j, 2]."""
  return np.concatenate([uv.min(axis=1), uv.max(axis=1)], axis=-1)


def _to_image(uv: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
  """Joints [n, j, 2] of windows at places [n, 3] in px of the image."""
  matrix = windows.affine(places[:, :2], places[:, 2], size=size)
  return (uv - matrix[:, None, :, 2]) / matrix[:, None, [0, 1], [0, 1]]
