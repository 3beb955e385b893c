"""Mistakes undone: what a recording would look like if cameras had one of them.

Every usual mistake is undone on every camera by itself and on all together, and cameras are judged
again.
"""

import dataclasses

import numpy as np

from epipolar_jax.calibration import estimated, late, mistakes, paired
from epipolar_jax.calibration.recording import DOUBTLESS, LEAST_POINTS, Judged, Recording, median
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import naming
from epipolar_jax.rigs.rig import Rig

# Explanations of one camera that look best by that camera's own error, and are judged on all.
_SHORTLIST = 6
# Cameras that are swapped are further off, in shares of the body's size in the image.
_LEAST_SWAPPED = 0.02
# With numbers to fit, these explain much that a plain mistake does: that comes first.
FITTED = ("cropped", "scaled and cropped", "turned")


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
    gain: of a time offset that the camera's own points leave no doubt of, its log likelihood, how
      little the error may fall: a detector's noise is worth some frames. Else 0.
  """

  cameras: tuple[str, ...]
  mistake: str
  text: str
  before_px: float
  after_px: float
  offset: float = 0.0
  gain: float = 0.0

  @property
  def fitted(self) -> bool:
    """The mistake has numbers of its own."""
    return self.mistake in (*FITTED, "scaled", "time offset")


def worst(left_out: np.ndarray) -> float:
  """The largest error of a view, px; NaN if none is known."""
  return float(np.nanmax(left_out)) if not np.isnan(left_out).all() else float("nan")


def swapped(recording: Recording, observations: Observations, rig: Rig, before: float):
  """Views that other cameras of the rig took; none if no camera is far off."""
  if before < _LEAST_SWAPPED * recording.size_px:
    return
  pairing = naming.check(observations, rig)
  if pairing is None:
    return
  order = [recording.views.index(name) for name in pairing.other]
  poses = [recording.poses[i] for i in order]
  chosen = recording.points[:, recording.frames]
  ideal = np.stack([recording.undistort(i, chosen[v]) for v, i in enumerate(order)])
  moved = tuple(v for v, c in zip(recording.views, pairing.other) if v != c)
  text = ", ".join(f"{v} taken by {c}" for v, c in zip(recording.views, pairing.other) if v != c)
  after = worst(recording.judge(poses, ideal).left_out)
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


def common(recording: Recording, before: float):
  """A mistake that all cameras have, if undone it lowers the epipolar distances."""
  neighbours = recording.neighbours_px(recording.poses, recording.ideal)
  for mistake in (*mistakes.usual(recording.joints), *mistakes.sizes()):
    if mistake.whole:
      each = [_undone(recording, mistake, view) for view in range(len(recording.views))]
      poses, ideal = [x for x, _ in each], np.stack([x for _, x in each])
      if not recording.neighbours_px(poses, ideal) < neighbours:
        continue
      after = worst(recording.judge(poses, ideal).left_out)
      yield Explanation(recording.views, mistake.name, mistake.text, before, after)


def single(recording: Recording, given: Judged):
  """A mistake of one camera, judged by all: the others must agree among themselves too."""
  found = []
  for view in range(len(recording.views)):
    likely = _likeliest(recording, given, view, _sizes(recording, given, view))
    for mistake in (*mistakes.usual(recording.joints), *likely):
      undone = _undone(recording, mistake, view)
      after = _after(recording, given, view, *undone)
      found.append((after, view, undone, (mistake.name, mistake.text)))
    own = min((x[0] for x in found if x[1] == view and np.isfinite(x[0])), default=np.inf)
    offset, ideal, gain = late.find(recording, given, view)
    when = "before" if offset > 0 else "after"
    text = f"having started {abs(offset):.2f} frames {when} the others"
    undone = recording.poses[view], ideal
    after = _after(recording, given, view, *undone)
    # What another mistake of the camera explains as well is not surely time.
    gain = gain if after < own else 0.0
    found.append((after, view, undone, ("time offset", text, offset, gain)))
  found = sorted((x for x in found if np.isfinite(x[0])), key=lambda x: x[0])
  chosen = [x for i, x in enumerate(found) if i < _SHORTLIST or any(x[3][3:])]
  for _, view, (pose, ideal), (name, text, *time) in chosen:
    after = worst(recording.judge(*replaced(recording, view, pose, ideal)).left_out)
    before = float(given.left_out[view])
    yield Explanation((recording.views[view],), name, text, before, after, *time)


def _sizes(recording: Recording, given: Judged, view: int):
  """Mistakes of a view with numbers of their own: those that fit."""
  if len(recording.views) == 2:
    return paired.of_camera(recording, view)
  seen = recording.points[view, recording.frames].reshape(-1, 2)
  lens = recording.rig.lenses[view]
  return tuple(estimated.of_camera(given.given[view], seen, recording.poses[view], lens))


def _likeliest(recording: Recording, given: Judged, view: int, fitted):
  """Of mistakes with numbers of their own, those that the points do not speak against.

  How a camera was turned and how its image was cropped move points much alike: medians hardly
  differ where the sum over all points leaves no doubt.
  """
  rivals = [one for one in fitted if one.name in FITTED]
  if len(recording.views) == 2 or len(rivals) < 2:
    return fitted
  off = [recording.off(given, view, *_undone(recording, one, view)) for one in rivals]
  known = np.isfinite(off).all(axis=0)
  if known.sum() < LEAST_POINTS:
    return fitted
  off = np.stack(off)[:, known]
  scale = max(float(np.median(off, axis=1).min()), 1e-6)
  cost = np.log1p((off / scale) ** 2).sum(axis=1)
  worse = {one.name for one, c in zip(rivals, cost) if c > cost.min() + DOUBTLESS}
  return tuple(one for one in fitted if one.name not in worse)


def replaced(recording: Recording, view: int, pose: mistakes.Pose, points: np.ndarray):
  """Poses and ideal points of all views with those of one replaced."""
  poses, ideal = list(recording.poses), recording.ideal.copy()
  poses[view], ideal[view] = pose, points
  return poses, ideal


def _after(recording: Recording, given: Judged, view: int, pose, ideal: np.ndarray) -> float:
  """Error of a view, px, with this pose and these points, or of the others if that is larger."""
  off = median(recording.off(given, view, pose, ideal))
  return float(np.fmax(off, given.others[view]) if np.isfinite(off) else off)
