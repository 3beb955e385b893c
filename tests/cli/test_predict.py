"""What `predict` says of its own result: views that see nobody, bones of one length."""

import types

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.cli import recording
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.footage import dots


def test_a_view_in_whose_image_the_person_never_lies_is_named():
  windows = np.ones((20, 1, 3, 3))
  windows[1:, 0, 1] = np.nan
  windows[:9, 0, 2] = np.nan
  found = types.SimpleNamespace(found=np.ones((20, 1), bool), windows=windows)
  footage = types.SimpleNamespace(counts=(20, 20, 20), names=("a", "b", "c"))
  (said,) = recording._elsewhere(found, footage)
  assert "camera b in 19 of 20 frames" in said and said.startswith("SUSPICIOUS")
  # A camera that stops early is not one that looks elsewhere, and where nobody is nothing is said.
  windows[:, 0, 1] = np.nan
  windows[:5, 0, 1] = 1.0
  footage.counts = (20, 5, 20)
  assert recording._elsewhere(found, footage) == []
  found.found[:] = False
  footage.counts = (20, 20, 20)
  assert recording._elsewhere(found, footage) == []


def test_bones_are_told_before_and_after(capsys):
  rig, points = walkers.ring(3), dots.spread(12)
  observed = walkers.observed(points, rig, noise_px=2.0)
  skeleton = skeletons.COCO_17
  found = estimate.triangulate(observed, rig)
  made = recording.with_bones(found, skeleton)
  said = capsys.readouterr().out
  assert "Bones: 8 lengths" in said and "0 times a bone was too far off" in said
  elbow, wrist = (skeleton.index(x) for x in ("lelb", "lwri"))
  lengths = np.linalg.norm(made.points[:, 0, elbow] - made.points[:, 0, wrist], axis=-1)
  assert lengths.std() < 0.5
