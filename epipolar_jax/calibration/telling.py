"""A diagnosis in words, for terminal and page alike."""

import numpy as np

from epipolar_jax.calibration.diagnosis import Diagnosis
from epipolar_jax.rigs.rig import Rig

# K of the file is wrong if a free one leaves less than this share of the error.
_LENS = 0.92
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


def _fits(found: Diagnosis) -> bool:
  """Whether another pose, or another K too, explains what the suspected camera saw."""
  left = min(found.resected.error_px, found.resected.free_error_px)
  return left < _EXPLAINED * found.left_out[found.views.index(found.suspect)]


def _named(cameras: tuple[str, ...]) -> str:
  return f"camera {cameras[0]} is" if len(cameras) == 1 else f"cameras {', '.join(cameras)} are"


def px(value: float) -> str:
  """A distance in px for tables; - where there is none."""
  return "-" if value != value else f"{value:.1f}"
