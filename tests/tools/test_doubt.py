"""Predictions of a split as an estimate: every frame by its own cameras, in network pixels."""

import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.tools import doubt
from tests import scenes


def test_each_frame_is_triangulated_by_its_own_cameras():
  made = [scenes.make_scene(seed) for seed in (1, 2)]
  joints = skeletons.H36M_17.joints[: made[0].joints.shape[0]]
  # The network sees the right half of the stored images, at twice the size.
  crop = np.broadcast_to(np.array([[2.0, 0.0, -256.0], [0.0, 2.0, 0.0]]), (2, 4, 2, 3))
  uv = np.stack([scene.uv for scene in made])
  predicted = {
    "joints_2d": np.einsum("fvab,fvjb->fvja", crop[..., :2], uv) + crop[:, :, None, :, 2],
    "score": np.full(uv.shape[:3], 1.0 + 1e-7),
  }
  intrinsics, rotation, translation = (
    np.stack([np.asarray(scene.cameras[i]) for scene in made]) for i in range(3)
  )
  truth = np.stack([scene.joints for scene in made])
  labels = {
    **{"crop": crop, "intrinsics": intrinsics, "rotation": rotation, "translation": translation},
    "joints_3d": truth,
  }
  estimate, score, known = doubt.observed(predicted, labels, joints)
  assert estimate.joints == joints and score.max() == 1.0
  assert estimate.points.shape == known.shape == (2, 1, len(joints), 3)
  np.testing.assert_allclose(estimate.points, known, atol=0.05)


def test_what_it_cannot_do_is_a_sentence(tmp_path):
  with pytest.raises(SystemExit, match="no run folder, no checkpoint and no shipped network"):
    doubt.main([str(tmp_path / "nothing")])
