"""The pose of one camera from points that the others give: can its file be mended by a new pose?"""

import dataclasses

import cv2
import numpy as np

# Points that a pose is fitted to, at least; and how far, in shares of the image's larger side, a
# point may be from it and still count.
_LEAST_POINTS, _WITHIN = 12, 0.02
_ROUNDS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Resection:
  """A camera's pose as the others see it.

  Attributes:
    rotation, translation: [3, 3], [3], w→c, mm.
    error_px: median distance, px, of the points that it was not fitted to.
    degrees, mm: by how much it differs from the pose of the file.
  """

  rotation: np.ndarray
  translation: np.ndarray
  error_px: float
  degrees: float
  mm: float


def resect(points: np.ndarray, ideal: np.ndarray, pose, side_px: float) -> Resection | None:
  """Fits a pose to the first half of the points and judges it on the second.

  Args:
    points: [n, 3], mm, from the other cameras, in the order of time; NaN where they give none.
    ideal: [n, 2], px without lens distortion; NaN where not seen.
    pose: K [3, 3], R [3, 3], t [3] of the file; K is believed.
    side_px: larger side of the image.

  Returns:
    None if there are too few points, or no pose fits them.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 7.3; OpenCV's solvePnPRansac.
  """
  k, r, t = pose
  known = np.flatnonzero(np.isfinite(points).all(axis=-1) & np.isfinite(ideal).all(axis=-1))
  if len(known) < 2 * _LEAST_POINTS:
    return None
  fitted, rest = known[: len(known) // 2], known[len(known) // 2 :]
  middle = np.median(points[known], axis=0)
  near = np.ascontiguousarray(points - middle)
  # The same points give the same pose.
  cv2.setRNGSeed(0)
  found, vector, shift, inliers = cv2.solvePnPRansac(
    near[fitted],
    np.ascontiguousarray(ideal[fitted]),
    k,
    None,
    iterationsCount=_ROUNDS,
    reprojectionError=_WITHIN * side_px,
    flags=cv2.SOLVEPNP_SQPNP,
  )
  if not found or inliers is None or len(inliers) < _LEAST_POINTS:
    return None
  inside = fitted[inliers[:, 0]]
  vector, shift = cv2.solvePnPRefineLM(near[inside], ideal[inside], k, None, vector, shift)
  rotation = cv2.Rodrigues(vector)[0]
  translation = shift[:, 0] - rotation @ middle
  x = points[rest] @ rotation.T + translation
  if not (x[:, 2] > 0).all():
    return None
  off = np.linalg.norm((x @ k.T)[:, :2] / x[:, 2:] - ideal[rest], axis=-1)
  cosine = np.clip((np.trace(rotation @ r.T) - 1) / 2, -1, 1)
  moved = np.linalg.norm(rotation.T @ translation - r.T @ t)
  return Resection(
    rotation,
    translation,
    float(np.median(off)),
    float(np.degrees(np.arccos(cosine))),
    float(moved),
  )
