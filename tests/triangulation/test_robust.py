"""Robust triangulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.triangulation import consensus, linear, robust
from tests import scenes


@jax.jit
def _methods(uv, k, r, t, weight):
  """Robust and plain triangulation: scenes [n, v, j, 2], their cameras [n, ...], [n, v, j]."""

  def one_scene(uv, k, r, t, weight):
    def one(points, weight):
      plain, _ = linear.dlt(points, Cameras(k, r, t), weight=weight)
      return robust.robust(points, Cameras(k, r, t), weight=weight), plain

    return jax.vmap(one, (1, 1))(uv, weight)

  return jax.vmap(one_scene)(uv, k, r, t, weight)


def _run(uv, cameras, weight, dtype=jnp.float32):
  args = (jnp.asarray(a, dtype) for a in (uv, *cameras, weight))
  return jax.tree.map(np.asarray, _methods(*args))


def _noisy_scenes(num_views, num_scenes, sigma=2.0):
  """Points [n, v, j, 2] px, cameras [n, v, ...], truth [n, j, 3]."""
  rng = np.random.default_rng(num_views)
  made = [scenes.make_scene(seed, num_views=num_views) for seed in range(num_scenes)]
  uv = np.stack([s.uv for s in made])
  cameras = tuple(np.stack(parts) for parts in zip(*(s.cameras for s in made)))
  return uv + rng.normal(0, sigma, uv.shape), cameras, np.stack([s.joints for s in made])


def _spoil(uv, num_outliers, seed=0):
  """Moves some views of every joint 40-150 px away; returns points and the good views [n, v, j]."""
  rng = np.random.default_rng(seed)
  n, v, j, _ = uv.shape
  bad = rng.permuted(np.tile(np.arange(v)[None, :, None], (n, 1, j)), axis=1) < num_outliers
  angle, length = rng.uniform(0, 2 * np.pi, bad.shape), rng.uniform(40, 150, bad.shape)
  away = length[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
  return uv + away * bad[..., None], ~bad


def _error(point, truth):
  return np.linalg.norm(point - truth, axis=-1)


def test_covariance_covers_gaussian_noise():
  """68 and 95 % of 1020 points, within 3 standard errors: 4 and 2 %."""
  uv, cameras, truth = _noisy_scenes(4, 60)
  found, plain = _run(uv, cameras, np.ones(uv.shape[:3]))
  assert found.valid.all() and (found.inlier > 0.1).all()
  off = (found.point - truth)[..., None]
  squared = np.sum(off * np.linalg.solve(found.covariance, off), axis=(-2, -1))
  # Quantiles of chi² with 3 degrees of freedom.
  assert abs(np.mean(squared < 3.506) - 0.68) < 0.04
  assert abs(np.mean(squared < 7.815) - 0.95) < 0.02
  assert np.sqrt(np.mean((found.point - truth) ** 2)) < np.sqrt(np.mean((plain - truth) ** 2))


def test_one_gross_outlier_in_four_views_hardly_matters():
  uv, cameras, truth = _noisy_scenes(4, 60)
  uv, good = _spoil(uv, 1)
  found, plain = _run(uv, cameras, np.ones(good.shape))
  _, best = _run(uv, cameras, good)
  ours, least = _error(found.point, truth), _error(best, truth)
  assert found.valid.all()
  assert np.median(ours) < 1.05 * np.median(least)
  assert np.mean(ours) < 1.2 * np.mean(least)
  assert np.mean(_error(plain, truth)) > 3 * np.mean(ours)
  assert np.mean((found.inlier > 0.5) == good.swapaxes(1, 2)) > 0.97


@jax.jit
def _refine(uv, k, r, t, threshold_mm):
  def one_scene(uv, k, r, t):
    def one(points):
      usable = jnp.ones(points.shape[0], bool)
      return consensus.refine(
        points, Cameras(k, r, t), usable=usable, threshold_mm=threshold_mm
      ).point

    return jax.vmap(one, 1)(uv)

  return jax.vmap(one_scene)(uv, k, r, t)


def test_better_than_the_consensus_of_pairs():
  """Mean error without and with an outlier: 18.6 and 22.5 mm.

  Consensus within 35 mm, the original's threshold: 22.1 and 50.5; 60 mm: 19.5 and 25.6. DLT of the
  good views alone: 19.0 and 22.8.
  """
  uv, cameras, truth = _noisy_scenes(4, 60)
  spoiled, good = _spoil(uv, 1)
  for points in (uv, spoiled):
    args = [jnp.asarray(a, jnp.float32) for a in (points, *cameras)]
    found, _ = _run(points, cameras, np.ones(good.shape))
    for threshold_mm in (35.0, 60.0):
      theirs = _refine(*args, threshold_mm=threshold_mm)
      assert np.mean(_error(found.point, truth)) < 0.97 * np.mean(_error(theirs, truth))


def test_three_outliers_in_ten_views_are_found():
  """More than 8 views: the pairs are a subset."""
  uv, cameras, truth = _noisy_scenes(10, 60)
  uv, good = _spoil(uv, 3)
  found, plain = _run(uv, cameras, np.ones(good.shape))
  _, best = _run(uv, cameras, good)
  ours, least = _error(found.point, truth), _error(best, truth)
  assert np.mean(ours) < 1.05 * np.mean(least)
  assert np.mean(_error(plain, truth)) > 3 * np.mean(ours)
  assert np.mean((found.inlier > 0.5) == good.swapaxes(1, 2)) > 0.98


def test_weights_multiply_the_equations():
  """Noise of sigma / weight: the covariance still holds, and unequal weights are as dlt's."""
  uv, cameras, truth = _noisy_scenes(4, 60, sigma=0.0)
  weight = np.array([1.0, 0.5, 0.5, 0.25])[None, :, None] * np.ones(uv.shape[:3])
  uv = uv + np.random.default_rng(3).normal(0, 0.5, uv.shape) / weight[..., None]
  found, plain = _run(uv, cameras, weight)
  assert np.mean(_error(found.point, truth)) < 1.01 * np.mean(_error(plain, truth))
  off = (found.point - truth)[..., None]
  squared = np.sum(off * np.linalg.solve(found.covariance, off), axis=(-2, -1))
  # The noise is a quarter of the 2 px assumed.
  assert abs(np.mean(16 * squared < 7.815) - 0.95) < 0.02


