"""Cameras posed from nothing but their intrinsics: true up to a similarity, then scale and up."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.calibration import guessed, unposed, world
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.calibration import alignment


def _unposed(rig):
  count = len(rig.names)
  nothing = np.stack([np.eye(3)] * count), np.zeros((count, 3))
  return dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, *nothing))


def test_a_rig_is_posed_and_stood_upright():
  rig = walkers.ring(4)
  walk = walkers.walk(80)
  walk[:, 0, 2], walk[:, 1, 2] = 60.0, 1640.0
  walk[:, 1, :2] = walk[:, 0, :2]
  observations = walkers.observed(walk, rig, noise_px=2.0, outliers=0.05)
  observations = dataclasses.replace(
    observations, joints=("left_ankle", "nose", *observations.joints[2:])
  )
  posed = unposed.pose(observations, _unposed(rig))
  turned, moved = alignment.errors(posed.cameras, rig.cameras)
  # Measured 0.1 degrees and 8 mm of 4.5 m.
  assert turned.max() < 0.4 and moved.max() < 30.0
  stood, said = world.stand(observations, posed, length=("left_ankle", "nose", 1580.0))
  assert "left_ankle to nose" in said[0] and "left_ankle, nose" in said[1]
  points = estimate.triangulate(observations, stood).points[:, 0]
  np.testing.assert_allclose(np.median(points[:, 1, 2] - points[:, 0, 2]), 1580.0, atol=20.0)
  assert abs(np.median(points[:, 0, 2])) < 30.0
  assert np.linalg.norm(np.median(points[:, 0], axis=0)) < 30.0
  size = np.linalg.norm(np.asarray(stood.cameras.centre())[:, :2], axis=-1)
  assert (np.abs(size - 4500) < 700).all()  # the floor's middle is where the ankle mostly was
  rough, _ = world.stand(observations, posed, size_mm=2000.0, up=("left_ankle", "nose"))
  ratio = np.linalg.norm(rough.cameras.centre()[0]) / np.linalg.norm(stood.cameras.centre()[0])
  assert 0.8 < ratio < 1.1


def test_what_cannot_be_posed_is_said():
  rig = walkers.ring(3)
  observations = walkers.observed(walkers.walk(40), rig)
  score = observations.score.copy()
  score[:, :, 2] = 0
  blind = dataclasses.replace(observations, score=score)
  with pytest.raises(ValueError, match="camera cam2 shares 0 points with those already posed"):
    unposed.pose(blind, _unposed(rig))
  score[:, :, 1] = 0
  with pytest.raises(ValueError, match="no two cameras share 50 points that agree"):
    unposed.pose(dataclasses.replace(observations, score=score), _unposed(rig))
  with pytest.raises(ValueError, match="the scale is not known"):
    world.stand(observations, rig)
  with pytest.raises(ValueError, match="which way is up cannot be told from the names"):
    world.stand(observations, rig, size_mm=2000.0)
  with pytest.raises(ValueError, match="up: no joint nose"):
    world.stand(observations, rig, size_mm=2000.0, up=("joint0", "nose"))


def test_focal_lengths_come_from_people_where_only_the_images_size_is_known():
  """The guess is 1536 px, the truth 1100."""
  rig = walkers.ring(3)
  walk = walkers.walk(40)
  observations = walkers.observed(walk, rig, noise_px=0.5)
  guess = guessed.rig(rig.names, walkers.SIZE_WH)
  assert guess.cameras.intrinsics[0, 0, 0] == 1536
  found = guessed.pose(observations, guess)
  # Measured 0.6 %; depth hardly tells a lens from a step back.
  np.testing.assert_allclose(found.cameras.intrinsics[:, 0, 0] / 1100.0, 1.0, atol=0.03)
  turned, _ = alignment.errors(found.cameras, rig.cameras)
  assert turned.max() < 0.3
