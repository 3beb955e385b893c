"""Fits a rig's calibration to the images that the recordings really have."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from epipolar_jax.matching import sizes
from epipolar_jax.rigs.rig import Rig

# Images of the same shape were resized; how much the shapes may differ by rounding.
_SAME_SHAPE = 0.005


def fitted(rig: Rig, sizes_wh: Mapping[str, tuple[int, int]]) -> tuple[Rig, tuple[str, ...]]:
  """The rig of images of other sizes than it was calibrated for.

  Args:
    rig: all of `sizes_wh` are among its cameras.
    sizes_wh: (width, height) of the images, by camera.

  Returns:
    The rig of these cameras, in their order; sentences on what was changed.

  Raises:
    ValueError: an image has another shape than its camera's calibration: turned or cut.
  """
  rig = rig.select(tuple(sizes_wh))
  intrinsics = np.array(rig.cameras.intrinsics, np.float64)
  said = []
  for view, (name, (wide, high)) in enumerate(sizes_wh.items()):
    calibrated = rig.sizes_wh[view]
    if calibrated is None or calibrated == (wide, high):
      continue
    wanted = f"{calibrated[0]} x {calibrated[1]}"
    of = f"camera {name}: images of {wide} x {high} px, calibrated for {wanted}"
    across, down = wide / calibrated[0], high / calibrated[1]
    if sizes.same_pixels((wide, high), calibrated):
      said.append(f"{of}: taken as the same pixels from the upper left corner")
    elif abs(across / down - 1) < _SAME_SHAPE:
      said.append(f"{of}: taken as resized by {across:.4g}")
      intrinsics[view] = _resized(intrinsics[view], across, down)
    elif (wide, high) == calibrated[::-1]:
      raise ValueError(
        f"{of}: the image is turned by 90 degrees. Turn the video, or calibrate again"
      )
    else:
      raise ValueError(f"{of}: neither the same shape nor turned. Was the image cut?")
  cameras = dataclasses.replace(rig.cameras, intrinsics=intrinsics)
  return dataclasses.replace(rig, cameras=cameras, sizes_wh=tuple(sizes_wh.values())), tuple(said)


def fitted_each(
  rig: Rig, sizes_wh: Mapping[str, tuple[int, int]]
) -> tuple[Rig, tuple[str, ...], dict[str, str]]:
  """As `fitted`, but a camera whose images were turned or cut stays as it is.

  Returns:
    The rig; sentences on what was changed; what is wrong, by camera.
  """
  ones, said, faults = [], (), {}
  for name, size in sizes_wh.items():
    one = rig.select((name,))
    try:
      one, texts = fitted(one, {name: size})
      said += texts
    except ValueError as error:
      faults[name] = str(error)
    ones.append(one)
  rig = rig.select(tuple(sizes_wh))
  intrinsics = np.concatenate([one.cameras.intrinsics for one in ones])
  cameras = dataclasses.replace(rig.cameras, intrinsics=intrinsics)
  sizes = tuple(one.sizes_wh[0] for one in ones)
  return dataclasses.replace(rig, cameras=cameras, sizes_wh=sizes), said, faults


def _resized(intrinsics: np.ndarray, across: float, down: float) -> np.ndarray:
  """K of an image resized as cv2.resize does: pixel i lies at (i + 1/2) factor - 1/2."""
  matrix = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
  return matrix @ intrinsics
