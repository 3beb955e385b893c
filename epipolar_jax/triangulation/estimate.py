"""`triangulate`: observed 2D points to 3D with their uncertainty, on the host's side of things."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import methods
from epipolar_jax.triangulation.views import Views

# Frames worked on at a time; fewer are padded to a power of two, so that few programs are compiled.
_FEWEST_FRAMES, _MOST_FRAMES = 32, 1024
# Least standard deviation of a detection, px: agreement of few views by chance is no precision.
_LEAST_SIGMA_PX = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
  """Triangulated joints with all that is known of their quality; float64, on the host.

  Attributes:
    points: [f, p, j, 3], world, mm; zeros where not valid.
    valid: [f, p, j], bool: the method found a point; for `robust`, two views have it in front of
      them.
    covariance: [f, p, j, 3, 3], mm²: of Gaussian noise in the views that agree, whose size is that
      of the frame's own reprojection errors; zeros where not valid.
    inlier: [f, p, v, j], 0..1, how much each view agrees.
    reprojection_px: [f, p, v, j], distance between the observed and the projected point; NaN where
      the view did not see the joint or the point is not valid.
    joints: j names.
    views: v names.
    filled: [f, p, j], bool: nothing was triangulated, and smoothing over time filled the gap; None:
      not smoothed.
  """

  points: np.ndarray
  valid: np.ndarray
  covariance: np.ndarray
  inlier: np.ndarray
  reprojection_px: np.ndarray
  joints: tuple[str, ...]
  views: tuple[str, ...]
  filled: np.ndarray | None = None


def triangulate(
  observations: Observations, cameras: Cameras | Rig, method: str = "robust", **options
) -> Estimate:
  """Triangulates what v views observed of people (or animals), each by itself.

  World coordinates may lie far from the origin: the cameras are centred in float64 first.

  Args:
    observations: of one person, or of several that are matched across the views.
    cameras: a rig, whose cameras are matched with the views by name and whose lenses are corrected
      here; or v cameras in the order of the views, of undistorted points.
    method: a name in `triangulation.METHODS` that needs positions alone: robust (the default), dlt,
      dlt_unweighted, pymvg, naive or refine.
    **options: fields of `methods.Options`: `tolerance_px` of robust; `threshold_mm` of naive and
      refine, whose default suits people.

  Returns:
    The estimate, with the views in the order of the observations.

  Raises:
    ValueError: fewer than two views, views without a camera, people who are not matched, cameras
      that are not finite, or a method that does not exist or needs more than positions. The message
      names the view and says what to do.
  """
  people = observations.score.shape[1]
  if people != 1 and not observations.matched:
    raise ValueError(
      f"observations of {people} people: match them across the views first (matching.people)"
    )
  points, pinholes = _pinhole(observations, cameras)
  check_method(method)
  # A person in a frame is a row: nothing that follows looks across rows.
  score = observations.score.reshape(-1, *observations.score.shape[2:])
  score = np.where(np.isfinite(points).all(-1), score, 0.0)
  centre = np.asarray(_centres(pinholes)).mean(axis=0)
  near = _moved(pinholes, centre)
  locate = methods.make(method, **options)
  parts = [
    _part(locate, points[start : start + _MOST_FRAMES], score[start : start + _MOST_FRAMES], near)
    for start in range(0, max(len(points), 1), _MOST_FRAMES)
  ]
  found, valid, inlier, covariance, reprojection = (np.concatenate(x) for x in zip(*parts))

  def by_person(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(*observations.score.shape[:2], *rows.shape[1:])

  return Estimate(
    points=by_person(np.where(valid[..., None], found + centre, 0.0)),
    valid=by_person(valid),
    covariance=by_person(covariance),
    inlier=by_person(inlier),
    reprojection_px=by_person(reprojection),
    joints=observations.joints,
    views=observations.views,
  )


def check_method(method: str) -> None:
  """Raises ValueError if there is no such method, or it needs more than 2D points."""
  if method not in methods.METHODS:
    raise ValueError(f"no method {method!r}; there are {', '.join(sorted(methods.METHODS))}")
  kind = methods.METHODS[method]
  if kind.needs_match or kind.needs_heatmaps:
    raise ValueError(f"{method} needs more than 2D points: use robust, dlt, pymvg, naive or refine")


def _pinhole(observations: Observations, cameras: Cameras | Rig) -> tuple[np.ndarray, Cameras]:
  """Undistorted points [f p, v, j, 2] and their cameras [v], float64."""
  views = observations.views
  points = observations.points.reshape(-1, *observations.points.shape[2:])
  if isinstance(cameras, Rig):
    missing = [name for name in views if name not in cameras.names]
    if missing:
      raise ValueError(
        f"no camera for the view {', '.join(missing)}: the rig has {', '.join(cameras.names)}; "
        "rename the one or the other, or leave the view out (observations.select)"
      )
    rig = cameras.select(views)
    points, cameras = rig.undistort(points), rig.cameras
  if cameras.shape != (len(views),):
    raise ValueError(
      f"{len(views)} views ({', '.join(views)}) need cameras [{len(views)}], got {cameras.shape}"
    )
  if len(views) < 2:
    raise ValueError(f"triangulation needs at least 2 views, got {', '.join(views) or 'none'}")
  arrays = [np.asarray(x, np.float64) for x in _arrays(cameras)]
  for name, array in zip(("intrinsics", "rotation", "translation"), arrays):
    for view, values in zip(views, array):
      if not np.isfinite(values).all():
        raise ValueError(f"camera {view}: {name} is not finite: {values.tolist()}")
  return points, Cameras(*arrays)


def _arrays(cameras: Cameras):
  return cameras.intrinsics, cameras.rotation, cameras.translation


def _centres(cameras: Cameras) -> np.ndarray:
  return -np.einsum("vij,vi->vj", cameras.rotation, cameras.translation)


def _moved(cameras: Cameras, origin: np.ndarray) -> Cameras:
  """The cameras in a world whose origin is at a point [3] of theirs."""
  translation = cameras.translation + np.einsum("vij,j->vi", cameras.rotation, origin)
  return dataclasses.replace(cameras, translation=translation)


def _part(locate, points, score, cameras) -> tuple[np.ndarray, ...]:
  """Points, valid, inlier, covariance and reprojection errors of up to `_MOST_FRAMES` frames."""
  found, valid, inlier = _locate(locate, points, score, cameras)
  off, jacobian = _residuals(found, points, cameras)
  seen = valid[:, None] & (score > 0)
  covariance = _covariance(off, jacobian, np.where(seen, inlier, 0.0), valid)
  return found, valid, inlier, covariance, np.where(seen, np.linalg.norm(off, axis=-1), np.nan)


def _locate(locate, points, score, cameras) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Points [f, j, 3], valid [f, j] and inlier [f, v, j] of up to `_MOST_FRAMES` frames."""
  number = len(points)
  size = max(_FEWEST_FRAMES, 1 << (number - 1).bit_length())
  pad = [(0, size - number)] + [(0, 0)] * 3
  filled = np.pad(np.where(score[..., None] > 0, points, 0.0), pad).astype(np.float32)
  weight = np.pad(score, pad[:3]).astype(np.float32)
  each = Cameras(*(jnp.broadcast_to(jnp.float32(x), (size, *x.shape)) for x in _arrays(cameras)))
  found = locate(Views(filled, weight, each))
  arrays = (found.points, found.valid, found.inlier)
  points, valid, inlier = (np.asarray(x)[:number] for x in arrays)
  return points.astype(np.float64), valid, inlier.astype(np.float64)


