"""Cameras: projection, rays, crops, maps, shapes."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry import affine, cameras
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import crops
from tests import golden_files, scenes


def _float32(*arrays):
  return [jnp.asarray(a, jnp.float32) for a in arrays]


def _first(scene):
  return Cameras(*_float32(*(c[0] for c in scene.cameras)))


def _rig(scene):
  return Cameras(*_float32(*scene.cameras))


def test_project_matches_opencv():
  """Measured 1e-4 px: float32 at 5 m and 500 px focal length."""
  scene = scenes.make_scene(0, rotated=False)
  k, r, t = (c[0] for c in scene.cameras)
  expected = cv2.projectPoints(scene.joints, cv2.Rodrigues(r)[0], t, k, None)[0][:, 0]
  projected = jax.jit(Cameras.project)(_first(scene), *_float32(scene.joints))
  np.testing.assert_allclose(projected, expected, atol=1e-3)
  matrix = np.asarray(_first(scene).projection_matrix())
  x = np.hstack([scene.joints, np.ones((17, 1))]) @ matrix.T
  np.testing.assert_allclose(x[:, :2] / x[:, 2:], expected, atol=2e-3)


def test_project_broadcasts_like_vmap_and_keeps_k_of_a_rotated_crop():
  scene = scenes.make_scene(1)
  camera = _first(scene)
  points = jnp.asarray(scene.joints[:12].reshape(2, 3, 2, 3), jnp.float32)
  uv = camera.project(points)
  one_by_one = jax.vmap(jax.vmap(jax.vmap(camera.project)))(points)
  np.testing.assert_allclose(uv, one_by_one, atol=1e-4)
  np.testing.assert_allclose(uv.reshape(12, 2), scene.uv[0, :12], atol=1e-3)


def test_rays_go_through_their_pixels():
  scene = scenes.make_scene(2)
  camera = _first(scene)
  uv = jnp.asarray(scene.uv[0], jnp.float32)
  centre, direction = camera.centre(), camera.ray(uv)
  np.testing.assert_allclose(jnp.linalg.norm(direction, axis=-1), 1, rtol=1e-5)
  ahead = centre[None] + 4000 * direction
  np.testing.assert_allclose(camera.project(ahead), uv, atol=2e-3)
  assert np.all(camera.depth(ahead) > 0)
  assert np.all(camera.depth(centre[None] - 4000 * direction) < 0)


def test_cameras_of_a_crop_project_into_it():
  scene = scenes.make_scene(3, rotated=False, size=1000)
  camera = _first(scene)
  crop = jnp.asarray(
    crops.crop_affine(np.array([480.0, 520.0]), 620.0, rotation_deg=24.0, size=256, mirror=True)
  )
  points = jnp.asarray(scene.joints, jnp.float32)
  expected = affine.apply(crop, camera.project(points))
  projected = camera.crop(crop).project(points)
  np.testing.assert_allclose(projected, expected, atol=1e-3)


def test_on_the_plane_of_the_centre_all_is_finite():
  camera = _first(scenes.make_scene(4))
  k, r, t = camera.intrinsics, camera.rotation, camera.translation
  singular = k.at[0].set(0.0)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def everything(point, k):
    seen = Cameras(k, r, t)
    uv = seen.project(point)
    return jnp.sum(uv) + jnp.sum(seen.ray(uv)) + seen.depth(point)

  for point in (camera.centre(), camera.centre() + 500 * r[0]):
    for matrix in (k, singular):
      value, gradients = everything(point, matrix)
      assert np.isfinite(value)
      assert all(np.isfinite(g).all() for g in gradients)


def test_center_golden_camera_center():
  g = golden_files.load("geometry")
  k, r, t = _float32(np.tile(np.eye(3), (len(g["RT"]), 1, 1)), *np.split(g["RT"], [3], axis=-1))
  centers = Cameras(k, r, t).centre()
  np.testing.assert_allclose(centers, g["camera_center__center"], atol=2e-3)


def test_a_rig_and_the_rigs_of_frames_are_their_cameras_side_by_side():
  made = [scenes.make_scene(seed) for seed in (5, 6)]
  frames = jax.tree.map(lambda *x: jnp.stack(x), *map(_rig, made))
  points = jnp.stack(_float32(*(s.joints for s in made)))
  assert frames.shape == (2, 4) and frames[0].shape == (4,) and frames[0, 1].shape == ()
  uv, depth = frames.project(points), frames.depth(points)
  matrices, rays, centres = frames.projection_matrix(), frames.ray(uv), frames.centre()
  for b, scene in enumerate(made):
    np.testing.assert_allclose(uv[b], scene.uv, atol=1e-3)
    np.testing.assert_allclose(frames[b].project(points[b]), uv[b], atol=1e-4)
    for v in range(4):
      one = frames[b, v]
      np.testing.assert_allclose(one.project(points[b]), uv[b, v], atol=1e-4)
      np.testing.assert_allclose(one.depth(points[b]), depth[b, v], rtol=1e-6)
      np.testing.assert_allclose(one.projection_matrix(), matrices[b, v], rtol=1e-5, atol=1e-3)
      np.testing.assert_allclose(one.ray(uv[b, v]), rays[b, v], atol=1e-6)
      np.testing.assert_allclose(one.centre(), centres[b, v], atol=1e-3)


def test_a_scaled_camera_is_that_of_the_image_opencv_resizes():
  """A spot moves with its projection; index i of a map is image pixel s·i + (s - 1)/2."""
  scene = scenes.make_scene(7, rotated=False)
  camera = _first(scene)
  point = jnp.asarray(scene.joints[0], jnp.float32)
  u, v = (float(x) for x in camera.project(point))
  for factor in (0.25, 2.0):
    expected = [factor * (x + 0.5) - 0.5 for x in (u, v)]
    np.testing.assert_allclose(camera.scale(factor).project(point), expected, atol=1e-3)
  rows, columns = np.mgrid[:256, :256]
  spot = np.exp(-((rows - v) ** 2 + (columns - u) ** 2) / 200)
  small = cv2.resize(spot, (64, 64), interpolation=cv2.INTER_AREA)
  total = small.sum()
  found = [(np.mgrid[:64, :64][i] * small).sum() / total for i in (1, 0)]
  np.testing.assert_allclose(camera.scale(0.25).project(point), found, atol=0.02)


def test_opencvs_translation_columns_are_taken_and_other_shapes_refused():
  scene = scenes.make_scene(8)
  k, r, t = _float32(*scene.cameras)
  for points in (1, 2, 3, 17):
    joints = jnp.asarray(scene.joints[:points], jnp.float32)
    uv = Cameras(k, r, t[..., None]).project(joints)
    np.testing.assert_allclose(uv, scene.uv[:, :points], atol=1e-3)
    uv = Cameras(k[0], r[0], t[0][:, None]).project(joints)
    np.testing.assert_allclose(uv, scene.uv[0, :points], atol=1e-3)
  for wrong in ((k[:3], r, t), (k, r, t[:3]), (k, r[:, 0], t), (k, r, t[..., :2]), (k[0], r, t)):
    with pytest.raises(ValueError, match=r"cameras: .* should be .* got intrinsics"):
      Cameras(*wrong)


def test_normalized_points_come_back_and_a_singular_matrix_gives_zeros():
  """Of a rotated crop's matrix, which is not an upper triangle."""
  intrinsics = jnp.array([[800.0, -300.0, 500.0], [310.0, 790.0, 480.0], [0.0, 0.0, 1.0]])
  xy = jnp.asarray(np.random.default_rng(5).normal(0, 0.3, (3, 4, 2)), jnp.float32)
  uv = cameras.from_normalized(xy, intrinsics)
  expected = np.concatenate([xy, np.ones((3, 4, 1))], -1) @ np.asarray(intrinsics, np.float64).T
  np.testing.assert_allclose(uv, expected[..., :2], rtol=1e-5, atol=1e-3)
  np.testing.assert_allclose(cameras.to_normalized(uv, intrinsics), xy, atol=1e-5)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def total(uv, intrinsics):
    return jnp.sum(cameras.to_normalized(uv, intrinsics))

  value, gradients = total(uv, jnp.zeros((3, 3)).at[2, 2].set(1.0))
  assert value == 0 and all(np.isfinite(g).all() for g in gradients)
