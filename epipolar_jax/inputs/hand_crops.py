"""Where to cut a hand out of its image, and which point stands for the hand: numpy.

RHD order: 0 is the wrist, 12 the base of the middle finger. `square` is what to use. The functions
of `original_*` reproduce the PyTorch implementation, which mixes up u and v, takes an invisible
joint for one at (0, 0), and moves joint 12 with the centre of the crop, whatever noise that gets.
"""

import numpy as np

from epipolar_jax import skeletons

_WRIST = skeletons.RHD_21.index("wrist")
_MIDDLE_BASE = skeletons.RHD_21.index("middle4")
# Limits of the square's side, px.
_SIDES = (50.0, 500.0)
_IMAGE_SIDE = 320


def palm(points: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Puts the middle of the palm in the place of the wrist.

  Args:
    points: [21, d], px or mm.
    visible: [21] bool.

  Returns:
    points: [21, d], row 0 the mean of wrist and base of the middle finger.
    visible: [21] bool, the palm where one of the two is.
  """
  points, visible = points.copy(), visible.copy()
  points[_WRIST] = 0.5 * (points[_WRIST] + points[_MIDDLE_BASE])
  visible[_WRIST] |= visible[_MIDDLE_BASE]
  return points, visible


def square(joints_2d: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, float]:
  """The square around the base of the middle finger that holds the visible joints.

  Args:
    joints_2d: [21, 2], (u, v) px.
    visible: [21] bool; all joints count when none is.

  Returns:
    center: [2], (u, v) px.
    side: px, 50..500.
  """
  center = joints_2d[_MIDDLE_BASE]
  counted = joints_2d[visible] if visible.any() else joints_2d
  return center, float(np.clip(2.0 * np.abs(counted - center).max(), *_SIDES))


def original_square(
  joints_2d: np.ndarray, visible: np.ndarray, center_noise: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
  """The square that the PyTorch implementation takes (data/datasets/RHD.py).

  Args:
    joints_2d: [21, 2], (u, v) px.
    visible: [21] bool.
    center_noise: [2], (v, u) px, added to the centre in training.

  Returns:
    center: [2], (v, u) px.
    side: px.
  """
  joints_2d = joints_2d.astype(np.float64)
  if center_noise is not None:
    joints_2d[_MIDDLE_BASE] += center_noise[::-1]
  center = joints_2d[_MIDDLE_BASE, ::-1].copy()
  seen = joints_2d * visible[:, None]
  low, high = np.maximum(seen.min(0), 0.0), np.minimum(seen.max(0), _IMAGE_SIDE)
  # (u, v) minus (v, u), as there.
  return center, float(np.clip(2.0 * np.maximum(high - center, center - low).max(), *_SIDES))
