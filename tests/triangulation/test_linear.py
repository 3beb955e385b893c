"""Triangulation."""

import functools

import cv2
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.triangulation import linear
from tests import golden_files, oracles, scenes


@functools.partial(jax.jit, static_argnames="world_norm")
def _triangulate(uv, k, r, t, weight, world_norm):
  """[v, j, 2], cameras, [v, j] -> [j, 3], [j]."""

  def one(points, weight):
    return linear.dlt(points, Cameras(k, r, t), weight=weight, world_norm=world_norm)

  return jax.vmap(one, (1, 1))(uv, weight)


def _run(uv, k, r, t, weight=None, dtype=jnp.float32, world_norm=False):
  weight = np.ones(uv.shape[:2]) if weight is None else weight
  args = (jnp.asarray(a, dtype) for a in (uv, k, r, t, weight))
  point, valid = _triangulate(*args, world_norm=world_norm)
  return np.asarray(point), np.asarray(valid)


@pytest.mark.parametrize("num_views", [2, 4])
def test_undoes_projection_to_a_hundredth_of_a_millimetre(num_views):
  """Crops that are turned, float32; measured 0.002 mm, most of it from rounding uv to float32."""
  for seed in range(10):
    scene = scenes.make_scene(seed)
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


def test_noisy_points_match_raw_dlt_in_float64():
  """With its norm to 0.01 mm; with ours they differ by less than 5 % of the noise."""
  rng = np.random.default_rng(1)
  scene = scenes.make_scene(5)
  uv = scene.uv + rng.normal(0, 3, scene.uv.shape)
  weight = rng.uniform(0.2, 1, (4, 17))
  raw = [oracles.dlt(uv[:, j], *scene.cameras, weight[:, j]) for j in range(17)]
  point, _ = _run(uv, *scene.cameras, weight, world_norm=True)
  np.testing.assert_allclose(point, raw, atol=0.01)
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
  "name, points, camera, chosen",
  [
    ("exact", "exact", "K", None),
    ("aug_exact", "aug_exact", "aug_K", None),
    ("noise", "noise", "K", None),
    ("outl", "outl", "K", None),
    ("noise_conf_thr0p05", "noise", "K", "selected_thr0p05"),
    ("outl_conf_thr0p85", "outl", "K", "selected_thr0p85"),
  ],
)
def test_golden_triangulate_pymvg(name, points, camera, chosen):
  """Float64: 4e-9 mm. Float32: 0.004 mm; the original's own float32 is 0.5 mm off."""
  g = golden_files.load("triangulation_pymvg")
  weight = None if chosen is None else g[chosen].T.astype(np.float64)
  args = g[points], g[camera], g["RT"][:, :, :3], g["RT"][:, :, 3], weight
  with jax.enable_x64(True):
    exact, valid = _run(*args, dtype=jnp.float64, world_norm=True)
    ours, _ = _run(*args, dtype=jnp.float64)
  assert valid.all()
  np.testing.assert_allclose(exact, g["pymvg." + name], atol=1e-6)
  np.testing.assert_allclose(_run(*args, world_norm=True)[0], g["pymvg." + name], atol=0.02)
  np.testing.assert_allclose(_run(*args)[0], ours, atol=0.02)


def test_select_views_golden_triangulate_pymvg():
  g = golden_files.load("triangulation_pymvg")
  scores = jnp.asarray(g["conf"].T, jnp.float32)
  for key, threshold in (("selected_thr0p05", 0.05), ("selected_thr0p85", 0.85)):
    select = functools.partial(linear.select_views, threshold=threshold)
    chosen = jax.jit(jax.vmap(select))(scores)
    np.testing.assert_array_equal(chosen, g[key])


def test_a_score_on_the_threshold_is_not_above_it():
  at = np.float32(0.05)
  scores = jnp.array([0.9, 0.8, at, np.nextafter(at, np.float32(1))])
  chosen = linear.select_views(scores, threshold=0.05)
  np.testing.assert_array_equal(chosen, [True, True, False, True])


def test_a_positive_weight_counts_for_a_hundredth_of_the_largest():
  rng = np.random.default_rng(5)
  scene = scenes.make_scene(12)
  uv = scene.uv + rng.normal(0, 5, scene.uv.shape)
  points = {}
  for least in (0.001, 0.01, 0.02):
    weight = np.tile(np.array([2.0, 2.0, 2.0 * least, 2.0 * least])[:, None], (1, 17))
    points[least], valid = _run(uv, *scene.cameras, weight)
    assert valid.all()
  np.testing.assert_array_equal(points[0.001], points[0.01])
  assert np.abs(points[0.02] - points[0.01]).max() > 1e-3


@pytest.mark.parametrize("name", ["noise", "outl"])
def test_golden_cv2triangulate(name):
  g = golden_files.load("triangulation_two_view")
  for n in (0, 5):
    pair = g["pairs"][n]
    args = g[name][pair], g["K"][pair], g["RT"][pair, :, :3], g["RT"][pair, :, 3]
    with jax.enable_x64(True):
      point, _ = _run(*args, dtype=jnp.float64, world_norm=True)
    np.testing.assert_allclose(point, g["cv2." + name][n], atol=1e-3)


@pytest.mark.parametrize("world_norm", [False, True])
def test_degenerate_views_are_flagged_with_zeros_and_finite_gradients(world_norm):
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
  @functools.partial(jax.grad, argnums=range(5), has_aux=True)
  def total(uv, k, r, t, weight):
    point, valid = linear.dlt(uv, Cameras(k, r, t), weight=weight, world_norm=world_norm)
    return jnp.sum(point), (point, valid)

  for name, case in cases.items():
    args = [jnp.asarray(a, jnp.float32) for a in case]
    gradients, (point, valid) = total(*args)
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
      return linear.dlt(uv, Cameras(k, r, t), weight=weight)[0]

    args = (uv, jnp.array([0.9, 0.5, 0.7]), t)
    jax.test_util.check_grads(point, args, order=1, modes=["rev"], eps=1e-4, rtol=1e-3, atol=1e-3)
