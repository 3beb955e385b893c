"""Calibrations of other image sizes."""

import numpy as np
import pytest

from epipolar_jax.footage import rigs
from tests import walkers


def _sizes(first, count=3):
  return {f"cam{i}": (first if i == 0 else walkers.SIZE_WH) for i in range(count)}


def test_a_resized_image_has_the_same_rays():
  rig = walkers.ring(3)
  fitted, said = rigs.fitted(rig, _sizes((640, 480)))
  assert len(said) == 1 and "cam0" in said[0] and "resized by 0.5" in said[0]
  points = walkers.walk(1)
  before, after = (walkers.project(points, x.cameras)[0, 0] for x in (rig, fitted))
  # cv2.resize puts pixel centre u at (u + 1/2) / 2 - 1/2.
  np.testing.assert_allclose(after, (before + 0.5) / 2 - 0.5)
  assert fitted.sizes_wh[0] == (640, 480)
  np.testing.assert_array_equal(fitted.cameras.intrinsics[1], rig.cameras.intrinsics[1])


def test_rows_that_an_encoder_added_move_nothing():
  rig = walkers.ring(3)
  fitted, said = rigs.fitted(rig, _sizes((1280, 968)))
  assert "same pixels" in said[0]
  np.testing.assert_array_equal(fitted.cameras.intrinsics, rig.cameras.intrinsics)


def test_equal_sizes_and_a_subset_are_silent():
  fitted, said = rigs.fitted(walkers.ring(3), {"cam2": walkers.SIZE_WH})
  assert said == () and fitted.names == ("cam2",)


@pytest.mark.parametrize("size, words", [((960, 1280), "turned by 90"), ((1280, 600), "cut")])
def test_turned_and_cut_images_are_refused(size, words):
  with pytest.raises(ValueError, match=f"cam0: images of .*{words}"):
    rigs.fitted(walkers.ring(3), _sizes(size))


def test_of_each_camera_by_itself_faults_are_told_and_the_rest_is_fitted():
  rig = walkers.ring(3)
  sizes = {"cam2": (960, 1280), "cam0": (640, 480), "cam1": walkers.SIZE_WH}
  fitted, said, faults = rigs.fitted_each(rig, sizes)
  assert fitted.names == ("cam2", "cam0", "cam1") and len(said) == 1 and "cam0" in said[0]
  assert list(faults) == ["cam2"] and "turned by 90" in faults["cam2"]
  assert fitted.sizes_wh == (walkers.SIZE_WH, (640, 480), walkers.SIZE_WH)
  focal = fitted.cameras.intrinsics[:, 0, 0] / rig.cameras.intrinsics[:, 0, 0]
  np.testing.assert_allclose(focal, [1.0, 0.5, 1.0])
