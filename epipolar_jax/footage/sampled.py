"""Keypoints of a few stretches of videos, each view by itself, to compare cameras on.

Nothing here knows the calibration, which is what is in question: everybody is searched in whole
images, as `predict --people` does it, and then followed by their own joints.
"""

import concurrent.futures
import functools
import itertools
import os
from collections.abc import Callable

import numpy as np

from epipolar_jax.calibration import offsets
from epipolar_jax.footage import finder as finders
from epipolar_jax.footage import windows
from epipolar_jax.footage.finder import Finder
from epipolar_jax.footage.videos import Footage
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.lenses import Pinhole

# Stretches of so many frames in a row: time offsets need neighbours, places need variety.
_STRETCHES, _LENGTH = 3, 48
# They lie in so many frames from the first on: frames are counted by decoding them all.
_REACH = 1800
# Where a view lost everybody, it is searched again in every so many-th frame.
_SEARCH = 8
# An image is searched turned as well if its best person scores below this, and taken for turned if
# a person in it scores so many times more.
_UPRIGHT, _TURNED = 0.6, 1.15
# Frames without points between two stretches keep time offsets from reaching over.
_GAP = offsets.MOST_OFFSET + 5


def stretches(count: int) -> list[range]:
  """Frames looked at of `count` (0: not known): all of a short recording."""
  count = min(count, _REACH) or _STRETCHES * _LENGTH
  if count <= _STRETCHES * _LENGTH:
    return [range(count)]
  starts = np.linspace(0, count - _LENGTH, _STRETCHES).round().astype(int).tolist()
  return [range(start, start + _LENGTH) for start in starts]


def observe(
  footage: Footage,
  finder: Finder,
  *,
  start: int = 0,
  tell: Callable[[str], None] = print,
  progress: Callable[[int, int], None] = lambda done, total: None,
) -> Observations:
  """Joints of everybody in some frames of all views.

  Args:
    footage: v recordings in step.
    finder: of people in whole images.
    start: first frame to look at.
    tell: is told what was looked at and what each camera showed.
    progress: called with the number of frames done, and of all.

  Returns:
    [f, p, v, j], px of the views' own images; people in slots of any order. Between stretches of
    frames that were looked at lie 35 frames without points, or fewer if fewer are there.

  Raises:
    ValueError: the recordings end before `start`, or fewer than two views showed anybody.
  """
  known = [count for count in footage.counts if count]
  if start < 0 or (known and start >= min(known)):
    raise ValueError(f"frame {start} is to be the first: the shortest recording has {min(known)}")
  chosen = stretches(min(known) - start if known else 0)
  total = sum(map(len, chosen))
  watched = _Watched(finder, footage.sizes_wh)
  rows: list[list] = []
  done = 0
  for index, these in enumerate(chosen):
    if index:
      gap = min(_GAP, these.start - chosen[index - 1].stop)
      rows += [[None] * len(footage.names)] * gap
    watched.forget()
    for images in itertools.islice(footage.frames(start + these.start), len(these)):
      rows.append(watched(images))
      done += 1
      progress(done, total)
  found = _observations(rows, footage, finder.joints, start)
  _told(found, watched.turns, chosen, start, done, tell)
  return found


# Joints [p, j, 2] and scores [p, j] of the people of an image.
_People = tuple[np.ndarray, np.ndarray]


