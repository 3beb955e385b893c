"""Constant lengths of bones: found in synthetic motion whose lengths are known, and kept."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.motion import bones
from epipolar_jax.triangulation import estimate
from tests import walkers

_JOINTS = ("lsho", "lelb", "lwri")
_LENGTH = np.array([290.0, 250.0])
_BONES = ((0, 1), (1, 2))


def _arm(frames: int) -> np.ndarray:
  """An arm [f, 3, 3] that waves and walks."""
  time = np.arange(frames)[:, None] / 15
  shoulder = np.concatenate([300 * np.sin(time), 200 * np.cos(time), 1400 + 0 * time], axis=1)

  def way(phase, speed):
    angle = speed * time + phase
    found = np.concatenate([np.cos(angle), np.sin(angle), 0.7 * np.sin(2 * angle)], axis=1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)

  elbow = shoulder + _LENGTH[0] * way(0.3, 1.0)
  return np.stack([shoulder, elbow, elbow + _LENGTH[1] * way(1.1, 1.7)], axis=1)


def _seen(frames: int = 120, noise_px: float = 3.0):
  points = _arm(frames)
  rig = walkers.ring(3)
  observed = walkers.observed(points, rig, noise_px=noise_px)
  return points, estimate.triangulate(dataclasses.replace(observed, joints=_JOINTS), rig)


def test_lengths_are_found_kept_and_joints_come_nearer_to_the_truth():
  points, found = _seen()
  made = bones.constant(found, _BONES)
  # Lengths of single frames vary by 10 to 15 mm.
  np.testing.assert_allclose(made.length_mm[0], _LENGTH, atol=3.0)
  assert (made.after_mm < 0.05 * made.before_mm).all() and (made.before_mm > 8).all()
  before, after = (
    np.linalg.norm(x.points[:, 0] - points, axis=-1).mean() for x in (found, made.estimate)
  )
  assert after < 0.95 * before
  spreads = [np.linalg.eigvalsh(x.covariance[:, 0]) for x in (found, made.estimate)]
  assert (spreads[1] <= spreads[0] * (1 + 1e-6) + 1e-9).all() and (spreads[1] > -1e-6).all()


def test_the_joint_that_is_known_badly_is_the_one_that_moves():
  _, found = _seen(20)
  covariance = found.covariance.copy()
  covariance[:, :, 1:] *= 1e-4
  made = bones.constant(dataclasses.replace(found, covariance=covariance), ((0, 1),))
  moved = np.linalg.norm(made.estimate.points - found.points, axis=-1)[:, 0]
  assert moved[:, 1].max() < 1e-3 * moved[:, 0].max() and not moved[:, 2].any()


def test_nothing_is_invented_and_gross_errors_are_left():
  _, found = _seen(30)
  valid, moved = found.valid.copy(), found.points.copy()
  valid[4, 0, 1] = valid[9, 0, 2] = False
  moved[~valid] = 0.0
  moved[15, 0, 2] += 400.0
  hurt = dataclasses.replace(found, valid=valid, points=moved)
  made = bones.constant(hurt, _BONES)
  np.testing.assert_array_equal(made.estimate.valid, valid)
  np.testing.assert_array_equal(made.estimate.points[4], moved[4])  # both bones lack the elbow
  np.testing.assert_array_equal(made.estimate.points[9, 0, 2], moved[9, 0, 2])
  assert (
    abs(np.linalg.norm(np.diff(made.estimate.points[9, 0, :2], axis=0)) - made.length_mm[0, 0]) < 1
  )
  assert made.left[:, 0].sum() == 1 and made.left[15, 0, 1]
  np.testing.assert_allclose(made.estimate.points[15, 0, 2], moved[15, 0, 2])
  few = bones.constant(
    dataclasses.replace(hurt, valid=valid & (np.arange(30) < 4)[:, None, None]), _BONES
  )
  assert np.isnan(few.length_mm).all()
  np.testing.assert_array_equal(few.estimate.points, hurt.points)


def test_people_have_lengths_of_their_own():
  _, found = _seen(40)
  shared = ("points", "valid", "covariance", "inlier", "reprojection_px")
  both = {name: np.concatenate([getattr(found, name)] * 2, axis=1) for name in shared}
  both["points"][:, 1] *= 0.5
  both["covariance"][:, 1] *= 0.25
  made = bones.constant(dataclasses.replace(found, **both), _BONES)
  np.testing.assert_allclose(made.length_mm[1], made.length_mm[0] / 2, rtol=1e-6)
  np.testing.assert_allclose(made.estimate.points[:, 1], made.estimate.points[:, 0] / 2, rtol=1e-6)


@pytest.mark.parametrize(("name", "count"), (("coco_17", 8), ("h36m_17", 8), ("rhd_21", 20)))
def test_the_bones_of_a_skeleton(name, count):
  skeleton = skeletons.SKELETONS[name]
  found = bones.rigid(skeleton)
  assert len(found) == count
  assert all(a != b for a, b in found)
