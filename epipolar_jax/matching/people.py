"""Who is who: detections of several people in several views to tracks of the same person.

Frame by frame: each known person, where last seen in 3D, takes the nearest detection of each view;
views that do not agree on a 3D position are let go; detections that are left are grouped across
views by epipolar distance, the closest first, and make new people. All distances are in shares of a
person's size in the image, so that a fly and a person alike work.
"""

import dataclasses

import numpy as np
from scipy import optimize

from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import pinholes
from epipolar_jax.rigs.rig import Rig

# Shares of a person's size in the image: views of one person agree to this, bad calibration
# included; between frames, people move less than that.
_AGREEMENT = 0.15
_STEP = 0.4
# Joints that two detections must share (or all, if there are fewer).
_LEAST_JOINTS = 3
# Frames after which somebody who was lost is somebody new.
_PATIENCE = 60
# A track needs this many frames, or all.
_LEAST_FRAMES = 3


def number(text: str) -> int | None:
  """How many people "N" or "all" (None) asks for, as --people takes it.

  Raises:
    ValueError: it is neither.
  """
  if text == "all":
    return None
  if not text.isdecimal() or not 0 < int(text) < 1 << 31:
    raise ValueError(f"--people should be a number above 0 or all, got {text!r}")
  return int(text)


def match(observations: Observations, rig: Rig, *, people: int | None = None) -> Observations:
  """The same observations with slot i of all views and frames being of the same person.

  Args:
    observations: slots of each view and frame in any order. If they are matched already, or have
      one slot, they are returned as they are.
    rig: cameras, with their lenses, by the views' names.
    people: how many to keep, those seen most; with 1, pieces of a track that was lost are joined.
      None: all.

  Returns:
    Matched observations [f, q, v, j]; q may be 0. A detection that no second view confirms is left
    out.

  Raises:
    ValueError: a view has no camera, or there are fewer than two views.
  """
  if people is not None and people < 1:
    raise ValueError(f"people should be at least 1, got {people}")
  if observations.matched or observations.points.shape[1] == 1:
    kept = observations.points.shape[1] if people is None else people
    return _take(observations, _most_seen(observations.seen)[:kept])
  return chosen(observations, tracks(observations, rig, people=people))


def tracks(observations: Observations, rig: Rig, *, people: int | None = None) -> np.ndarray:
  """Which slot of each frame and view is whose; arguments and errors as of `match`.

  Returns:
    [f, q, v], people by how much they were seen, most first; -1 where a view does not see one.
  """
  if len(observations.views) < 2:
    raise ValueError(f"people are matched across 2 views or more, got {observations.views}")
  points, rig = pinholes.prepare(observations, rig)
  tracker = _Tracker(points, rig)
  for frame in range(len(points)):
    tracker.step(frame)
  least = min(_LEAST_FRAMES, len(points))
  found = [t.slots for t in tracker.tracks if (t.slots >= 0).any(1).sum() >= least]
  weight = [_support(observations.score, slots) for slots in found]
  found = [found[i] for i in np.argsort(-np.array(weight), kind="stable")]
  if people == 1 and found:
    found = [_joined(found)]
  found = found[:people]
  nobody = np.zeros((len(points), 0, points.shape[2]), int)
  return np.stack(found, axis=1) if found else nobody


def chosen(observations: Observations, slots: np.ndarray) -> Observations:
  """Matched observations [f, q, v, j] of the slots [f, q, v] that `tracks` gave."""
  index = np.maximum(slots, 0)
  frames, views = np.ogrid[: len(slots), : slots.shape[2]]
  place = frames[:, None], index, views[None]
  return dataclasses.replace(
    observations,
    points=np.where((slots >= 0)[..., None, None], observations.points[place], np.nan),
    score=np.where((slots >= 0)[..., None], observations.score[place], 0.0),
    people=(),
    matched=True,
  )


@dataclasses.dataclass
class _Track:
  """A person: last 3D joints [j, 3] (NaN: never seen), and which slot [f, v] of each view; -1."""

  points: np.ndarray
  slots: np.ndarray
  last: int


