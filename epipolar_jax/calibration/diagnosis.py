"""Which camera of a rig is wrong, and what is wrong with it, from the keypoints of a recording.

Every usual mistake is undone on every camera by itself and on all together. With three views or
more, a camera is judged by how far what it saw is from where the points of the other cameras
project; with two, by epipolar distance.
"""

import dataclasses
import warnings

import numpy as np

from epipolar_jax.calibration import explaining, resection
from epipolar_jax.calibration.explaining import Explanation
from epipolar_jax.calibration.recording import LEAST_POINTS, Judged, Recording
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig

# A mistake is named if undoing it leaves less than this share of the error, and the next best
# explanation leaves this many times more. What has numbers of its own also absorbs what is wrong
# with the camera besides: a mistake without any is named if it leaves so many times more at most.
_SHARE, _CLEAR, _PLAIN = 0.5, 1.3, 1.5
# What is left is not above this share of the body's size in the image: else it explains nothing.
_LEFT = 0.06
# Time offsets that leave more than that, and are sure, gain this share of the best's likelihood.
_CLEAR_TIME = 0.7
# Epipolar distances are a detector's if they are below this share of a person's size in the image,
# so many px, or so many times what the jitter of the keypoints makes.
_LEAST_OFF, _LEAST_OFF_PX, _JITTERS = 0.02, 4.0, 1.5
# A camera is suspected if without it the others agree this many times better.
_SUSPECT = 2.0
# Units that are mixed up, mm; a body that is so many times its size, or 1 / so many, is of another.
_UNITS = {10.0: "cm for mm", 25.4: "inches for mm", 1000 / 25.4: "m for inches"}
_UNITS |= {100.0: "m for cm", 1000.0: "m for mm"}
_OTHER_UNIT = 3.0
# What a body measures, in shares of its size at full stretch.
_STRETCH = 0.8


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
  """How well cameras and keypoints agree, and what would make them.

  Attributes:
    views: v names.
    pairs: [v, v], median epipolar distance, px; NaN on the diagonal and without common points.
    left_out: [v], median distance, px, between what a view saw and where the points of the others
      project; with two views their epipolar distance; NaN without common points.
    others: [v], the same of the worst of the other views without this one; NaN with two views.
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
  before = explaining.worst(given.left_out)
  tried = [
    *explaining.swapped(recording, observations, rig, before),
    *explaining.common(recording, before),
    *explaining.single(recording, given),
  ]
  most = _LEFT * recording.size_px
  tried = sorted((x for x in tried if x.after_px < most), key=lambda one: one.after_px)
  suspect, named, resected = _suspect(recording.views, given), _named(tried, before), None
  if suspect is not None and (not named or named[0].mistake in explaining.FITTED):
    view = recording.views.index(suspect)
    resected = resection.resect(given.given[view], recording.ideal[view], recording.poses[view])
    if named and (
      resected is None or named[0].after_px < _CLEAR * _with(recording, view, resected)
    ):
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


def _with(recording: Recording, view: int, new: resection.Resection) -> float:
  """Error of the worst camera, px, if a view had a new pose."""
  pose = recording.poses[view][0], new.rotation, new.translation
  judged = recording.judge(*explaining.replaced(recording, view, pose, recording.ideal[view]))
  return explaining.worst(judged.left_out)


def _named(tried: list[Explanation], before: float) -> list[Explanation]:
  """The best explanations if they are good ones; several if they cannot be told apart."""
  if not tried:
    return []
  best = tried[0]
  if best.after_px < _SHARE * before:
    close = [one for one in tried if one.after_px < _CLEAR * best.after_px]
    plain = [one for one in close if one.mistake not in explaining.FITTED]
    near = [one for one in tried if one.after_px < _PLAIN * best.after_px and not one.fitted]
    return plain or near or close
  late = [one for one in tried if one.gain > 0 and one.after_px < before]
  return [one for one in late if one.gain > _CLEAR_TIME * max(x.gain for x in late)]


def _unit(body_mm: float, size_mm: float) -> str:
  """What is wrong with the unit of length, if a body of this size measures so much."""
  ratio = body_mm / (_STRETCH * size_mm)
  if not ratio > 0 or 1 / _OTHER_UNIT < ratio < _OTHER_UNIT:
    return ""
  large = max(ratio, 1 / ratio)
  factor = min(_UNITS, key=lambda x: abs(np.log(large / x)))
  what = "small" if ratio < 1 else "large"
  return f"{large:.3g} times too {what}: translations in {_UNITS[factor]} ({factor:.4g} times)?"


def _suspect(views: tuple[str, ...], given: Judged) -> str | None:
  """The view without which the others agree far better than without any other."""
  if np.isnan(given.others).any():
    return None
  order = np.argsort(given.others)
  best, second = given.others[order[:2]]
  clear = second > _SUSPECT * best and given.left_out[order[0]] > _SUSPECT * best
  return views[order[0]] if clear else None
