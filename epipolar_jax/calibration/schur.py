"""Normal equations of a bundle adjustment, point by point, with the points eliminated.

Points (or boards) come in blocks of one size, so that every program is compiled once however many
there are, and what a block needs stays in the cache.

References:
  Triggs et al., Bundle Adjustment - A Modern Synthesis, 1999, sections 4 and 6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.calibration import reprojection
from epipolar_jax.geometry.cameras import Cameras


class Block(NamedTuple):
  """Boards, or points, and what views saw of them.

  Attributes:
    turn, origin: [n, 3, 3], [n, 3], boards in the world; points have turns of identity.
    observed: [n, m, v, 2], px.
    seen: [n, m, v], 1. or 0.
  """

  turn: jax.Array
  origin: jax.Array
  observed: jax.Array
  seen: jax.Array


class Setting(NamedTuple):
  """What all blocks share.

  Attributes:
    cameras: [v], before their changes.
    lenses: [v, 12], `reprojection.COEFFICIENTS`.
    layout: [m, 3], corners on a board; [1, 3] zeros for points.
    sigma: [a], of the prior on the first a of `reprojection.PARAMETERS`; the unit of steps.
    noise: px.
  """

  cameras: Cameras
  lenses: jax.Array
  layout: jax.Array
  sigma: jax.Array
  noise: jax.Array


class Normal(NamedTuple):
  """Gauss-Newton's normal equations of a block, in units of the noise and of the prior's sigmas.

  Attributes:
    weight: [n, m, v], of the Cauchy loss.
    cc, c: [v, a, a], [v, a], of the cameras, summed over the block.
    cp: [n, v, a, b], of cameras and points; b is 3 of points, 6 of boards.
    pp, p: [n, b, b], [n, b], of the points.
  """

  weight: jax.Array
  cc: jax.Array
  cp: jax.Array
  pp: jax.Array
  c: jax.Array
  p: jax.Array


def _each(function):
  """Over boards [n], corners [m] and views [v] of `reprojection.residual`'s arguments."""
  over_views = jax.vmap(function, in_axes=(0, None, 0, 0, None, None, None, 0))
  over_corners = jax.vmap(over_views, in_axes=(None,) * 6 + (0, 0))
  return jax.vmap(over_corners, in_axes=(None, 0, None, None, 0, 0, None, 0))


def _inputs(change: jax.Array, block: Block, setting: Setting):
  still = jnp.zeros((len(block.origin), 3 if len(setting.layout) == 1 else 6))
  where = block.turn, block.origin, setting.layout, block.observed
  return change, still, setting.cameras, setting.lenses, *where


@jax.jit
def cost(change: jax.Array, block: Block, setting: Setting) -> jax.Array:
  """Robust cost [] of a block with cameras changed by [v, a]."""
  off = _each(reprojection.residual)(*_inputs(change, block, setting))
  square = jnp.sum((off / (2.0 * setting.noise)) ** 2, axis=-1)
  return jnp.sum(block.seen * 2.0 * jnp.log1p(square))


@jax.jit
def normal(change: jax.Array, block: Block, setting: Setting) -> Normal:
  """The normal equations of a block, without the prior."""
  inputs = _inputs(change, block, setting)
  off = _each(reprojection.residual)(*inputs)
  by_camera, by_point = _each(jax.jacfwd(reprojection.residual, argnums=(0, 1)))(*inputs)
  by_camera = by_camera * setting.sigma[None, None, None, None]
  square = jnp.sum(off * off, axis=-1) / (2.0 * setting.noise) ** 2
  weight = block.seen / (1.0 + square)
  scaled = weight / setting.noise**2
  return Normal(
    weight,
    jnp.einsum("nmv,nmvia,nmvib->vab", scaled, by_camera, by_camera),
    jnp.einsum("nmv,nmvia,nmvib->nvab", scaled, by_camera, by_point),
    jnp.einsum("nmv,nmvia,nmvib->nab", scaled, by_point, by_point),
    jnp.einsum("nmv,nmvia,nmvi->va", scaled, by_camera, off),
    jnp.einsum("nmv,nmvia,nmvi->na", scaled, by_point, off),
  )


@jax.jit
def eliminated(block: Normal, damping: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The points' inverse [n, b, b], and what they take from the cameras' matrix and right side."""
  n, v, a, b = block.cp.shape
  diagonal = jnp.einsum("naa->na", block.pp)
  least = 1e-12 * jnp.max(diagonal) + 1e-12
  inverse = jnp.linalg.inv(block.pp + (damping * diagonal + least)[..., None] * jnp.eye(b)[None])
  flat = block.cp.reshape(n, v * a, b)
  half = flat @ inverse
  matrix = jnp.einsum("nac,nbc->ab", half, flat)
  return inverse, matrix, jnp.einsum("nac,nc->a", half, block.p)


@jax.jit
def stepped(
  by_camera: jax.Array, block: Block, equations: Normal, inverse: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Turns and origins of a block's boards after the cameras' step [v, a], in units of sigma."""
  right = equations.p + jnp.einsum("nvab,va->nb", equations.cp, by_camera)
  step = -jnp.einsum("nab,nb->na", inverse, right)
  if step.shape[-1] == 3:
    return block.turn, block.origin + step
  return jax.vmap(reprojection.rodrigues)(step[:, :3]) @ block.turn, block.origin + step[:, 3:]


@jax.jit
def moved(cameras: Cameras, change: jax.Array) -> Cameras:
  """Cameras [v] after their changes [v, a]."""
  return jax.vmap(reprojection.moved)(cameras, change)
