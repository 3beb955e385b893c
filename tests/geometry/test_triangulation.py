"""Triangulation."""

import cv2
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from epipolar_jax.geometry import triangulation
from tests import golden_files, reference, scenes


@jax.jit
def _triangulate(uv, k, r, t, weight):
  """[v, j, 2], cameras, [v, j] -> [j, 3], [j]."""

  def one(points, weight):
    return triangulation.dlt(points, k, r, t, weight=weight)

  return jax.vmap(one, (1, 1))(uv, weight)


def _run(uv, k, r, t, weight=None, dtype=jnp.float32):
  weight = np.ones(uv.shape[:2]) if weight is None else weight
  point, valid = _triangulate(*(jnp.asarray(a, dtype) for a in (uv, k, r, t, weight)))
  return np.asarray(point), np.asarray(valid)


@pytest.mark.parametrize("num_views", [2, 4])
def test_undoes_projection_to_a_hundredth_of_a_millimetre(num_views):
  """Crops that are turned, float32; measured 0.002 mm, most of it from rounding uv to float32."""
  for seed in range(10):
    scene = scenes.make_scene(seed, num_views=4)
    views = [c[:num_views] for c in (scene.uv, *scene.cameras)]
    point, valid = _run(*views)
    assert valid.all()
    np.testing.assert_allclose(point, scene.joints, atol=0.01)


def test_float32_equals_float64_whatever_the_weights():
  """Measured 0.001 mm. Weights of 1 and 0.01 cost a plain eigh of the normal matrix 0.9 mm."""
  rng = np.random.default_rng(0)
  for weights in ([1, 1, 1, 1], [1, 0.01, 0, 0], [1, 1, 0.01, 0.001], [0.3, 0.02, 0.01, 0.004]):
    scene = scenes.make_scene(11)
    uv = scene.uv + rng.normal(0, 2, scene.uv.shape)
    weight = np.tile(np.array(weights)[:, None], (1, 17))
    with jax.enable_x64(True):
      exact, _ = _run(uv, *scene.cameras, weight, jnp.float64)
      again, _ = _run(uv, *scene.cameras, 100 * weight, jnp.float64)
    point, valid = _run(uv, *scene.cameras, weight)
    assert valid.all()
    np.testing.assert_allclose(point, exact, atol=0.01)
    np.testing.assert_allclose(again, exact, atol=1e-6)


def test_noisy_points_agree_with_the_raw_dlt_in_float64():
  """Same equations, other scale of the homogeneous vector: within 5 % of the noise."""
  rng = np.random.default_rng(1)
  scene = scenes.make_scene(5)
  uv = scene.uv + rng.normal(0, 3, scene.uv.shape)
  weight = rng.uniform(0.2, 1, (4, 17))
  raw = np.array(
    [reference.dlt(uv[:, j], *scene.cameras, weight[:, j]) for j in range(uv.shape[1])]
  )
  point, _ = _run(uv, *scene.cameras, weight)
  gap = np.linalg.norm(point - raw, axis=-1)
  assert gap.mean() < 0.05 * np.linalg.norm(raw - scene.joints, axis=-1).mean()


def test_two_views_match_opencv():
  scene = scenes.make_scene(6, num_views=2)
  p1, p2 = (k @ np.column_stack([r, t]) for k, r, t in zip(*scene.cameras))
  points = [np.ascontiguousarray(uv.T) for uv in scene.uv]
  x = cv2.triangulatePoints(p1, p2, *points)
  point, _ = _run(scene.uv, *scene.cameras)
  np.testing.assert_allclose(point, (x[:3] / x[3]).T, atol=0.01)


@pytest.mark.parametrize(
  "name, camera, chosen, atol",
  [
    ("exact", "K", None, 1e-6),
    ("aug_exact", "aug_K", None, 1e-6),
    ("noise", "K", None, 2.0),  # at 15.9 mm error from the noise, both
    ("noise_conf_thr0p05", "K", "selected_thr0p05", 1.0),  # at 19.7 mm, both
  ],
)
def test_golden_triangulate_pymvg(name, camera, chosen, atol):
  """Equal on exact points; on noisy ones the reference weighs the homogeneous vector in mm."""
  g = golden_files.load("triangulation_pymvg")
  uv = g[name.removesuffix("_conf_thr0p05")]
  weight = None if chosen is None else g[chosen].T.astype(np.float64)
  camera = g[camera], g["RT"][:, :, :3], g["RT"][:, :, 3]
  with jax.enable_x64(True):
    exact, valid = _run(uv, *camera, weight, jnp.float64)
  assert valid.all()
  error = np.linalg.norm(exact - g["pymvg." + name], axis=-1)
  assert error.max() < atol
  np.testing.assert_allclose(_run(uv, *camera, weight)[0], exact, atol=0.01)


