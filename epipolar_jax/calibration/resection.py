"""The pose of one camera from points that the others give: can its file be mended by a new pose?"""

import dataclasses

import numpy as np
from scipy import optimize
from scipy.spatial.transform import Rotation

# Points needed to fit a pose; the linear method takes six at a time, in so many rounds.
_LEAST_POINTS, _SAMPLE, _ROUNDS = 12, 6, 300


@dataclasses.dataclass(frozen=True, eq=False)
class Resection:
  """A camera's pose as the others see it.

  Attributes:
    rotation, translation: [3, 3], [3], w→c, mm.
    error_px: median distance, px, of the points that it was not fitted to.
    degrees, mm: by how much it differs from the pose of the file.
    free_error_px: the same error where focal length and principal point were fitted too; far below
      `error_px`, K of the file is wrong as well.
    focal: that focal length in shares of the file's.
  """

  rotation: np.ndarray
  translation: np.ndarray
  error_px: float
  degrees: float
  mm: float
  free_error_px: float
  focal: float


def resect(
  points: np.ndarray, ideal: np.ndarray, pose: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Resection | None:
  """Fits a pose to the first half of the points and judges it on the second.

  The linear solution of six points with the least median error, then robust least squares.

  Args:
    points: [n, 3], mm, from the other cameras, in the order of time; NaN where they give none.
    ideal: [n, 2], px without lens distortion; NaN where not seen.
    pose: K [3, 3], R [3, 3], t [3] of the file; K is believed.

  Returns:
    None if there are too few points, or no pose has them in front of the camera.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 7.1.
  """
  k, r, t = pose
  known = np.isfinite(points).all(axis=-1) & np.isfinite(ideal).all(axis=-1)
  points, ideal = points[known], ideal[known]
  half = len(points) // 2
  if half < _LEAST_POINTS:
    return None
  # Centred and of order 1, so that columns of the linear system are alike.
  middle = np.median(points, axis=0)
  size = np.median(np.linalg.norm(points - middle, axis=-1))
  near = (points - middle) / max(size, 1e-12)
  rays = np.concatenate([ideal, np.ones((len(ideal), 1))], axis=-1) @ np.linalg.inv(k).T
  start = _best(near[:half], rays[:half])
  if start is None:
    return None
  turn, shift, _ = _refine(near[:half], ideal[:half], k, *start)
  off = _error(near[half:], ideal[half:], k, turn, shift)
  *other, free = _refine(near[:half], ideal[:half], k, turn, shift, intrinsics=True)
  off_free = _error(near[half:], ideal[half:], free, *other)
  translation = size * shift - turn @ middle
  angle = Rotation.from_matrix(turn @ r.T).magnitude()
  moved = np.linalg.norm(turn.T @ translation - r.T @ t)
  error = float(np.median(off))
  if not np.isfinite(error):
    return None
  return Resection(
    turn,
    translation,
    error,
    float(np.degrees(angle)),
    float(moved),
    float(np.median(off_free)),
    float(free[0, 0] / k[0, 0]),
  )


def _best(near: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
  """R and t of the six points whose pose fits the median point best."""
  rng = np.random.default_rng(0)
  best, found = np.inf, None
  for _ in range(_ROUNDS):
    chosen = rng.choice(len(near), _SAMPLE, replace=False)
    turn, shift = _linear(near[chosen], rays[chosen])
    error = np.median(_error(near, rays[:, :2], np.eye(3), turn, shift))
    if error < best:
      best, found = error, (turn, shift)
  return found


def _linear(near: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """[R | t] from x × [R | t] X = 0, the nearest rotation taken."""
  homogeneous = np.concatenate([near, np.ones((len(near), 1))], axis=-1)
  zero = np.zeros_like(homogeneous)
  u, v = rays[:, :1] * homogeneous, rays[:, 1:2] * homogeneous
  rows = np.concatenate(
    [np.concatenate([homogeneous, zero, -u], 1), np.concatenate([zero, homogeneous, -v], 1)]
  )
  matrix = np.linalg.svd(rows)[2][-1].reshape(3, 4)
  matrix = matrix * (np.sign(np.linalg.det(matrix[:, :3])) or 1.0)
  u, scale, vt = np.linalg.svd(matrix[:, :3])
  return u @ vt, matrix[:, 3] / max(scale.mean(), 1e-12)


def _error(near, seen, k, turn, shift) -> np.ndarray:
  """Distances [n] in units of `seen`; infinite behind the camera."""
  x = near @ turn.T + shift
  front = x[:, 2] > 0
  uv = (x @ k.T)[:, :2] / np.where(front, x[:, 2], 1.0)[:, None]
  return np.where(front, np.linalg.norm(uv - seen, axis=-1), np.inf)


def _refine(
  near, ideal, k, turn, shift, *, intrinsics: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Least squares of bounded influence over a small turn, the shift, and with intrinsics over K.

  Returns:
    R, t, K.
  """
  scale = max(float(np.median(_error(near, ideal, k, turn, shift))), 0.1)

  def moved(step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inner = k.copy()
    if intrinsics:
      inner[:2, :2] *= np.exp(step[6])
      inner[:2, 2] += k[0, 0] * step[7:]
    return Rotation.from_rotvec(step[:3]).as_matrix() @ turn, shift + step[3:6], inner

  def residuals(step: np.ndarray) -> np.ndarray:
    rotation, translation, inner = moved(step)
    x = near @ rotation.T + translation
    depth = np.maximum(x[:, 2:], 1e-6)
    return ((x @ inner.T)[:, :2] / depth - ideal).ravel()

  start = np.zeros(9 if intrinsics else 6)
  fit = optimize.least_squares(residuals, start, loss="cauchy", f_scale=scale, max_nfev=200)
  return moved(fit.x)