class _Watched:
  """Everybody in the images of all views, one frame after the other.

  Attributes:
    turns: [v], quarter turns (of `np.rot90`) after which people stand upright; None: not known.
  """

  def __init__(self, finder: Finder, sizes_wh):
    self._finder, self._sizes_wh = finder, sizes_wh
    self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    self.turns: list[int | None] = [None] * len(sizes_wh)
    self.forget()

  def forget(self) -> None:
    """The next frame follows none."""
    # By view: boxes [p, 4] of those who are followed, and frames since there are none.
    self._boxes = [np.zeros((0, 4))] * len(self._sizes_wh)
    self._lost = [0] * len(self._sizes_wh)

  def __call__(self, images) -> list[_People | None]:
    """People in images [v] of [h, w, 3], px of these; None where there are none."""
    images = [x if x is None else _turned(x, t or 0) for x, t in zip(images, self.turns)]
    found = self._followed(images)
    for view, image in enumerate(images):
      if image is not None and not len(found[view][0]):
        if self._lost[view] % _SEARCH == 0:
          found[view] = self._searched(view, image)
        self._lost[view] += 1
      else:
        self._lost[view] = 0
    self._boxes = [finders.boxes(uv) for uv, _ in found]
    upright = zip(found, self.turns, self._sizes_wh)
    return [(back(x[0], t or 0, wh), x[1]) if len(x[0]) else None for x, t, wh in upright]

  def _followed(self, images) -> list[_People]:
    """People of each view near where they last were."""
    boxes = [b[:0] if image is None else b for b, image in zip(self._boxes, images)]
    view_of = np.repeat(np.arange(len(boxes)), list(map(len, boxes)))

    def cut(places: np.ndarray):
      return self._pool.map(self._window, (images[view] for view in view_of), places)

    uv, score = self._finder.near(cut, np.concatenate(boxes))
    each = (view_of == view for view in range(len(boxes)))
    return [self._finder.certain(uv[own], score[own]) for own in each]

  def _window(self, image: np.ndarray, place: np.ndarray) -> np.ndarray:
    return windows.square(image, Pinhole(), np.eye(3), place, size=self._finder.size)

  def _everybody(self, image: np.ndarray) -> _People:
    cut = functools.partial(self._pool.map, functools.partial(self._window, image))
    return self._finder(cut, image.shape[1::-1])

  def _searched(self, view: int, image: np.ndarray) -> _People:
    """People of a whole image; finds out how it is turned where that is not known."""
    found = self._everybody(image)
    if self.turns[view] is None and _best(found) < _UPRIGHT:
      others = {turns: self._everybody(_turned(image, turns)) for turns in (1, 2, 3)}
      turns = max(others, key=lambda x: _best(others[x]))
      if _best(others[turns]) >= max(_TURNED * _best(found), _UPRIGHT):
        self.turns[view], found = turns, others[turns]
    elif self.turns[view] is None:
      self.turns[view] = 0
    return found


def _turned(image: np.ndarray, turns: int) -> np.ndarray:
  return np.ascontiguousarray(np.rot90(image, turns))


def _best(found) -> float:
  """Mean score of the joints of the person who is seen best."""
  return float(found[1].mean(axis=1).max(initial=0.0))


def back(uv: np.ndarray, turns: int, size_wh: tuple[int, int]) -> np.ndarray:
  """Pixels [..., 2] of an image of (width, height), from those of `np.rot90(image, turns)`."""
  (wide, high), (u, v) = size_wh, np.moveaxis(uv, -1, 0)
  at = ((u, v), (wide - 1 - v, u), (wide - 1 - u, high - 1 - v), (v, high - 1 - u))[turns]
  return np.stack(at, axis=-1)


def _observations(rows, footage: Footage, joints, start: int) -> Observations:
  slots = max([1, *(len(found[0]) for row in rows for found in row if found is not None)])
  points = np.full((len(rows), slots, len(footage.names), len(joints), 2), np.nan)
  score = np.zeros(points.shape[:-1])
  for frame, row in enumerate(rows):
    for view, found in enumerate(row):
      if found is not None:
        count = len(found[0])
        points[frame, :count, view], score[frame, :count, view] = found
  about = {"fps": footage.fps, "sizes_wh": footage.sizes_wh, "first_frame": start}
  return Observations(points, score, tuple(joints), footage.names, **about)


def _told(found: Observations, all_turns, chosen, start: int, done: int, tell) -> None:
  """Says what was looked at; raises ValueError if it was in vain."""
  where = ", ".join(f"{start + x.start} to {start + x.stop - 1}" for x in chosen)
  tell(f"Looked at {done} frames of each video: {where}")
  frames = found.seen.any(axis=(1, 3)).sum(axis=0)
  ways = {1: "by 90° anticlockwise", 2: "by 180°", 3: "by 90° clockwise"}
  for name, count, turns in zip(found.views, frames, all_turns):
    if turns:
      tell(f"camera {name}: people stand upright in its images if these are turned {ways[turns]}")
    if not count:
      tell(f"camera {name} shows nobody in them")
  if (frames > 0).sum() < 2:
    raise ValueError(
      f"fewer than two videos show a person in frames {where}: --start names another first frame. "
      "Keypoints of animals, boards or another network are given with --keypoints (predict "
      "--checkpoint writes keypoints.npz)"
    )
