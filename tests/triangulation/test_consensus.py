"""Triangulation by consensus of pairs, against the original."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.triangulation import consensus
from tests import golden_files, scenes

# name: (points, threshold_mm, lowest score)
_RUNS = {
  "exact_r3": ("exact", 3.0, None),
  "noise_r35": ("noise", 35.0, None),
  "outl_r35": ("outl", 35.0, None),
  "outl_conf_r35_c0p85": ("outl", 35.0, 0.85),
  "noise_r3": ("noise", 3.0, None),
}


@functools.partial(jax.jit, static_argnames="world_norm")
def _consensus(uv, k, r, t, usable, threshold_mm, draws, world_norm):
  """Both modes for points [n, v, j, 2], usable [n, v, j], thresholds [n], draws [n, j, d, 2]."""

  def one(points, usable, draws, threshold_mm):
    options = {"usable": usable, "threshold_mm": threshold_mm, "world_norm": world_norm}
    args = points, Cameras(k, r, t)
    return consensus.naive(*args, draws=draws, **options), consensus.refine(
      *args, draws=draws, **options
    )

  joints = jax.vmap(one, (1, 1, None if draws is None else 0, None))
  return jax.vmap(joints)(uv, usable, draws, threshold_mm)


def _inputs(g, dtype):
  uv = np.stack([g[points] for points, _, _ in _RUNS.values()])
  scores = [np.ones_like(g["conf"]) if low is None else g["conf"] for _, _, low in _RUNS.values()]
  usable = np.stack([s > (low or 0) for s, (_, _, low) in zip(scores, _RUNS.values())])
  thresholds = jnp.asarray([threshold for _, threshold, _ in _RUNS.values()], dtype)
  cameras = (jnp.asarray(a, dtype) for a in (g["K"], g["RT"][:, :, :3], g["RT"][:, :, 3]))
  return jnp.asarray(uv, dtype), *cameras, jnp.asarray(usable), thresholds


def test_golden_triangulate_and_triangulate_refine():
  """Float64, with its draws; measured 3e-10 mm. -1: the original drew nothing."""
  g = golden_files.load("triangulation_ransac")
  draws = np.stack([g[f"naive.{run}.draws"] for run in _RUNS]).astype(np.int32)
  with jax.enable_x64(True):
    args = _inputs(g, jnp.float64)
    found = _consensus(*args, jnp.asarray(draws), True)
  for result, mode in zip(found, ("naive", "refine")):
    expected = np.stack([g[f"{mode}.{run}"] for run in _RUNS])
    np.testing.assert_allclose(result.point, expected, atol=1e-4, err_msg=mode)
    # What the original gives as the origin is not valid here.
    np.testing.assert_array_equal(result.valid, np.any(expected != 0, axis=-1))


def test_all_pairs_find_at_least_what_the_draws_find():
  """Float32 and our norm; the winners are the original's pairs, told by its table of inliers."""
  g = golden_files.load("triangulation_ransac")
  first, refined = _consensus(*_inputs(g, jnp.float32), None, False)
  for n, run in enumerate(_RUNS):
    most = np.maximum(g[f"{run}.pair_inliers"], 0).reshape(17, -1).max(axis=1)
    assert np.mean(np.sum(first.inlier[n], axis=1) == most) > 0.9, run
  np.testing.assert_allclose(refined.point[0], g["X"], atol=0.05)
  gap = np.linalg.norm(refined.point[1] - g["refine.noise_r35"], axis=1)
  assert gap.mean() < 2.0  # all views agree there: only the norm differs


_EPIPOLAR_RUNS = {
  "noise_ransac": ("noise", "conf1", 0.85, 35.0, slice(0, 17)),
  "outl_ransac": ("outl", "ones", 0.85, 35.0, slice(0, 17)),
  "all_single": ("noise", "one", 0.85, 35.0, slice(0, 17)),
  "none_above": ("noise", "half", 0.85, 35.0, slice(0, 17)),
  "noise_8joints_exhaustive": ("noise", "conf1", 0.85, 35.0, slice(0, 8)),
  "outl_8joints_exhaustive": ("outl", "ones", 0.85, 35.0, slice(9, 17)),
  "exact_8joints_exhaustive_r3": ("exact", "ones", 0.05, 3.0, slice(0, 8)),
  "noise_dlt": ("noise", "conf1", 0.85, 35.0, slice(0, 17)),
  "outl_dlt": ("outl", "ones", 0.85, 35.0, slice(0, 17)),
}


@jax.jit
def _epipolar(uv, k, r, t, score, confidence, threshold_mm, draws, maps, neighbour):
  """Both modes for points [n, v, j, 2], scores [n, v, j], draws [n, j, d, 2]."""

  def one(points, score, draws, confidence, threshold_mm):
    look_up = functools.partial(consensus.look_up_match, stride=4, original_rounding=True)
    options = {"score": score, "match": jax.vmap(look_up)(maps, points), "neighbour": neighbour}
    options |= {"confidence": confidence, "world_norm": True}
    args = points, Cameras(k, r, t)
    return (
      consensus.epipolar(*args, threshold_mm=threshold_mm, draws=draws, **options),
      consensus.epipolar_dlt(*args, **options),
    )

  return jax.vmap(jax.vmap(one, (1, 1, 0, None, None)))(uv, score, draws, confidence, threshold_mm)


