"""Epipolar lines, the DLT and projection in NumPy, against the laws that define them."""

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.matching import pinholes
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from tests import scenes


def _rig():
  scene = scenes.make_scene(1)
  names = tuple("abcd")
  cameras = Cameras(*scene.cameras)
  return Rig(names, (None,) * 4, (lenses.Pinhole(),) * 4, cameras), scene


def test_points_lie_on_each_others_lines_and_a_shift_is_its_distance():
  rig, scene = _rig()
  f = pinholes.fundamentals(rig)
  for a, b in np.ndindex(4, 4):
    if a == b:
      assert not f[a, b].any()
      continue
    off = pinholes.epipolar_distance(scene.uv[a], scene.uv[b], f[a, b])
    assert off.shape == (2, 17) and off.max() < 1e-7
    lines = np.concatenate([scene.uv[a], np.ones((17, 1))], axis=1) @ f[a, b].T
    normal = lines[:, :2] / np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    off = pinholes.epipolar_distance(scene.uv[a], scene.uv[b] + 3 * normal, f[a, b])
    np.testing.assert_allclose(off[1], 3, atol=1e-7)
  none = pinholes.epipolar_distance(scene.uv[0], scene.uv[0], f[0, 0])
  assert np.isnan(none).all()


def test_locate_inverts_project_and_needs_two_views():
  rig, scene = _rig()
  cameras, origin = pinholes.matrices(rig)
  uv = pinholes.project(scene.joints - origin, cameras)
  np.testing.assert_allclose(uv, scene.uv, atol=1e-8)
  uv[1:, 3] = np.nan
  uv[2:, 4] = np.nan
  uv[:, 5] = np.nan
  found = pinholes.locate(uv, cameras) + origin
  assert np.isnan(found[[3, 5]]).all()
  known = np.isfinite(found).all(1)
  np.testing.assert_allclose(found[known], scene.joints[known], atol=1e-6)
  assert known.sum() == 15


def test_median_is_of_what_is_known():
  off = np.array([[4.0, 1.0, np.nan, 2.0], [np.nan, 3.0, 1.0, np.nan], [np.nan] * 4])
  np.testing.assert_array_equal(pinholes.median(off, 2), [2.0, 1.0, np.inf])
  np.testing.assert_array_equal(pinholes.median(off, 3), [2.0, np.inf, np.inf])


def test_what_is_behind_a_camera_has_no_image():
  rig, _ = _rig()
  cameras, origin = pinholes.matrices(rig)
  centre = -rig.cameras.rotation[0].T @ rig.cameras.translation[0]
  behind = centre - 100 * rig.cameras.rotation[0, 2]
  assert np.isnan(pinholes.project((behind - origin)[None], cameras)[0]).all()
