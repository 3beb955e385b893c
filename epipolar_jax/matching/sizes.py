"""Whether keypoints are in pixels of the images that the cameras were calibrated with."""

import numpy as np

from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs.rig import Rig

# A share of its points may lie outside of an image, this share of its size away from it.
_MOST_OUTSIDE, _MARGIN = 0.2, 0.05
# Encoders fill images up to blocks of 16 pixels, at the right and below: the rest stays in place.
_BLOCK = 16


def same_pixels(size: tuple[int, int], other: tuple[int, int]) -> bool:
  """Whether two sizes differ by no more than an encoder's filling: pixels have the same places."""
  return all(abs(a - b) < _BLOCK for a, b in zip(size, other))


def check(observations: Observations, rig: Rig) -> None:
  """Raises ValueError if a view's images, or most of its points, are not of its camera's size.

  Videos that were scaled, cropped or turned after the calibration give plausible 3D in the wrong
  place. Cameras of unknown size say nothing.
  """
  rig, faults = rig.select(observations.views), []
  for view, (name, size) in enumerate(zip(rig.names, rig.sizes_wh)):
    if size is None:
      continue
    given = observations.sizes_wh[view] if observations.sizes_wh else size
    width, height = size
    points = observations.points[:, :, view][observations.seen[:, :, view]]
    margin = _MARGIN * np.array(size)
    outside = ((points < -margin) | (points > np.array(size) + margin)).any(axis=-1)
    if not same_pixels(given, size):
      faults.append(
        f"{name} is calibrated at {width} x {height} px, its keypoints are of images of "
        f"{given[0]} x {given[1]}"
      )
    elif len(points) and outside.mean() > _MOST_OUTSIDE:
      low, high = points.min(axis=0), points.max(axis=0)
      faults.append(
        f"{name} is calibrated at {width} x {height} px, and {outside.mean():.0%} of its keypoints "
        f"lie outside: u from {low[0]:.0f} to {high[0]:.0f}, v from {low[1]:.0f} to {high[1]:.0f}"
      )
  if faults:
    raise ValueError(
      f"{'; '.join(faults)}. Was the video scaled, cropped or turned? Use images as they were "
      "calibrated, or calibrate anew"
    )
