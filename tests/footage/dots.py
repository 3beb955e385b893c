"""A recording drawn here, and a detector that reads it: joint i is a dot of its own green."""

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.rigs.rig import Rig
from tests import walkers

SIZE = 128
# A dot is red, and greener the later its joint; the ratio survives blending with black.
_RED, _STEP = 250, 14


class DotDetector:
  """Stands in for `Detector`: the centroid of each joint's dot in a window.

  Its maps are as coarse as the windows' pixels, which is all that the tracker passes on.
  """

  skeleton = skeletons.SKELETONS["coco_17"]
  size = SIZE
  gain = 0.0
  searches = False
  doubt = None

  def __init__(self):
    self.windows = 0
    self.description = {"network": "dots"}

  def maps(self, windows) -> np.ndarray:
    windows = np.array(list(windows), np.uint8).reshape(-1, SIZE, SIZE, 3)
    self.windows += len(windows)
    red, green = (windows[..., c : c + 1].astype(np.float32) for c in (0, 1))
    level = green * _RED / np.maximum(red, 1)
    here = (np.abs(level - _STEP * (1 + np.arange(17))) <= 5) & (red > 50)
    return here * red

  def decode(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    v, u = np.mgrid[:SIZE, :SIZE]
    mass = maps.sum(axis=(1, 2))
    uv = np.stack([np.einsum("nhwj,hw->nj", maps, x) for x in (u, v)], axis=-1)
    uv = uv / np.maximum(mass, 1e-3)[..., None]
    return uv, np.where(mass > 0, 0.9, 0.01)


class Drawn:
  """Stands in for `videos.Footage`, of frames [f][v]."""

  def __init__(self, frames, sizes_wh=()):
    self._frames, self.sizes_wh = frames, sizes_wh

  def frames(self, start=0):
    return iter(self._frames[start:])

  def at(self, frames):
    return (self._frames[frame] for frame in frames)


def draw(points: np.ndarray, rig: Rig) -> list[list[np.ndarray]]:
  """Frames [f][v] of joints [f, j, 3] as squares of 15 px."""
  frames = []
  for uv in np.round(walkers.project(points, rig.cameras)).astype(int):
    images = []
    for view in uv:
      image = np.zeros((walkers.SIZE_WH[1], walkers.SIZE_WH[0], 3), np.uint8)
      for joint, (u, v) in enumerate(view):
        dot = image[max(v - 7, 0) : max(v + 8, 0), max(u - 7, 0) : max(u + 8, 0)]
        dot[:] = _RED, _STEP * (joint + 1), 0
      images.append(image)
    frames.append(images)
  return frames


def spread(frames: int) -> np.ndarray:
  """Joints [f, 17, 3] that hardly cover each other: a helix that walks."""
  j = np.arange(17)
  body = np.stack([250 * np.cos(2.4 * j), 250 * np.sin(2.4 * j), 100.0 * j + 100], axis=-1)
  time = np.arange(frames)[:, None, None]
  return body[None] + time * np.array([25.0, 10.0, 0.0])
