"""Tracker: one person's windows and joints in a few consecutive frames of all views."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Sequence

import numpy as np

from epipolar_jax.footage import trained, windows
from epipolar_jax.footage.detector import Detector
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# A joint counts for the windows where its view scores this, and two views agree.
_LEAST_SCORE = 0.2
_FEWEST_JOINTS = 6
# Windows are cut again when their joints want another: centre moved by this share of the side, or
# another side by this factor.
_MOVED, _RESIZED = 0.08, 1.18
# Share of the skeleton's size that a body's box has, where it is looked for in an image.
_TYPICAL = 0.85
# Rounds of cutting and detecting: the whole image, each view's own box, the box in space, its own.
_ROUNDS = 4


@dataclasses.dataclass(frozen=True)
class Part:
  """What was found in f consecutive frames; points are px of ideal pinhole images.

  Attributes:
    own: [f, v, j, 2], each view's joints by itself; NaN where the view has no window.
    own_score: [f, v, j], 0..1.
    fused: [f, v, j, 2], with what the other views' heatmaps hold along the epipolar lines.
    fused_score: [f, v, j], 0..1.
    windows: [f, v, 3], centre and side of each window, px; NaN: none.
    found: [f], bool: the views agree on a person.
  """

  own: np.ndarray
  own_score: np.ndarray
  fused: np.ndarray
  fused_score: np.ndarray
  windows: np.ndarray
  found: np.ndarray


@dataclasses.dataclass(frozen=True)
class Pose:
  """A person in space: points [j, 3], mm, and which of them are good, [j]."""

  points: np.ndarray
  good: np.ndarray


@dataclasses.dataclass(frozen=True)
class Seen:
  """Each view's own detections in f frames, before fusion.

  Attributes:
    maps: [f, v, h, w, c], the detector's.
    own, score, windows: as of `Part`.
  """

  maps: np.ndarray
  own: np.ndarray
  score: np.ndarray
  windows: np.ndarray


class Tracker:
  """Finds a person in frames of a rig, given where they last were.

  Windows and joints are found in turns until they agree: a window comes from the joints in space
  that the last one gave. Without a last pose the whole image is the first window, and each view's
  own joints make the second.

  Args:
    detector: of the joints.
    rig: of v views.
    searches: False: whoever is lost is not looked for in whole images.
  """

  def __init__(self, detector: Detector, rig: Rig, *, searches: bool = True):
    self._detector = detector
    self._rig = rig
    self._searches = searches
    # Of a small skeleton a third.
    self._fewest = min(_FEWEST_JOINTS, -(-detector.skeleton.num_joints // 3))
    self._cameras = Cameras(*(np.asarray(x, np.float64) for x in _arrays(rig.cameras)))
    self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

  def __call__(
    self, frames: Sequence[Sequence[np.ndarray | None]], last: Pose | None
  ) -> tuple[Part, Pose | None]:
    """Detects the joints of f frames.

    Args:
      frames: [f][v], RGB uint8, None where a recording has ended.
      last: the pose before these frames, None where there was none.

    Returns:
      What was found, and the last pose for the next frames.
    """
    seen, poses = self.locate(frames, last)
    return self.fused(seen, poses), last_of(poses)

  def locate(
    self, frames: Sequence[Sequence[np.ndarray | None]], last: Pose | None
  ) -> tuple["Seen", list[Pose | None]]:
    """Each view's own detections, and the pose of each frame; arguments as of a call."""
    size = len(frames), len(self._rig.names)
    fresh = functools.cache(lambda: self._fresh(frames))
    start = fresh() if last is None else np.stack([self._around(last, f) for f in frames])
    missing = np.array([[image is None for image in images] for images in frames])
    boxes, every = np.where(missing[..., None], np.nan, start), np.arange(size[0])
    state = self._detect(frames, boxes, every, None)
    for _ in range(_ROUNDS - 1):
      poses = self._poses(state)
      wanted = self._wanted(frames, boxes, fresh, state, poses)
      again = np.flatnonzero(_differ(boxes, wanted).any(axis=1))
      if not len(again):
        break
      boxes[again] = wanted[again]
      state = self._detect(frames, boxes, again, state)
    else:
      poses = self._poses(state)
    return Seen(*state, boxes), poses

  def poses(self, seen: "Seen") -> list[Pose | None]:
    """The person in space in each frame; None where the views do not agree on one."""
    return self._poses((seen.maps, seen.own, seen.score))

  def fused(self, seen: "Seen", poses: Sequence[Pose | None]) -> Part:
    """With what the other views hold."""
    fused, score = self._fuse(seen.maps, seen.own, seen.score, seen.windows)
    found = np.array([pose is not None for pose in poses])
    return Part(seen.own, seen.score, fused, score, seen.windows, found)

  def _detect(self, frames, boxes, which, state):
    """(maps [f, v, h, w, c], joints [f, v, j, 2], score [f, v, j]), renewed where `which`."""
    joints = self._detector.skeleton.num_joints
    places = [(f, v) for f in which for v in range(boxes.shape[1]) if np.isfinite(boxes[f, v, 2])]
    crops = self._pool.map(lambda at: self._cut(frames[at[0]][at[1]], boxes[at], at[1]), places)
    # The network takes the first while the others are cut.
    found = self._detector.maps(crops)
    uv, score = self._detector.decode(found)
    if state is None:
      maps = np.zeros((*boxes.shape[:2], *found.shape[1:]), np.float32)
      state = (
        maps,
        np.full((*boxes.shape[:2], joints, 2), np.nan),
        np.zeros((*boxes.shape[:2], joints)),
      )
    maps, own, own_score = (x.copy() for x in state)
    maps[which], own[which], own_score[which] = 0.0, np.nan, 0.0
    for index, at in enumerate(places):
      maps[at], own_score[at] = found[index], score[index]
      own[at] = _to_image(uv[index], self._matrix(boxes[at]))
    return maps, own, own_score

  def _cut(self, image, box, view):
    return windows.square(
      image,
      self._rig.lenses[view],
      self._cameras.intrinsics[view],
      box,
      size=self._detector.size,
    )

  def _matrix(self, box: np.ndarray) -> np.ndarray:
    return windows.affine(box[..., :2], box[..., 2], size=self._detector.size)

  def _poses(self, state) -> list[Pose | None]:
    """The person in space by each view's own joints; None where the views do not agree on one."""
    _, own, score = state
    names = self._detector.skeleton.joints
    seen = Observations(own[:, None], score[:, None], names, self._rig.names)
    found = estimate.triangulate(seen, self._cameras)
    agree = (found.inlier[:, 0] > 0.5) & (score > _LEAST_SCORE)
    certain = found.valid[:, 0] & (agree.sum(axis=1) >= 2)
    poses = []
    for points, good in zip(found.points[:, 0], certain):
      extent = np.ptp(points[good], axis=0).max() if good.any() else 0.0
      size = self._detector.skeleton.size_mm
      plausible = good.sum() >= self._fewest and 0.1 * size < extent < 2.0 * size
      poses.append(Pose(points, good) if plausible else None)
    return poses

  def _around(self, pose: Pose, images) -> np.ndarray:
    """Windows [v, 3] of a pose; NaN where it is behind a camera or outside its image."""
    boxes = np.full((len(images), 3), np.nan)
    size_mm = self._detector.skeleton.size_mm
    for view, image in enumerate(images):
      if image is None:
        continue
      camera = (x[view] for x in _arrays(self._cameras))
      wh = image.shape[1::-1]
      box = windows.around_pose(pose.points[pose.good], *camera, size_mm=size_mm, size_wh=wh)
      if box is not None:
        boxes[view] = *box[0], box[1]
    return boxes

  def _fresh(self, frames) -> np.ndarray:
    """Windows [f, v, 3] without any knowledge: whole images, or where the detector finds most."""
    whole = np.array([[_whole(image) for image in images] for images in frames])
    if not self._detector.searches:
      return whole
    first = np.stack([self._searched(view, frames[0][view]) for view in range(whole.shape[1])])
    return np.where(np.isnan(whole), np.nan, first)

  def _searched(self, view: int, image: np.ndarray | None) -> np.ndarray:
    """The window [3] of one image, of the size that a body has there, with the best joints."""
    if image is None:
      return np.full(3, np.nan)
    k, r, t = (x[view] for x in _arrays(self._cameras))
    depth = (r @ _middle(self._cameras) + t)[2]
    focal = np.sqrt(abs(np.linalg.det(k[:2, :2])))
    size = _TYPICAL * windows.MARGIN * self._detector.skeleton.size_mm
    side = size * focal / depth if depth > 0 else np.inf
    places = trained.tiles(image.shape[1::-1], side)
    crops = self._pool.map(lambda box: self._cut(image, box, view), places)
    _, score = self._detector.decode(self._detector.maps(crops))
    return places[np.argmax(score.mean(axis=1))]

  def _wanted(self, frames, boxes, fresh, state, poses) -> np.ndarray:
    """The windows [f, v, 3] that what was found in the last ones asks for."""
    _, own, score = state
    known = [i for i, pose in enumerate(poses) if pose is not None]
    wanted = boxes.copy()
    for f, pose in enumerate(poses):
      if pose is None and known:
        pose = poses[min(known, key=lambda i: abs(i - f))]
      if pose is not None:
        wanted[f] = self._around(pose, frames[f])
      elif not self._searches:
        continue
      elif (boxes[f] == fresh()[f])[np.isfinite(fresh()[f])].all():
        for view in np.flatnonzero(np.isfinite(fresh()[f, :, 2])):
          good = score[f, view] > _LEAST_SCORE
          if good.sum() >= self._fewest:
            centre, side = windows.around(own[f, view], good, margin=windows.MARGIN)
            wanted[f, view] = *centre, max(side, 1.0)
      else:
        wanted[f] = fresh()[f]
    return wanted

  def _fuse(self, maps, own, own_score, boxes) -> tuple[np.ndarray, np.ndarray]:
    if self._detector.gain == 0:
      return own, own_score
    fused, score = np.full_like(own, np.nan), np.zeros_like(own_score)

    def one(f: int, seen: np.ndarray) -> None:
      if seen.sum() < 2:
        fused[f], score[f] = own[f], own_score[f]
        return
      matrices = self._matrix(np.where(seen[:, None], boxes[f], [0.0, 0.0, 1.0]))
      k, r, t = _arrays(self._cameras)
      uv, mass = self._detector.fuse(maps[f], seen, Cameras(_homogeneous(matrices) @ k, r, t))
      fused[f] = np.where(seen[:, None, None], _to_image(uv, matrices[:, None]), np.nan)
      score[f] = mass

    # A frame's fusion is a loop over pairs of views, which XLA runs on one core.
    list(self._pool.map(one, range(len(own)), np.isfinite(boxes[:, :, 2])))
    return fused, score


