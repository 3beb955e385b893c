"""Bundle adjustment: cameras and points that together explain what the views saw.

Levenberg-Marquardt on a robust reprojection error. The points are eliminated (Schur complement), so
a step solves for the cameras alone. Priors on the cameras' change hold the rig where it was: the
keypoints themselves do not know where the world's origin is.

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
# point (px).
PARAMETERS = ("rotation",) * 3 + ("centre",) * 3 + ("focal",) + ("principal",) * 2
_NUM = len(PARAMETERS)
# Steps at most, and the relative fall of the cost that is the last worth a step.
_STEPS, _LEAST_FALL = 100, 1e-7
# Points are padded to a power of two, this at least, so that few programs are compiled.
_FEWEST = 1024
# Damping at first; it is divided by 5 after a good step and multiplied by 4 after a bad one.
_DAMPING = 1e-3


class Sigmas(NamedTuple):
  """Standard deviations of the prior on a camera's change; 0 keeps a parameter as it is.

  Attributes:
    rotation: rad.
    centre: in the unit of the translations.
    focal: of the logarithm.
    principal: px.
  """

  rotation: float
  centre: float
  focal: float = 0.0
  principal: float = 0.0


class Adjusted(NamedTuple):
  """Cameras and points after the adjustment, float64.

  Attributes:
    cameras: [v].
    points: [n, 3].
    weight: [n, v], 0..1, of each observation in the last fit; 0 where nothing was seen.
    sigma: [v, 9], standard deviation of each camera's `PARAMETERS` given the prior; 0 where fixed.
    cost: of each accepted step, the first is that of the start.
  """

  cameras: Cameras
  points: np.ndarray
  weight: np.ndarray
  sigma: np.ndarray
  cost: tuple[float, ...]


def adjust(
  observed: np.ndarray,
  seen: np.ndarray,
  cameras: Cameras,
  points: np.ndarray,
  sigmas: Sigmas,
  *,
  noise_px: float,
) -> Adjusted:
  """Adjusts cameras and points.

  Args:
    observed: [n, v, 2], px without lens distortion; anything where not seen.
    seen: [n, v], bool.
    cameras: [v], where to start and the middle of the prior.
    points: [n, 3], where to start.
    sigmas: of the prior.
    noise_px: standard deviation of good observations; the error counts half as much at about twice
      that (a Cauchy loss).

  Raises:
    ValueError: no point is seen by two views, or arrays are not finite.
  """
  arrays = cameras.intrinsics, cameras.rotation, cameras.translation, points, observed[seen]
  if not all(np.isfinite(np.asarray(x)).all() for x in arrays):
    raise ValueError("bundle adjustment: cameras, points and observations should be finite")
  useful = seen.sum(axis=1) >= 2
  if not useful.any():
    raise ValueError("bundle adjustment: no point is seen by two views")
  with jax.enable_x64(True):
    return _adjust(observed, seen & useful[:, None], cameras, points, sigmas, noise_px)


def _adjust(observed, seen, cameras, points, sigmas, noise_px) -> Adjusted:
  number = len(points)
  pad = max(_FEWEST, 1 << (number - 1).bit_length()) - number
  seen = np.pad(seen, [(0, pad), (0, 0)])
  observed = np.pad(observed, [(0, pad), (0, 0), (0, 0)])
  points = np.pad(points, [(0, pad), (0, 0)])
  start = Cameras(*(jnp.asarray(np.asarray(x, np.float64)) for x in jax.tree.leaves(cameras)))
  by_name = sigmas._asdict()
  sigma = jnp.array([by_name[name] for name in PARAMETERS])
  change = jnp.zeros((len(cameras.rotation), _NUM))
  data = (
    jnp.asarray(np.where(seen[..., None], observed, 0.0)),
    jnp.asarray(seen, float),
    start,
    sigma,
    jnp.float64(noise_px),
  )
  state = change, jnp.asarray(np.asarray(points, np.float64))
  costs, damping, blocks = [float(_cost(*state, *data))], _DAMPING, None
  for _ in range(_STEPS):
    if blocks is None:
      blocks = _normal(*state, *data)
    by_camera, by_point, _ = _solve(*blocks[1:], damping)
    tried = state[0] + by_camera * sigma[None], state[1] + by_point
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
  changed = jax.vmap(_moved)(start, state[0])
  blocks = _normal(*state, *data)
  inverse = np.linalg.inv(_solve(*blocks[1:], 0.0)[2])
  spread = np.sqrt(np.maximum(np.diag(inverse), 0.0)).reshape(change.shape) * np.asarray(sigma)
  return Adjusted(
    Cameras(*(np.asarray(x) for x in jax.tree.leaves(changed))),
    np.asarray(state[1])[:number],
    np.asarray(blocks[0])[:number],
    spread,
    tuple(costs),
  )


def _moved(camera: Cameras, change: jax.Array) -> Cameras:
  """One camera after its change [9]."""
  rotation = _rotation(change[:3]) @ camera.rotation
  centre = -camera.rotation.T @ camera.translation + change[3:6]
  focal = camera.intrinsics[:2, :2] * jnp.exp(change[6])
  principal = camera.intrinsics[:2, 2] + change[7:9]
  intrinsics = camera.intrinsics.at[:2, :2].set(focal).at[:2, 2].set(principal)
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


def _residual(change, point, camera: Cameras, observed) -> jax.Array:
  """Projected minus observed [2], px, of one point in one view."""
  camera = _moved(camera, change)
  x = camera.rotation @ point + camera.translation
  xy = x[:2] / jnp.where(jnp.abs(x[2]) > 1e-9, x[2], 1e-9)
  return camera.intrinsics[:2, :2] @ xy + camera.intrinsics[:2, 2] - observed


def _each(function):
  """Over points [n] and views [v] of (change [v, 9], point [n, 3], camera [v], observed [n, v])."""
  over_views = jax.vmap(function, in_axes=(0, None, 0, 0))
  return jax.vmap(over_views, in_axes=(None, 0, None, 0))


def _scale(sigma: jax.Array) -> jax.Array:
  """1 / sigma, 0 for what is fixed."""
  return jnp.where(sigma > 0, 1.0 / jnp.where(sigma > 0, sigma, 1.0), 0.0)


@jax.jit
def _cost(change, points, observed, seen, cameras, sigma, noise):
  off = _each(_residual)(change, points, cameras, observed) / (2.0 * noise)
  loss = 2.0 * jnp.log1p(jnp.sum(off * off, axis=-1))
  prior = change * _scale(sigma)[None]
  return jnp.sum(seen * loss) + 0.5 * jnp.sum(prior * prior)


@jax.jit
def _normal(change, points, observed, seen, cameras, sigma, noise):
  """Gauss-Newton's blocks, in units of the noise and of the prior's sigmas."""
  off = _each(_residual)(change, points, cameras, observed)
  by_camera, by_point = _each(jax.jacfwd(_residual, argnums=(0, 1)))(
    change, points, cameras, observed
  )
  by_camera = by_camera * sigma[None, None, None]
  square = jnp.sum(off * off, axis=-1) / (2.0 * noise) ** 2
  weight = seen / (1.0 + square)
  scaled = weight / noise**2
  cc = jnp.einsum("nv,nvia,nvib->vab", scaled, by_camera, by_camera)
  cp = jnp.einsum("nv,nvia,nvib->nvab", scaled, by_camera, by_point)
  pp = jnp.einsum("nv,nvia,nvib->nab", scaled, by_point, by_point)
  c = jnp.einsum("nv,nvia,nvi->va", scaled, by_camera, off) + change * _scale(sigma)[None]
  p = jnp.einsum("nv,nvia,nvi->na", scaled, by_point, off)
  return weight, cc + jnp.eye(_NUM)[None], cp, pp, c, p


@jax.jit
def _solve(cc, cp, pp, c, p, damping):
  """A damped step of cameras [v, 9] and points [n, 3], and the cameras' own matrix [9 v, 9 v]."""
  n, v = cp.shape[:2]
  cc = cc + damping * jnp.einsum("vaa->va", cc)[..., None] * jnp.eye(_NUM)[None]
  diagonal = jnp.einsum("naa->na", pp)
  least = 1e-12 * jnp.max(diagonal) + 1e-12
  inverse = jnp.linalg.inv(pp + (damping * diagonal + least)[..., None] * jnp.eye(3)[None])
  flat = cp.reshape(n, v * _NUM, 3)
  half = flat @ inverse
  matrix = jax.scipy.linalg.block_diag(*cc) - jnp.einsum("nac,nbc->ab", half, flat)
  right = c.reshape(-1) - jnp.einsum("nac,nc->a", half, p)
  by_camera = -jnp.linalg.solve(matrix, right).reshape(v, _NUM)
  by_point = -jnp.einsum("nab,nb->na", inverse, p + jnp.einsum("nvab,va->nb", cp, by_camera))
  return by_camera, by_point, matrix
