"""Windows: crops of ideal images out of distorted frames."""

import cv2
import numpy as np
import pytest

from epipolar_jax.footage import windows
from epipolar_jax.rigs import lenses

_K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])


def _smooth(high=240, wide=320) -> np.ndarray:
  v, u = np.mgrid[:high, :wide]
  channels = [128 + 60 * np.sin(u / 19), 128 + 60 * np.cos(v / 23), 128 + 50 * np.sin((u + v) / 31)]
  return np.stack(channels, axis=-1).round().astype(np.uint8)


def test_the_centre_of_a_window_is_the_middle_of_its_crop():
  matrix = windows.affine(np.array([100.0, 50.0]), np.array(64.0), size=32)
  np.testing.assert_allclose(matrix @ [100, 50, 1], [15.5, 15.5])
  # The window's edge, half a pixel outside of its outermost centres, is the crop's.
  np.testing.assert_allclose(matrix @ [100 - 32, 50 + 32, 1], [-0.5, 31.5])
  many = windows.affine(np.zeros((2, 3, 2)), np.ones((2, 3)), size=8)
  assert many.shape == (2, 3, 2, 3)


def test_a_window_of_the_same_scale_is_the_image_itself():
  frame = _smooth()
  matrix = windows.affine(np.array([119.5, 99.5]), np.array(64.0), size=64)
  crop = windows.cut(frame, lenses.Pinhole(), _K, matrix, size=64)
  np.testing.assert_array_equal(crop, frame[68:132, 88:152])


@pytest.mark.parametrize("side", [40.0, 100.0, 190.0])
def test_a_resized_window_has_the_image_where_the_matrix_says(side):
  matrix = windows.affine(np.array([151.0, 113.0]), np.array(side), size=48)
  crop = windows.cut(_smooth(), lenses.Pinhole(), _K, matrix, size=48)
  v, u = np.mgrid[:48, :48]
  u, v = ((x - matrix[i, 2]) / matrix[i, i] for i, x in enumerate((u, v)))
  wanted = np.stack([128 + 60 * np.sin(u / 19), 128 + 60 * np.cos(v / 23)], axis=-1)
  # Half a grey level by rounding, and what averaging over a pixel of the crop flattens.
  assert np.abs(crop[..., :2] - wanted).max() < 4.0


def test_a_lens_is_corrected_as_opencv_does():
  """At the image's edge, where the lens moves pixels by up to 10."""
  coefficients = (-0.25, 0.06, 0.002, -0.001, 0.0)
  frame = _smooth()
  matrix = windows.affine(np.array([59.5, 59.5]), np.array(120.0), size=120)
  crop = windows.cut(frame, lenses.OpenCV(coefficients), _K, matrix, size=120).astype(int)
  ideal = cv2.undistort(frame, _K, np.array(coefficients))[:120, :120]
  assert np.abs(crop - ideal).max() <= 2
  assert np.abs(crop - frame[:120, :120]).max() > 10


def test_outside_of_the_image_is_black():
  matrix = windows.affine(np.array([-500.0, 50.0]), np.array(64.0), size=32)
  crop = windows.cut(_smooth(), lenses.Pinhole(), _K, matrix, size=32)
  assert crop.shape == (32, 32, 3) and not crop.any()


def test_the_square_around_points():
  points = np.array([[0.0, 0.0], [10.0, 40.0], [1e6, 1e6]])
  centre, side = windows.around(points, np.array([True, True, False]), margin=1.5)
  np.testing.assert_allclose(centre, [5, 20])
  assert side == 60.0


@pytest.mark.parametrize(
  "lens",
  (
    lenses.Pinhole(),
    lenses.OpenCV((-0.35, 0.15, 0.003, -0.002, -0.03)),
    lenses.Fisheye((0.05, -0.02, 0.01, -0.002)),
  ),
  ids=lambda lens: type(lens).__name__,
)
@pytest.mark.parametrize("side", (80.0, 320.0))
def test_the_interpolated_lens_is_the_lens(lens, side):
  matrix = windows.affine(np.array([150.0, 110.0]), np.array(side), size=192)
  u = np.arange(192.0)
  ideal = (np.stack(np.meshgrid(u, u), axis=-1) - matrix[:, 2]) / matrix[[0, 1], [0, 1]]
  wanted = lens.distort(ideal, _K)
  assert np.isfinite(wanted).all()
  found = windows._seen(lens, _K, matrix, size=192)
  np.testing.assert_allclose(np.moveaxis(found, 0, -1), wanted, rtol=0, atol=2e-3)


def test_a_window_that_reaches_beyond_the_lens_is_evaluated_at_every_pixel():
  class Hood:
    """Shows nothing further than 100 px from the middle."""

    def distort(self, points, intrinsics):
      off = np.linalg.norm(points - intrinsics[:2, 2], axis=-1, keepdims=True)
      return np.where(off < 100, points, np.nan)

  lens = Hood()
  matrix = windows.affine(np.array([159.5, 119.5]), np.array(700.0), size=96)
  u = np.arange(96.0)
  ideal = (np.stack(np.meshgrid(u, u), axis=-1) - matrix[:, 2]) / matrix[[0, 1], [0, 1]]
  wanted = lens.distort(ideal, _K)
  known = np.isfinite(wanted).all(axis=-1)
  assert known.any() and not known.all()
  found = windows._seen(lens, _K, matrix, size=96)
  np.testing.assert_array_equal(np.moveaxis(found, 0, -1), wanted)
