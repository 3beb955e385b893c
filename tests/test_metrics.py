"""Metrics."""

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import metrics
from tests import golden_files, reference


def _float32(*arrays):
  return [jnp.asarray(a, jnp.float32) for a in arrays]


def _poses(seed=0, frames=6):
  """Targets, predictions about 40 mm off, and a mask with a third of the joints missing."""
  rng = np.random.default_rng(seed)
  target = rng.normal(0, 400, (frames, 17, 3))
  valid = rng.uniform(size=(frames, 17)) > 0.33
  valid[:, 0] = True
  return target + rng.normal(0, 25, target.shape), target, valid


def test_mpjpe_golden_epemean():
  """The original clamps every error and averages invisible joints too."""
  g = golden_files.load("metrics_epe")
  everything = jnp.ones((6, 17), bool)
  for key, clamp in (("novis", 150.0), ("maxdist30", 30.0)):
    mpjpe = jax.jit(jax.vmap(lambda p, t, v, c=clamp: metrics.mpjpe(p, t, v, clamp=c)))
    total, count = mpjpe(*_float32(g["pred3d"], g["gt3d"]), everything)
    np.testing.assert_allclose(total.sum() / count.sum(), g[f"EPEmean.{key}.mean"], rtol=1e-5)
    errors = metrics.position_errors(*_float32(g["pred3d"][0], g["gt3d"][0]), clamp=clamp)
    np.testing.assert_allclose(errors, g[f"EPEmean.{key}.perjoint"], rtol=1e-5)


def test_absolute_and_root_relative_errors_count_only_valid_joints():
  prediction, target, valid = _poses()
  prediction = np.where(valid[..., None], prediction, np.nan)
  distance = np.linalg.norm(prediction - target, axis=-1)
  total, count = jax.jit(jax.vmap(metrics.mpjpe))(*_float32(prediction, target), jnp.asarray(valid))
  np.testing.assert_allclose(total.sum(), distance[valid].sum(), rtol=1e-5)
  assert count.sum() == valid.sum()
  relative = jax.jit(jax.vmap(lambda p, t, v: metrics.root_relative_mpjpe(p, t, v, root=0)))
  moved = np.linalg.norm((prediction - prediction[:, :1]) - (target - target[:, :1]), axis=-1)
  total, count = relative(*_float32(prediction + 500, target), jnp.asarray(valid))
  np.testing.assert_allclose(total.sum(), moved[valid].sum(), rtol=1e-5)
  rootless = valid & (np.arange(17) > 0)
  total, count = relative(*_float32(prediction, target), jnp.asarray(rootless))
  assert total.sum() == count.sum() == 0
  image = jax.jit(metrics.epe_2d)(
    *_float32(prediction[0, :, :2], target[0, :, :2]), jnp.asarray(valid[0])
  )
  expected = np.linalg.norm(prediction[0, :, :2] - target[0, :, :2], axis=-1)[valid[0]]
  np.testing.assert_allclose(image, [expected.sum(), len(expected)], rtol=1e-5)


def test_pa_mpjpe_matches_svd_procrustes_of_the_valid_joints():
  prediction, target, valid = _poses(1)
  prediction[3:, :, 0] *= -1  # mirrored: the alignment must not use a reflection
  total, count = jax.jit(jax.vmap(metrics.pa_mpjpe))(
    *_float32(np.where(valid[..., None], prediction, np.nan), target), jnp.asarray(valid)
  )
  for p, t, v, got, n in zip(prediction, target, valid, total, count):
    expected = np.linalg.norm(reference.procrustes(p[v], t[v]) - t[v], axis=-1).sum()
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert n == v.sum()


def test_scale_aligned_mpjpe_is_the_least_over_scales_and_sees_no_size():
  prediction, target, valid = _poses(2)
  prediction = np.where(valid[..., None], 0.8 * prediction + 300, np.nan)
  aligned = jax.jit(jax.vmap(lambda p, t, v: metrics.scale_aligned_mpjpe(p, t, v, root=0)))
  total, count = aligned(*_float32(prediction, target), jnp.asarray(valid))
  moved, wanted = prediction - prediction[:, :1], target - target[:, :1]
  for n in range(len(valid)):
    a, b = moved[n, valid[n]], wanted[n, valid[n]]
    (scale,), *_ = np.linalg.lstsq(a.reshape(-1, 1), b.ravel(), rcond=None)
    np.testing.assert_allclose(total[n], np.linalg.norm(scale * a - b, axis=1).sum(), rtol=1e-4)
  assert count.sum() == valid.sum()
  exact, _ = aligned(*_float32(0.5 * target, target), jnp.asarray(valid))
  np.testing.assert_allclose(exact, 0, atol=0.02)
  rootless = jnp.asarray(valid & (np.arange(17) > 0))
  total, count = aligned(*_float32(prediction, target), rootless)
  assert total.sum() == count.sum() == 0


def test_parts_merge_to_the_whole_per_joint_and_over_all():
  """In any split, uneven ones too; a joint that is never valid has count 0 and mean 0."""
  prediction, target, valid = _poses(3)
  valid[:, 5] = False
  errors = np.linalg.norm(prediction - target, axis=-1)
  each = [metrics.masked_each(*_float32(e), jnp.asarray(v)) for e, v in zip(errors, valid)]
  first, second = metrics.merge(*each[:1]), metrics.merge(*each[1:])
  total, count = metrics.merge(first, second)
  np.testing.assert_allclose(total, np.where(valid, errors, 0).sum(0), rtol=1e-5)
  np.testing.assert_array_equal(count, valid.sum(0))
  joint = metrics.mean((total, count))
  assert joint[5] == 0 and np.isfinite(joint).all()
  np.testing.assert_allclose(joint[1], errors[valid[:, 1], 1].mean(), rtol=1e-5)
  whole = metrics.masked(*_float32(errors), jnp.asarray(valid))
  np.testing.assert_allclose(total.sum() / count.sum(), metrics.mean(whole), rtol=1e-5)


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