def test_select_views_golden_triangulate_pymvg():
  g = golden_files.load("triangulation_pymvg")
  scores = jnp.asarray(g["conf"].T, jnp.float32)
  for key, threshold in (("selected_thr0p05", 0.05), ("selected_thr0p85", 0.85)):
    chosen = jax.vmap(lambda s, h=threshold: triangulation.select_views(s, threshold=h))(scores)
    np.testing.assert_array_equal(chosen, g[key])


def test_two_view_golden_cv2triangulate():
  """On noisy points the two differ by the scale of the homogeneous vector only."""
  g = golden_files.load("triangulation_two_view")
  camera = g["K"], g["RT"][:, :, :3], g["RT"][:, :, 3]
  for n in (0, 5):
    pair = g["pairs"][n]
    with jax.enable_x64(True):
      views = [c[pair] for c in camera]
      exact = np.stack([scenes.project(g["X"], *view) for view in zip(*views)])
      point, _ = _run(exact, *views, dtype=jnp.float64)
      np.testing.assert_allclose(point, g["cv2.exact"][n], atol=1e-5)
      point, _ = _run(g["noise"][pair], *views, dtype=jnp.float64)
    gap = np.linalg.norm(point - g["cv2.noise"][n], axis=-1)
    noise = np.linalg.norm(g["cv2.noise"][n] - g["X"], axis=-1)
    assert gap.mean() < 0.05 * noise.mean()


def test_degenerate_views_are_flagged_with_zeros_and_finite_gradients():
  scene = scenes.make_scene(7)
  uv, (k, r, t) = scene.uv[:, 0], scene.cameras
  same = [np.repeat(c[:1], 4, axis=0) for c in (uv, k, r, t)]
  parallel = [k[:1].repeat(4, 0), r[:1].repeat(4, 0), t[:1] + 300 * np.eye(4, 3)]
  middle = np.repeat(np.array([[[100.0, 90.0]]]), 4, axis=1)[0]
  cases = {
    "no view": (uv, k, r, t, [0, 0, 0, 0]),
    "one view": (uv, k, r, t, [0, 0.7, 0, 0]),
    "one ray": (*same, [1, 1, 1, 1]),
    "parallel rays": (middle, *parallel, [1, 1, 1, 1]),
    "not a number": (np.full_like(uv, np.nan), k, r, t, [1, 1, 1, 1]),
  }

  @jax.jit
  def total(uv, k, r, t, weight):
    point, valid = triangulation.dlt(uv, k, r, t, weight=weight)
    return jnp.sum(point), (point, valid)

  for name, case in cases.items():
    args = [jnp.asarray(a, jnp.float32) for a in case]
    gradients, (point, valid) = jax.grad(total, range(5), has_aux=True)(*args)
    assert not valid, name
    np.testing.assert_array_equal(point, 0, err_msg=name)
    assert all(np.isfinite(g).all() for g in gradients), name


def test_a_view_without_weight_has_no_say():
  scene = scenes.make_scene(8)
  uv = scene.uv.copy()
  uv[1] = np.nan
  weight = np.ones((4, 17))
  weight[2] = 0
  uv[2] = -1e6
  point, valid = _run(uv, *scene.cameras, weight)
  assert valid.all()
  np.testing.assert_allclose(point, scene.joints, atol=0.01)


def test_gradient_equals_finite_differences():
  rng = np.random.default_rng(3)
  scene = scenes.make_scene(9, num_views=3)
  with jax.enable_x64(True):
    uv = jnp.asarray(scene.uv[:, 0] + rng.normal(0, 2, (3, 2)))
    k, r, t = map(jnp.asarray, scene.cameras)

    @jax.jit
    def point(uv, weight, t):
      return triangulation.dlt(uv, k, r, t, weight=weight)[0]

    args = (uv, jnp.array([0.9, 0.5, 0.7]), t)
    jax.test_util.check_grads(point, args, order=1, modes=["rev"], eps=1e-4, rtol=1e-3, atol=1e-3)
