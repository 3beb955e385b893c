"""Which camera of a rig is wrong, and what is wrong with it, from the keypoints of a recording.

Every usual mistake is undone on every camera by itself and on all together. With three views or
more, a camera is judged by how far what it saw is from where the points of the other cameras
project; with two, by epipolar distance. Plain NumPy on some hundreds of points: seconds, no
compilation.
"""

import dataclasses
import warnings

import numpy as np

from epipolar_jax.calibration import mistakes, resection
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming, pinholes
from epipolar_jax.rigs.rig import Rig

# Points looked at, from evenly spaced frames; enough for medians.
_MOST_POINTS, _LEAST_FRAMES = 600, 12
# Points whose score is below this share of the median score of their view are not looked at.
_LEAST_SCORE = 0.5
# Points that the other views disagree on more than this many medians are left out.
_OUTLIER = 3.0
# A mistake is named if undoing it leaves less than this share of the error, and the next best
# explanation leaves this many times more.
_SHARE, _CLEAR = 0.5, 1.3
# Explanations of one camera that look best by that camera's own error, and are judged on all.
_SHORTLIST = 6
# Epipolar distances above this share of a person's size in the image, and so many px, are no
# detector's noise.
_LEAST_OFF, _LEAST_OFF_PX = 0.02, 4.0
# A camera is suspected if without it the others agree this many times better.
_SUSPECT = 2.0
# Time offsets tried, frames; then parts of a frame around the best.
_MOST_OFFSET, _STEPS = 30, 4
# Fewest points that a median is made of.
_LEAST_POINTS = 12


@dataclasses.dataclass(frozen=True)
class Explanation:
  """A mistake that, undone, makes keypoints and cameras agree.

  Attributes:
    cameras: that have it; all of the rig, or one.
    mistake: its short name.
    text: what the cameras are treated as.
    before_px: median error of the camera (of the worst, if it is several) as the file has it.
    after_px: median error of the worst camera of the rig with the mistake undone.
    offset: frames by which the camera started before the others (0: another mistake).
  """

  cameras: tuple[str, ...]
  mistake: str
  text: str
  before_px: float
  after_px: float
  offset: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
  """How well cameras and keypoints agree, and what would make them.

  Attributes:
    views: v names.
    pairs: [v, v], median epipolar distance, px; NaN on the diagonal and without common points.
    left_out: [v], median distance, px, between what a view saw and where the points of the others
      project; with two views their epipolar distance; NaN without common points.
    others: [v], median reprojection error of the other views without this one; NaN with two views.
    size_px: median size of a person (or animal, or board) in the images.
    suspect: the view without which the others agree far better; None if there is none.
    explanations: what is named: one, or several that explain it equally well, the best first.
    resected: pose of the suspect from the points of the others, where no mistake is named; None if
      none fits.
  """

  views: tuple[str, ...]
  pairs: np.ndarray
  left_out: np.ndarray
  others: np.ndarray
  size_px: float
  suspect: str | None
  explanations: tuple[Explanation, ...]
  resected: resection.Resection | None = None

  @property
  def alarm(self) -> bool:
    """Something is wrong: a mistake is named, or errors are too large for a detector's noise."""
    known = self.pairs[~np.isnan(self.pairs)]
    too_far = bool((known > max(_LEAST_OFF * self.size_px, _LEAST_OFF_PX)).any())
    return too_far or self.suspect is not None or bool(self.explanations)


def diagnose(observations: Observations, rig: Rig) -> Diagnosis:
  """Compares what views saw with each other, as the cameras are and with each mistake undone.

  Args:
    observations: of one person (or animal, or board) a frame, px of the views' own images.
    rig: cameras by the views' names.

  Raises:
    ValueError: a view has no camera, there are fewer than two views, or no points in common.
  """
  if len(observations.views) < 2:
    raise ValueError(f"cameras are compared with each other: one view, {observations.views}")
  recording = _Recording(observations, rig.select(observations.views))
  with warnings.catch_warnings():
    # Views without points in common: their medians are NaN, which is what they should be.
    warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
    warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
    return _diagnose(recording, observations, rig)