class _Tracker:
  """Follows people over the frames; `tracks` is what it found.

  Args:
    points: [f, p, v, j, 2] px, undistorted, NaN where not seen.
    rig: of the views.
  """

  def __init__(self, points: np.ndarray, rig: Rig):
    self.points, self.tracks = points, []
    self._fundamentals = pinholes.fundamentals(rig)
    self._cameras, _ = pinholes.matrices(rig)
    self._least = min(_LEAST_JOINTS, points.shape[3])
    self._sizes = _sizes(points)

  def step(self, frame: int) -> None:
    """One frame."""
    free = np.isfinite(self.points[frame]).all(-1).sum(-1) >= self._least
    alive = [track for track in self.tracks if frame - track.last <= _PATIENCE]
    for track, slots in zip(alive, self._follow(frame, alive, free)):
      self._accept(frame, track, slots, free)
    for group in self._groups(frame, free):
      slots = np.full((len(self.points), free.shape[1]), -1)
      track = _Track(np.full((self.points.shape[3], 3), np.nan), slots, frame)
      self.tracks.append(track)
      self._accept(frame, track, group, free)

  def _follow(self, frame: int, tracks: list[_Track], free: np.ndarray) -> np.ndarray:
    """[t, v]: the free slot of each view that is nearest to where a track was, one each; or -1."""
    num_views = free.shape[1]
    taken = np.full((len(tracks), num_views), -1)
    if not tracks:
      return taken
    expected = pinholes.project(np.stack([t.points for t in tracks]), self._cameras)
    # Who was lost may be further away: twice as far after half the patience.
    far = 1 + 2 * (np.array([frame - t.last for t in tracks]) - 1) / _PATIENCE
    for view in range(num_views):
      seen = np.flatnonzero(free[:, view])
      off = np.linalg.norm(expected[:, None, view] - self.points[frame, seen, view], axis=-1)
      cost = pinholes.median(off, self._least) / self._sizes[frame, seen, view] / far[:, None]
      cost = np.where(cost < _STEP, cost, 10 * _STEP)
      for row, column in zip(*optimize.linear_sum_assignment(cost)):
        if cost[row, column] < _STEP:
          taken[row, view] = seen[column]
    return taken

  def _accept(self, frame: int, track: _Track, slots: np.ndarray, free: np.ndarray) -> None:
    """Gives a track those of its slots [v] that agree on 3D, or the one that it has."""
    slots, found = self._agreed(frame, slots)
    if (slots < 0).all():
      return
    views = np.flatnonzero(slots >= 0)
    track.slots[frame, views] = slots[views]
    free[slots[views], views] = False
    track.last = frame
    if found is not None:
      track.points = np.where(np.isfinite(found), found, track.points)

  def _agreed(self, frame: int, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The slots [v] without views that disagree, and their 3D joints [j, 3].

    The view is left out without which the others agree best; a wrong one may pull the point so far
    that another is furthest from it. Of two views that disagree neither is taken.
    """
    slots = slots.copy()
    while (slots >= 0).sum() >= 2:
      views = np.flatnonzero(slots >= 0)
      found, off = self._located(frame, slots, views)
      if off < _AGREEMENT:
        return slots, found
      if len(views) == 2:
        slots[:] = -1
        return slots, None
      others = [self._located(frame, slots, np.delete(views, i))[1] for i in range(len(views))]
      slots[views[np.argmin(others)]] = -1
    return slots, None

  def _located(self, frame: int, slots: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, float]:
    """3D joints [j, 3] as some views have them, and how far they are from the furthest of these."""
    seen, size = self.points[frame, slots[views], views], self._sizes[frame, slots[views], views]
    found = pinholes.locate(seen, self._cameras[views])
    off = np.linalg.norm(pinholes.project(found, self._cameras[views]) - seen, axis=-1)
    return found, (pinholes.median(off, self._least) / size).max()

  def _groups(self, frame: int, free: np.ndarray) -> list[np.ndarray]:
    """Slots [v] of free detections that are of one person, of two views at least."""
    views, slots = np.nonzero(free.T)
    mean = self._distances(frame, views, slots)
    groups, count = [[i] for i in range(len(views))], np.ones(len(views))
    while len(views):
      a, b = np.unravel_index(np.argmin(mean), mean.shape)
      if not mean[a, b] < _AGREEMENT:
        break
      # Average linkage; two detections of one view are infinitely far apart, and so are groups.
      mean[a] = (count[a] * mean[a] + count[b] * mean[b]) / (count[a] + count[b])
      mean[a, a], mean[b] = np.inf, np.inf
      mean[:, a], mean[:, b] = mean[a], np.inf
      groups[a], groups[b], count[a] = groups[a] + groups[b], [], count[a] + count[b]
    found = []
    for group in sorted(groups, key=len, reverse=True):
      chosen = np.full(free.shape[1], -1)
      chosen[views[group]] = slots[group]
      chosen, joints = self._agreed(frame, chosen)
      if joints is not None:
        found.append(chosen)
    return found

  def _distances(self, frame: int, views: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """[n, n] epipolar distances of detections; infinite in one view and without shared joints."""
    count = len(views)
    found = np.full((count, count), np.inf)
    seen, size = self.points[frame, slots, views], self._sizes[frame, slots, views]
    for i in range(count):
      for k in range(i + 1, count):
        if views[i] != views[k]:
          fundamental = self._fundamentals[views[i], views[k]]
          off = pinholes.epipolar_distance(seen[i], seen[k], fundamental)
          share = pinholes.median(off, self._least) / size[[i, k]]
          found[i, k] = found[k, i] = share.mean()
    return found


def _sizes(points: np.ndarray) -> np.ndarray:
  """[f, p, v]: diagonal of the box around a detection, px; at least half the view's median."""
  seen = np.isfinite(points).all(-1, keepdims=True)
  low = np.where(seen, points, np.inf).min(axis=3)
  high = np.where(seen, points, -np.inf).max(axis=3)
  found = np.linalg.norm(np.where(high >= low, high - low, np.nan), axis=-1)
  whole = np.array(
    [np.median(x) if len(x) else 1.0 for x in (v[np.isfinite(v)] for v in np.moveaxis(found, 2, 0))]
  )
  return np.maximum(np.nan_to_num(found), np.maximum(whole / 2, 1e-9))


def _support(score: np.ndarray, slots: np.ndarray) -> float:
  """Sum of the scores of a track's slots [f, v]."""
  frames, views = np.nonzero(slots >= 0)
  return float(score[frames, slots[frames, views], views].sum())


def _joined(tracks: list[np.ndarray]) -> np.ndarray:
  """One track [f, v] of many: in a frame, the first that is there."""
  whole = tracks[0].copy()
  for other in tracks[1:]:
    empty = (whole < 0).all(axis=1)
    whole[empty] = other[empty]
  return whole


def _most_seen(seen: np.ndarray) -> np.ndarray:
  """Slots by the number of points [f, p, v, j] in them, most first."""
  return np.argsort(-seen.sum(axis=(0, 2, 3)), kind="stable")


def _take(observations: Observations, people: np.ndarray) -> Observations:
  """Some slots; those of matched observations, or of one person."""
  order = np.sort(people)
  return dataclasses.replace(
    observations,
    points=observations.points[:, order],
    score=observations.score[:, order],
    people=tuple(observations.people[i] for i in order) if observations.people else (),
    matched=True,
  )