def test_float32_equals_float64():
  uv, cameras, _ = _noisy_scenes(4, 60)
  uv, good = _spoil(uv, 1)
  found, _ = _run(uv, cameras, np.ones(good.shape))
  with jax.enable_x64(True):
    exact, _ = _run(uv, cameras, np.ones(good.shape), jnp.float64)
  # Where two starts cost the same, rounding decides.
  gap = _error(found.point, exact.point)
  assert np.mean(gap < 0.02) > 0.99, np.sort(gap.ravel())[-20:]


@jax.jit
def _placed(uv, k, r, t, weight, middle, reach):
  place = robust.Place(middle, reach)
  return robust.robust(uv, Cameras(k, r, t), weight=weight, place=place)


def test_place_decides_where_views_contradict_and_moves_nothing():
  """Two views see one joint, two another: the one where it is expected, however firmly."""
  scene = scenes.make_scene(4)
  both = np.concatenate([scene.uv[:2, 0], scene.uv[2:, 16]])
  cameras = [jnp.asarray(c, jnp.float32) for c in scene.cameras]
  for joint, alone in ((0, [1, 1, 0, 0]), (16, [0, 0, 1, 1])):
    middle = jnp.asarray(scene.joints[joint] + 50.0, jnp.float32)
    seen = jnp.asarray(both, jnp.float32), *cameras
    found = _placed(*seen, jnp.ones(4), middle, jnp.asarray(100.0))
    # The views that lost still pull a little: 2.6 mm.
    np.testing.assert_allclose(found.point, scene.joints[joint], atol=5.0)
    wider = _placed(*seen, jnp.ones(4), middle, jnp.asarray(200.0))
    np.testing.assert_allclose(wider.point, found.point, atol=1e-2)
    np.testing.assert_array_equal(np.asarray(found.inlier) > 0.5, np.array(alone) > 0)
  # Anywhere: as without a place, but for rounding of another program.
  found = _placed(*seen, jnp.ones(4), middle, jnp.asarray(jnp.inf))
  plain = jax.jit(robust.robust)(seen[0], Cameras(*cameras), weight=jnp.ones(4))
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-3)
  jax.tree.map(close, found, plain)


def test_start_is_one_more_and_need_not_exist():
  """From where ten steps led, no step is needed; not a number is no start."""
  rng = np.random.default_rng(5)
  scene = scenes.make_scene(5)
  uv = scene.uv[:, 3] + rng.normal(0, 2, (4, 2))
  seen = [jnp.asarray(c, jnp.float32) for c in (uv, *scene.cameras)]
  seen = seen[0], Cameras(*seen[1:])

  @functools.partial(jax.jit, static_argnames="steps")
  def run(start, *, steps):
    return robust.robust(*seen, weight=jnp.ones(4), num_iterations=steps, start=start)

  none = jnp.full(3, jnp.nan)
  best = run(none, steps=10).point
  np.testing.assert_array_equal(run(None, steps=10).point, best)
  np.testing.assert_allclose(run(best, steps=0).point, best, atol=1e-2)
  assert _error(run(none, steps=0).point, best) > 1.0
  np.testing.assert_allclose(run(best + 1e5, steps=10).point, best, atol=1e-2)


