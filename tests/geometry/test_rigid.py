"""Rotations and alignment of point sets."""

import functools

import cv2
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from epipolar_jax.geometry import rigid
from tests import oracles


def test_rotation_matches_opencv_down_to_zero():
  rng = np.random.default_rng(0)
  rotate = jax.jit(rigid.rotation_from_axis_angle)
  vectors = [rng.normal(size=3) * s for s in (1e-6, 1e-3, 0.0099, 0.0101, 0.5, 3.0)] + [np.zeros(3)]
  for vector in vectors:
    rotation = rotate(jnp.asarray(vector, jnp.float32))
    np.testing.assert_allclose(rotation, cv2.Rodrigues(vector)[0], atol=1e-6)


def test_rotation_gradient_at_zero_is_the_cross_product():
  jacobian = jax.jit(jax.jacfwd(rigid.rotation_from_axis_angle))(jnp.zeros(3))
  np.testing.assert_allclose(jacobian[2, 1], [1, 0, 0], atol=1e-6)
  np.testing.assert_allclose(jacobian[0, 2], [0, 1, 0], atol=1e-6)


@pytest.mark.parametrize("with_scale", [True, False])
def test_procrustes_matches_svd_in_numpy(with_scale):
  rng = np.random.default_rng(1)
  align = jax.jit(rigid.procrustes, static_argnames="with_scale")
  for case in range(20):
    source, target = rng.normal(0, 300, (2, 17, 3)) + 800
    if case > 5:  # a true similarity and noise; every third one mirrored, which no rotation undoes
      target = 1.3 * source @ cv2.Rodrigues(rng.normal(size=3))[0].T + rng.normal(0, 30, (17, 3))
      target = target * ([1, 1, -1] if case % 3 == 0 else [1, 1, 1])
    points = jnp.float32(source), jnp.float32(target)
    r, t, s = (np.asarray(x, np.float64) for x in align(*points, with_scale=with_scale))
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-5)
    aligned = s * source @ r.T + t
    np.testing.assert_allclose(aligned, oracles.procrustes(source, target, with_scale), atol=0.01)


def test_procrustes_ignores_points_without_weight():
  rng = np.random.default_rng(2)
  source, target = (jnp.asarray(x, jnp.float32) for x in rng.normal(0, 300, (2, 9, 3)))
  weight = jnp.array([1.0, 1, 0, 1, 1, 0, 1, 1, 1])
  wild = source.at[2].set(1e5).at[5].set(-7e4)
  kept = np.flatnonzero(weight)
  align = jax.jit(functools.partial(rigid.procrustes, with_scale=True))
  got = align(wild, target, weight=weight)
  for a, b in zip(got, align(source[kept], target[kept])):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2)


def test_procrustes_degenerate_points_are_finite():
  line = jnp.arange(15.0).reshape(5, 3)
  single = jnp.ones((5, 3))
  rng = np.random.default_rng(3)
  cloud = jnp.asarray(rng.normal(size=(5, 3)), jnp.float32)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def total(x, y, w):
    return sum(jnp.sum(o) for o in rigid.procrustes(x, y, with_scale=True, weight=w))

  for source in (line, single, jnp.zeros((5, 3)), cloud):
    for target in (line, single, cloud):
      for weight in (jnp.ones(5), jnp.zeros(5)):
        value, gradients = total(source, target, weight)
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in gradients)


def test_procrustes_gradient_equals_finite_differences():
  rng = np.random.default_rng(4)
  with jax.enable_x64(True):
    source, target = (jnp.asarray(x) for x in rng.normal(0, 1, (2, 6, 3)))
    align = jax.jit(lambda x, y: rigid.procrustes(x, y, with_scale=True))
    jax.test_util.check_grads(align, (source, target), order=1, modes=["rev"], rtol=1e-3)
