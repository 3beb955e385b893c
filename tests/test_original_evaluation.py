"""From heatmaps to metrics as the original evaluates: Modelbuilder.forward with given heatmaps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import heatmaps, metrics
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tasks import multiview
from epipolar_jax.triangulation import consensus, linear
from tests import golden_files

# Largest distance of an inlier's ray. The original's rays go through two float32 points 1 mm apart
# and 5 m away, which moves them by 0.3 mm: what a slack of 0.5 mm changes may be otherwise there.
_THRESHOLD_MM, _SLACK_MM = 35.0, 0.5


@pytest.fixture(scope="module")
def golden():
  return golden_files.load("evaluation")


def _cameras(g, dtype):
  return (jnp.asarray(x, dtype) for x in (g["K"], g["RT"][:, :, :3], g["RT"][:, :, 3]))


def test_golden_decoding_and_triangulate_pymvg(golden):
  """Float32 as in production: 8e-6 px, 0.0009 mm."""
  maps = jnp.asarray(golden["heatmaps_q"] / 256, jnp.float32)
  decode = functools.partial(heatmaps.decode_peak, radius=8.0, stride=4)
  cameras = Cameras(*_cameras(golden, jnp.float32))

  def pymvg(uv, score):
    weight = linear.select_views(score, threshold=0.05).astype(jnp.float32)
    return linear.dlt(uv, cameras, weight=weight, world_norm=True)

  uv, score = jax.jit(jax.vmap(jax.vmap(decode)))(maps)
  np.testing.assert_allclose(uv, golden["batch_locs"], atol=1e-3)
  np.testing.assert_array_equal(score, golden["score_pred"])
  points, valid = jax.jit(jax.vmap(pymvg, (1, 1)))(uv, score)
  assert valid.all()
  np.testing.assert_allclose(points, golden["pred3d/pymvg"], atol=0.01)


def test_golden_consensus_modes(golden):
  """Float64 of its float32 cameras and points, with its draws: 0.0008 mm."""
  with jax.enable_x64(True):
    cameras = Cameras(*_cameras(golden, jnp.float64))
    uv, score, match = (
      jnp.asarray(golden[name], jnp.float64) for name in ("batch_locs", "score_pred", "match")
    )
    neighbour = jnp.asarray(golden["neighbour"])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(1, 1, 1, 0, None))
    def modes(uv, score, match, draws, threshold_mm):
      usable = {"usable": score > 0.05, "threshold_mm": threshold_mm, "world_norm": True}
      seen = {"score": score, "match": match, "neighbour": neighbour, "confidence": 0.55}
      seen["world_norm"] = True
      return {
        "naive": consensus.naive(uv, cameras, draws=draws["naive"], **usable).point,
        "refine": consensus.refine(uv, cameras, draws=draws["refine"], **usable).point,
        "epipolar": consensus.epipolar(
          uv, cameras, draws=draws["epipolar"], threshold_mm=threshold_mm, **seen
        ).point,
        "epipolar_dlt": consensus.epipolar_dlt(uv, cameras, **seen).point,
      }

    draws = {
      name: jnp.asarray(golden[f"draws/{name}"].astype(np.int32))
      for name in ("naive", "refine", "epipolar")
    }
    found, less, more = (
      jax.device_get(modes(uv, score, match, draws, _THRESHOLD_MM + slack))
      for slack in (0.0, -_SLACK_MM, _SLACK_MM)
    )
  for name, points in found.items():
    expected = golden[f"pred3d/{name}"]
    moved = [np.linalg.norm(x[name] - points, axis=-1) > 0.01 for x in (less, more)]
    decided = ~np.any(moved, axis=0)
    assert decided.sum() >= 14, name
    assert decided.all() or name != "epipolar_dlt"  # it has no threshold
    np.testing.assert_allclose(points[decided], expected[decided], atol=0.01, err_msg=name)
    assert np.linalg.norm(points - expected, axis=-1).max() < 50.0


def test_golden_metrics(golden):
  """EPEmean with its clamp, calc_pck of the x coordinate, JDR."""
  truth = jnp.asarray(golden["points_3d"], jnp.float32)
  for name, clamp in [("pymvg_maxdist1000", 1000.0), *((n, 150.0) for n in ("naive", "pymvg"))]:
    found = jnp.asarray(golden["pred3d/" + name.partition("_")[0]], jnp.float32)
    error = metrics.position_errors(found, truth, clamp=clamp).mean()
    np.testing.assert_allclose(error, golden[f"epe/{name}"], rtol=1e-5)

  labels, visible = jnp.asarray(golden["points_2d"], jnp.float32), jnp.asarray(golden["visibility"])
  thresholds = tuple(golden["thresholds"].tolist())
  near = [
    metrics.pck(uv, label, seen, thresholds=thresholds, x_only=True)
    for uv, label, seen in zip(jnp.asarray(golden["batch_locs"]), labels, visible)
  ]
  hits, count = (sum(part) for part in zip(*near))
  np.testing.assert_allclose(100 * hits / count, golden["pck"], rtol=1e-5)

  make = functools.partial(
    heatmaps.gaussian_target, size_hw=(64, 64), stride=4, sigma=8.0, floor=True
  )
  maps = jnp.asarray(golden["heatmaps_q"] / 256, jnp.float32)
  find = jax.jit(jax.vmap(jax.vmap(multiview._peak)))
  peaks = (find(x).astype(jnp.float32) for x in (maps, jax.vmap(jax.vmap(make))(labels)))
  rate = jax.vmap(functools.partial(metrics.jdr, size_wh=(64, 64)))
  found, counted = (x.sum(axis=0) for x in rate(*peaks, visible))
  np.testing.assert_allclose(jnp.mean(found / counted), golden["jdr"], rtol=1e-6)