def test_golden_triangulate_epipolar():
  """Float64, with its draws or all ordered pairs, and the fallback to one view and its match."""
  g = golden_files.load("triangulation_epipolar")
  conf = g["conf1"]
  single = np.where(np.arange(17)[None] % 4 == np.arange(4)[:, None], 0.9, 0.1)
  scores = {"conf1": conf, "half": conf / 2, "ones": np.ones_like(conf), "one": single}
  every = np.array([*itertools.permutations(range(4), 2)])
  every = np.tile(every[np.arange(100) % 12], (17, 1, 1))
  runs = _EPIPOLAR_RUNS.items()
  draws = np.stack([g.get(f"epipolar.{name}.draws", every) for name, _ in runs])
  # Joints without draws fell back to a single view.
  draws = np.where(draws < 0, -1, draws).astype(np.int32)
  with jax.enable_x64(True):
    found = _epipolar(
      jnp.asarray(np.stack([g[points] for _, (points, *_) in runs])),
      *map(jnp.asarray, (g["K"], g["RT"][:, :, :3], g["RT"][:, :, 3])),
      jnp.asarray(np.stack([scores[score] for _, (_, score, *_) in runs])),
      *(jnp.asarray([run[n] for _, run in runs]) for n in (2, 3)),
      jnp.asarray(draws),
      jnp.asarray(g["corr_pos"], jnp.float64),
      jnp.asarray(g["other"]),
    )
  for n, (name, run) in enumerate(runs):
    ours = found[name.endswith("dlt")]
    expected = g[f"epipolar.{name}"]
    np.testing.assert_allclose(ours.point[n, run[-1]], expected, atol=1e-4, err_msg=name)
    # What the original gives as the origin, for want of a consensus, is not valid here.
    np.testing.assert_array_equal(ours.valid[n, run[-1]], np.any(expected != 0, axis=-1))


@pytest.mark.parametrize("mode", ["refine", "epipolar"])
def test_no_view_is_flagged_and_gradients_are_finite(mode):
  scene = scenes.make_scene(7)
  k, r, t = (jnp.asarray(c, jnp.float32) for c in scene.cameras)

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def total(uv, usable):
    if mode == "refine":
      found = consensus.refine(uv, Cameras(k, r, t), usable=usable, threshold_mm=5.0)
    else:
      options = {"match": uv[::-1], "neighbour": jnp.arange(4)[::-1]}
      score = usable.astype(jnp.float32)
      found = consensus.epipolar(uv, Cameras(k, r, t), score=score, threshold_mm=5.0, **options)
    return jnp.sum(found.point), found

  exact = jnp.asarray(scene.uv[:, 0], jnp.float32)
  cases = (
    (exact, [True] * 4, True),
    (exact, [False, True, False, False], mode == "epipolar"),
    (exact, [False] * 4, False),
    (jnp.full((4, 2), jnp.nan), [True] * 4, False),
  )
  for uv, usable, valid in cases:
    (_, found), gradient = total(uv, jnp.asarray(usable))
    assert found.valid == valid
    assert np.isfinite(found.point).all() and np.isfinite(gradient).all()
    if valid:
      np.testing.assert_allclose(found.point, scene.joints[0], atol=0.05)
    else:
      np.testing.assert_array_equal(found.point, 0)


def test_the_originals_rounding_cuts_towards_zero():
  """Map coordinate -0.5 is column 0 by cutting and, by floor, the last; -1 counts from the end."""
  table = jnp.stack(jnp.meshgrid(jnp.arange(6.0), jnp.arange(4.0)), axis=-1)
  look_up = functools.partial(consensus.look_up_match, table, stride=4)
  half = jnp.array([-0.5, 1.5])
  np.testing.assert_array_equal(look_up(half, original_rounding=True), [1.5, 1.5])
  np.testing.assert_array_equal(
    look_up(jnp.array([-2.5, 1.5]), original_rounding=True), [21.5, 1.5]
  )
  np.testing.assert_array_equal(look_up(jnp.array([-2.5, 15.0])), [1.5, 13.5])


def test_a_match_is_looked_up_inside_a_map_that_is_not_square():
  """Points beyond the last column of a map 6 wide and 4 high, and beyond its last row."""
  table = jnp.stack(jnp.meshgrid(jnp.arange(6.0), jnp.arange(4.0)), axis=-1)
  for point, place in (((21.5, 1.5), (5, 0)), ((99.0, 99.0), (5, 3)), ((1.5, 13.5), (0, 3))):
    for rounding in (False, True):
      found = consensus.look_up_match(table, jnp.array(point), stride=4, original_rounding=rounding)
      np.testing.assert_array_equal(found, 4 * np.array(place) + 1.5)