@jax.jit
@functools.partial(jax.grad, argnums=range(5), has_aux=True)
def _gradient(uv, k, r, t, weight):
  found = robust.robust(uv, Cameras(k, r, t), weight=weight)
  total = jnp.sum(found.point) + jnp.sum(found.covariance) + jnp.sum(found.inlier)
  return total, found


def test_degenerate_views_are_flagged_with_zeros_and_finite_gradients():
  scene = scenes.make_scene(7)
  uv, (k, r, t) = scene.uv[:, 0], scene.cameras
  same = [np.repeat(c[:1], 4, axis=0) for c in (uv, k, r, t)]
  parallel = [k[:1].repeat(4, 0), r[:1].repeat(4, 0), t[:1] + 300 * np.eye(4, 3)]
  middle = np.repeat(np.array([[[100.0, 90.0]]]), 4, axis=1)[0]
  turn = np.diag([-1.0, 1.0, -1.0])
  away = np.concatenate([turn @ r[:1], r[1:]]), np.concatenate([t[:1] @ turn, t[1:]])
  behind = scenes.project(scene.joints[:1], k[0], away[0][0], away[1][0])
  cases = {
    "no view": (uv, k, r, t, [0, 0, 0, 0], False),
    "one view": (uv, k, r, t, [0, 0.7, 0, 0], False),
    "one ray": (*same, [1, 1, 1, 1], False),
    "parallel rays": (middle, *parallel, [1, 1, 1, 1], False),
    "not a number": (np.full_like(uv, np.nan), k, r, t, [1, 1, 1, 1], False),
    "contradictions": (np.diag([1e4, -1e4, 1e4, -1e4])[:, :2], k, r, t, [1, 1, 1, 1], None),
    "exact": (uv, k, r, t, [1, 1, 1, 1], True),
    "two left": (np.where([[True], [True], [False], [False]], uv, np.inf), k, r, t, [1] * 4, True),
    "one behind": (np.concatenate([behind, uv[1:]]), k, *away, [1, 1, 1, 1], True),
    "all but one behind": (
      uv,
      k,
      np.concatenate([r[:1], turn @ r[1:]]),
      np.concatenate([t[:1], t[1:] @ turn]),
      [1, 1, 1, 1],
      False,
    ),
  }
  for name, (*case, valid) in cases.items():
    args = [jnp.asarray(a, jnp.float32) for a in case]
    gradients, found = _gradient(*args)
    assert valid is None or found.valid == valid, name
    unbounded = [n for n, x in enumerate((*gradients, *found)) if not np.isfinite(x).all()]
    assert not unbounded, (name, unbounded)
    if not found.valid:
      assert all(np.all(x == 0) for x in found[:3]), name
    if valid:
      np.testing.assert_allclose(found.point, scene.joints[0], atol=0.05, err_msg=name)


def test_gradient_equals_finite_differences():
  """Of the point, at noise that the cost bends for: the reweighting has a derivative too."""
  rng = np.random.default_rng(3)
  scene = scenes.make_scene(9)
  with jax.enable_x64(True):
    uv = jnp.asarray(scene.uv[:, 0] + rng.normal(0, 3, (4, 2)))
    k, r, t = map(jnp.asarray, scene.cameras)

    @jax.jit
    def point(uv, weight, t):
      return robust.robust(uv, Cameras(k, r, t), weight=weight, num_iterations=60).point

    args = uv, jnp.array([0.9, 0.5, 0.7, 1.0]), t
    jacobians = jax.jit(jax.jacrev(point, argnums=(0, 1, 2)))(*args)
    for number, (jacobian, step) in enumerate(zip(jacobians, (1e-3, 1e-4, 1e-2))):
      direction = jnp.asarray(rng.normal(size=args[number].shape))
      ends = [
        point(*(a + s * step * direction if i == number else a for i, a in enumerate(args)))
        for s in (-1, 1)
      ]
      slope = (ends[1] - ends[0]) / (2 * step)
      expected = jnp.tensordot(jacobian, direction, direction.ndim)
      np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-4)
