"""Focal lengths and poses of cameras of which nothing is known but how large their images are.

Cameras are posed with several focal lengths, each as far as bundle adjustment reaches from the
next, and adjusted with the focal lengths free; the one that leaves the least error is right.
"""

import dataclasses

import numpy as np

from epipolar_jax.calibration import fitting, unposed
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.lenses import Pinhole
from epipolar_jax.rigs.rig import Rig

# A focal length of so many widths of the image: a field of view of 45°.
_WIDTHS = 1.2
# Times the guess that are tried; the prior on the logarithm of each; fits one after another.
_FACTORS, _SIGMA, _FITS = (1.0, 0.7, 1.4), 0.2, 3


def rig(names: tuple[str, ...], size_wh: tuple[int, int]) -> Rig:
  """A rig of a guess: no lens distortion, no poses, the principal point in the middle.

  Args:
    names: of the cameras.
    size_wh: of their images, px.
  """
  focal = _WIDTHS * max(size_wh)
  middle = (np.array(size_wh) - 1) / 2
  k = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
  count = len(names)
  cameras = Cameras(np.stack([k] * count), np.stack([np.eye(3)] * count), np.zeros((count, 3)))
  return Rig(names, (size_wh,) * count, (Pinhole(),) * count, cameras)


def pose(observations: Observations, guess: Rig) -> Rig:
  """Poses cameras whose focal lengths are within a factor of about two of a guess.

  Args:
    observations: of one person (or animal) a frame, px of the cameras' own images.
    guess: K with a focal length that is a guess; its lens and principal point are believed.

  Returns:
    The rig with focal lengths of its own; unit, origin and axes mean nothing yet (`world.stand`).

  Raises:
    ValueError: the cameras cannot be posed with any focal length.
  """
  tried, faults = [], []
  for factor in _FACTORS:
    try:
      few, best = unposed.start(observations, _zoomed(guess, factor))
    except ValueError as error:
      faults.append(error)
      continue
    for _ in range(_FITS):
      free = fitting.Free(focal=True)
      best = fitting.fit(few, best, free, loose=unposed.LOOSE, focal=_SIGMA).rig
    tried.append((unposed.error_px(few, best), len(tried), best))
  if not tried:
    raise faults[0]
  return min(tried)[2]


def _zoomed(guess: Rig, factor: float) -> Rig:
  k = np.array(guess.cameras.intrinsics, np.float64)
  k[:, :2, :2] *= factor
  return dataclasses.replace(guess, cameras=dataclasses.replace(guess.cameras, intrinsics=k))