def _diagnose(recording: "_Recording", observations: Observations, rig: Rig) -> Diagnosis:
  given = recording.judge(recording.poses, recording.ideal)
  pairs = recording.pairs(recording.poses, recording.ideal)
  if np.isnan(pairs).all():
    raise ValueError(
      f"no two of the views {', '.join(recording.views)} have {_LEAST_POINTS} points in common in "
      "the frames looked at: cameras cannot be compared"
    )
  before = _worst(given.left_out)
  tried = [
    *_swapped(recording, observations, rig, before),
    *_common(recording, pairs, before),
    *_single(recording, given),
  ]
  tried = sorted((x for x in tried if np.isfinite(x.after_px)), key=lambda one: one.after_px)
  suspect, named, resected = _suspect(recording.views, given), _named(tried, before), None
  if suspect is not None and not named:
    view = recording.views.index(suspect)
    resected = resection.resect(given.given[view], recording.ideal[view], recording.poses[view])
  return Diagnosis(
    recording.views,
    pairs,
    given.left_out,
    given.others,
    recording.size_px,
    suspect,
    tuple(named),
    resected,
  )


def _named(tried: list[Explanation], before: float) -> list[Explanation]:
  """The best explanations if they are good ones; several if they cannot be told apart."""
  if not tried or not tried[0].after_px < _SHARE * before:
    return []
  return [one for one in tried if one.after_px < _CLEAR * tried[0].after_px]


@dataclasses.dataclass(frozen=True, eq=False)
class _Judged:
  """Errors of views; `given`: for each view the points [n, 3] that the others give."""

  left_out: np.ndarray
  others: np.ndarray
  given: list[np.ndarray]


class _Recording:
  """Points of chosen frames in all views, and the cameras as K [v, 3, 3], R, t near the origin.

  Attributes:
    points: [v, f, j, 2] px of the views' own images, all frames; NaN where not looked at.
    frames: [n] chosen.
    ideal: [v, n·j, 2] of the chosen frames, without lens distortion.
    poses: v of (K, R, t).
  """

  def __init__(self, observations: Observations, rig: Rig):
    self.views, self.rig = observations.views, rig
    points, score = observations.points[:, 0], observations.score[:, 0]
    usual = [np.median(x[x > 0]) if (x > 0).any() else 1.0 for x in np.moveaxis(score, 1, 0)]
    good = score >= _LEAST_SCORE * np.array(usual)[:, None]
    self.points = np.moveaxis(np.where(good[..., None], points, np.nan), 1, 0)
    self.frames = _frames(np.isfinite(self.points).all(axis=-1))
    if not len(self.frames):
      raise ValueError(f"no frame has points in two of the views {', '.join(self.views)}")
    self.joints = observations.joints
    self.size_px = naming.size_px(observations.points[self.frames])
    cameras = rig.cameras
    arrays = (cameras.intrinsics, cameras.rotation, cameras.translation)
    self.poses = list(zip(*(np.asarray(x, np.float64) for x in arrays)))
    self.sizes = [
      size or tuple(2 * k[:2, 2] + 1) for size, (k, _, _) in zip(rig.sizes_wh, self.poses)
    ]
    chosen = self.points[:, self.frames]
    self.ideal = np.stack([self.undistort(v, chosen[v]) for v in range(len(self.views))])

  def undistort(self, view: int, points: np.ndarray, k: np.ndarray | None = None) -> np.ndarray:
    """Pixels [n, j, 2] of a view's image to [n·j, 2] of its pinhole."""
    k = self.poses[view][0] if k is None else k
    return self.rig.lenses[view].undistort(points, k).reshape(-1, 2)

  def judge(self, poses: list[mistakes.Pose], ideal: np.ndarray) -> _Judged:
    """How well views agree with each other if the cameras were these and the points those."""
    count = len(poses)
    if count == 2:
      off = _epipolar(poses, ideal, 0, 1)
      return _Judged(np.full(2, off), np.full(2, np.nan), [np.empty((0, 3))] * 2)
    matrices, origin = _matrices(poses)
    left_out, others, given = np.full(count, np.nan), np.full(count, np.nan), []
    for view in range(count):
      rest = [i for i in range(count) if i != view]
      found = pinholes.locate(ideal[rest], matrices[rest])
      off = np.nanmean(_off(found, matrices[rest], ideal[rest]), axis=0)
      others[view] = _median(off)
      found[~(off <= _OUTLIER * others[view] + 1e-6)] = np.nan
      left_out[view] = _median(_off(found, matrices[[view]], ideal[[view]])[0])
      given.append(found + origin)
    return _Judged(left_out, others, given)

  def pairs(self, poses: list[mistakes.Pose], ideal: np.ndarray) -> np.ndarray:
    """[v, v] median epipolar distances, px, if the cameras were these and the points those."""
    count = len(poses)
    found = np.full((count, count), np.nan)
    for a in range(count):
      for b in range(a + 1, count):
        found[a, b] = found[b, a] = _epipolar(poses, ideal, a, b)
    return found


