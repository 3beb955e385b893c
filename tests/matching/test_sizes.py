"""Keypoints of scaled or turned videos are refused."""

import dataclasses

import pytest

from epipolar_jax.matching import sizes
from tests.matching import crowds


def test_keypoints_in_the_calibrated_images_pass():
  crowd = crowds.make(2, frames=6)
  sizes.check(crowd.observations, crowd.rig)
  sizes.check(dataclasses.replace(crowd.observations, sizes_wh=((1280, 1024),) * 4), crowd.rig)
  # An encoder's filling, which leaves pixels in their places.
  filled = ((1280, 1024), (1280, 1032), (1272, 1024), (1280, 1024))
  sizes.check(dataclasses.replace(crowd.observations, sizes_wh=filled), crowd.rig)
  unknown = dataclasses.replace(crowd.rig, sizes_wh=(None,) * 4)
  points = crowd.observations.points * 20
  sizes.check(dataclasses.replace(crowd.observations, points=points), unknown)


def test_scaled_and_turned_videos_are_named():
  crowd = crowds.make(2, frames=6)
  given = ((1280, 1024), (640, 512), (1280, 1024), (1024, 1280))
  with pytest.raises(
    ValueError, match="right is calibrated at 1280 x 1024 px, its keypoints are of"
  ):
    sizes.check(dataclasses.replace(crowd.observations, sizes_wh=given), crowd.rig)
  points = crowd.observations.points.copy()
  points[:, :, 3] *= 2
  larger = dataclasses.replace(crowd.observations, points=points)
  with pytest.raises(
    ValueError, match=r"back is .* \d+% of its keypoints lie outside: u from"
  ) as e:
    sizes.check(larger, crowd.rig)
  assert "left" not in str(e.value) and "Was the video scaled, cropped or turned?" in str(e.value)