def last_of(poses: Sequence[Pose | None]) -> Pose | None:
  """The last pose that there is."""
  return next((pose for pose in reversed(poses) if pose is not None), None)


def _arrays(cameras: Cameras):
  return cameras.intrinsics, cameras.rotation, cameras.translation


def _whole(image: np.ndarray | None) -> tuple[float, float, float]:
  if image is None:
    return np.nan, np.nan, np.nan
  high, wide = image.shape[:2]
  return (wide - 1) / 2, (high - 1) / 2, float(max(wide, high))


def _middle(cameras: Cameras) -> np.ndarray:
  """The point [3] nearest to the optical axes of all cameras."""
  _, r, t = _arrays(cameras)
  centres = -np.einsum("vij,vi->vj", r, t)
  across = np.eye(3) - r[:, 2, :, None] * r[:, 2, None, :]
  right = np.einsum("vij,vj->i", across, centres)
  return np.linalg.lstsq(across.sum(axis=0), right, rcond=None)[0]


def _to_image(uv: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  return (uv - matrix[..., :, 2]) / matrix[..., [0, 1], [0, 1]]


def _homogeneous(matrices: np.ndarray) -> np.ndarray:
  bottom = np.broadcast_to([0.0, 0.0, 1.0], (*matrices.shape[:-2], 1, 3))
  return np.concatenate([matrices, bottom], axis=-2)


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """[f, v], bool: windows [f, v, 3] that are not about the same."""
  both = np.isfinite(a[..., 2]) & np.isfinite(b[..., 2])
  with np.errstate(invalid="ignore"):
    far = np.abs(a[..., :2] - b[..., :2]).max(axis=-1) > _MOVED * b[..., 2]
    other = np.abs(np.log(a[..., 2] / b[..., 2])) > np.log(_RESIZED)
  return np.where(both, far | other, np.isfinite(a[..., 2]) != np.isfinite(b[..., 2]))
