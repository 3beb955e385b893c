"""The prior's training: simulated pairs are what they say, and it learns from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.synthetic import bake_prior, two_views
from epipolar_jax.triangulation import body_prior

_J = body_prior.SKELETON.num_joints


@pytest.fixture(scope="module")
def world():
  rng = np.random.default_rng(0)
  return two_views.poses(64, "train", rng), *two_views.cameras(64, rng)


def _errors(world, size):
  """Errors of views like the world's own, and scores that tell one joint in four is off."""
  true, depth = two_views._projected(*world)
  pose = ((true - true[:, :, :1]) * depth).reshape(-1, _J, 2)
  rng = np.random.default_rng(1)
  wrong = rng.random(pose.shape[:2]) < 0.25
  off = size * rng.normal(size=pose.shape) * np.where(wrong, 1.0, 0.05)[..., None]
  return two_views.Errors(*map(np.float32, (pose, off, np.where(wrong, 0.3, 0.95))))


def test_poses_are_people(world):
  joints, rotation, centres = world
  at = body_prior.SKELETON.index
  np.testing.assert_array_equal(joints[:, 0], 0.0)
  shin = np.linalg.norm(joints[:, at("rkne")] - joints[:, at("rank")], axis=-1)
  assert shin.min() > 0.3 and shin.max() < 0.6
  # Everybody is in front of both cameras.
  depth = np.einsum("nvb,nvjb->nvj", rotation[:, :, 2], joints[:, None] - centres[:, :, None])
  assert depth.min() > 1.0


def test_a_view_lends_its_errors_to_the_same_pose(world):
  errors = _errors(world, 0.1)
  flat = errors.pose[[5, 77]]
  nearest = two_views._alike(flat, errors.pose)
  assert nearest.shape == (2, 8) and 5 in nearest[0] and 77 in nearest[1]


def test_without_errors_rays_pass_through_the_joints(world):
  errors = _errors(world, 0.0)
  draw = jax.jit(two_views.simulator(*world, errors), static_argnums=1)
  pairs = draw(jax.random.key(0), 256)
  x = np.einsum(
    "nvab,nvjb->nvja", pairs.rotation, pairs.joints[:, None] - pairs.centres[:, :, None]
  )
  off = (pairs.xy - x[..., :2] / x[..., 2:]) * x[:, :, :1, 2:]
  # What is left is the detector's grain of 4 mm, and the view as a whole.
  still = np.abs(off - off.mean(axis=2, keepdims=True))
  assert 0.002 < still.mean() < 0.006 and np.abs(off.mean(axis=2)).max() < 0.05


def test_it_learns_which_joints_are_off(world):
  errors = _errors(world, 0.3)
  simulate = two_views.simulator(*world, errors)
  real = two_views.Pairs(
    *map(np.asarray, jax.jit(simulate, static_argnums=1)(jax.random.key(9), 64))
  )
  losses = []
  params = bake_prior.train(
    simulate, real, steps=500, batch=64, seed=0, width=32, blocks=1,
    tell=lambda step, loss: losses.append((step, loss)),
  )  # fmt: skip
  assert [step for step, _ in losses] == [250, 500] and losses[1][1] < losses[0][1]
  test = jax.jit(simulate, static_argnums=1)(jax.random.key(5), 128)
  found, covariance = bake_prior._found(params, test)
  off = np.linalg.norm(found - test.joints, axis=-1)
  plain = np.linalg.norm(bake_prior._plain(test, "dlt_unweighted") - test.joints, axis=-1)
  assert off.mean() < 0.7 * plain.mean()
  scale = bake_prior.scale_of(params, test)
  sigma = scale * np.sqrt(np.einsum("njaa->nja", covariance))
  assert abs((np.abs(found - test.joints) < sigma).mean() - 0.683) < 0.01


def test_mirrored_pairs_are_pairs(world):
  pairs = jax.jit(two_views.simulator(*world, _errors(world, 0.0)), static_argnums=1)(
    jax.random.key(0), 64
  )
  varied, seen = bake_prior.varied(pairs, jax.random.key(1))
  x = np.einsum(
    "nvab,nvjb->nvja", varied.rotation, varied.joints[:, None] - varied.centres[:, :, None]
  )
  np.testing.assert_allclose(varied.xy, x[..., :2] / x[..., 2:], atol=0.05)
  mirrored = ~np.isclose(varied.joints, pairs.joints).all(axis=(1, 2))
  assert 16 < mirrored.sum() < 48 and 0.8 < jnp.mean(seen) < 1.0
  np.testing.assert_allclose(np.linalg.det(varied.rotation), 1.0, atol=1e-5)
