"""Every method by name, in one batch: exact views, missing views, what a method needs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import heatmaps, reconstruction
from epipolar_jax.tools import simulation

_POINTS = ("dlt", "dlt_unweighted", "robust", "pymvg", "naive", "epipolar_dlt")


@functools.cache
def _views():
  """Exact detections of two people; the first view is 60 px off in the second frame, score 0."""
  scenes = simulation.make_scenes(np.random.default_rng(3), 2)
  frame = np.arange(2)[:, None]
  uv, score = scenes.uv.copy(), np.ones(scenes.uv.shape[:3], np.float32)
  uv[1, 0] += 60.0
  score[1, 0] = 0.0
  # One joint that a single view sees, one that none does.
  score[0, 1:, 4] = 0.0
  score[0, :, 9] = 0.0
  return scenes, reconstruction.Views(
    joints_2d=uv,
    score=score,
    intrinsics=scenes.intrinsics,
    rotation=scenes.rotation,
    translation=scenes.translation,
    match=scenes.uv[frame, scenes.neighbour],
    neighbour=scenes.neighbour,
  )


@pytest.mark.parametrize("name", _POINTS)
def test_exact_views_give_the_joints_and_what_is_not_seen_is_not_valid(name):
  scenes, views = _views()
  found = reconstruction.make(name)(views)
  expected = np.ones((2, 17), bool)
  # An epipolar match stands in for the second view; the original lowers its threshold, if need be
  # until views without a score pass.
  expected[0, 4] = reconstruction.needs_match(name) or name == "pymvg"
  expected[0, 9] = name == "pymvg"
  np.testing.assert_array_equal(found.valid, expected)
  np.testing.assert_allclose(np.asarray(found.points)[expected], scenes.joints[expected], atol=0.1)
  assert np.isfinite(found.points).all()


@pytest.mark.parametrize("name", ["dlt", "pymvg"])
def test_a_frame_is_the_same_in_batches_of_any_size(name):
  """Large ones get more frames inside, so that no two arrays share their places in the cache."""
  views = jax.tree.map(lambda x: np.repeat(x, 128, axis=0), _views()[1])
  views = views._replace(joints_2d=views.joints_2d + np.linspace(0, 1, 256)[:, None, None, None])
  locate = reconstruction.make(name)
  together = locate(views)
  assert together.points.shape == (256, 17, 3) and together.valid.shape == (256, 17)
  for part in (slice(0, 1), slice(253, 256)):
    alone = locate(jax.tree.map(lambda x, part=part: x[part], views))
    np.testing.assert_array_equal(together.valid[part], alone.valid)
    np.testing.assert_allclose(together.points[part], alone.points, atol=0.01)


def test_rpsm_takes_heatmaps_and_finds_its_own_root():
  """Sums of exact maps: within 3 mm; a joint that no view sees is where its limbs allow."""
  scenes, views = _views()
  make = functools.partial(heatmaps.gaussian_target, size_hw=(64, 64), stride=4, sigma=8.0)
  maps = jax.vmap(jax.vmap(jax.vmap(make)))(jnp.asarray(scenes.uv))
  views = views._replace(heatmaps=maps * views.score[..., None, None])
  limb_length = np.array(simulation.LIMB_MM)
  found = reconstruction.make("rpsm", limb_length=limb_length)(views)
  assert found.valid.all()
  error = np.linalg.norm(found.points - scenes.joints, axis=-1)
  seen = np.ones((2, 17), bool)
  seen[0, [4, 9]] = False
  assert error[seen].mean() < 3.0 and error[0, 9] < 350.0, error


def test_what_is_missing_is_said():
  _, views = _views()
  with pytest.raises(ValueError, match="no method 'x'; there are dlt, dlt_unweighted, epipolar"):
    reconstruction.make("x")
  with pytest.raises(ValueError, match="rpsm needs 16 limb lengths of h36m_17, got None"):
    reconstruction.make("rpsm")
  with pytest.raises(ValueError, match="epipolar needs `match`"):
    reconstruction.make("epipolar")(views._replace(match=None))
  with pytest.raises(ValueError, match="rpsm needs `heatmaps`"):
    reconstruction.make("rpsm", limb_length=np.ones(16))(views)
