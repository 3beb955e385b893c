"""Every method by name, in one batch: exact views, missing views, what a method needs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from epipolar_jax import heatmaps, triangulation
from epipolar_jax.geometry.cameras import Cameras
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
  return scenes, triangulation.Views(
    joints_2d=uv,
    score=score,
    cameras=scenes.cameras,
    match=scenes.uv[frame, scenes.neighbour],
    neighbour=scenes.neighbour,
  )


def _views_with_maps():
  scenes, views = _views()
  make = functools.partial(heatmaps.gaussian_target, size_hw=(64, 64), stride=4, sigma=8.0)
  maps = jax.vmap(jax.vmap(jax.vmap(make)))(jnp.asarray(scenes.uv))
  return scenes, views._replace(heatmaps=maps * views.score[..., None, None])


@pytest.mark.parametrize("name", _POINTS)
def test_exact_views_give_the_joints_and_what_is_not_seen_is_not_valid(name):
  scenes, views = _views()
  found = triangulation.make(name)(views)
  expected = np.ones((2, 17), bool)
  # An epipolar match stands in for the second view; the original lowers its threshold, if need be
  # until views without a score pass.
  expected[0, 4] = triangulation.METHODS[name].needs_match
  expected[0, 9] = False
  np.testing.assert_array_equal(found.valid, expected)
  np.testing.assert_allclose(np.asarray(found.points)[expected], scenes.joints[expected], atol=0.1)
  assert np.isfinite(found.points).all()


def test_gradients_of_robust_are_finite():
  """Also where views say nothing, or a joint is not found; then there is none."""
  _, views = _views()
  locate = triangulation.make("robust")

  def total(joints_2d, score):
    return jnp.sum(locate(views._replace(joints_2d=joints_2d, score=score)).points)

  by_2d, by_score = jax.grad(total, (0, 1))(views.joints_2d, jnp.asarray(views.score))
  assert np.isfinite(by_2d).all() and np.isfinite(by_score).all()
  assert np.abs(by_2d[0, :, 0]).max() > 0.1 and not np.any(by_2d[0, :, [4, 9]])


def test_robust_needs_no_body():
  """One joint, or three: nothing is learned of where joints are, all is found."""
  scenes, views = _views()
  for joints in ([2], [0, 7, 16]):
    seen = {"joints_2d": views.joints_2d[:, :, joints], "score": views.score[:, :, joints]}
    few = views._replace(match=None, **seen)
    found = triangulation.make("robust")(few)
    assert found.valid.all()
    np.testing.assert_allclose(found.points, scenes.joints[:, joints], atol=0.1)


@pytest.mark.parametrize("name", ["dlt", "pymvg"])
def test_a_frame_is_the_same_in_batches_of_any_size(name):
  """Large ones get more frames inside, so that no two arrays share their places in the cache."""
  views = jax.tree.map(lambda x: np.repeat(x, 128, axis=0), _views()[1])
  views = views._replace(joints_2d=views.joints_2d + np.linspace(0, 1, 256)[:, None, None, None])
  locate = triangulation.make(name)
  together = locate(views)
  assert together.points.shape == (256, 17, 3) and together.valid.shape == (256, 17)
  for part in (slice(0, 1), slice(253, 256)):
    alone = locate(jax.tree.map(lambda x, part=part: x[part], views))
    np.testing.assert_array_equal(together.valid[part], alone.valid)
    np.testing.assert_allclose(together.points[part], alone.points, atol=0.01)


def test_rpsm_takes_heatmaps_and_finds_its_own_root():
  """Sums of exact maps: within 3 mm; a joint that no view sees is where its limbs allow."""
  scenes, views = _views_with_maps()
  found = triangulation.make("rpsm", limb_length=np.array(simulation.LIMB_MM))(views)
  assert found.valid.all()
  error = np.linalg.norm(found.points - scenes.joints, axis=-1)
  seen = np.ones((2, 17), bool)
  seen[0, [4, 9]] = False
  assert error[seen].mean() < 3.0 and error[0, 9] < 350.0, error


@pytest.mark.parametrize("name", ["robust", "rpsm"])
def test_an_exported_method_takes_any_number_of_frames(name):
  _, views = _views_with_maps()
  lengths = np.array(simulation.LIMB_MM) if triangulation.METHODS[name].needs_heatmaps else None
  locate = triangulation.make(name, limb_length=lengths)
  (frames,) = export.symbolic_shape("frames")
  given = jax.tree.map(lambda x: jax.ShapeDtypeStruct((frames, *x.shape[1:]), x.dtype), views)
  exported = export.export(locate, platforms=["cpu", "cuda", "tpu"])(given)
  found, want = exported.call(views), locate(views)
  np.testing.assert_array_equal(found.valid, want.valid)
  np.testing.assert_allclose(found.points, want.points, atol=0.01)


def test_rpsm_lowers_for_accelerators():
  """Blocks of frames, and nothing is asked of the host."""
  shapes = ((4, 17, 2), (4, 17), (4, 3, 3), (4, 3, 3), (4, 3), (4, 17, 64, 64))
  uv, score, *cameras, maps = (jax.ShapeDtypeStruct((1000, *x), jnp.float32) for x in shapes)
  locate = triangulation.make("rpsm", limb_length=np.array(simulation.LIMB_MM))
  views = triangulation.Views(uv, score, Cameras(*cameras), heatmaps=maps)
  text = export.export(locate, platforms=["cuda", "tpu"])(views).mlir_module()
  assert "callback" not in text and "tensor<128x4x17x64x64xf32>" in text


def test_what_is_missing_is_said():
  _, views = _views()
  with pytest.raises(ValueError, match="no method 'x'; there are dlt, dlt_unweighted, epipolar"):
    triangulation.make("x")
  with pytest.raises(ValueError, match="rpsm needs 16 limb lengths of h36m_17, got None"):
    triangulation.make("rpsm")
  with pytest.raises(ValueError, match="epipolar needs `match`"):
    triangulation.make("epipolar")(views._replace(match=None))
  with pytest.raises(ValueError, match="rpsm needs `heatmaps`"):
    triangulation.make("rpsm", limb_length=np.ones(16))(views)
