"""Which camera of a rig is wrong, and what is wrong with it, from the keypoints of a recording.

Every usual mistake is undone on every camera by itself and on all together. With three views or
more, a camera is judged by how far what it saw is from where the points of the other cameras
project; with two, by epipolar distance.
"""

import dataclasses
import warnings

import numpy as np

from epipolar_jax.calibration import estimated, mistakes, offsets, resection, timing
from epipolar_jax.calibration.recording import (
  LEAST_POINTS,
  Judged,
  Recording,
  distances,
  epipolar_px,
  median,
)
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming
from epipolar_jax.rigs.rig import Rig

# A mistake is named if undoing it leaves less than this share of the error, and the next best
# explanation leaves this many times more.
_SHARE, _CLEAR = 0.5, 1.3
# Explanations of one camera that look best by that camera's own error, and are judged on all.
_SHORTLIST = 6
# With numbers to fit, these explain much that a plain mistake does: that comes first.
_FITTED = ("cropped", "scaled and cropped", "turned")
# A difference in log likelihood that leaves no doubt, neighbours' errors being alike.
_DOUBTLESS = 10.0
# Epipolar distances are a detector's if they are below this share of a person's size in the image,
# so many px, or so many times what the jitter of the keypoints makes.
_LEAST_OFF, _LEAST_OFF_PX, _JITTERS = 0.02, 4.0, 1.5
# A camera is suspected if without it the others agree this many times better.
_SUSPECT = 2.0
# Parts of a frame tried around the best time offset, each around the best of the one before.
_PARTS = (0.25, 0.125, 0.0625)
# Units that are mixed up, mm; a body that is so many times its size, or 1 / so many, is of another.
_UNITS = {10.0: "cm for mm", 25.4: "inches for mm", 1000 / 25.4: "m for inches"}
_UNITS |= {100.0: "m for cm", 1000.0: "m for mm"}
_OTHER_UNIT = 3.0
# What a body measures, in shares of its size at full stretch.
_STRETCH = 0.8


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
    noise: [v, v], median epipolar distance, px, that the jitter of the keypoints alone makes.
    suspect: the view without which the others agree far better; None if there is none.
    explanations: what is named: one, or several that explain it equally well, the best first.
    resected: pose of the suspect from the points of the others, where no mistake is named; None if
      none fits.
    body_mm: what the body measures with the cameras' unit of length; NaN where it cannot be known.
    unit: what is wrong with that unit, by the body's size; "" if nothing is, or the size is not
      known.
  """

  views: tuple[str, ...]
  pairs: np.ndarray
  left_out: np.ndarray
  others: np.ndarray
  size_px: float
  suspect: str | None
  explanations: tuple[Explanation, ...]
  noise: np.ndarray
  resected: resection.Resection | None = None
  body_mm: float = float("nan")
  unit: str = ""

  @property
  def alarm(self) -> bool:
    """Something is wrong: a mistake is named, or errors are too large for a detector's noise."""
    named = self.suspect is not None or bool(self.explanations) or bool(self.unit)
    return named or bool(self.too_far.any())

  @property
  def usual_px(self) -> np.ndarray:
    """[v, v], epipolar distances up to which a detector's noise is enough to explain them."""
    least = max(_LEAST_OFF * self.size_px, _LEAST_OFF_PX)
    return np.maximum(least, _JITTERS * np.nan_to_num(self.noise))

  @property
  def too_far(self) -> np.ndarray:
    """[v, v], whether an epipolar distance is too large for a detector's noise."""
    return self.pairs > self.usual_px


def diagnose(observations: Observations, rig: Rig, *, size_mm: float | None = None) -> Diagnosis:
  """Compares what views saw with each other, as the cameras are and with each mistake undone.

  Args:
    observations: of one person (or animal, or board) a frame, px of the views' own images.
    rig: cameras by the views' names.
    size_mm: length of such a body at full stretch; it shows a wrong unit of all cameras.

  Raises:
    ValueError: a view has no camera, there are fewer than two views, or no points in common.
  """
  if len(observations.views) < 2:
    raise ValueError(f"cameras are compared with each other: one view, {observations.views}")
  recording = Recording(observations, rig.select(observations.views))
  with warnings.catch_warnings():
    # Views without points in common: their medians are NaN, which is what they should be.
    warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
    warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
    return _diagnose(recording, observations, rig, size_mm)