def _frames(seen: np.ndarray) -> np.ndarray:
  """Frames, evenly spaced, of those in which the most views saw something; seen [v, f, j]."""
  views = seen.any(axis=2).sum(axis=0)
  most = max(_LEAST_FRAMES, _MOST_POINTS // seen.shape[2])
  for least in (len(seen), min(3, len(seen)), 2):
    frames = np.flatnonzero(views >= least)
    if len(frames) >= most or least == 2:
      break
  return frames[
    np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round()).astype(int)
  ]


def _matrices(poses: list[mistakes.Pose]) -> tuple[np.ndarray, np.ndarray]:
  """K [R | t] [v, 3, 4] in a world whose origin is amid the cameras, one far away or not."""
  origin = np.median([-r.T @ t for _, r, t in poses], axis=0)
  found = [k @ np.concatenate([r, (t + r @ origin)[:, None]], axis=1) for k, r, t in poses]
  return np.stack(found), origin


def _off(points: np.ndarray, matrices: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """Distances [v, n], px, of projected points [n, 3] from [v, n, 2]; infinite behind a camera."""
  off = np.linalg.norm(pinholes.project(points, matrices) - seen, axis=-1)
  both = np.isfinite(points).all(axis=-1) & np.isfinite(seen).all(axis=-1)
  return np.where(both & np.isnan(off), np.inf, off)


def _epipolar(poses: list[mistakes.Pose], ideal: np.ndarray, a: int, b: int) -> float:
  """Median epipolar distance of two views, px."""
  (k_a, r_a, t_a), (k_b, r_b, t_b) = poses[a], poses[b]
  turn = r_b @ r_a.T
  x, y, z = t_b - turn @ t_a
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / max(np.linalg.norm([x, y, z]), 1e-12)
  fundamental = np.linalg.inv(k_b).T @ cross @ turn @ np.linalg.inv(k_a)
  return _median(pinholes.epipolar_distance(ideal[a], ideal[b], fundamental).mean(axis=0))


def _median(off: np.ndarray) -> float:
  """Median of what is not NaN; NaN if that is too little. Infinite is far off, and counts."""
  known = np.sort(off[~np.isnan(off)])
  return float(known[len(known) // 2]) if len(known) >= _LEAST_POINTS else float("nan")


def _worst(left_out: np.ndarray) -> float:
  return float(np.nanmax(left_out)) if not np.isnan(left_out).all() else float("nan")


def _suspect(views: tuple[str, ...], given: _Judged) -> str | None:
  """The view without which the others agree far better than without any other."""
  if np.isnan(given.others).any():
    return None
  order = np.argsort(given.others)
  best, second = given.others[order[:2]]
  clear = second > _SUSPECT * best and given.left_out[order[0]] > _SUSPECT * best
  return views[order[0]] if clear else None


def _swapped(recording: _Recording, observations: Observations, rig: Rig, before: float):
  """Views that other cameras of the rig took."""
  pairing = naming.check(observations, rig)
  if pairing is None:
    return
  order = [recording.views.index(name) for name in pairing.other]
  poses = [recording.poses[i] for i in order]
  chosen = recording.points[:, recording.frames]
  ideal = np.stack([recording.undistort(i, chosen[v]) for v, i in enumerate(order)])
  moved = tuple(v for v, c in zip(recording.views, pairing.other) if v != c)
  text = ", ".join(f"{v} taken by {c}" for v, c in zip(recording.views, pairing.other) if v != c)
  after = _worst(recording.judge(poses, ideal).left_out)
  yield Explanation(moved, "swapped", text, before, after)


def _undone(recording: _Recording, mistake: mistakes.Mistake, view: int):
  """A view's pose and ideal points if it has a mistake."""
  pose = recording.poses[view]
  pose = mistake.pose(*pose) if mistake.pose else pose
  points = recording.points[view, recording.frames]
  if mistake.points:
    points = mistake.points(points, *recording.sizes[view])
  elif mistake.pose and np.array_equal(pose[0], recording.poses[view][0]):
    return pose, recording.ideal[view]
  return pose, recording.undistort(view, points, pose[0])


def _common(recording: _Recording, pairs: np.ndarray, before: float):
  """A mistake that all cameras have, if undone it lowers the mean of `pairs`."""
  for mistake in mistakes.usual(recording.joints):
    if mistake.whole:
      each = [_undone(recording, mistake, view) for view in range(len(recording.views))]
      poses, ideal = [x for x, _ in each], np.stack([x for _, x in each])
      if not np.nanmean(recording.pairs(poses, ideal)) < np.nanmean(pairs):
        continue
      after = _worst(recording.judge(poses, ideal).left_out)
      yield Explanation(recording.views, mistake.name, mistake.text, before, after)


def _single(recording: _Recording, given: _Judged):
  """A mistake of one camera, judged by all: the others must agree among themselves too."""
  found = []
  for view in range(len(recording.views)):
    for mistake in mistakes.usual(recording.joints):
      undone = _undone(recording, mistake, view)
      after = _after(recording, given, view, *undone)
      found.append((after, view, undone, (mistake.name, mistake.text, 0.0)))
    after, offset, ideal = _best_offset(recording, given, view)
    when = "before" if offset > 0 else "after"
    text = f"having started {abs(offset):.2f} frames {when} the others"
    undone = recording.poses[view], ideal
    found.append((after, view, undone, ("time offset", text, offset)))
  found = sorted((x for x in found if np.isfinite(x[0])), key=lambda x: x[0])
  for _, view, (pose, ideal), (name, text, offset) in found[:_SHORTLIST]:
    after = _worst(recording.judge(*_replaced(recording, view, pose, ideal)).left_out)
    before = float(given.left_out[view])
    yield Explanation((recording.views[view],), name, text, before, after, offset)


def _replaced(recording: _Recording, view: int, pose: mistakes.Pose, points: np.ndarray):
  """Poses and ideal points of all views with those of one replaced."""
  poses, ideal = list(recording.poses), recording.ideal.copy()
  poses[view], ideal[view] = pose, points
  return poses, ideal


def _after(recording: _Recording, given: _Judged, view: int, pose, ideal: np.ndarray) -> float:
  """Error of a view, px, with this pose and these points, or of the others if that is larger."""
  if len(recording.views) == 2:
    return _epipolar(*_replaced(recording, view, pose, ideal), 0, 1)
  k, r, t = pose
  points = given.given[view] @ r.T + t
  camera = np.concatenate([k, np.zeros((3, 1))], axis=1)
  return float(np.maximum(_median(_off(points, camera[None], ideal[None])[0]), given.others[view]))


def _best_offset(
  recording: _Recording, given: _Judged, view: int
) -> tuple[float, float, np.ndarray]:
  """Least error over time offsets of a view (not 0), the offset, and the points [n·j, 2] it gives.

  What the others show in frame f the view shows in frame f + offset.
  """
  frames = recording.frames
  wanted = np.unique(frames[:, None] + np.arange(-_MOST_OFFSET - 1, _MOST_OFFSET + 2))
  wanted = wanted[(wanted >= 0) & (wanted < recording.points.shape[1])]
  joints = len(recording.joints)
  ideal = recording.undistort(view, recording.points[view, wanted]).reshape(-1, joints, 2)
  table = np.full((recording.points.shape[1], joints, 2), np.nan)
  table[wanted] = ideal

  def moved(offset: float) -> np.ndarray:
    low = int(np.floor(offset))
    share = offset - low
    points = _shifted(table, frames + low)
    if share:
      points = (1 - share) * points + share * _shifted(table, frames + low + 1)
    return points.reshape(-1, 2)

  def error(offset: float) -> float:
    after = _after(recording, given, view, recording.poses[view], moved(offset))
    return float(np.nan_to_num(after, nan=np.inf))

  best = min((x for x in range(-_MOST_OFFSET, _MOST_OFFSET + 1) if x), key=error)
  parts = [best + i / _STEPS for i in range(-_STEPS + 1, _STEPS) if best + i / _STEPS]
  offset = min(parts, key=error)
  return error(offset), offset, moved(offset)


def _shifted(table: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """Rows of a table at frames; NaN outside."""
  inside = (frames >= 0) & (frames < len(table))
  found = table[np.clip(frames, 0, len(table) - 1)]
  return np.where(inside[:, None, None], found, np.nan)