def _residuals(
  found: np.ndarray, points: np.ndarray, cameras: Cameras
) -> tuple[np.ndarray, np.ndarray]:
  """Projected minus observed [f, v, j, 2] px, and the Jacobian [f, v, j, 2, 3] px/mm of it."""
  k, r, t = _arrays(cameras)
  x = np.einsum("vab,fjb->fvja", r, found) + t[:, None]
  depth = np.where(np.abs(x[..., 2:]) > 1e-9, x[..., 2:], 1.0)
  xy = x[..., :2] / depth
  linear = k[:, :2, :2]
  off = np.einsum("vab,fvjb->fvja", linear, xy) + k[:, None, :2, 2] - points
  slope = (r[:, None, :2] - xy[..., None] * r[:, None, 2:]) / depth[..., None]
  return off, np.einsum("vab,fvjbc->fvjac", linear, slope)


def _covariance(
  off: np.ndarray, jacobian: np.ndarray, weight: np.ndarray, valid: np.ndarray
) -> np.ndarray:
  """σ² (Σ w JᵀJ)⁻¹ [f, j, 3, 3], σ² the frame's own mean squared residual a degree of freedom."""
  square = np.sum(np.where(weight > 0, np.sum(off * off, axis=-1) * weight, 0.0), axis=(1, 2))
  freedom = np.sum(2.0 * weight, axis=(1, 2)) - 3.0 * valid.sum(axis=1)
  variance = np.maximum(square / np.maximum(freedom, 1.0), _LEAST_SIGMA_PX**2)
  normal = np.einsum("fvj,fvjab,fvjac->fjbc", weight, jacobian, jacobian)
  # Rays that hardly cross leave a direction open: bounded, so that the inverse is finite.
  trace = np.trace(normal, axis1=-2, axis2=-1)[..., None, None]
  normal = np.where(valid[..., None, None], normal + 1e-12 * trace * np.eye(3), np.eye(3))
  covariance = variance[:, None, None, None] * np.linalg.inv(normal)
  return np.where(valid[..., None, None], covariance, 0.0)
