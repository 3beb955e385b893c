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

from epipolar_jax.geometry.cameras import Cameras

# What a camera's change consists of: rotation vector (rad), centre, log focal length, principal
# point (px), k1 and k2.
PARAMETERS = ("rotation",) * 3 + ("centre",) * 3 + ("focal",) + ("principal",) * 2 + ("radial",) * 2
# OpenCV's lens without tilt: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4.
COEFFICIENTS = 12
# Steps at most, and the relative fall of the cost that is the last worth a step.
_STEPS, _LEAST_FALL = 100, 1e-7
# Points are padded to a power of two, this at least, so that few programs are compiled; boards
# likewise.
_FEWEST, _FEWEST_BOARDS = 1024, 64
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
  number = len(placed.origin)
  fewest = _FEWEST if len(placed.layout) == 1 else _FEWEST_BOARDS
  pad = [(0, max(fewest, 1 << (number - 1).bit_length()) - number)]
  seen = np.pad(seen, pad + [(0, 0)] * 2)
  observed = np.pad(np.where(seen[:number, ..., None], observed, 0.0), pad + [(0, 0)] * 3)
  turn = np.pad(placed.rotation, pad + [(0, 0)] * 2)
  origin = np.pad(placed.origin, [*pad, (0, 0)])
  by_name = sigmas._asdict()
  every = np.array([by_name[name] for name in PARAMETERS])
  # Parameters behind the last that is free cost nothing.
  sigma = jnp.asarray(every[: int(np.flatnonzero(every).max(initial=0)) + 1])
  start = Cameras(*(_double(x) for x in jax.tree.leaves(cameras)))
  data = (
    _double(observed),
    _double(seen),
    start,
    _double(lenses),
    _double(placed.layout),
    sigma,
    jnp.float64(noise_px),
  )
  change = _double(change[:, : len(sigma)])
  state = change, _double(turn), _double(origin)
  costs, damping, blocks = [float(_cost(*state, *data))], _DAMPING, None
  for _ in range(_STEPS):
    if blocks is None:
      blocks = _normal(*state, *data)
    by_camera, step, _ = _solve(*blocks[1:], damping)
    tried = state[0] + by_camera * sigma[None], *_stepped(*state[1:], step)
    cost = float(_cost(*tried, *data))
    if np.isfinite(cost) and cost < costs[-1]:
      state, blocks, damping = tried, None, max(damping / 5, 1e-12)
      costs.append(cost)
      if costs[-2] - cost < _LEAST_FALL * cost:
        break
    elif damping > 1e8:
      break
    else:
      damping *= 4
  blocks = _normal(*state, *data)
  inverse = np.linalg.inv(_solve(*blocks[1:], 0.0)[2])
  spread = np.sqrt(np.maximum(np.diag(inverse), 0.0)).reshape(change.shape) * np.asarray(sigma)
  full = [(0, 0), (0, len(PARAMETERS) - len(sigma))]
  changed = np.pad(np.asarray(state[0]), full)
  cameras = jax.vmap(_moved)(start, jnp.asarray(changed))
  return Adjusted(
    Cameras(*(np.asarray(x) for x in jax.tree.leaves(cameras))),
    changed,
    Placed(*(np.asarray(x)[:number] for x in state[1:]), np.asarray(placed.layout)),
    np.asarray(blocks[0])[:number],
    np.pad(spread, full),
    tuple(costs),
  )


def _double(x) -> jax.Array:
  return jnp.asarray(np.asarray(x, np.float64))


@jax.jit
def _stepped(turn, origin, step):
  """Boards, or points, after steps [n, 6] or [n, 3]."""
  if step.shape[-1] == 3:
    return turn, origin + step
  return jax.vmap(_rotation)(step[:, :3]) @ turn, origin + step[:, 3:]


def _moved(camera: Cameras, change: jax.Array) -> Cameras:
  """One camera after its change [6 or more]."""
  rotation = _rotation(change[:3]) @ camera.rotation
  centre = -camera.rotation.T @ camera.translation + change[3:6]
  intrinsics = camera.intrinsics
  if len(change) > 6:
    intrinsics = intrinsics.at[:2, :2].multiply(jnp.exp(change[6]))
  if len(change) > 7:
    intrinsics = intrinsics.at[:2, 2].add(change[7:9])
  return Cameras(intrinsics, rotation, -rotation @ centre)


def _rotation(vector: jax.Array) -> jax.Array:
  """Rodrigues' formula [3] to [3, 3], smooth at 0."""
  square = jnp.sum(vector * vector)
  small = square < 1e-8
  angle = jnp.sqrt(jnp.where(small, 1.0, square))
  first = jnp.where(small, 1.0 - square / 6.0, jnp.sin(angle) / angle)
  second = jnp.where(small, 0.5 - square / 24.0, (1.0 - jnp.cos(angle)) / (angle * angle))
  x, y, z = vector
  zero = jnp.zeros_like(x)
  cross = jnp.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]])
  return jnp.eye(3) + first * cross + second * cross @ cross