def test_jdr_boundaries():
  """A target in column 1 does not count, in column 2 it does; half a unit off is a miss."""
  target = jnp.array([[1.0, 5.0], [5.0, 1.0], [2.0, 2.0], [5.0, 5.0], [5.0, 5.0]])
  # The unit is a tenth of a map of 20 x 10 px: 2 px across, 1 px down.
  off = jnp.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.75, 0.25]])
  found, counted = metrics.jdr_of_peaks(target + off, target, jnp.ones(5, bool), size_wh=(20, 10))
  np.testing.assert_array_equal(counted, [0, 0, 1, 1, 1])
  np.testing.assert_array_equal(found, [0, 0, 1, 0, 1])


def test_jdr_of_maps_that_are_not_square():
  """A unit is a tenth of the width across and of the height down; the original exchanges them."""
  target = jnp.zeros((2, 10, 20)).at[:, 5, 12].set(1.0)
  prediction = jnp.zeros((2, 10, 20)).at[0, 5, 12].set(1.0).at[1, 5, 13].set(1.0)
  # A pixel off is half of a unit of 2 px, and not below it.
  found, counted = metrics.jdr(prediction, target, jnp.ones(2, bool))
  np.testing.assert_array_equal(found, [1, 0])
  np.testing.assert_array_equal(counted, [1, 1])
  wide = jnp.repeat(prediction, 2, axis=2), jnp.repeat(target, 2, axis=2)  # 40 wide: units of 4 px
  found, _ = metrics.jdr(wide[0].at[1].set(0.0).at[1, 5, 25].set(1.0), wide[1], jnp.ones(2, bool))
  np.testing.assert_array_equal(found, [1, 1])
  swapped, _ = metrics.jdr(
    wide[0].at[1].set(0.0).at[1, 5, 25].set(1.0), wide[1], jnp.ones(2, bool), reference_axes=True
  )
  np.testing.assert_array_equal(swapped, [1, 0])


def test_jdr_golden():
  """Square maps by default; maps of 48 x 64 with the original's exchanged axes."""
  g = golden_files.load("metrics_2d")
  output, target = _float32(g["jdr_output_q"] / 64, g["jdr_target"])
  valid = jnp.ones((4, 17), bool)
  for key, rows, swapped in (("jdr_acc", 64, False), ("jdr_48x64_acc", 48, True)):
    jdr = jax.jit(jax.vmap(lambda o, t, v, s=swapped: metrics.jdr(o, t, v, reference_axes=s)))
    found, counted = jdr(output[:, :, :rows], target[:, :, :rows], valid)
    found, counted = np.asarray(found.sum(0)), np.asarray(counted.sum(0))
    rate = np.where(counted > 0, found / np.maximum(counted, 1), -1)
    np.testing.assert_allclose(rate, g[key][1:], rtol=1e-6)
    np.testing.assert_allclose(rate[counted > 0].mean(), g[key][0], rtol=1e-6)


def test_not_a_number_is_no_hit():
  """A prediction that is not finite but counts must show in the mean, and is a miss."""
  target = jnp.zeros((2, 3))
  prediction = jnp.array([[jnp.nan, 0.0, 0.0], [3.0, 0.0, 4.0]])
  valid = jnp.ones(2, bool)
  assert metrics.mpjpe(prediction, target, valid)[0] == jnp.inf
  np.testing.assert_allclose(metrics.mpjpe(prediction, target, valid, clamp=150.0)[0], 155.0)
  near, count = metrics.pck(prediction, target, valid, thresholds=(1.0, 6.0))
  np.testing.assert_array_equal(near, [0, 1])
  assert count == 2


def test_lifting_epe_is_in_units_of_the_bone():
  g = golden_files.load("metrics_epe")
  points = _float32(g["pred3d"], g["gt3d"])
  everything = jnp.ones((6, 17), bool)
  each = jax.vmap(lambda p, t, v, s: metrics.lifting_epe(p, t, v, scale_mm=s))
  total, count = each(*points, everything, jnp.full(6, 0.5))
  distance = np.linalg.norm(g["pred3d"] - g["gt3d"], axis=-1)
  np.testing.assert_allclose(total.sum() / count.sum(), 0.5 * distance.mean(), rtol=1e-5)


def test_nothing_valid_counts_nothing():
  nan = jnp.full((5, 3), jnp.nan)
  none = jnp.zeros(5, bool)
  for metric in (
    metrics.mpjpe,
    metrics.pa_mpjpe,
    metrics.epe_2d,
    metrics.pck_auc,
    lambda p, t, v: metrics.root_relative_mpjpe(p, t, v, root=0),
    lambda p, t, v: metrics.scale_aligned_mpjpe(p, t, v, root=0),
  ):
    total, count = jax.jit(metric)(nan, jnp.zeros((5, 3)), none)
    assert total == count == 0


def test_peaks_golden_get_max_preds():
  """basic_batch.get_max_preds: the pixel of the maximum, (0, 0) where nothing is above 0."""
  g = golden_files.load("decode_get_max_preds")
  for name in ("", "more_"):
    found = jax.vmap(jax.vmap(metrics._peak))(jnp.asarray(g[f"{name}heatmaps"]))
    np.testing.assert_array_equal(found, g[f"{name}preds"])
