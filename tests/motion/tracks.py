"""Joints whose velocity wanders, as triangulation would give them with known errors."""

import numpy as np

from epipolar_jax.triangulation.estimate import Estimate


def wandering(frames: int, joints: int, *, process: float, seed: int = 0) -> np.ndarray:
  """Positions [f, j, 3] whose velocity gains Gaussian steps of variance `process` in a frame."""
  rng = np.random.default_rng(seed)
  chol = np.linalg.cholesky(process * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]]))
  steps = rng.normal(size=(frames, joints, 3, 2)) @ chol.T
  position, velocity = np.zeros((joints, 3)), rng.normal(size=(joints, 3))
  found = []
  for step in steps:
    found.append(position)
    position, velocity = position + velocity + step[..., 0], velocity + step[..., 1]
  return np.stack(found)


def covariances(frames: int, joints: int, *, seed: int = 1) -> np.ndarray:
  """[f, j, 3, 3] of about 1, long in some direction, as depth is."""
  rng = np.random.default_rng(seed)
  root = rng.normal(0, 0.4, (frames, joints, 3, 3)) + 0.5 * np.eye(3)
  return root @ root.swapaxes(-1, -2) + 0.05 * np.eye(3)


def measured(points: np.ndarray, covariance: np.ndarray, *, seed: int = 2) -> np.ndarray:
  """Points [f, j, 3] with errors of these covariances."""
  rng = np.random.default_rng(seed)
  return points + (np.linalg.cholesky(covariance) @ rng.normal(size=(*points.shape, 1)))[..., 0]


def estimate(points: np.ndarray, covariance: np.ndarray, valid: np.ndarray | None = None):
  """An `Estimate` of one person whom two cameras saw."""
  valid = np.ones(points.shape[:2], bool) if valid is None else valid
  joints = tuple(f"joint{i}" for i in range(points.shape[1]))
  views = np.zeros((len(points), 1, 2, points.shape[1]))
  return Estimate(
    points=np.where(valid[..., None], points, 0.0)[:, None],
    valid=valid[:, None],
    covariance=np.where(valid[..., None, None], covariance, 0.0)[:, None],
    inlier=np.where(valid[:, None, None], 1.0, views),
    reprojection_px=np.where(valid[:, None, None], 1.0, np.nan) + views,
    joints=joints,
    views=("a", "b"),
  )
