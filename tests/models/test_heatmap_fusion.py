"""Heatmaps fused along epipolar lines, one attention a joint."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry import epipolar, sampling
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models.fusion import heatmaps, lines
from tests import scenes

_SIZE = 24  # side of the maps; their images have four times it
_K = 32


def _cameras(scene):
  return Cameras(*(jnp.asarray(x, jnp.float32) for x in scene.cameras)).scale(1 / 4)


def _bumps(scene, width=1.5):
  """Logits [v, h, w, j] with one bump at each joint."""
  uv = (scene.uv - 1.5) / 4
  v, u = np.mgrid[:_SIZE, :_SIZE]
  square = (u[..., None] - uv[:, None, None, :, 0]) ** 2 + (
    v[..., None] - uv[:, None, None, :, 1]
  ) ** 2
  return np.maximum(-square / (2 * width**2), -12.0).astype(np.float32)


def _fuse(logits, cameras, gain=1.0, sharpness=2.0):
  module = heatmaps.JointFusion(num_joints=logits.shape[-1], num_samples=_K)
  source = lines.choose_sources(cameras, rule="all")
  joints = logits.shape[-1]
  params = {"gain": jnp.full(joints, gain), "sharpness": jnp.full(joints, sharpness)}
  inputs = jax.tree.map(lambda x: jnp.asarray(x)[None], (logits, cameras, source))
  return jax.jit(module.apply)({"params": params}, *inputs)[0]


@pytest.mark.parametrize("size_wh", [(_SIZE, _SIZE), (_SIZE, 14), (14, _SIZE)])
def test_equals_one_line_per_pixel(size_wh):
  """Also where maps are not square."""
  width, height = size_wh
  scene = scenes.make_scene(1, num_views=2, num_joints=3, size=4 * _SIZE)
  one, other = _cameras(scene)[0], _cameras(scene)[1]
  seen = heatmaps.evidence(jnp.asarray(_bumps(scene)[1, :height, :width]))
  sharpness = jnp.array([0.0, 1.0, 4.0])
  found = heatmaps.look_along_lines(seen, one, other, sharpness, num_samples=_K)
  matrix = epipolar.fundamental(one, other)

  def pixel(point):
    points, valid = epipolar.sample_line(point, matrix, size_wh=size_wh, num_samples=_K)
    values = sampling.bilinear(seen, points)
    return jnp.sum(jax.nn.softmax(values * sharpness.reshape(1, 3), 0) * values, 0) * valid

  v, u = jnp.meshgrid(jnp.arange(height * 1.0), jnp.arange(width * 1.0), indexing="ij")
  exact = jax.jit(jax.vmap(jax.vmap(pixel)))(jnp.stack([u, v], -1))
  error = np.abs(np.asarray(found - exact))
  # Interpolated between lines at most a pixel apart; a line that grazes a corner of the map may be
  # in for a pixel and out for its neighbours. Measured: mean 0.02, 99 % 0.2, of values up to 9.
  assert np.mean(error) < 0.05
  assert np.quantile(error, 0.98) < 0.3
  assert float(exact.max()) > 4


def test_products_equal_gathers():
  scene = scenes.make_scene(3, num_views=2, num_joints=3, size=4 * _SIZE)
  one, other = _cameras(scene)[0], _cameras(scene)[1]
  seen = heatmaps.evidence(jnp.asarray(_bumps(scene)[1]))
  sharpness = jnp.array([0.0, 1.0, 4.0])

  @functools.partial(jax.jit, static_argnames="products")
  def look(seen, sharpness, products):
    def total(seen, sharpness):
      found = heatmaps.look_along_lines(
        seen, one, other, sharpness, num_samples=_K, products=products
      )
      return jnp.sum(jnp.sin(found)), found

    return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(seen, sharpness)

  ((_, want), slopes), ((_, got), other_slopes) = (look(seen, sharpness, p) for p in (False, True))
  np.testing.assert_allclose(got, want, atol=2e-5)
  for a, b in zip(other_slopes, slopes):
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_two_views_pin_down_a_joint_that_a_third_does_not_see():
  scene = scenes.make_scene(2, num_views=3, num_joints=5, size=4 * _SIZE)
  logits = _bumps(scene)
  logits[0] = 0.0
  fused = np.asarray(_fuse(logits, _cameras(scene)))
  v, u = np.unravel_index(fused[0].reshape(-1, 5).argmax(0), (_SIZE, _SIZE))
  truth = (scene.uv[0] - 1.5) / 4
  inside = ((truth > 0) & (truth < _SIZE - 1)).all(-1)
  assert inside.sum() >= 3
  error = np.linalg.norm(np.stack([u, v], -1) - truth, axis=-1)
  assert error[inside].max() < 1.5


def test_a_view_that_sees_nothing_says_nothing():
  scene = scenes.make_scene(4, num_views=2, num_joints=2, size=4 * _SIZE)
  logits = _bumps(scene)
  logits[1] = 0.0
  fused = np.asarray(_fuse(logits, _cameras(scene)))[0]
  own = np.asarray(heatmaps.evidence(jnp.asarray(logits[0])))
  added = fused - own
  flat = float(np.log1p(np.exp(3.0)))
  hit = added > 0.99 * flat
  assert hit.mean() > 0.5
  np.testing.assert_allclose(added[hit], flat, rtol=1e-2)


def test_gain_zero_leaves_the_view_alone():
  scene = scenes.make_scene(4, num_views=2, num_joints=2, size=4 * _SIZE)
  logits = jnp.asarray(_bumps(scene))
  fused = _fuse(logits, _cameras(scene), gain=0.0)
  np.testing.assert_allclose(fused, heatmaps.evidence(logits), atol=1e-6)


def test_gradients_are_finite_with_the_epipole_in_the_map():
  scene = scenes.make_scene(5, num_views=2, num_joints=2, size=4 * _SIZE)
  # The second camera stands on the first one's optical axis, behind the person.
  first = _cameras(scene)[0]
  rotation, translation = first.rotation, first.translation
  centre = first.centre() + 9000.0 * rotation[2]
  turned = jnp.diag(jnp.array([-1.0, 1.0, -1.0])) @ rotation
  cameras = Cameras(
    jnp.stack([first.intrinsics, first.intrinsics]),
    jnp.stack([rotation, turned]),
    jnp.stack([translation, -turned @ centre]),
  )
  logits = jnp.asarray(_bumps(scene))
  value, slope = jax.value_and_grad(lambda x: jnp.sum(jnp.sin(_fuse(x, cameras))))(logits)
  assert np.isfinite(value)
  assert np.isfinite(slope).all()
  assert np.abs(slope).max() > 0
