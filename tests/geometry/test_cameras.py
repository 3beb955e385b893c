"""Cameras: projection, rays, crops, lens distortion."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import affine, cameras
from tests import golden_files, scenes


def _float32(*arrays):
  return [jnp.asarray(a, jnp.float32) for a in arrays]


def _first(scene):
  return _float32(*(c[0] for c in scene.cameras))


def test_project_matches_opencv():
  """Measured 1e-4 px: float32 at 5 m and 500 px focal length."""
  scene = scenes.make_scene(0, rotated=False)
  k, r, t = (c[0] for c in scene.cameras)
  expected = cv2.projectPoints(scene.joints, cv2.Rodrigues(r)[0], t, k, None)[0][:, 0]
  projected = jax.jit(cameras.project)(*_float32(scene.joints, k, r, t))
  np.testing.assert_allclose(projected, expected, atol=1e-3)
  matrix = np.asarray(cameras.projection_matrix(*_float32(k, r, t)))
  x = np.hstack([scene.joints, np.ones((17, 1))]) @ matrix.T
  np.testing.assert_allclose(x[:, :2] / x[:, 2:], expected, atol=2e-3)


def test_project_broadcasts_like_vmap_and_keeps_k_of_a_rotated_crop():
  scene = scenes.make_scene(1)
  camera = _first(scene)
  points = jnp.asarray(scene.joints[:12].reshape(2, 3, 2, 3), jnp.float32)
  uv = cameras.project(points, *camera)
  one_by_one = jax.vmap(jax.vmap(jax.vmap(lambda x: cameras.project(x, *camera))))(points)
  np.testing.assert_allclose(uv, one_by_one, atol=1e-4)
  np.testing.assert_allclose(uv.reshape(12, 2), scene.uv[0, :12], atol=1e-3)


def test_rays_go_through_their_pixels():
  scene = scenes.make_scene(2)
  k, r, t = _first(scene)
  uv = jnp.asarray(scene.uv[0], jnp.float32)
  center, direction = cameras.center(r, t), cameras.ray(uv, k, r)
  np.testing.assert_allclose(jnp.linalg.norm(direction, axis=-1), 1, rtol=1e-5)
  ahead = center[None] + 4000 * direction
  np.testing.assert_allclose(cameras.project(ahead, k, r, t), uv, atol=2e-3)
  assert np.all(cameras.depth(ahead, r, t) > 0)
  assert np.all(cameras.depth(center[None] - 4000 * direction, r, t) < 0)


def test_crop_intrinsics_project_into_the_crop():
  scene = scenes.make_scene(3, rotated=False, size=1000)
  k, r, t = _first(scene)
  crop = affine.crop_transform(
    jnp.array([480.0, 520.0]), jnp.array(3.1), jnp.array(24.0), (256, 256)
  )
  points = jnp.asarray(scene.joints, jnp.float32)
  expected = affine.apply(crop, cameras.project(points, k, r, t))
  projected = cameras.project(points, cameras.crop_intrinsics(crop, k), r, t)
  np.testing.assert_allclose(projected, expected, atol=1e-3)


def test_on_the_plane_of_the_centre_all_is_finite():
  k, r, t = _first(scenes.make_scene(4))
  singular = k.at[0].set(0.0)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def everything(point, k):
    uv = cameras.project(point, k, r, t)
    return jnp.sum(uv) + jnp.sum(cameras.ray(uv, k, r)) + cameras.depth(point, r, t)

  for point in (cameras.center(r, t), cameras.center(r, t) + 500 * r[0]):
    for matrix in (k, singular):
      value, gradients = everything(point, matrix)
      assert np.isfinite(value)
      assert all(np.isfinite(g).all() for g in gradients)


def test_distortion_matches_opencv_and_undistort_inverts_it():
  g = golden_files.load("geometry")
  k, distortion = g["und_K"][0], g["und_dist"][0]
  ideal = g["und_pinhole_truth"][0]
  rays = np.hstack([(ideal - k[:2, 2]) / k[[0, 1], [0, 1]], np.ones((17, 1))])
  expected = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), k, distortion)[0][:, 0]
  k32, d32, ideal32 = _float32(k, distortion, ideal)
  distorted = cameras.from_normalized(
    cameras.distort(cameras.to_normalized(ideal32, k32), d32), k32
  )
  np.testing.assert_allclose(distorted, expected, atol=1e-3)
  back = jax.jit(cameras.undistort)(distorted, k32, d32)
  np.testing.assert_allclose(back, ideal, atol=1e-3)


def test_undistort_golden_undistort_points():
  """Exact in float64 (1e-13 px), as it is the same iteration; float32 to 1e-3 px at 1000 px."""
  g = golden_files.load("geometry")
  with jax.enable_x64(True):
    undistort = jax.jit(jax.vmap(cameras.undistort))
    args = [np.concatenate([g["und_in"], g["und_far_in"]], 1), g["und_K"], g["und_dist"]]
    expected = np.concatenate([g["und_out"], g["und_far_out"]], 1)
    np.testing.assert_allclose(undistort(*map(jnp.asarray, args)), expected, atol=1e-9)
    np.testing.assert_allclose(undistort(*_float32(*args)), expected, atol=1e-3)


def test_project_with_distortion_golden_project_point_radial():
  g = golden_files.load("geometry")
  points, r, center = g["radial_X_world"], g["radial_R"], g["radial_T"][:, 0]
  k, p = g["radial_k"][:, 0], g["radial_p"][:, 0]
  distortion = jnp.array([k[0], k[1], p[0], p[1], k[2]], jnp.float32)
  f, (cx, cy) = float(g["radial_f"]), g["radial_c"][:, 0]
  matrix = jnp.array([[f, 0, cx], [0, f, cy], [0, 0, 1]], jnp.float32)
  x_c = cameras.to_camera(*_float32(points, r, -r @ center))
  np.testing.assert_allclose(x_c, g["radial_X_cam"], atol=2e-3)
  uv = cameras.from_normalized(cameras.distort(x_c[:, :2] / x_c[:, 2:], distortion), matrix)
  np.testing.assert_allclose(uv, g["project_point_radial_world"], atol=2e-3)


def test_center_golden_camera_center():
  g = golden_files.load("geometry")
  centers = jax.vmap(cameras.center)(*_float32(g["RT"][:, :, :3], g["RT"][:, :, 3]))
  np.testing.assert_allclose(centers, g["camera_center__center"], atol=2e-3)
