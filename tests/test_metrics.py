"""Metrics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import metrics
from epipolar_jax.tasks import multiview
from tests import golden_files, oracles


def _float32(*arrays):
  return [jnp.asarray(a, jnp.float32) for a in arrays]


def _poses(seed=0, frames=6):
  """Targets, predictions about 40 mm off, and a mask with a third of the joints missing."""
  rng = np.random.default_rng(seed)
  target = rng.normal(0, 400, (frames, 17, 3))
  valid = rng.uniform(size=(frames, 17)) > 0.33
  valid[:, 0] = True
  return target + rng.normal(0, 25, target.shape), target, valid


def _error(prediction, target, valid, *, align=None, clamp=None):
  """Sum of a pose's errors and how many joints count, as the evaluation adds them up."""
  if align is not None:
    prediction, target, valid = align(prediction, target, valid)
  errors = metrics.position_errors(prediction, target, clamp=clamp)
  total, count = metrics.masked_each(errors, valid)
  return total.sum(), count.sum()


def _errors(prediction, target, valid, **options):
  """`_error` of every frame."""
  every = jax.jit(jax.vmap(functools.partial(_error, **options)))
  return every(*_float32(prediction, target), jnp.asarray(valid))


_ROOT = functools.partial(metrics.align_root, root=0)
_SCALE = functools.partial(metrics.align_scale, root=0)


def test_position_errors_golden_epemean():
  """The original clamps every error and averages invisible joints too."""
  g = golden_files.load("metrics_epe")
  for key, clamp in (("novis", 150.0), ("maxdist30", 30.0)):
    total, count = _errors(g["pred3d"], g["gt3d"], np.ones((6, 17), bool), clamp=clamp)
    np.testing.assert_allclose(total.sum() / count.sum(), g[f"EPEmean.{key}.mean"], rtol=1e-5)
    errors = metrics.position_errors(*_float32(g["pred3d"][0], g["gt3d"][0]), clamp=clamp)
    np.testing.assert_allclose(errors, g[f"EPEmean.{key}.perjoint"], rtol=1e-5)


def test_absolute_and_root_relative_errors_count_only_valid_joints():
  prediction, target, valid = _poses()
  prediction = np.where(valid[..., None], prediction, np.nan)
  distance = np.linalg.norm(prediction - target, axis=-1)
  total, count = _errors(prediction, target, valid)
  np.testing.assert_allclose(total.sum(), distance[valid].sum(), rtol=1e-5)
  assert count.sum() == valid.sum()
  moved = np.linalg.norm((prediction - prediction[:, :1]) - (target - target[:, :1]), axis=-1)
  total, count = _errors(prediction + 500, target, valid, align=_ROOT)
  np.testing.assert_allclose(total.sum(), moved[valid].sum(), rtol=1e-5)
  rootless = valid & (np.arange(17) > 0)
  total, count = _errors(prediction, target, rootless, align=_ROOT)
  assert total.sum() == count.sum() == 0
  total, count = _errors(prediction[..., :2], target[..., :2], valid)
  flat = np.linalg.norm(prediction[..., :2] - target[..., :2], axis=-1)
  np.testing.assert_allclose(total.sum(), flat[valid].sum(), rtol=1e-5)


def test_similarity_aligned_errors_match_svd_procrustes_of_the_valid_joints():
  prediction, target, valid = _poses(1)
  prediction[3:, :, 0] *= -1  # mirrored: the alignment must not use a reflection
  total, count = _errors(
    np.where(valid[..., None], prediction, np.nan), target, valid, align=metrics.align_similarity
  )
  for p, t, v, got, n in zip(prediction, target, valid, total, count):
    expected = np.linalg.norm(oracles.procrustes(p[v], t[v]) - t[v], axis=-1).sum()
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert n == v.sum()


def test_scale_aligned_errors_are_the_least_over_scales_and_see_no_size():
  prediction, target, valid = _poses(2)
  prediction = np.where(valid[..., None], 0.8 * prediction + 300, np.nan)
  total, count = _errors(prediction, target, valid, align=_SCALE)
  moved, wanted = prediction - prediction[:, :1], target - target[:, :1]
  for n in range(len(valid)):
    a, b = moved[n, valid[n]], wanted[n, valid[n]]
    (scale,), *_ = np.linalg.lstsq(a.reshape(-1, 1), b.ravel(), rcond=None)
    np.testing.assert_allclose(total[n], np.linalg.norm(scale * a - b, axis=1).sum(), rtol=1e-4)
  assert count.sum() == valid.sum()
  exact, _ = _errors(0.5 * target, target, valid, align=_SCALE)
  np.testing.assert_allclose(exact, 0, atol=0.02)
  rootless = valid & (np.arange(17) > 0)
  total, count = _errors(prediction, target, rootless, align=_SCALE)
  assert total.sum() == count.sum() == 0


def test_frames_add_up_to_each_joints_sum_and_count():
  """A joint that is never valid has count 0, whatever its errors."""
  prediction, target, valid = _poses(3)
  valid[:, 5] = False
  errors = np.linalg.norm(prediction - target, axis=-1)
  errors[:, 5] = np.nan
  total, count = jax.vmap(metrics.masked_each)(*_float32(errors), jnp.asarray(valid))
  np.testing.assert_allclose(total.sum(0), np.where(valid, errors, 0).sum(0), rtol=1e-5)
  np.testing.assert_array_equal(count.sum(0), valid.sum(0))


