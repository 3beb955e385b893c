"""Bundle adjustment: cameras and points that together explain what the views saw.

Levenberg-Marquardt on a robust reprojection error. Points, or boards whose corners lie as they are
known to, are eliminated (Schur complement), so a step solves for the cameras alone. Priors on the
cameras' change hold the rig where it was: keypoints do not know where the world's origin is.

References:
  Triggs et al., Bundle Adjustment - A Modern Synthesis, 1999, sections 4 and 6; Hartley and
  Zisserman, Multiple View Geometry, 2nd ed., appendix 6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import linalg

from epipolar_jax.calibration import schur
from epipolar_jax.calibration.reprojection import COEFFICIENTS, PARAMETERS
from epipolar_jax.geometry.cameras import Cameras

# Steps at most, and the relative fall of the cost that is the last worth a step.
_STEPS, _LEAST_FALL = 100, 1e-7
# Points, or boards, in a block.
_POINTS, _BOARDS = 1024, 64
# Damping at first; it is divided by 5 after a good step and multiplied by 4 after a bad one.
_DAMPING = 1e-3


class Sigmas(NamedTuple):
  """Standard deviations of the prior on a camera's change; 0 keeps a parameter as it is.

  Attributes:
    rotation: rad.
    centre: in the unit of the translations.
    focal: of the logarithm.
    principal: px.
    radial: of k1 and k2; observations are then px of the images, with their distortion.
  """

  rotation: float
  centre: float
  focal: float = 0.0
  principal: float = 0.0
  radial: float = 0.0


class Placed(NamedTuple):
  """Points, or boards, in the world.

  Attributes:
    rotation: [n, 3, 3] of boards; identities for points.
    origin: [n, 3]; the points themselves.
    layout: [m, 3], corners on a board; [1, 3] zeros for points.
  """

  rotation: np.ndarray
  origin: np.ndarray
  layout: np.ndarray

  @staticmethod
  def of_points(points: np.ndarray) -> "Placed":
    """Free points [n, 3]."""
    points = np.asarray(points, np.float64)
    return Placed(np.broadcast_to(np.eye(3), (len(points), 3, 3)), points, np.zeros((1, 3)))

  @property
  def points(self) -> np.ndarray:
    """[n, m, 3]."""
    return np.einsum("nij,mj->nmi", self.rotation, self.layout) + self.origin[:, None]


class Adjusted(NamedTuple):
  """Cameras and points after the adjustment, float64.

  Attributes:
    cameras: [v].
    change: [v, 11], `PARAMETERS` of each camera; where another adjustment may go on.
    placed: points or boards.
    weight: [n, m, v], 0..1, of each observation in the last fit; 0 where nothing was seen.
    sigma: [v, 11], standard deviation of each camera's `PARAMETERS` given the prior; 0 where fixed.
    cost: of each accepted step, the first is that of the start.
  """

  cameras: Cameras
  change: np.ndarray
  placed: Placed
  weight: np.ndarray
  sigma: np.ndarray
  cost: tuple[float, ...]


def adjust(
  observed: np.ndarray,
  seen: np.ndarray,
  cameras: Cameras,
  placed: Placed,
  sigmas: Sigmas,
  *,
  noise_px: float,
  lenses: np.ndarray | None = None,
  change: np.ndarray | None = None,
) -> Adjusted:
  """Adjusts cameras and points, or boards.

  Args:
    observed: [n, m, v, 2], px without lens distortion, or with it if lenses are given; anything
      where not seen.
    seen: [n, m, v], bool.
    cameras: [v], the middle of the prior.
    placed: points (m = 1) or boards of m corners, where to start.
    sigmas: of the prior.
    noise_px: standard deviation of good observations; the error counts half as much at about twice
      that (a Cauchy loss).
    lenses: [v, 12], `COEFFICIENTS` of OpenCV's lens; None: none.
    change: [v, 11], where to start from; None: the cameras as they are.

  Raises:
    ValueError: no point is seen by two views, or arrays are not finite.
  """
  if lenses is None:
    lenses = np.zeros((len(cameras.rotation), COEFFICIENTS))
  if change is None:
    change = np.zeros((len(cameras.rotation), len(PARAMETERS)))
  arrays = (
    cameras.intrinsics,
    cameras.rotation,
    cameras.translation,
    *placed,
    observed[seen],
    lenses,
  )
  if not all(np.isfinite(np.asarray(x)).all() for x in arrays):
    raise ValueError("bundle adjustment: cameras, points and observations should be finite")
  useful = seen.any(axis=1).sum(axis=-1) >= 2
  if not useful.any():
    raise ValueError("bundle adjustment: no point is seen by two views")
  with jax.enable_x64(True):
    return _adjust(
      observed, seen & useful[:, None, None], cameras, placed, sigmas, noise_px, lenses, change
    )


def _adjust(observed, seen, cameras, placed, sigmas, noise_px, lenses, change) -> Adjusted:
  by_name = sigmas._asdict()
  every = np.array([by_name[name] for name in PARAMETERS])
  # Parameters behind the last that is free cost nothing.
  sigma = every[: int(np.flatnonzero(every).max(initial=0)) + 1]
  start = Cameras(*(_double(x) for x in jax.tree.leaves(cameras)))
  setting = schur.Setting(
    start, _double(lenses), _double(placed.layout), jnp.asarray(sigma), jnp.float64(noise_px)
  )
  fit = _Fit(_blocks(observed, seen, placed), setting, np.array(change[:, : len(sigma)]))
  fit.run()
  weight, spread = fit.finish()
  full = [(0, 0), (0, len(PARAMETERS) - len(sigma))]
  moved = schur.moved(start, jnp.asarray(fit.change))
  number = len(placed.origin)
  turn, origin = (
    np.concatenate([getattr(block, name) for block in fit.blocks])[:number]
    for name in ("turn", "origin")
  )
  return Adjusted(
    Cameras(*(np.asarray(x) for x in jax.tree.leaves(moved))),
    np.pad(fit.change, full),
    Placed(turn, origin, np.asarray(placed.layout)),
    weight[:number],
    np.pad(spread, full),
    tuple(fit.costs),
  )


def _blocks(observed: np.ndarray, seen: np.ndarray, placed: Placed) -> list[schur.Block]:
  """Points, or boards, in blocks of one size, the last filled up with what nobody saw."""
  size = _POINTS if len(placed.layout) == 1 else _BOARDS
  fill = -len(placed.origin) % size
  arrays = placed.rotation, placed.origin, np.where(seen[..., None], observed, 0.0), seen
  padded = [np.pad(x, [(0, fill), *[(0, 0)] * (x.ndim - 1)]) for x in arrays]
  return [
    schur.Block(*(_double(x[first : first + size]) for x in padded))
    for first in range(0, len(padded[0]), size)
  ]


def _double(x) -> jax.Array:
  return jnp.asarray(np.asarray(x, np.float64))


class _Fit:
  """Levenberg-Marquardt: blocks of points, changes of cameras [v, a], the cost of each step."""

  def __init__(self, blocks: list[schur.Block], setting: schur.Setting, change: np.ndarray):
    self.blocks, self.change = blocks, change
    self._setting, self._sigma = setting, np.asarray(setting.sigma)
    self.costs = [self._cost(blocks, change)]

  def _prior(self, change: np.ndarray) -> np.ndarray:
    """Changes in standard deviations of the prior, 0 for what is fixed."""
    return np.divide(change, self._sigma, out=np.zeros_like(change), where=self._sigma > 0)

  def _cost(self, blocks: list[schur.Block], change: np.ndarray) -> float:
    costs = [schur.cost(change, block, self._setting) for block in blocks]
    return float(sum(map(float, costs)) + 0.5 * np.sum(self._prior(change) ** 2))

  def _normal(self) -> list[schur.Normal]:
    return [schur.normal(self.change, block, self._setting) for block in self.blocks]

  def _matrix(self, equations: list[schur.Normal], damping: float):
    """The cameras' matrix and right side, points eliminated, and the points' inverses."""
    a = self.change.shape[1]
    cc = sum(np.asarray(block.cc) for block in equations) + np.eye(a)
    cc = cc + damping * np.einsum("vaa->va", cc)[..., None] * np.eye(a)
    matrix = linalg.block_diag(*cc)
    right = sum(np.asarray(block.c) for block in equations) + self._prior(self.change)
    right = right.reshape(-1)
    parts = [schur.eliminated(block, damping) for block in equations]
    for _, from_matrix, from_right in parts:
      matrix = matrix - np.asarray(from_matrix)
      right = right - np.asarray(from_right)
    return matrix, right, [inverse for inverse, _, _ in parts]

  def run(self) -> None:
    """Steps until the cost hardly falls."""
    damping, equations = _DAMPING, None
    for _ in range(_STEPS):
      if equations is None:
        equations = self._normal()
      matrix, right, inverses = self._matrix(equations, damping)
      by_camera = -np.linalg.solve(matrix, right).reshape(self.change.shape)
      moved = [
        block._replace(**dict(zip(("turn", "origin"), schur.stepped(by_camera, block, *rest))))
        for block, *rest in zip(self.blocks, equations, inverses)
      ]
      change = self.change + by_camera * self._sigma
      cost = self._cost(moved, change)
      if np.isfinite(cost) and cost < self.costs[-1]:
        self.blocks, self.change = moved, change
        equations, damping = None, max(damping / 5, 1e-12)
        self.costs.append(cost)
        if self.costs[-2] - cost < _LEAST_FALL * cost:
          break
      elif damping > 1e8:
        break
      else:
        damping *= 4

  def finish(self) -> tuple[np.ndarray, np.ndarray]:
    """Weights [n, m, v] of observations, and standard deviations [v, a] of the changes."""
    equations = self._normal()
    inverse = np.linalg.inv(self._matrix(equations, 0.0)[0])
    spread = np.sqrt(np.maximum(np.diag(inverse), 0.0)).reshape(self.change.shape)
    return np.concatenate([block.weight for block in equations]), spread * self._sigma
