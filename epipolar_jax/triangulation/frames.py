"""`robust` for the joints of a frame together: tolerance, trust in scores and place are shared.

Each fit is of one joint (`robust.robust`); in between, what the joints of a frame have in common is
estimated from their residuals.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg
from epipolar_jax.triangulation import robust
from epipolar_jax.triangulation.views import Joints, Views, each_joint

# The noise given to `robust`; its point depends on the tolerance in pixels alone.
_SIGMA_PX = 2.0
# How often `robust` fits, each time with what the last fit estimated of the frame, and its steps.
_FITS, _STEPS = 3, 4
# The tolerance of a frame in medians of its own reprojection errors.
_MEDIANS = 5.0
# Prior of the score exponent (errors ~ score^-trust), its strength against log score², its limit.
_TRUST, _FIRM, _MOST_TRUST = 0.5, 0.5, 4.0
# Distance from the middle of a frame's joints below which it is not penalised, in medians.
_REACH = 2.0
_FEWEST = 5  # joints from which a frame's middle and reach are estimated


class _Known(NamedTuple):
  """What earlier fits of `robust` estimated of one frame.

  Attributes:
    tolerance: [], px.
    trust: [], errors go as score^-trust, so a view weighs score^trust.
    place: middle and reach of the joints.
    points: [j, 3], world, mm, where they were found; NaN: nowhere.
  """

  tolerance: jax.Array
  trust: jax.Array
  place: robust.Place
  points: jax.Array


def make_robust(tolerance_px: float) -> Callable[[Views], Joints]:
  """`robust.robust` of all joints, each time with what the last fit estimated of the frame."""

  def one(points, weight, match, frame, known, start):
    found = robust.robust(
      points,
      frame.cameras,
      weight=weight,
      sigma_px=_SIGMA_PX,
      tolerance=known.tolerance / _SIGMA_PX,
      num_iterations=_STEPS,
      place=known.place,
      start=start,
    )
    return found.point, found.valid, found.inlier

  fit = each_joint(one)

  def locate(views: Views) -> Joints:
    score = jnp.maximum(views.score, 0.0)
    share = linalg.safe_divide(score, jnp.max(score, axis=1, keepdims=True), tiny=1e-30)

    def again(_, state):
      known = state[1]
      scored = share > 0
      weight = jnp.where(scored, jnp.where(scored, share, 1.0) ** known.trust[:, None, None], 0.0)
      of_frame = known._replace(points=None)
      found = fit(views._replace(score=weight), (of_frame,), (known.points,))
      learn = functools.partial(_learn, least_px=0.5 * tolerance_px)
      return found, jax.lax.stop_gradient(jax.vmap(learn)(found, views, share, weight))

    b, _, j = score.shape
    zero = jnp.zeros(b, views.joints_2d.dtype)
    points = jnp.zeros((b, j, 3), zero.dtype)
    anywhere = robust.Place(points[:, 0], zero + jnp.inf)
    known = _Known(zero + tolerance_px, zero + _TRUST, anywhere, points + jnp.nan)
    nothing = Joints(points, jnp.zeros((b, j), bool), jnp.zeros_like(share))
    return jax.lax.fori_loop(0, _FITS, again, (nothing, known))[0]

  return locate


def _learn(
  found: Joints, frame: Views, share: jax.Array, weight: jax.Array, *, least_px: float
) -> _Known:
  """Estimates from a fit of its frame; score over the joint's largest and weight: [v, j]."""
  off = frame.cameras.project(found.points) - frame.joints_2d
  counts = found.valid[None] & (share > 0) & jnp.all(jnp.isfinite(off), axis=-1)
  error = linalg.safe_norm(jnp.where(counts[..., None], off, 0.0))
  strength = jnp.where(counts, jnp.square(weight), 0.0)
  usual = _median(error.reshape(-1), strength.reshape(-1))
  tolerance = jnp.maximum(_MEDIANS * usual, least_px)
  return _Known(
    tolerance=tolerance,
    trust=_trust(error / tolerance, share, strength),
    place=_place(found),
    points=jnp.where(found.valid[:, None], found.points, jnp.nan),
  )


def _trust(error: jax.Array, share: jax.Array, strength: jax.Array) -> jax.Array:
  """Slope [] of -log error (in tolerances) over log share, drawn to `_TRUST`; all [v, j].

  Beyond the tolerance an error is an outlier's, whatever its size. The fit itself goes nearer to
  the views that weigh more: of two equations of a view, 3 unknowns take 3 times its share of the
  strength.
  """
  counts = strength > 0
  number = jnp.maximum(jnp.sum(counts), 1)

  def centred(x):
    return jnp.where(counts, x - jnp.sum(jnp.where(counts, x, 0.0)) / number, 0.0)

  own = linalg.safe_divide(strength, jnp.sum(strength, axis=0, keepdims=True), tiny=1e-30)
  left = jnp.maximum(1.0 - 1.5 * own, 0.25)
  x = centred(jnp.log(jnp.where(counts, share, 1.0)))
  y = centred(jnp.log(jnp.clip(error, 0.1, 1.0)) - 0.5 * jnp.log(left))
  slope = (_FIRM * _TRUST - jnp.sum(x * y)) / (_FIRM + jnp.sum(x * x))
  return jnp.clip(slope, 0.0, _MOST_TRUST)


def _place(found: Joints) -> robust.Place:
  """Middle and reach of the joints of a frame; anywhere when they are few."""
  weight = found.valid.astype(found.points.dtype)
  middle = jax.vmap(_median, (1, None))(found.points, weight)
  usual = _median(linalg.safe_norm(found.points - middle[None]), weight)
  known = (jnp.sum(weight) >= _FEWEST) & (usual > 0)
  return robust.Place(middle, jnp.where(known, _REACH * usual, jnp.inf))


def _median(values: jax.Array, weight: jax.Array) -> jax.Array:
  """The least of values [n] that half of their weight [n] does not exceed, [].

  By comparing all with all: for so few, a sort takes five times as long.
  """
  below = jnp.sum(jnp.where(values[None] <= values[:, None], weight[None], 0.0), axis=1)
  return jnp.min(jnp.where(below >= 0.5 * jnp.sum(weight), values, jnp.inf))
