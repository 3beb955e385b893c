"""How well cameras and keypoints agree: each view predicted from the others."""

import dataclasses

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.triangulation import estimate


def leave_one_out(
  observations: Observations, cameras: Cameras, *, method: str = "robust"
) -> np.ndarray:
  """Distance between what a view saw and the point that the other views alone give.

  Unlike the reprojection error it does not shrink because the view itself pulled the point.

  Args:
    observations: of one person a frame and at least three views, px without lens distortion.
    cameras: [v], in the order of the views.
    method: of triangulation.

  Returns:
    [f, v, j], px; NaN where the view did not see the joint or the others give no point.

  Raises:
    ValueError: fewer than three views.
  """
  views = observations.views
  if len(views) < 3:
    raise ValueError(
      f"leaving one view out needs three views, got {', '.join(views)}: with two there is no "
      "third to compare with"
    )
  found = np.full((len(observations.points), len(views), len(observations.joints)), np.nan)
  for view in range(len(views)):
    # Not selected but unseen: one program for all views, which a fit of the rig has too.
    out = (np.arange(len(views)) == view)[:, None]
    rest = dataclasses.replace(observations, score=np.where(out, 0.0, observations.score))
    given = estimate.triangulate(rest, cameras, method)
    seen = observations.seen[:, 0, view] & given.valid[:, 0]
    off = project(cameras[view], given.points[:, 0]) - observations.points[:, 0, view]
    found[:, view] = np.where(seen, np.linalg.norm(off, axis=-1), np.nan)
  return found


def project(camera: Cameras, points: np.ndarray) -> np.ndarray:
  """Pixels [..., 2] of points [..., 3] in one camera, float64; NaN behind it."""
  k, r, t = (np.asarray(x, np.float64) for x in _arrays(camera))
  x = points @ r.T + t
  depth = np.where(x[..., 2:] > 0, x[..., 2:], np.nan)
  return x[..., :2] / depth @ k[:2, :2].T + k[:2, 2]


def _arrays(camera: Cameras):
  return camera.intrinsics, camera.rotation, camera.translation
