"""Lenses: OpenCV as oracle, both ways over the whole image; NaN where there is no ideal point."""

import cv2
import numpy as np
import pytest

from epipolar_jax.rigs import lenses
from tests import golden_files

_WIDE = (np.array([[900.0, 0, 960], [0, 900, 540], [0, 0, 1]]), (1920, 1080))


def _fly(f):
  return np.array([[f, 0, 416], [0, f, 316], [0, 0, 1]]), (832, 632)


# Camera, coefficients.
_CASES = {
  "wide 4": (_WIDE, [-0.2, 0.03, 1e-3, -1e-3]),
  "wide 5": (_WIDE, [-0.2, 0.03, 0, 0, 0]),
  "wide 8": (_WIDE, [0.5, -2.6, 1e-4, 2e-4, 1.5, 0.4, -2.4, 1.4]),
  "wide 12": (_WIDE, [0.1, 0.03, 1e-3, -1e-3, 2e-3, 0.2, 0.01, 1e-3, 1e-3, -2e-3, 3e-3, 1e-3]),
  "wide 14": (
    _WIDE,
    [0.1, 0.03, 1e-3, -1e-3, 2e-3, 0.2, 0.01, 1e-3, 1e-3, -2e-3, 3e-3, 1e-3, 0.03, -0.02],
  ),
  "fly A": (_fly(20003.023), [-58.1898806599525, 0, 0, 0, 0]),
  "fly B": (_fly(37108.388), [20.68372493071476, 0, 0, 0, 0]),
  "fly C": (_fly(136330.25), [-6468.60716369641, 0, 0, 0, 0]),
}
# Its corners lie beyond the radius at which it folds over.
_STRONG = [-0.35, 0.15, 5e-4, -5e-4, -0.03]


def _grid(size_wh, steps=(49, 31)):
  u, v = (np.linspace(0, n - 1, k) for n, k in zip(size_wh, steps))
  return np.stack(np.meshgrid(u, v), -1)


def _opencv(ideal, k, coefficients):
  xy = (ideal.reshape(-1, 2) - k[:2, 2]) / np.diag(k)[:2]
  rays = np.column_stack([xy, np.ones(len(xy))])
  zero = np.zeros(3)
  return cv2.projectPoints(rays, zero, zero, k, np.array(coefficients))[0].reshape(ideal.shape)


@pytest.mark.parametrize("name", _CASES)
def test_opencv_over_the_whole_image(name):
  """Asked for: 1e-3 px. Measured: 1e-11."""
  (k, size_wh), coefficients = _CASES[name]
  lens, grid = lenses.OpenCV(coefficients), _grid(size_wh)
  np.testing.assert_allclose(lens.distort(grid, k), _opencv(grid, k, coefficients), atol=1e-9)
  ideal = lens.undistort(grid, k)
  np.testing.assert_allclose(_opencv(ideal, k, coefficients), grid, atol=1e-9)
  np.testing.assert_allclose(lens.undistort(lens.distort(grid, k), k), grid, atol=1e-8)


def test_cv2_undistort_points_when_it_iterates_long_enough():
  (k, size_wh), coefficients = _CASES["wide 8"]
  grid = _grid(size_wh).reshape(-1, 2)
  criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 2000, 1e-14)
  # OpenCV 4 has a name of its own for it.
  undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
  distortion = np.array(coefficients)
  found = undistort(grid[:, None], k, distortion, R=np.eye(3), P=k, criteria=criteria)
  ours = lenses.OpenCV(coefficients).undistort(grid, k)
  np.testing.assert_allclose(ours, found[:, 0], atol=1e-3)


def test_golden_undistort_points():
  """The original's own iteration, which has converged there."""
  g = golden_files.load("geometry")
  for k, coefficients, seen, expected in zip(g["und_K"], g["und_dist"], g["und_in"], g["und_out"]):
    ours = lenses.OpenCV(coefficients).undistort(seen, k)
    np.testing.assert_allclose(ours, expected, atol=1e-2)


def test_a_pixel_without_an_ideal_point_is_nan_and_no_other():
  """Brute force: the pixels reached from within the first fold are exactly those that are found."""
  k, size_wh = _WIDE
  lens = lenses.OpenCV([*_STRONG[:2], 0, 0, _STRONG[4]])
  radii = np.linspace(0, 2, 200_001)
  k1, k2, _, _, k3 = lens.coefficients
  reached = radii * (1 + k1 * radii**2 + k2 * radii**4 + k3 * radii**6)
  falls = np.diff(reached) < 0
  first = np.argmax(falls) if falls.any() else len(radii) - 1
  grid = _grid(size_wh, (97, 61))
  radius = np.linalg.norm((grid - k[:2, 2]) / 900, axis=-1)
  clear = np.abs(radius - reached[first]) > 1e-6
  found = np.isfinite(lens.undistort(grid, k)).all(-1)
  assert falls.any()
  assert 0.05 < np.mean(~found) < 0.5
  np.testing.assert_array_equal(found[clear], (radius < reached[first])[clear])


def test_tangential_terms_do_not_let_the_wrong_branch_in():
  k, size_wh = _WIDE
  lens = lenses.OpenCV(_STRONG)
  grid = _grid(size_wh, (97, 61))
  ideal = lens.undistort(grid, k)
  found = np.isfinite(ideal).all(-1)
  assert np.isnan(ideal[0, 0]).all()
  assert found[30, 48]
  np.testing.assert_allclose(_opencv(ideal[found], k, _STRONG), grid[found], atol=1e-6)
  radius = np.linalg.norm((ideal[found] - k[:2, 2]) / 900, axis=-1)
  # d(r g(r²))/dr = 1 + 3 k1 s + 5 k2 s² + 7 k3 s³ first vanishes at r = √s = 1.516.
  assert radius.max() < 1.53


