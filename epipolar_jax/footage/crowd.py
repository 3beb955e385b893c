"""Crowd: everybody's windows and joints in a few consecutive frames of all views.

Each person who is known is followed by a tracker of their own. Now and then, and when nobody is
known, whole images are searched; who shows in two views or more, where their epipolar lines cross,
is somebody new. Who is who over the whole recording is settled afterwards (`matching.people`).
"""

import concurrent.futures
import dataclasses
import functools
import itertools
import os
from collections.abc import Sequence

import numpy as np

from epipolar_jax.calibration import judging
from epipolar_jax.footage import finder as finders
from epipolar_jax.footage import tracker as trackers
from epipolar_jax.footage import windows
from epipolar_jax.footage.detector import Detector
from epipolar_jax.footage.tracker import Part, Pose
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import people, pinholes
from epipolar_jax.rigs.lenses import Pinhole
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# Frames from one search of whole images to the next.
_SEARCH = 32
# Two people are one if their joints lie this near to each other, in the skeleton's size.
_SAME = 0.12
# A detection in a search is of somebody known if its box shares so much with theirs.
_KNOWN = 0.4
# Two windows of a view show the same person if so many of their joints coincide.
_TWICE = 0.4
# Joints that a comparison needs.
_LEAST_JOINTS = 3


