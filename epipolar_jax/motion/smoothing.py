"""Smooths triangulated joints over time, each as far as its own covariance and the motion allow.

Every joint is a point whose velocity wanders, measured with the covariance that triangulation
gives. How much it wanders, and how large the true errors are beside the covariances, is
estimated by maximum likelihood for each joint, so neither a unit nor a cut-off is asked for.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from epipolar_jax.keypoints import gaps
from epipolar_jax.motion import kalman
from epipolar_jax.triangulation.estimate import Estimate

# Process noise tried, in variances of the measurements a frame³: from standing still to a motion
# that hardly restricts the next frame.
_GRID = 4.0 ** np.arange(-14, 10)
# A joint's own likelihood is helped by that of its body as by so many frames more.
_FRAMES_OF_BODY = 8.0
# Detectors err alike in consecutive frames, which looks like motion: the likelihood is that of each
# third frame by itself, unless there are too few.
_EVERY, _FEWEST = 3, 30
# A motion that turns within three frames looks like noise to each third frame: the likelihood is
# that of all frames where thirds find more noise than so many standard deviations of the
# triangulation, and so many times what all frames find.
_UNBELIEVABLE, _SLOWER = 3.0, 2.0
# Squared distance to what the other frames predict, in covariances, beyond which a measurement
# counts less: 1 of 1,000 good ones lies further off (chi-squared of 3 degrees). Smaller
# weights are 0.
_GATE, _MEDIAN, _LEAST_WEIGHT = 16.27, 2.366, 1e-9
# Weight below which a frame stands out from its neighbours, twice as far off as the gate; squared
# distance to their median, in covariances, that never does.
_ALONE, _LEAST_NOISE = 1 / 16, 0.01
_ROUNDS = 3
# Frames times joints that are smoothed together: about 500 bytes each.
_TOGETHER = 1 << 18


class Smoothed(NamedTuple):
  """Joints after smoothing, and what was found out about them.

  Attributes:
    estimate: points, covariance and valid of the smoothed joints, `filled` where there was no
      measurement. Inlier weights and reprojection errors stay those of each frame by itself.
    weight: [f, p, j], 0..1, how much each frame's point counted; 0 where there was none.
    noise: [p, j], what the errors from frame to frame are in standard deviations of the
      triangulation; systematic ones (of the calibration) do not show in it. NaN: no points.
  """

  estimate: Estimate
  weight: np.ndarray
  noise: np.ndarray


def smooth(estimate: Estimate, *, fill: int = 10) -> Smoothed:
  """The joints given all frames.

  A frame whose point is further from what the other frames predict than noise explains is weighted
  down. Covariances are those of errors that differ from frame to frame.

  Args:
    estimate: of any number of people.
    fill: gaps of up to so many frames between two points are filled; nothing is extrapolated.

  Returns:
    The smoothed joints. A point that is valid stays valid; its covariance in a gap grows with the
    distance to the next measurements.

  Raises:
    ValueError: fill is negative.
  """
  if fill < 0:
    raise ValueError(f"frames to fill should be at least 0, got {fill}")
  shape = estimate.valid.shape
  points, covariance = np.zeros((*shape, 3)), np.zeros((*shape, 3, 3))
  weight, noise = np.zeros(shape), np.full(shape[1:], np.nan)
  for person in range(shape[1]):
    of = np.s_[:, person]
    if estimate.valid[of].any():
      points[of], covariance[of], weight[of], noise[person] = _body(
        estimate.points[of], estimate.covariance[of], estimate.valid[of]
      )
  filled = gaps.short(estimate.valid, fill)
  valid = estimate.valid | filled
  smoothed = dataclasses.replace(
    estimate,
    points=np.where(valid[..., None], points, 0.0),
    covariance=np.where(valid[..., None, None], covariance, 0.0),
    valid=valid,
    filled=filled,
  )
  return Smoothed(smoothed, weight, noise)


def _body(points: np.ndarray, covariance: np.ndarray, valid: np.ndarray):
  """Points [f, j, 3], covariances, weights [f, j] and noise [j] of one person."""
  # In units of the typical noise, so that nothing depends on the unit of length. The small multiple
  # of 1 bounds what rays that hardly cross leave open.
  trace = np.trace(covariance, axis1=-2, axis2=-1)
  unit = np.sqrt(np.median(trace[valid]) / 3)
  middle = np.median(points[valid], axis=0)
  known = valid[..., None, None]
  full = covariance / unit**2 + (1e-9 * trace / unit**2)[..., None, None] * np.eye(3)
  rows = known * np.linalg.inv(np.linalg.cholesky(np.where(known, full, np.eye(3))))
  values = np.einsum("fjab,fjb->fja", rows, (points - middle) / unit)
  weight = _alone(rows, points / unit, valid)
  suspect = weight < 1.0
  for _ in range(_ROUNDS):
    process, _ = _most_likely(rows, values, weight)
    weight = np.where(suspect, _gate(rows, values, valid, weight, process), weight)
  process, scale = _most_likely(rows, values, weight)
  mean, spread = _each_joint(_SMOOTH, rows, values, weight, process)
  noise = np.where(valid.any(axis=0), np.sqrt(scale), np.nan)
  return mean * unit + middle, spread * unit**2 * scale[:, None, None], weight, noise


def _alone(rows, points, valid) -> np.ndarray:
  """Weights [f, j] below 1 of frames that stand out from the median of the five around them.

  What three of them agree on is a fast motion, and stays.
  """
  known = np.where(valid[..., None], points, np.nan)
  padded = np.pad(known, [(2, 2), (0, 0), (0, 0)], constant_values=np.nan)
  windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)
  middle = np.nanmedian(np.where(valid[..., None, None], windows, 0.0), axis=-1)
  off = np.einsum("fjab,fjb->fja", rows, points - middle)
  weight = _weights(np.sum(off * off, axis=-1), valid, least=_LEAST_NOISE)
  return np.where(weight < _ALONE, weight, valid)


def _gate(rows, values, valid, weight, process) -> np.ndarray:
  """Weights [f, j] of measurements by their distance to what the other frames predict."""
  mean, spread = _each_joint(_SMOOTH, rows, values, weight, process)
  # In whitened units a measurement's covariance is 1 / weight, and what the smoother would give
  # without it follows, since inverse covariances add.
  spread = rows @ spread @ np.swapaxes(rows, -1, -2)
  noise = np.eye(3) / np.maximum(weight, _LEAST_WEIGHT)[..., None, None]
  left = noise @ np.linalg.inv(noise - spread + 1e-6 * np.eye(3))
  off = left @ (values - np.einsum("fjab,fjb->fja", rows, mean))[..., None]
  without = left @ noise - noise + np.eye(3)
  square = np.sum(off * np.linalg.solve(without, off), axis=(-2, -1))
  return _weights(square, valid, least=1e-9)


def _weights(square: np.ndarray, valid: np.ndarray, *, least: float) -> np.ndarray:
  """Weights [f, j] of squared distances, the median of which is noise, and at least `least`."""
  usual = [np.median(s[v]) if v.any() else 1.0 for s, v in zip(square.T, valid.T)]
  far = square * _MEDIAN / np.maximum(usual, least) / _GATE
  weight = np.where(valid, np.maximum(far, 1.0) ** -2.0, 0.0)
  return np.where(weight > _LEAST_WEIGHT, weight, 0.0)


def _most_likely(rows, values, weight) -> tuple[np.ndarray, np.ndarray]:
  """Process noise [j] in units of the measurements' variance, and the scale [j] of both."""
  process, scale = _of_tracks(rows, values, weight, 1)
  if len(weight) < _FEWEST:
    return process, scale
  apart = _of_tracks(rows, values, weight, _EVERY)
  fast = (apart[1] > _UNBELIEVABLE**2) & (apart[1] > _SLOWER**2 * scale)
  return np.where(fast, process, apart[0]), np.where(fast, scale, apart[1])


