"""Lens distortion: from ideal pinhole pixels to those of real images and back, float64, host."""

import dataclasses
from typing import Protocol

import numpy as np


class Lens(Protocol):
  """What a rig asks of a lens; K [3, 3] is the camera's, points are [..., 2] px."""

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray: ...

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Pinhole:
  """No distortion."""

  def distort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    return np.array(points, np.float64)

  def undistort(self, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    return np.array(points, np.float64)
