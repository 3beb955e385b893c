"""One fit of a rig to keypoints, or to a board: start, prior, noise, bundle adjustment."""

import dataclasses
from typing import NamedTuple

import numpy as np

from epipolar_jax.calibration import bundle, judging, reprojection
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# Joints below this score are not fitted.
_LEAST_SCORE = 0.3
# Prior on a camera's turn, rad, and move, in shares of its distance from the middle of the points.
ROTATION, CENTRE = 0.05, 0.03
# Prior on the logarithm of the focal length, on the principal point in shares of the image, and on
# k1 and k2.
FOCAL, _PRINCIPAL, _RADIAL = 0.02, 0.02, 0.1
# The noise of good observations, in medians of the reprojection error, and its least value, px.
_NOISE, _LEAST_NOISE = 0.7, 0.1
# Fits: each takes the noise that the last one left.
_FITS = 3
# Numbers a camera that observations have beyond the unknowns of the points.
_SPARE = 24
# Corners of a board that show its pose.
_LEAST_CORNERS = 4


class Free(NamedTuple):
  """Which intrinsics are refined besides the poses; radial: the first two terms, k1 and k2."""

  focal: bool = False
  principal: bool = False
  radial: bool = False


# Poses alone.
POSES = Free()


class Fit(NamedTuple):
  """A rig after a fit.

  Attributes:
    rig: with refined cameras, and lenses if radial terms are free.
    sigma: [v, 11], standard deviations of each camera's `bundle.PARAMETERS` given the prior.
    distance: mm, median, of the cameras from the middle of the points.
    noise_px: standard deviation of good observations.
  """

  rig: Rig
  sigma: np.ndarray
  distance: float
  noise_px: float


def fit(
  observations: Observations,
  rig: Rig,
  free: Free = POSES,
  *,
  board: np.ndarray | None = None,
  loose: float = 1.0,
  focal: float = FOCAL,
) -> Fit:
  """Fits the cameras to what they saw.

  Args:
    observations: of one person (or animal, or board) a frame, px of the cameras' own images.
    rig: of the views in their order; where to start, and the middle of the prior.
    free: intrinsics to refine.
    board: [j, 3], mm, where the joints lie on a rigid board; None: each is a point by itself.
    loose: widens the prior on poses so many times.
    focal: standard deviation of the prior on the logarithm of the focal length, if it is free.

  Raises:
    ValueError: too few points that two views see, or a lens whose radial terms are not OpenCV's.
  """
  ideal = dataclasses.replace(observations, points=rig.undistort(observations.points))
  given = estimate.triangulate(ideal, rig.cameras)
  # Lenses are part of the fit only if they are refined: beyond its fold a model is no lens.
  coefficients = _coefficients(rig) if free.radial else None
  shown = observations if free.radial else ideal
  observed = np.swapaxes(shown.points[:, 0], 1, 2)
  seen = np.swapaxes(shown.score[:, 0] > _LEAST_SCORE, 1, 2) & np.isfinite(observed[..., 0])
  if board is None:
    seen &= given.valid[:, 0, :, None]
    observed, seen = (x.reshape(-1, 1, *x.shape[2:]) for x in (observed, seen))
    placed = bundle.Placed.of_points(given.points[:, 0].reshape(-1, 3))
  else:
    known, placed = _boards(given, board)
    observed, seen = observed[known], seen[known]
  useful = seen.any(axis=1).sum(axis=-1) >= 2
  observed, seen = observed[useful], seen[useful]
  placed = placed._replace(rotation=placed.rotation[useful], origin=placed.origin[useful])
  _check_enough(seen, rig, unknowns=3 if board is None else 6)
  start = Cameras(*(np.asarray(x, np.float64) for x in _arrays(rig.cameras)))
  middle = np.median(placed.points.reshape(-1, 3), axis=0)
  distance = float(np.median(np.linalg.norm(np.asarray(start.centre()) - middle, axis=-1)))
  sigmas = bundle.Sigmas(
    rotation=loose * ROTATION,
    centre=loose * CENTRE * distance,
    focal=focal * free.focal,
    principal=_PRINCIPAL * _width(rig) * free.principal,
    radial=_RADIAL * free.radial,
  )
  now, adjusted, change = rig, None, None
  for _ in range(_FITS):
    off = _expected(now, placed.points, own=free.radial) - observed
    error = np.linalg.norm(off, axis=-1)[seen]
    noise = max(_LEAST_NOISE, _NOISE * float(np.nanmedian(error)))
    adjusted = bundle.adjust(
      observed, seen, start, placed, sigmas, noise_px=noise, lenses=coefficients, change=change
    )
    placed, change = adjusted.placed, adjusted.change
    lenses_now = _lenses(rig, change[:, 9:11])
    now = dataclasses.replace(rig, cameras=adjusted.cameras, lenses=lenses_now)
  return Fit(now, adjusted.sigma, distance, noise)