def test_pck_golden_calc_pck():
  """The original measures x only, and counts visible joints."""
  g = golden_files.load("metrics_2d")
  thresholds = tuple(float(t) for t in g["thresholds"])
  points, visible = _float32(g["pred"], g["gt"]), jnp.asarray(g["visibility"][..., 0] > 0)
  near, count = jax.jit(
    jax.vmap(lambda p, t, v: metrics.pck(p, t, v, thresholds=thresholds, x_only=True))
  )(*points, visible)
  np.testing.assert_allclose(100 * near.sum(0) / count.sum(), g["calc_pck"], rtol=1e-5)
  near, _ = jax.jit(jax.vmap(lambda p, t, v: metrics.pck(p, t, v, thresholds=thresholds)))(
    *points, visible
  )
  distance = np.linalg.norm(g["pred"] - g["gt"], axis=-1)[np.asarray(visible)]
  expected = (distance[None] <= g["thresholds"][:, None]).sum(1)
  np.testing.assert_array_equal(near.sum(0), expected)


def test_pck_auc_is_the_mean_over_thresholds():
  prediction, target, valid = _poses(2)
  total, count = jax.jit(jax.vmap(metrics.pck_auc))(
    *_float32(prediction, target), jnp.asarray(valid)
  )
  errors = np.linalg.norm(prediction - target, axis=-1)[valid]
  expected = np.mean([(errors <= t).mean() for t in np.linspace(0, 150, 31)])
  np.testing.assert_allclose(total.sum() / count.sum(), expected, rtol=1e-5)


def _peaks(maps):
  """(x, y) [n, j, 2] of maps [n, j, h, w] as evaluation finds them; the original's (0, 0) where
  nothing is above 0."""
  peaks = jax.jit(jax.vmap(jax.vmap(multiview._peak)))(jnp.asarray(maps))
  return np.where(maps.max((-1, -2))[..., None] > 0, peaks, 0)


def test_peaks_golden_get_max_preds():
  """basic_batch.get_max_preds: the pixel of the maximum, (0, 0) where nothing is above 0."""
  g = golden_files.load("decode_get_max_preds")
  for name in ("", "more_"):
    np.testing.assert_array_equal(_peaks(g[f"{name}heatmaps"]), g[f"{name}preds"])


def test_jdr_boundaries():
  """A target in column 1 does not count, in column 2 it does; half a unit off is a miss."""
  target = jnp.array([[1.0, 5.0], [5.0, 1.0], [2.0, 2.0], [5.0, 5.0], [5.0, 5.0]])
  # The unit is a tenth of a map of 20 x 10 px: 2 px across, 1 px down.
  off = jnp.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.75, 0.25]])
  found, counted = metrics.jdr(target + off, target, jnp.ones(5, bool), size_wh=(20, 10))
  np.testing.assert_array_equal(counted, [0, 0, 1, 1, 1])
  np.testing.assert_array_equal(found, [0, 0, 1, 0, 1])


def test_jdr_golden():
  """Square maps as they are; maps of 48 x 64 with the original's exchanged axes."""
  g = golden_files.load("metrics_2d")
  output, target = g["jdr_output_q"] / 64, g["jdr_target"]
  valid = jnp.ones((4, 17), bool)
  for key, rows, size_wh in (("jdr_acc", 64, (64, 64)), ("jdr_48x64_acc", 48, (48, 64))):
    peaks = _float32(*(_peaks(x[:, :, :rows]) for x in (output, target)))
    jdr = jax.jit(jax.vmap(functools.partial(metrics.jdr, size_wh=size_wh)))
    found, counted = (np.asarray(x.sum(0)) for x in jdr(*peaks, valid))
    rate = np.where(counted > 0, found / np.maximum(counted, 1), -1)
    np.testing.assert_allclose(rate, g[key][1:], rtol=1e-6)
    np.testing.assert_allclose(rate[counted > 0].mean(), g[key][0], rtol=1e-6)


def test_not_a_number_is_no_hit():
  """A prediction that is not finite but counts must show in the mean, and is a miss."""
  target = jnp.zeros((2, 3))
  prediction = jnp.array([[jnp.nan, 0.0, 0.0], [3.0, 0.0, 4.0]])
  valid = jnp.ones(2, bool)
  assert _error(prediction, target, valid)[0] == jnp.inf
  np.testing.assert_allclose(_error(prediction, target, valid, clamp=150.0)[0], 155.0)
  near, count = metrics.pck(prediction, target, valid, thresholds=(1.0, 6.0))
  np.testing.assert_array_equal(near, [0, 1])
  assert count == 2


def test_nothing_valid_counts_nothing():
  nan = jnp.full((5, 3), jnp.nan)
  none = jnp.zeros(5, bool)
  for metric in (
    metrics.pck_auc,
    *(functools.partial(_error, align=x) for x in (None, _ROOT, _SCALE, metrics.align_similarity)),
  ):
    total, count = jax.jit(metric)(nan, jnp.zeros((5, 3)), none)
    assert total == count == 0
