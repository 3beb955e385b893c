"""Do the cameras of a frame agree with each other and with their 2D labels?"""

import cv2
import numpy as np

from data import faults, plausibility
from data.h36m import annotations

# Labels are exact to a fraction of these; a wrong calibration is off by tens or thousands.
_REPROJECTION_TOLERANCE_PX = 5.0
_WORLD_TOLERANCE_MM = 20.0


def check(views: tuple[annotations.View, ...]) -> None:
  """Checks the calibration of a frame by its labels.

  Each camera's lens must send its joints_3d_camera to its joints_2d, and all cameras must put the
  joints in the same place of the world. Medians over joints: one bad label is not a bad camera.

  Args:
    views: of one frame.

  Raises:
    faults.BadRecord: names the camera, how far it is off, and the mistake if it is known.
  """
  for view in views:
    if doubt := plausibility.wrong_unit(view.joints_camera[None]):
      raise faults.BadRecord("wrong unit", f"{view.where}: joints_3d_camera: {doubt}")
    error = reprojection_error(view)
    if not error <= _REPROJECTION_TOLERANCE_PX:
      raise faults.BadRecord(
        "bad camera",
        f"{view.where}: camera {view.camera} sends joints_3d_camera {error:.1f} px beside "
        "joints_2d (median): wrong fx fy cx cy k p, or joints in another unit than mm",
      )
  worlds = np.stack([view.joints_world for view in views])
  errors = _disagreement(worlds)
  bad = [i for i, error in enumerate(errors) if not error <= _WORLD_TOLERANCE_MM]
  if not bad:
    return
  worst = views[int(np.argmax(errors))]
  # Were T a translation, x_c = R x_w + T, the joints would be here.
  supposed = worlds.copy()
  for i in bad:
    supposed[i] = (views[i].joints_camera - views[i].center) @ views[i].rotation
  hint = "R or T is wrong"
  if _disagreement(supposed).max() <= _WORLD_TOLERANCE_MM:
    hint = "T fits as a translation (x_c = R x + T); it must be the camera's centre, -R' T"
  names = ", ".join(str(views[i].camera) for i in bad)
  raise faults.BadRecord(
    "bad camera",
    f"{worst.where}: camera {names} puts the joints up to {errors.max():.0f} mm away from where "
    f"the others see them in the world: {hint}",
  )


def reprojection_error(view: annotations.View) -> float:
  """Median distance in px between a view's 2D labels and its projected 3D labels; 0 without any."""
  if not view.labelled.any():
    return 0.0
  points, _ = cv2.projectPoints(
    view.joints_camera[:, None], np.zeros(3), np.zeros(3), view.intrinsics, view.distortion
  )
  distance = np.linalg.norm(points[:, 0] - view.joints_2d, axis=-1)
  return float(np.median(distance[view.labelled]))


def _disagreement(worlds: np.ndarray) -> np.ndarray:
  """[v] mm: how far each view's joints [v, j, 3] are from the median of the other views'."""
  errors = []
  for i, world in enumerate(worlds):
    others = np.median(np.delete(worlds, i, 0), axis=0)
    errors.append(np.median(np.linalg.norm(world - others, axis=-1)))
  return np.array(errors)
