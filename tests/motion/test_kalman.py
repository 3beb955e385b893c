"""The filter and smoother against dense algebra in NumPy."""

import jax
import numpy as np

from epipolar_jax.motion import kalman
from tests.motion import tracks

_FRAMES, _PROCESS = 12, 0.3
_SEEN = np.ones(_FRAMES, bool)
_SEEN[[0, 4, 5, 10]] = False
_STEP = np.kron([[1.0, 1.0], [0.0, 1.0]], np.eye(3))
_NOISE = _PROCESS * np.kron([[1 / 3, 1 / 2], [1 / 2, 1.0]], np.eye(3))


def _track() -> tuple[np.ndarray, np.ndarray]:
  covariance = tracks.covariances(_FRAMES, 1)
  points = tracks.measured(tracks.wandering(_FRAMES, 1, process=_PROCESS), covariance)
  rows = np.linalg.inv(np.linalg.cholesky(covariance[:, 0])) * _SEEN[:, None, None]
  return rows, np.einsum("fab,fb->fa", rows, points[:, 0])


def test_smoothing_is_the_dense_least_squares_solution():
  rows, values = _track()
  size = 6 * _FRAMES
  information, right = np.zeros((size, size)), np.zeros(size)
  information[:6, :6] += np.eye(6) / 1e9
  for f in range(_FRAMES):
    at = slice(6 * f, 6 * f + 3)
    information[at, at] += rows[f].T @ rows[f]
    right[at] += rows[f].T @ values[f]
    if f:
      both = slice(6 * f - 6, 6 * f + 6)
      jump = np.concatenate([-_STEP, np.eye(6)], axis=1)
      information[both, both] += jump.T @ np.linalg.solve(_NOISE, jump)
  covariance = np.linalg.inv(information)
  wanted = (covariance @ right).reshape(_FRAMES, 6)[:, :3]
  with jax.enable_x64(True):
    mean, spread = jax.jit(kalman.smooth)(kalman.Track(rows, values), _PROCESS)
  np.testing.assert_allclose(mean, wanted, rtol=0, atol=1e-5)
  for f in range(_FRAMES):
    at = slice(6 * f, 6 * f + 3)
    np.testing.assert_allclose(spread[f], covariance[at, at], rtol=1e-5, atol=1e-5)


def test_misfit_is_the_likelihood_of_all_measurements_together():
  rows, values = _track()
  state = 1e9 * np.eye(6)
  joint = np.zeros((6 * _FRAMES, 6 * _FRAMES))
  for f in range(_FRAMES):
    for g in range(f, _FRAMES):
      power = np.linalg.matrix_power(_STEP, g - f)
      joint[6 * g : 6 * g + 6, 6 * f : 6 * f + 6] = power @ state
      joint[6 * f : 6 * f + 6, 6 * g : 6 * g + 6] = (power @ state).T
    state = _STEP @ state @ _STEP.T + _NOISE
  seen = np.flatnonzero(_SEEN)
  design = np.zeros((3 * len(seen), 6 * _FRAMES))
  for i, f in enumerate(seen):
    design[3 * i : 3 * i + 3, 6 * f : 6 * f + 3] = rows[f]
  of_all = design @ joint @ design.T + np.eye(3 * len(seen))
  data = values[seen].ravel()
  wanted = data @ np.linalg.solve(of_all, data) + np.linalg.slogdet(of_all)[1]
  with jax.enable_x64(True):
    square, log = jax.jit(kalman.misfit)(kalman.Track(rows, values), _PROCESS)
  assert abs(float(square) + float(log) - wanted) < 1e-4
