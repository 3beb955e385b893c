"""Canonical frames: the original's numbers (modeling/lifting.py, keypoints3d.py), and laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.geometry import canonical, rigid
from tests import golden_files

_HAND = functools.partial(canonical.canonical_frame, align=12, side=20)


def test_hand_frames_and_rotations_equal_the_original():
  """canonical_trafo, LiftingNet._get_rot_mat, _flip_right_hand, multiview_avg."""
  g = golden_files.load("lifting_parts")
  floats = {k: jnp.asarray(v, jnp.float32) for k, v in g.items()}
  own, rotation = jax.jit(jax.vmap(_HAND))(floats["canon_in"])
  # The original stores float64; its arctan has an offset of 1e-8.
  np.testing.assert_allclose(own, g["canon_out"], atol=2e-5)
  np.testing.assert_allclose(rotation, g["canon_rot"], atol=2e-5)
  back = jax.vmap(canonical.from_canonical)(own, rotation)
  np.testing.assert_allclose(back, g["canon_in"], atol=2e-5)
  turned = jax.vmap(rigid.rotation_from_axis_angle)(floats["y"])
  # Near the zero rotation the original's axis is too short, by the 1e-8 in its angle.
  np.testing.assert_allclose(turned, g["get_rot_mat"], atol=2e-4)
  flipped = jnp.where(
    (floats["side"] == 1)[:, None, None], canonical.mirror(floats["can"]), floats["can"]
  )
  np.testing.assert_allclose(flipped, g["flip_right_hand"], atol=1e-6)
  world = jax.vmap(canonical.to_world)(floats["can"], floats["R"])
  np.testing.assert_allclose(world, g["multiview_avg"], atol=1e-5)


def test_turning_a_pose_leaves_its_own_frame_alone():
  rng = np.random.default_rng(0)
  pose = jnp.asarray(rng.normal(size=(21, 3)), jnp.float32).at[0].set(0.0)
  turn = rigid.rotation_from_axis_angle(jnp.array([0.3, -2.0, 0.7]))
  own, rotation = _HAND(pose)
  again, _ = _HAND(pose @ turn.T)
  np.testing.assert_allclose(own, again, atol=1e-5)
  np.testing.assert_allclose(own[12, [0, 2]], 0.0, atol=1e-5)
  np.testing.assert_allclose(own[20, 2], 0.0, atol=1e-5)
  assert own[12, 1] < 0 < own[20, 0]
  np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
  assert np.linalg.det(rotation) > 0.99


def test_degenerate_poses_stay_finite_with_their_gradients():
  for pose in (jnp.zeros((21, 3)), jnp.zeros((21, 3)).at[:, 1].set(jnp.arange(21.0))):
    gradient = jax.grad(lambda p: sum(jnp.sum(x) for x in _HAND(p)))(pose)
    assert np.isfinite(_HAND(pose)[0]).all() and np.isfinite(gradient).all()


def test_the_rotation_between_two_frames_is_found_again():
  pose = jax.random.normal(jax.random.key(3), (21, 3))
  own, rotation = _HAND(pose - pose[:1])
  again = jax.jit(canonical.rotation_between)(own, canonical.from_canonical(own, rotation))
  np.testing.assert_allclose(again, rotation, atol=1e-5)


def test_turn_to_looks_along_the_ray_and_tells_angles():
  ray = jnp.array([0.4, -0.2, 2.0])
  turn = canonical.turn_to(ray)
  np.testing.assert_allclose(turn @ ray, [0.0, 0.0, np.linalg.norm(ray)], atol=1e-6)
  np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
  angle = np.arctan2(np.hypot(0.4, 0.2), 2.0)
  np.testing.assert_allclose(canonical.angle_between(turn, jnp.eye(3)), angle, atol=1e-5)