def _diagnose(
  recording: Recording, observations: Observations, rig: Rig, size_mm: float | None
) -> Diagnosis:
  given = recording.judge(recording.poses, recording.ideal)
  pairs = recording.pairs(recording.poses, recording.ideal)
  if np.isnan(pairs).all():
    raise ValueError(
      f"no two of the views {', '.join(recording.views)} have {LEAST_POINTS} points in common in "
      "the frames looked at: cameras cannot be compared"
    )
  before = _worst(given.left_out)
  tried = [
    *_swapped(recording, observations, rig, before),
    *_common(recording, before),
    *_single(recording, given),
  ]
  tried = sorted((x for x in tried if np.isfinite(x.after_px)), key=lambda one: one.after_px)
  suspect, named, resected = _suspect(recording.views, given), _named(tried, before), None
  if suspect is not None and (not named or named[0].mistake in _FITTED):
    view = recording.views.index(suspect)
    resected = resection.resect(given.given[view], recording.ideal[view], recording.poses[view])
    if named and (resected is None or named[0].after_px < _CLEAR * resected.error_px):
      resected = None
    else:
      named = []
  body_mm = recording.body_mm()
  return Diagnosis(
    recording.views,
    pairs,
    given.left_out,
    given.others,
    recording.size_px,
    suspect,
    tuple(named),
    recording.expected(),
    resected,
    body_mm,
    "" if size_mm is None else _unit(body_mm, size_mm),
  )


def _named(tried: list[Explanation], before: float) -> list[Explanation]:
  """The best explanations if they are good ones; several if they cannot be told apart."""
  if not tried or not tried[0].after_px < _SHARE * before:
    return []
  close = [one for one in tried if one.after_px < _CLEAR * tried[0].after_px]
  plain = [one for one in close if one.mistake not in _FITTED]
  return plain or close


def _unit(body_mm: float, size_mm: float) -> str:
  """What is wrong with the unit of length, if a body of this size measures so much."""
  ratio = body_mm / (_STRETCH * size_mm)
  if not ratio > 0 or 1 / _OTHER_UNIT < ratio < _OTHER_UNIT:
    return ""
  large = max(ratio, 1 / ratio)
  factor = min(_UNITS, key=lambda x: abs(np.log(large / x)))
  what = "small" if ratio < 1 else "large"
  return f"{large:.3g} times too {what}: translations in {_UNITS[factor]} ({factor:.4g} times)?"


def _worst(left_out: np.ndarray) -> float:
  return float(np.nanmax(left_out)) if not np.isnan(left_out).all() else float("nan")


def _suspect(views: tuple[str, ...], given: Judged) -> str | None:
  """The view without which the others agree far better than without any other."""
  if np.isnan(given.others).any():
    return None
  order = np.argsort(given.others)
  best, second = given.others[order[:2]]
  clear = second > _SUSPECT * best and given.left_out[order[0]] > _SUSPECT * best
  return views[order[0]] if clear else None


def _swapped(recording: Recording, observations: Observations, rig: Rig, before: float):
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


def _undone(recording: Recording, mistake: mistakes.Mistake, view: int):
  """A view's pose and ideal points if it has a mistake."""
  pose = recording.poses[view]
  pose = mistake.pose(*pose) if mistake.pose else pose
  points = recording.points[view, recording.frames]
  if mistake.points:
    points = mistake.points(points, *recording.sizes[view])
  elif mistake.pose and np.array_equal(pose[0], recording.poses[view][0]):
    return pose, recording.ideal[view]
  return pose, recording.undistort(view, points, pose[0])


def _common(recording: Recording, before: float):
  """A mistake that all cameras have, if undone it lowers the epipolar distances."""
  neighbours = recording.neighbours_px(recording.poses, recording.ideal)
  for mistake in (*mistakes.usual(recording.joints), *mistakes.sizes()):
    if mistake.whole:
      each = [_undone(recording, mistake, view) for view in range(len(recording.views))]
      poses, ideal = [x for x, _ in each], np.stack([x for _, x in each])
      if not recording.neighbours_px(poses, ideal) < neighbours:
        continue
      after = _worst(recording.judge(poses, ideal).left_out)
      yield Explanation(recording.views, mistake.name, mistake.text, before, after)