def _residual(change, step, camera: Cameras, lens, turn, origin, corner, observed) -> jax.Array:
  """Projected minus observed [2], px, of one corner of one board (or one point) in one view."""
  camera = _moved(camera, change)
  if len(step) == 3:
    point = origin + step
  else:
    point = _rotation(step[:3]) @ turn @ corner + origin + step[3:]
  x = camera.rotation @ point + camera.translation
  xy = x[:2] / jnp.where(jnp.abs(x[2]) > 1e-9, x[2], 1e-9)
  if len(change) > 9:
    lens = lens.at[:2].add(change[9:11])
  xy = _distorted(xy, lens)
  return camera.intrinsics[:2, :2] @ xy + camera.intrinsics[:2, 2] - observed


def _distorted(xy: jax.Array, lens: jax.Array) -> jax.Array:
  """OpenCV's lens [12] on a normalised point [2], as `rigs.lenses.OpenCV` has it."""
  k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = lens
  x, y = xy
  s = x * x + y * y
  g = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))
  return jnp.array(
    [
      x * g + 2 * p1 * x * y + p2 * (s + 2 * x * x) + s * (s1 + s * s2),
      y * g + p1 * (s + 2 * y * y) + 2 * p2 * x * y + s * (s3 + s * s4),
    ]
  )


def _each(function):
  """Over boards [n], corners [m] and views [v] of `_residual`'s arguments."""
  over_views = jax.vmap(function, in_axes=(0, None, 0, 0, None, None, None, 0))
  over_corners = jax.vmap(over_views, in_axes=(None,) * 6 + (0, 0))
  return jax.vmap(over_corners, in_axes=(None, 0, None, None, 0, 0, None, 0))


def _scale(sigma: jax.Array) -> jax.Array:
  """1 / sigma, 0 for what is fixed."""
  return jnp.where(sigma > 0, 1.0 / jnp.where(sigma > 0, sigma, 1.0), 0.0)


def _still(origin: jax.Array, layout: jax.Array) -> jax.Array:
  """No step of points [n, 3], or of boards [n, 6]: a rotation vector and a move."""
  return jnp.zeros((len(origin), 3 if len(layout) == 1 else 6))


@jax.jit
def _cost(change, turn, origin, observed, seen, cameras, lenses, layout, sigma, noise):
  still = _still(origin, layout)
  off = _each(_residual)(change, still, cameras, lenses, turn, origin, layout, observed)
  loss = 2.0 * jnp.log1p(jnp.sum((off / (2.0 * noise)) ** 2, axis=-1))
  prior = change * _scale(sigma)[None]
  return jnp.sum(seen * loss) + 0.5 * jnp.sum(prior * prior)


@jax.jit
def _normal(change, turn, origin, observed, seen, cameras, lenses, layout, sigma, noise):
  """Gauss-Newton's blocks, in units of the noise and of the prior's sigmas."""
  still = _still(origin, layout)
  inputs = change, still, cameras, lenses, turn, origin, layout, observed
  off = _each(_residual)(*inputs)
  by_camera, by_point = _each(jax.jacfwd(_residual, argnums=(0, 1)))(*inputs)
  by_camera = by_camera * sigma[None, None, None, None]
  square = jnp.sum(off * off, axis=-1) / (2.0 * noise) ** 2
  weight = seen / (1.0 + square)
  scaled = weight / noise**2
  cc = jnp.einsum("nmv,nmvia,nmvib->vab", scaled, by_camera, by_camera)
  cp = jnp.einsum("nmv,nmvia,nmvib->nvab", scaled, by_camera, by_point)
  pp = jnp.einsum("nmv,nmvia,nmvib->nab", scaled, by_point, by_point)
  c = jnp.einsum("nmv,nmvia,nmvi->va", scaled, by_camera, off) + change * _scale(sigma)[None]
  p = jnp.einsum("nmv,nmvia,nmvi->na", scaled, by_point, off)
  return weight, cc + jnp.eye(len(sigma))[None], cp, pp, c, p


@jax.jit
def _solve(cc, cp, pp, c, p, damping):
  """A damped step of cameras [v, a] and of points or boards [n, b], and the cameras' own matrix."""
  n, v, a, b = cp.shape
  cc = cc + damping * jnp.einsum("vaa->va", cc)[..., None] * jnp.eye(a)[None]
  diagonal = jnp.einsum("naa->na", pp)
  least = 1e-12 * jnp.max(diagonal) + 1e-12
  inverse = jnp.linalg.inv(pp + (damping * diagonal + least)[..., None] * jnp.eye(b)[None])
  flat = cp.reshape(n, v * a, b)
  half = flat @ inverse
  matrix = jax.scipy.linalg.block_diag(*cc) - jnp.einsum("nac,nbc->ab", half, flat)
  right = c.reshape(-1) - jnp.einsum("nac,nc->a", half, p)
  by_camera = -jnp.linalg.solve(matrix, right).reshape(v, a)
  step = -jnp.einsum("nab,nb->na", inverse, p + jnp.einsum("nvab,va->nb", cp, by_camera))
  return by_camera, step, matrix