def _of_tracks(rows, values, weight, every: int) -> tuple[np.ndarray, np.ndarray]:
  """As `_most_likely`, of tracks of each `every`-th frame."""
  frames, joints = weight.shape
  pad = -frames % every

  def apart(x):
    """[f, j, ...] to [f / every, every j, ...]: every third frame is a track by itself."""
    x = np.pad(x, [(0, pad)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(-1, every * joints, *x.shape[2:])

  parts = [apart(x) for x in (rows, values, weight)]
  grid = np.broadcast_to(_GRID * every**3, (every * joints, len(_GRID)))
  found = _each_joint(_MISFITS, *parts, grid)
  square, log = (x.reshape(every, joints, -1).sum(axis=0) for x in found)  # [j, g]
  # Three values a frame, but the first position and velocity of a track are free.
  freedom = np.maximum(3.0 * parts[2].sum(axis=0) - 6.0, 0.0)
  freedom = freedom.reshape(every, joints).sum(axis=0)[:, None]
  total = max(freedom.sum(), 1.0)
  body = np.maximum(square.sum(axis=0), 1e-9)
  share = 3.0 * _FRAMES_OF_BODY / total
  scale = (square + share * body) / (freedom + share * total)
  cost = freedom * np.log(scale) + log
  cost += share * (total * np.log(body / total) + log.sum(axis=0))
  # The minimum of the parabola through the best and its neighbours.
  best = np.clip(np.argmin(cost, axis=1), 1, len(_GRID) - 2)
  before, here, after = (cost[np.arange(joints), best + i] for i in (-1, 0, 1))
  bent = np.maximum(before - 2 * here + after, 1e-9)
  place = best + np.clip((before - after) / (2 * bent), -1.0, 1.0)
  steps = np.arange(len(_GRID))
  log = [np.interp(x, steps, np.log(row)) for x, row in zip(place, scale)]
  return np.exp(np.interp(place, steps, np.log(_GRID))), np.exp(log)


_SMOOTH = jax.jit(jax.vmap(kalman.smooth))
_MISFITS = jax.jit(jax.vmap(jax.vmap(kalman.misfit, (None, 0))))


def _each_joint(function, rows, values, weight, process) -> list[np.ndarray]:
  """A function of joints' tracks [j, f, ...] and process noise [j, ...], some at a time, float64.

  Arrays that it gives for every frame come back as [f, j, ...]. Frames are padded to a power of
  two, so that few programs are compiled.
  """
  frames, joints = weight.shape
  size = 1 << max(frames - 1, 7).bit_length()
  root = np.sqrt(weight)[..., None]
  pad = [(0, size - frames)] + [(0, 0)] * 3
  rows = np.pad(rows * root[..., None], pad).swapaxes(0, 1)
  values = np.pad(values * root, pad[:3]).swapaxes(0, 1)
  some = max(1, _TOGETHER // size)
  found = []
  with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
    for part in (slice(start, start + some) for start in range(0, joints, some)):
      track = kalman.Track(rows[part], values[part])
      found.append([np.asarray(x) for x in function(track, process[part])])
  whole = [np.concatenate(x) for x in zip(*found)]
  return [x if x.ndim == 2 else x[:, :frames].swapaxes(0, 1) for x in whole]
