"""The constant-velocity Kalman filter of one joint, and the smoother that goes back over it.

Measurements are whitened: each is three scalar updates, and a frame without one has rows of zeros,
which update nothing. Meant for float64: the prior is diffuse.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Prior variance of the first position and of the first velocity a frame, in whitened units: what
# float64 holds beside a noise of 1 and that 10,000 noises away is no surprise to.
_DIFFUSE = 1e9


class Track(NamedTuple):
  """What was measured of one joint: rows @ position = values + noise of variance 1.

  Attributes:
    rows: [f, 3, 3], inverse square root of a measurement's covariance; zeros: none in this frame.
    values: [f, 3].
  """

  rows: jax.Array
  values: jax.Array


def misfit(track: Track, process: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Σ e²/s and Σ log s of the innovations e and their variances s, both [].

  With noise and process both scaled by r, -2 log likelihood is Σ e²/(s r) + Σ log(s r) + const.

  Args:
    track: of one joint.
    process: [], variance that a velocity a frame gains in a frame.
  """

  def step(carry, frame):
    (state, covariance), square, log = carry
    state, covariance, innovation, variance = _update(state, covariance, *frame)
    square = square + jnp.sum(jnp.square(innovation) / variance)
    log = log + jnp.sum(jnp.log(variance))
    return (_predict(state, covariance, process), square, log), None

  zero = jnp.zeros((), track.rows.dtype)
  (_, square, log), _ = jax.lax.scan(step, (_prior(zero.dtype), zero, zero), track)
  return square, log


def smooth(track: Track, process: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Mean [f, 3] and covariance [f, 3, 3] of the positions, given all measurements.

  Args:
    track: of one joint.
    process: [], variance that a velocity a frame gains in a frame.

  References:
    Rauch, Tung and Striebel, 1965, as in Särkkä, Bayesian Filtering and Smoothing, 2013, section
    8.2; the covariance in Joseph's form, a sum, so that the diffuse prior costs no digits.
  """

  def forward(carry, frame):
    filtered = _update(*carry, *frame)[:2]
    return _predict(*filtered, process), filtered

  last, filtered = jax.lax.scan(forward, _prior(track.rows.dtype), track)

  def backward(carry, frame):
    (after, spread), (state, covariance) = carry, frame
    expected, predicted = _predict(state, covariance, process)
    factor = jax.scipy.linalg.cho_factor(predicted)
    gain = jax.scipy.linalg.cho_solve(factor, _TRANSITION @ covariance).T
    own = jnp.eye(6) - gain @ _TRANSITION
    state = state + gain @ (after - expected)
    spread = own @ covariance @ own.T + gain @ (spread + process * _PROCESS) @ gain.T
    return (state, spread), (state[:3], spread[:3, :3])

  return jax.lax.scan(backward, last, filtered, reverse=True)[1]


_TRANSITION = np.kron([[1.0, 1.0], [0.0, 1.0]], np.eye(3))
_PROCESS = np.kron([[1 / 3, 1 / 2], [1 / 2, 1.0]], np.eye(3))


def _prior(dtype) -> tuple[jax.Array, jax.Array]:
  return jnp.zeros(6, dtype), _DIFFUSE * jnp.eye(6, dtype=dtype)


def _predict(state, covariance, process) -> tuple[jax.Array, jax.Array]:
  a = _TRANSITION
  return a @ state, a @ covariance @ a.T + process * _PROCESS


def _update(state, covariance, rows, values):
  """State and covariance after a frame's three measurements, innovations and their variances."""
  innovations, variances = [], []
  for row, value in zip(rows, values):
    with_it = covariance[:, :3] @ row
    variance = with_it[:3] @ row + 1.0
    innovation = value - row @ state[:3]
    state = state + with_it * (innovation / variance)
    covariance = covariance - jnp.outer(with_it, with_it) / variance
    innovations.append(innovation)
    variances.append(variance)
  return state, covariance, jnp.stack(innovations), jnp.stack(variances)