def test_nan_in_nan_out_and_any_leading_shape():
  k, _ = _WIDE
  every = [lenses.Pinhole(), lenses.OpenCV(_STRONG), lenses.Fisheye([0.05, -0.01, 0.003, -0.001])]
  every += [lenses.ViconRadial((950, 530), (1e-8, 2e-15, 0))]
  points = np.full((2, 3, 4, 2), 700.0)
  points[1, 2, 3, 0] = np.nan
  points[0, 0, 0, 1] = np.nan
  for lens in every:
    for result in (lens.distort(points, k), lens.undistort(points, k)):
      assert result.shape == points.shape
      wrong = np.isnan(points).any(-1)
      np.testing.assert_array_equal(np.isnan(result).any(-1), wrong)
    assert lens.undistort(np.zeros((0, 2)), k).shape == (0, 2)
  for lens in every[1:]:
    assert np.isnan(lens.undistort(np.array([np.inf, 3.0]), k)).all()


def test_a_camera_with_skew_and_the_centre_pixel():
  k = np.array([[900.0, 3, 960], [0, 905, 540], [0, 0, 1]])
  for lens in (lenses.OpenCV(_CASES["wide 14"][1][:12]), lenses.Fisheye([0.05, 0, 0, 0])):
    grid = _grid((1920, 1080), (9, 7))
    np.testing.assert_allclose(lens.undistort(lens.distort(grid, k), k), grid, atol=1e-8)
    np.testing.assert_allclose(lens.undistort(k[:2, 2], k), k[:2, 2], atol=1e-9)


def test_fisheye_matches_opencv_up_to_90_degrees():
  """Pixels that see more than 90° from the axis have no ideal point; cv2 gives them one."""
  coefficients = [0.05, -0.01, 0.003, -0.001]
  k, size_wh = np.array([[500.0, 0, 960], [0, 510, 540], [0, 0, 1]]), (1920, 1080)
  lens, grid = lenses.Fisheye(coefficients), _grid(size_wh).reshape(-1, 2)
  xy = (grid - k[:2, 2]) / np.diag(k)[:2]
  expected = cv2.fisheye.distortPoints(xy[:, None], k, np.array(coefficients))[:, 0]
  np.testing.assert_allclose(lens.distort(grid, k), expected, atol=1e-9)
  np.testing.assert_allclose(lens.undistort(expected, k), grid, atol=1e-8)
  ideal = lens.undistort(grid, k)
  found = np.isfinite(ideal).all(-1)
  theta = np.linspace(0, np.pi / 2, 100_000)
  edge = (theta * (1 + theta[:, None] ** np.array([2, 4, 6, 8]) @ coefficients)).max()
  np.testing.assert_array_equal(found, np.linalg.norm(xy, axis=-1) < edge)
  np.testing.assert_allclose(lens.distort(ideal[found], k), grid[found], atol=1e-8)


@pytest.mark.parametrize("from_ideal", [True, False])
def test_vicon_either_way(from_ideal):
  """Its formula on one side, its inverse on the other."""
  k, size_wh = _WIDE
  lens = lenses.ViconRadial((950.5, 530.25), (-4e-8, 3e-15, 1e-22), from_ideal)
  grid = _grid(size_wh)
  offset = grid - lens.centre
  d2 = np.sum(offset**2, -1, keepdims=True)
  formula = lens.centre + offset * (1 - 4e-8 * d2 + 3e-15 * d2**2 + 1e-22 * d2**3)
  forward, backward = (lens.distort, lens.undistort)[:: 1 if from_ideal else -1]
  np.testing.assert_allclose(forward(grid, k), formula, atol=1e-9)
  np.testing.assert_allclose(backward(formula, k), grid, atol=1e-8)


def test_vicon_beyond_its_fold_is_nan():
  lens = lenses.ViconRadial((0, 0), (-1e-6, 0, 0))
  # d (1 - 1e-6 d²) is at most 384.9 px, at d = 577.
  seen = np.array([[384.0, 0], [386, 0], [5000, 0]])
  found = lens.undistort(seen, np.eye(3))
  np.testing.assert_array_equal(np.isfinite(found[:, 0]), [True, False, False])
  assert found[0, 0] < 577.4


@pytest.mark.parametrize("shape", [(4,), (5,), (8,), (12,), (14,), (1, 5), (5, 1)])
def test_coefficients_as_opencv_returns_them(shape):
  lens = lenses.OpenCV(np.full(shape, 0.01))
  assert lens.coefficients == (0.01,) * max(shape)
  assert lens == lenses.OpenCV([0.01] * max(shape))


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (6,), (2, 2), (13,), (15,), ()])
def test_other_numbers_of_coefficients_are_refused(shape):
  with pytest.raises(ValueError, match="OpenCV's lens has 4, 5, 8, 12 or 14 coefficients; got"):
    lenses.OpenCV(np.full(shape, 0.01))


def test_coefficients_that_are_not_finite_or_of_another_lens():
  with pytest.raises(ValueError, match="a coefficient is not finite"):
    lenses.OpenCV([0.1, np.nan, 0, 0])
  with pytest.raises(ValueError, match="fisheye lens has 4 coefficients; got 5"):
    lenses.Fisheye([0.1] * 5)
  with pytest.raises(ValueError, match="radial lens has 3 coefficients; got 2"):
    lenses.ViconRadial((0, 0), (0.1, 0.1))
  with pytest.raises(ValueError, match="centre should be two numbers"):
    lenses.ViconRadial((0, np.inf), (0.1, 0.1, 0))