def _single(recording: Recording, given: Judged):
  """A mistake of one camera, judged by all: the others must agree among themselves too."""
  found = []
  for view in range(len(recording.views)):
    likely = _likeliest(recording, given, view, _sizes(recording, given, view))
    for mistake in (*mistakes.usual(recording.joints), *likely):
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


def _sizes(recording: Recording, given: Judged, view: int):
  """Other sizes of a view's image: those that fit, or with two views some usual ones."""
  if len(recording.views) == 2:
    return mistakes.sizes()
  seen = recording.points[view, recording.frames].reshape(-1, 2)
  lens = recording.rig.lenses[view]
  return tuple(estimated.of_camera(given.given[view], seen, recording.poses[view], lens))


def _likeliest(recording: Recording, given: Judged, view: int, fitted):
  """Of mistakes with numbers of their own, those that the points do not speak against.

  How a camera was turned and how its image was cropped move points much alike: medians hardly
  differ where the sum over all points leaves no doubt.
  """
  rivals = [one for one in fitted if one.name in _FITTED]
  if len(recording.views) == 2 or len(rivals) < 2:
    return fitted
  off = [_own_off(recording, given, view, *_undone(recording, one, view)) for one in rivals]
  known = np.isfinite(off).all(axis=0)
  if known.sum() < LEAST_POINTS:
    return fitted
  off = np.stack(off)[:, known]
  scale = max(float(np.median(off, axis=1).min()), 1e-6)
  cost = np.log1p((off / scale) ** 2).sum(axis=1)
  worse = {one.name for one, c in zip(rivals, cost) if c > cost.min() + _DOUBTLESS}
  return tuple(one for one in fitted if one.name not in worse)


def _own_off(recording: Recording, given: Judged, view: int, pose, ideal) -> np.ndarray:
  """Distances [n], px, of what a view saw from the points of the others, with this pose."""
  k, r, t = pose
  camera = np.concatenate([k, np.zeros((3, 1))], axis=1)
  return distances(given.given[view] @ r.T + t, camera[None], ideal[None])[0]


def _replaced(recording: Recording, view: int, pose: mistakes.Pose, points: np.ndarray):
  """Poses and ideal points of all views with those of one replaced."""
  poses, ideal = list(recording.poses), recording.ideal.copy()
  poses[view], ideal[view] = pose, points
  return poses, ideal


def _after(recording: Recording, given: Judged, view: int, pose, ideal: np.ndarray) -> float:
  """Error of a view, px, with this pose and these points, or of the others if that is larger."""
  if len(recording.views) == 2:
    return epipolar_px(*_replaced(recording, view, pose, ideal), 0, 1)
  off = _own_off(recording, given, view, pose, ideal)
  return float(np.maximum(median(off), given.others[view]))


def _best_offset(recording: Recording, given: Judged, view: int) -> tuple[float, float, np.ndarray]:
  """Least error over time offsets of a view (not 0), the offset, and the points [n·j, 2] it gives.

  What the others show in frame f the view shows in frame f + offset.
  """
  frames, most = recording.frames, offsets.MOST_OFFSET
  wanted = np.unique(frames[:, None] + np.arange(-most - 1, most + 2))
  wanted = wanted[(wanted >= 0) & (wanted < recording.points.shape[1])]
  joints = len(recording.joints)
  ideal = recording.undistort(view, recording.points[view, wanted]).reshape(-1, joints, 2)
  table = np.full((recording.points.shape[1], joints, 2), np.nan)
  table[wanted] = ideal

  def moved(offset: float) -> np.ndarray:
    return timing.sample(table, frames + offset).reshape(-1, 2)

  def error(offset: float) -> float:
    after = _after(recording, given, view, recording.poses[view], moved(offset))
    return float(np.nan_to_num(after, nan=np.inf))

  best: float = min((x for x in range(-most, most + 1) if x), key=error)
  for part in _PARTS:
    steps = (-3, -2, -1, 0, 1, 2, 3) if part == _PARTS[0] else (-1, 0, 1)
    best = min((best + i * part for i in steps if best + i * part), key=error)
  return error(best), best, moved(best)
