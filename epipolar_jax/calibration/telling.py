"""A diagnosis in words, for terminal and page alike."""

import numpy as np

from epipolar_jax.calibration.diagnosis import Diagnosis
from epipolar_jax.calibration.timing import BLIND, SURE, Timing
from epipolar_jax.rigs.rig import Rig

# K of the file is wrong if a free one leaves less than this share of the error.
_LENS = 0.92
# Cameras so many frames out of step are suspicious, and named if so many.
_LATE, _LEAST_LATE = 0.5, 0.1
# An error of the calibration may be taken for a short offset where, in step, so many times what the
# keypoints' jitter makes is left; or, of an alarm, more than this share of the error.
_FAR_JITTERS, _UNEXPLAINED = 3.0, 0.5
# A new pose of a camera explains what it saw if it leaves less than this share of the error.
_EXPLAINED = 0.7


def sentences(found: Diagnosis, rig: Rig) -> list[str]:
  """What is wrong, the gravest first; empty if nothing is."""
  said = []
  for view, name in enumerate(found.views):
    if np.isnan(found.pairs[view]).all():
      said.append(f"unusual: camera {name} shares too few points with any other: not checked")
  if found.unit:
    said.append(f"FOUND: the body measures {found.body_mm:.3g} mm, {found.unit}")
  if found.suspect is not None:
    view = found.views.index(found.suspect)
    said.append(
      f"SUSPICIOUS: camera {found.suspect} is {px(found.left_out[view])} px off; the others agree "
      f"to {px(found.others[view])} px without it"
    )
  unfit = found.resected is not None and not _fits(found)
  if unfit:
    said.append(
      f"No pose and no focal length of {found.suspect} fits what it saw: look at its images. Does "
      "something hide the body from it, does it show somebody else, or another moment?"
    )
  elif found.resected is not None:
    new = found.resected
    said.append(
      f"With its pose from the points of the others (its lens as it is) {found.suspect} is "
      f"{new.error_px:.1f} px off on points not fitted: turned by {new.degrees:.1f}°, moved by "
      f"{new.mm:.0f} mm"
    )
    if new.free_error_px < _LENS * new.error_px:
      said.append(
        f"With its focal length ({new.focal:.2f} times the file's) and principal point fitted too "
        f"{found.suspect} is {new.free_error_px:.1f} px off: its K is not right either"
      )
  several = len(found.explanations) > 1
  for one in found.explanations:
    who = "all cameras are" if one.cameras == found.views else _named(one.cameras)
    said.append(
      f"{'PERHAPS' if several else 'FOUND'}: {who} {one.before_px:.1f} px off; treated as "
      f"{one.text}: {one.after_px:.1f} px"
    )
  copied = [pair for pair in rig.twins() if found.suspect in pair]
  for pair in copied:
    other = pair[1] if pair[0] == found.suspect else pair[0]
    said.append(f"FOUND: camera {found.suspect} has the pose of {other}, which is not its own")
  if found.too_far.any() and not found.explanations and not copied and not unfit:
    said.append(
      f"SUSPICIOUS: {px(np.nanmax(found.pairs))} px between two cameras that see a body of "
      f"{found.size_px:.0f} px, and none of the usual mistakes explains it; epipolar calibrate may "
      "mend the cameras on these keypoints"
    )
  return said


def step(timing: Timing, found: Diagnosis) -> tuple[list[str], bool]:
  """Which cameras are out of step in sentences, and whether one is by half a frame or more.

  Args:
    timing: as estimated with the cameras as they are.
    found: how well these agree with the keypoints: an error of theirs can look like a short offset.
  """
  said, suspicious, doubted = [], False, _doubted(timing, found)
  middle = _most(timing)
  others = timing.views[0] if len(timing.views) == 2 else "most others"
  # The first is the clock: how far it is from the others is as uncertain as they are.
  spread = (float(np.median(timing.sigma[1:])), *timing.sigma[1:])
  for view, (name, offset, sigma) in enumerate(zip(timing.views, timing.offset, spread)):
    late = offset - middle
    sure = timing.verdict(name)[0] and abs(late) > max(SURE * sigma, _LEAST_LATE)
    if not sure or (view == 0 and len(timing.views) == 2):
      continue
    head = "SUSPICIOUS" if abs(late) >= _LATE else "unusual"
    suspicious |= abs(late) >= _LATE
    way = "later" if late > 0 else "earlier"
    if doubted and abs(late) < _LATE:
      said.append(
        f"unusual: camera {name} seems to show what {others} show {abs(late):.2f} ± {sigma:.2f} "
        f"frames {way}, but {px(timing.after_px)} px between cameras are left with that. An error "
        "of the calibration can look so: refine the cameras first (epipolar calibrate --sync does, "
        "and tells whether the offset is supported then)"
      )
      continue
    gain = "" if view == 0 else f", log likelihood {timing.gain[view]:+.0f}"
    said.append(
      f"{head}: camera {name} shows what {others} show {abs(late):.2f} ± {sigma:.2f} frames {way} "
      f"(supported: {abs(late) / max(sigma, 1e-9):.0f} standard deviations{gain}): epipolar "
      "calibrate --sync puts it in step"
    )
  blind = [n for n, sigma in zip(timing.views, timing.sigma) if sigma > BLIND]
  if blind and not said:
    said.append(
      f"Whether {', '.join(blind)} is in step cannot be told: the motion is too slow beside the "
      "noise of the keypoints. Record somebody who moves"
    )
  elif not said:
    least = max(timing.sigma[1:], default=0.0)
    said.append(
      f"In step, as far as these keypoints tell: offsets are known to ± {least:.2f} frames"
    )
  return said, suspicious


def _doubted(timing: Timing, found: Diagnosis) -> bool:
  """Whether far more than the keypoints' jitter is left when offsets are taken out."""
  noise = found.noise[np.isfinite(found.noise)]
  if len(noise) and timing.after_px > _FAR_JITTERS * float(np.median(noise)):
    return True
  return found.alarm and timing.after_px > _UNEXPLAINED * timing.before_px


def _most(timing: Timing) -> float:
  """The offset that most cameras have, frames; of two, that of the first."""
  return 0.0 if len(timing.views) == 2 else float(np.median(timing.offset))


def _fits(found: Diagnosis) -> bool:
  """Whether another pose, or another K too, explains what the suspected camera saw."""
  left = min(found.resected.error_px, found.resected.free_error_px)
  return left < _EXPLAINED * found.left_out[found.views.index(found.suspect)]


def _named(cameras: tuple[str, ...]) -> str:
  return f"camera {cameras[0]} is" if len(cameras) == 1 else f"cameras {', '.join(cameras)} are"


def px(value: float) -> str:
  """A distance in px for tables; - where there is none."""
  return "-" if value != value else f"{value:.1f}"