class Crowd:
  """What `trackers.Tracker` is, for several people.

  Args:
    detector: of the joints; it has to keep to the person in the middle of a window.
    rig: of v views.
    finder: of people in whole images.
  """

  def __init__(self, detector: Detector, rig: Rig, finder: finders.Finder):
    self._skeleton = detector.skeleton
    self._rig, self._lenses = (
      dataclasses.replace(rig, lenses=(Pinhole(),) * len(rig.names)),
      rig.lenses,
    )
    self._track = trackers.Tracker(detector, rig, searches=False)
    self._finder = finder
    self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

  def __call__(
    self, frames: Sequence[Sequence[np.ndarray | None]], last: Sequence[Pose], start: int
  ) -> tuple[Part, tuple[Pose, ...]]:
    """Detects the joints of everybody in f frames.

    Args:
      frames: [f][v], RGB uint8, None where a recording has ended.
      last: the poses of those who are known before these frames.
      start: number of the first of them in the recording.

    Returns:
      What was found, with p people after the frames: own [f, p, v, j, 2], windows [f, p, v, 3],
      found [f, p]; and the last poses for the next frames.
    """
    found, last = self.located(frames, last, start)
    return self.fused(found, len(frames)), last

  def located(
    self, frames: Sequence[Sequence[np.ndarray | None]], last: Sequence[Pose], start: int
  ) -> tuple[list[tuple[trackers.Seen, list[Pose | None]]], tuple[Pose, ...]]:
    """What each view sees of everybody, with their poses, before fusion; and the last poses."""
    found = self._followed(frames, last, [])
    if not found or start % _SEARCH == 0:
      found = self._followed(frames, self._new(frames[0], found), found)
    return found, tuple(trackers.last_of(poses) for _, poses in found)

  def fused(self, found: Sequence[tuple[trackers.Seen, list[Pose | None]]], frames: int) -> Part:
    """What was found in so many frames, with what the other views hold."""
    parts = [self._track.fused(seen, poses) for seen, poses in found]
    for part in parts:
      lost = ~part.found
      part.fused[lost], part.fused_score[lost] = np.nan, 0.0
    return _stacked(parts, frames, len(self._rig.names), self._skeleton.num_joints)

  def _followed(self, frames, last, found):
    """(Seen, poses) of those found and of those of the last poses who are somebody else."""
    everybody = [*found, *(self._track.locate(frames, pose) for pose in last)]
    self._contest([seen for seen, _ in everybody])
    kept = []
    for seen, _ in everybody:
      poses = self._track.poses(seen)
      now = trackers.last_of(poses)
      if now is None or any(self._same(now, trackers.last_of(other)) for _, other in kept):
        continue
      lost = np.array([pose is None for pose in poses])
      seen.maps[lost], seen.own[lost], seen.score[lost] = 0.0, np.nan, 0.0
      seen.windows[lost] = np.nan
      kept.append((seen, poses))
    return kept

  def _contest(self, everybody: Sequence[trackers.Seen]) -> None:
    """Where windows of two people show one body, masks those of the person it fits less, in place.

    It fits those whose joints, by the views that nobody else claims, are projected nearer to it.
    """
    if len(everybody) < 2:
      return
    own = np.stack([seen.own for seen in everybody], axis=1)  # [f, p, v, j, 2]
    score = np.stack([seen.score for seen in everybody], axis=1)
    pairs = _claimed_twice(own)
    claimed = np.zeros(own.shape[:3], bool)
    for frame, view, *both in pairs:
      claimed[frame, both, view] = True
    rest = np.where(claimed[..., None], 0.0, score)
    names = self._skeleton.joints, self._rig.names
    located = estimate.triangulate(Observations(own, rest, *names, matched=True), self._rig.cameras)
    points = np.where(located.valid[..., None], located.points, np.nan)
    for frame, view, *both in pairs:
      if not all(everybody[i].score[frame, view].any() for i in both):
        continue
      expected = judging.project(self._rig.cameras[view], points[frame, both])
      off = np.linalg.norm(expected - own[frame, both, view], axis=-1)
      first, second = pinholes.median(off, _LEAST_JOINTS)
      loser = everybody[both[0] if second < first else both[1]]
      loser.maps[frame, view], loser.windows[frame, view] = 0.0, np.nan
      loser.own[frame, view], loser.score[frame, view] = np.nan, 0.0

  def _same(self, a: Pose, b: Pose) -> bool:
    both = a.good & b.good
    if not both.any():
      return False
    off = np.median(np.linalg.norm(a.points[both] - b.points[both], axis=-1))
    return bool(off < _SAME * self._skeleton.size_mm)

  def _new(self, images, known) -> list[Pose]:
    """Who shows in the images [v] and is not among those who were followed."""
    seen = [self._seen(images[view], view, known) for view in range(len(images))]
    slots, joints = max(len(uv) for uv, _ in seen), self._finder.joints
    points = np.full((1, slots, len(seen), len(joints), 2), np.nan)
    scores = np.zeros(points.shape[:-1])
    for view, (uv, score) in enumerate(seen):
      points[0, : len(uv), view], scores[0, : len(uv), view] = uv, score
    observed = Observations(points, scores, joints, self._rig.names)
    if not slots:
      return []
    matched = people.chosen(observed, people.tracks(observed, self._rig))
    located = estimate.triangulate(matched, self._rig.cameras)
    agree = (located.inlier[0] > 0.5) & matched.seen[0]
    good = located.valid[0] & (agree.sum(axis=1) >= 2)
    return [Pose(p, g) for p, g in zip(located.points[0], good) if self._plausible(p[g])]

  def _plausible(self, points: np.ndarray) -> bool:
    extent = np.ptp(points, axis=0).max() if len(points) else 0.0
    size = self._skeleton.size_mm
    return len(points) >= 3 and 0.1 * size < extent < 2.0 * size

  def _seen(self, image, view: int, known) -> tuple[np.ndarray, np.ndarray]:
    """Joints [p, j, 2] and scores [p, j] of those in an image who are not known."""
    joints = len(self._finder.joints)
    if image is None:
      return np.zeros((0, joints, 2)), np.zeros((0, joints))
    camera = self._lenses[view], self._rig.cameras.intrinsics[view]
    one = functools.partial(windows.square, image, *camera, size=self._finder.size)
    uv, score = self._finder(functools.partial(self._pool.map, one), image.shape[1::-1])
    there = [seen.own[0, view] for seen, _ in known if np.isfinite(seen.own[0, view]).all()]
    if not there or not len(uv):
      return uv, score
    theirs = finders.boxes(np.stack(there))
    new = [finders.overlap(box, theirs).max() < _KNOWN for box in finders.boxes(uv)]
    return uv[new], score[new]


def _claimed_twice(own: np.ndarray) -> list[tuple[int, int, int, int]]:
  """(frame, view, person, person) whose joints [f, p, v, j, 2] are the same in that view."""
  frames, count, views = own.shape[:3]
  found = []
  for frame, view, one in itertools.product(range(frames), range(views), range(count)):
    same = finders.coinciding(own[frame, one, view], own[frame, :, view]) > _TWICE
    found += [(frame, view, one, int(other)) for other in np.flatnonzero(same) if other > one]
  return found


def _stacked(parts: Sequence[Part], frames: int, views: int, joints: int) -> Part:
  """People side by side on the second axis; with nobody it is empty."""
  if parts:
    stack = {f.name: np.stack([getattr(p, f.name) for p in parts], axis=1) for f in _FIELDS}
    return Part(**stack)
  nobody = frames, 0, views, joints
  points, score = np.zeros((*nobody, 2)), np.zeros(nobody)
  return Part(points, score, points, score, np.zeros((*nobody[:3], 3)), np.zeros((frames, 0), bool))


_FIELDS = dataclasses.fields(Part)
