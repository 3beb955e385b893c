"""Refines a rig on the keypoints of a recording, and shows on other frames what it gained."""

import dataclasses

import numpy as np

from epipolar_jax.calibration import bundle, judging
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# Joints below this score are not fitted.
_LEAST_SCORE = 0.3
# Prior on a camera's turn, rad, and move, in shares of its distance from the middle of the points.
_ROTATION, _CENTRE = 0.05, 0.03
# Prior on the logarithm of the focal length, and on the principal point in shares of the image.
_FOCAL, _PRINCIPAL = 0.02, 0.02
# A change of so many of the prior's standard deviations is none that refining is for.
_FAR = 3.0
# Frames in a block; every other block is held out.
_BLOCK = 10
# The noise of good observations, in medians of the reprojection error, and its least value, px.
_NOISE, _LEAST_NOISE = 0.7, 0.3
# Fits: each takes the noise that the last one left.
_FITS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Refined:
  """A rig before and after, judged on frames that were not fitted.

  Attributes:
    rig: refined.
    before, after: [f, v, j], px, leave-one-out error (reprojection error with two views) of the
      held-out frames; NaN where there is none.
    sigma: [v, 9], standard deviation of each camera's `bundle.PARAMETERS` given the prior, from the
      fit of the frames that were not held out.
    fitted, held_out: frames.
    far: cameras that changed by more than refining is for, three standard deviations of the prior
      (9 degrees, or 9 % of the distance from what they look at). One camera that is altogether
      wrong drags the others along.
  """

  rig: Rig
  before: np.ndarray
  after: np.ndarray
  sigma: np.ndarray
  fitted: np.ndarray
  held_out: np.ndarray
  far: tuple[str, ...]

  @property
  def better(self) -> bool:
    """The median error of the held-out frames fell."""
    return bool(np.nanmedian(self.after) < np.nanmedian(self.before))


def refine(observations: Observations, rig: Rig, *, intrinsics: bool = False) -> Refined:
  """Refines the poses of a rig's cameras by bundle adjustment.

  Blocks of ten frames are fitted and held out in turn; the rig that is returned is fitted to all
  frames, after the held-out ones have shown what a fit to half of them gains.

  Args:
    observations: of one person (or animal, or board) a frame, px of the cameras' own images.
    rig: to start from; its prior keeps the whole from drifting.
    intrinsics: refines focal lengths and principal points too.

  Raises:
    ValueError: fewer than two blocks of frames, or too few joints that two views see.
  """
  rig = rig.select(observations.views)
  points = rig.undistort(observations.points[:, 0])[:, None]
  ideal = dataclasses.replace(observations, points=points)
  frames = np.arange(len(points))
  held_out = frames[(frames // _BLOCK) % 2 == 1]
  fitted = frames[(frames // _BLOCK) % 2 == 0]
  if not len(held_out):
    raise ValueError(
      f"refining cameras needs more than {_BLOCK} frames, so that some can be held out; got "
      f"{len(frames)}"
    )
  sizes = rig.sizes_wh
  half, sigma, _ = _fit(_frames(ideal, fitted), rig.cameras, sizes, intrinsics)
  rest = _frames(ideal, held_out)
  before, after = _error(rest, rig.cameras), _error(rest, half)
  cameras, _, distance = _fit(ideal, rig.cameras, sizes, intrinsics)
  refined = dataclasses.replace(rig, cameras=cameras)
  far = []
  for name in rig.names:
    turned, moved = difference(rig.select((name,)), refined.select((name,)))
    if turned > np.degrees(_FAR * _ROTATION) or moved > _FAR * _CENTRE * distance:
      far.append(name)
  return Refined(refined, before, after, sigma, fitted, held_out, tuple(far))


def difference(before: Rig, after: Rig) -> tuple[float, float]:
  """By how much the first camera of a rig turned (degrees) and its centre moved (mm)."""
  turn = np.asarray(after.cameras.rotation[0]) @ np.asarray(before.cameras.rotation[0]).T
  sine = np.linalg.norm(turn - turn.T) / np.sqrt(8)
  angle = np.degrees(np.arctan2(sine, (np.trace(turn) - 1) / 2))
  moved = np.asarray(after.cameras.centre()) - np.asarray(before.cameras.centre())
  return float(angle), float(np.linalg.norm(moved))


def _frames(observations: Observations, which: np.ndarray) -> Observations:
  return dataclasses.replace(
    observations, points=observations.points[which], score=observations.score[which]
  )


def _error(observations: Observations, cameras: Cameras) -> np.ndarray:
  if len(observations.views) == 2:
    return estimate.triangulate(observations, cameras).reprojection_px[:, 0]
  return judging.leave_one_out(observations, cameras)


def _fit(
  observations: Observations, cameras: Cameras, sizes, intrinsics: bool
) -> tuple[Cameras, np.ndarray, float]:
  """The cameras, the deviations of their parameters, and their distance from the points."""
  score = np.moveaxis(observations.score[:, 0], 1, 2)
  observed = np.moveaxis(observations.points[:, 0], 1, 2)
  given = estimate.triangulate(observations, cameras)
  seen = (score > _LEAST_SCORE) & given.valid[:, 0, :, None]
  useful = seen.sum(axis=-1) >= 2
  observed, seen, points = observed[useful], seen[useful], given.points[:, 0][useful]
  least = 12 * len(observations.views)
  if len(points) < least:
    raise ValueError(
      f"refining {len(observations.views)} cameras needs at least {least} joints that two views "
      f"see with a score above {_LEAST_SCORE}; there are {len(points)}"
    )
  middle = np.median(points, axis=0)
  distance = np.median(np.linalg.norm(np.asarray(cameras.centre()) - middle, axis=-1))
  known = [max(size) for size in sizes if size is not None]
  wide = max(known) if known else 2.0 * float(np.max(np.asarray(cameras.intrinsics)[:, :2, 2]))
  sigmas = bundle.Sigmas(
    rotation=_ROTATION,
    centre=_CENTRE * distance,
    focal=_FOCAL * intrinsics,
    principal=_PRINCIPAL * wide * intrinsics,
  )
  start = Cameras(*(np.asarray(x, np.float64) for x in _arrays(cameras)))
  now, adjusted = start, None
  for _ in range(_FITS):
    off = np.stack([judging.project(now[v], points) for v in range(len(now.rotation))], axis=1)
    error = np.linalg.norm(off - observed, axis=-1)[seen]
    noise = max(_LEAST_NOISE, _NOISE * float(np.nanmedian(error)))
    adjusted = bundle.adjust(observed, seen, start, points, sigmas, noise_px=noise)
    now, points = adjusted.cameras, adjusted.points
  return now, adjusted.sigma, float(distance)


def _arrays(cameras: Cameras):
  return cameras.intrinsics, cameras.rotation, cameras.translation
