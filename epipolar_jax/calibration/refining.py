"""Refines a rig on the keypoints of a recording, and shows on other frames what it gained."""

import dataclasses

import numpy as np

from epipolar_jax.calibration import fitting, judging, world
from epipolar_jax.calibration.fitting import POSES, Free
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate

# A change of so many of the prior's standard deviations is none that refining is for.
_FAR = 3.0
# Frames in a block; every other block is held out. Of those, so many judge the cameras at most.
_BLOCK = 10
_MOST_JUDGED = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Refined:
  """A rig before and after, judged on frames that were not fitted.

  Attributes:
    rig: refined.
    before, after: [f, v, j], px, leave-one-out error (reprojection error with two views) of
      held-out frames; NaN where there is none.
    sigma: [v, 11], standard deviation of each camera's `bundle.PARAMETERS` given the prior, from
      the fit of all frames.
    fitted, held_out: frames; of many held-out ones, those that judge the cameras.
    far: cameras that changed by more than refining is for, three standard deviations of the prior
      (9 degrees, or 9 % of the distance from what they look at). One camera that is altogether
      wrong drags the others along.
    corners_mm: of a board, root mean square of what is wrong with distances between corners of the
      held-out frames, before and after; () without a board.
    factor: by which all lengths were multiplied, so that a known length is right.
    noise_px: standard deviation of good observations.
    moved_mm: median distance of the points from where the cameras before put them, of all frames,
      without that factor; NaN where too few are triangulated with both rigs.
  """

  rig: Rig
  before: np.ndarray
  after: np.ndarray
  sigma: np.ndarray
  fitted: np.ndarray
  held_out: np.ndarray
  far: tuple[str, ...]
  corners_mm: tuple[float, ...] = ()
  factor: float = 1.0
  noise_px: float = float("nan")
  moved_mm: float = float("nan")

  @property
  def better(self) -> bool:
    """The median error of the held-out frames fell."""
    return bool(np.nanmedian(self.after) < np.nanmedian(self.before))


def refine(
  observations: Observations,
  rig: Rig,
  free: Free = POSES,
  *,
  board: np.ndarray | None = None,
  length: tuple[str, str, float] | None = None,
  recorded: Observations | None = None,
) -> Refined:
  """Refines a rig's cameras by bundle adjustment.

  Blocks of ten frames are fitted and held out in turn; the rig that is returned is fitted to all
  frames, after the held-out ones have shown what a fit to half of them gains. Each camera is judged
  by the points that the others give, so that it is held out itself. The world is that of the rig
  given (`world.kept`); a known length then scales it about its origin.

  Args:
    observations: of one person (or animal, or board) a frame, px of the cameras' own images.
    rig: to start from, and the middle of the prior.
    free: intrinsics to refine besides the poses.
    board: [j, 3], mm, where the joints lie on a rigid board; it sets the scale.
    length: two joints and the mm between them, which set the scale.
    recorded: what the cameras as they were are judged by, where `observations` were put in step.

  Raises:
    ValueError: fewer than two blocks of frames, or too few joints that two views see.
  """
  rig = rig.select(observations.views)
  is_fitted = _is_fitted(observations)
  fitted, held_out = np.flatnonzero(is_fitted), _judging(observations, ~is_fitted)
  if not len(held_out):
    raise ValueError(
      f"refining cameras needs more than {_BLOCK} frames, so that some can be held out; got "
      f"{len(is_fitted)}"
    )
  half = fitting.fit(_frames(observations, fitted), rig, free, board=board)
  rest = _frames(observations, held_out)
  old = rest if recorded is None else _frames(recorded, held_out)
  before, after = _error(old, rig), _error(rest, half.rig)
  corners = () if board is None else (_corners(old, rig, board), _corners(rest, half.rig, board))
  whole = fitting.fit(observations, rig, free, board=board)
  refined, moved_mm = world.kept(observations, rig, whole.rig)
  factor = 1.0
  if length is not None:
    factor = world.of_length(observations, refined, length)
    refined = world.scaled(refined, factor)
  far = []
  for name in rig.names:
    turned, moved = difference(rig.select((name,)), whole.rig.select((name,)))
    limits = np.degrees(_FAR * fitting.ROTATION), _FAR * fitting.CENTRE * whole.distance
    if turned > limits[0] or moved > limits[1]:
      far.append(name)
  return Refined(
    refined,
    before,
    after,
    whole.sigma,
    fitted,
    held_out,
    tuple(far),
    corners,
    factor,
    whole.noise_px,
    moved_mm,
  )


def difference(before: Rig, after: Rig) -> tuple[float, float]:
  """By how much the first camera of a rig turned (degrees) and its centre moved (mm)."""
  turn = np.asarray(after.cameras.rotation[0]) @ np.asarray(before.cameras.rotation[0]).T
  sine = np.linalg.norm(turn - turn.T) / np.sqrt(8)
  angle = np.degrees(np.arctan2(sine, (np.trace(turn) - 1) / 2))
  moved = np.asarray(after.cameras.centre()) - np.asarray(before.cameras.centre())
  return float(angle), float(np.linalg.norm(moved))


def fitted(observations: Observations) -> Observations:
  """The frames that `refine` fits before it judges the others."""
  return _frames(observations, np.flatnonzero(_is_fitted(observations)))


def _is_fitted(observations: Observations) -> np.ndarray:
  return (np.arange(len(observations.points)) // _BLOCK) % 2 == 0


def _judging(observations: Observations, is_held_out: np.ndarray) -> np.ndarray:
  """Evenly spaced held-out frames, those that two views saw first."""
  both = observations.seen.any(axis=(1, 3)).sum(axis=1) >= 2
  frames = np.flatnonzero(is_held_out & both)
  if not len(frames):
    return np.flatnonzero(is_held_out)
  return frames[np.unique(np.linspace(0, len(frames) - 1, _MOST_JUDGED).round().astype(int))]


def _frames(observations: Observations, which: np.ndarray) -> Observations:
  return dataclasses.replace(
    observations, points=observations.points[which], score=observations.score[which]
  )


def _error(observations: Observations, rig: Rig) -> np.ndarray:
  if len(observations.views) == 2:
    return estimate.triangulate(observations, rig).reprojection_px[:, 0]
  ideal = dataclasses.replace(observations, points=rig.undistort(observations.points))
  return judging.leave_one_out(ideal, rig.cameras)


def _corners(observations: Observations, rig: Rig, board: np.ndarray) -> float:
  """Root mean square error, mm, of the distances between all corners of the triangulated boards."""
  found = estimate.triangulate(observations, rig)
  points = np.where(found.valid[:, 0, :, None], found.points[:, 0], np.nan)
  apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
  wanted = np.linalg.norm(board[:, None] - board[None], axis=-1)
  off = (apart - wanted)[:, *np.triu_indices(len(board), k=1)]
  return float(np.sqrt(np.nanmean(off**2))) if np.isfinite(off).any() else float("nan")