def _check_enough(seen: np.ndarray, rig: Rig, *, unknowns: int) -> None:
  """Raises ValueError where points (or boards) [n, m, v] hardly say more than where they are."""
  spare = 2 * int(seen.sum()) - unknowns * len(seen)
  least = _SPARE * len(rig.names)
  if spare < least:
    raise ValueError(
      f"refining {len(rig.names)} cameras needs more that two views see with a score above "
      f"{_LEAST_SCORE}: their {seen.sum()} observations of {len(seen)} "
      f"{'joints' if unknowns == 3 else 'boards'} are worth {spare} numbers more than those have "
      f"unknowns, at least {least} are needed"
    )


def _boards(given: estimate.Estimate, board: np.ndarray) -> tuple[np.ndarray, bundle.Placed]:
  """Frames [f] in which a board's pose is known, and the poses."""
  known, turns, origins = np.zeros(len(given.points), bool), [], []
  for frame, (points, valid) in enumerate(zip(given.points[:, 0], given.valid[:, 0])):
    if valid.sum() < _LEAST_CORNERS:
      continue
    a, b = board[valid], points[valid]
    u, size, vt = np.linalg.svd((b - b.mean(axis=0)).T @ (a - a.mean(axis=0)))
    if size[1] < 1e-6 * size[0]:
      continue  # on one line
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    known[frame] = True
    turns.append(turn)
    origins.append(b.mean(axis=0) - turn @ a.mean(axis=0))
  if not turns:
    raise ValueError(f"no frame shows {_LEAST_CORNERS} corners of the board to two cameras")
  return known, bundle.Placed(np.stack(turns), np.stack(origins), board)


def _expected(rig: Rig, points: np.ndarray, *, own: bool) -> np.ndarray:
  """Points [n, m, 3] in every view [n, m, v, 2], px; `own`: with lens distortion."""
  views = []
  for view, lens in enumerate(rig.lenses):
    uv = judging.project(rig.cameras[view], points)
    views.append(lens.distort(uv, np.asarray(rig.cameras.intrinsics[view])) if own else uv)
  return np.stack(views, axis=2)


def _coefficients(rig: Rig) -> np.ndarray:
  """[v, 12] of OpenCV's lens."""
  rows = []
  for name, lens in zip(rig.names, rig.lenses):
    given = () if isinstance(lens, lenses.Pinhole) else getattr(lens, "coefficients", ())
    if not isinstance(lens, lenses.Pinhole | lenses.OpenCV) or any(
      given[reprojection.COEFFICIENTS :]
    ):
      raise ValueError(
        f"camera {name}: radial terms are refined of OpenCV's lens without a tilted sensor, not of "
        f"a {type(lens).__name__}"
      )
    rows.append([*given[: reprojection.COEFFICIENTS], *[0.0] * (bundle.COEFFICIENTS - len(given))])
  return np.array(rows)


def _lenses(rig: Rig, radial: np.ndarray) -> tuple[lenses.Lens, ...]:
  """The lenses with changes [v, 2] of k1 and k2."""
  found = []
  for lens, (k1, k2) in zip(rig.lenses, radial.tolist()):
    if k1 or k2:
      given = (0.0,) * 4 if isinstance(lens, lenses.Pinhole) else lens.coefficients
      lens = lenses.OpenCV((given[0] + k1, given[1] + k2, *given[2:]))
    found.append(lens)
  return tuple(found)


def _width(rig: Rig) -> float:
  known = [max(size) for size in rig.sizes_wh if size is not None]
  return max(known) if known else 2.0 * float(np.max(np.asarray(rig.cameras.intrinsics)[:, :2, 2]))


def _arrays(cameras: Cameras):
  return cameras.intrinsics, cameras.rotation, cameras.translation
