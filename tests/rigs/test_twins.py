"""Cameras with one and the same pose are named."""

import dataclasses

import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from tests import scenes


def test_cameras_of_one_pose_are_named_and_no_others():
  scene = scenes.make_scene(0)
  cameras = Cameras(*scene.cameras)
  rig = Rig(tuple("abcd"), (None,) * 4, (lenses.Pinhole(),) * 4, cameras)
  assert rig.twins() == ()
  copied = dataclasses.replace(rig, cameras=cameras[np.array([0, 1, 1, 0])])
  assert copied.twins() == (("a", "d"), ("b", "c"))
  # A stereo rig looks one way from two places.
  shifted = copied.cameras.translation + np.array([0.0, 0.0, 0.0, 1.0])[:, None]
  beside = dataclasses.replace(
    copied, cameras=dataclasses.replace(copied.cameras, translation=shifted)
  )
  assert beside.twins() == (("b", "c"),)
