"""What `predict` says of its own result: views that see nobody, bones of one length."""

import dataclasses
import types

import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.cli import outputs, recording
from epipolar_jax.footage import report
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


def test_two_cameras_are_judged_by_their_own_detections(capsys):
  rig, points = walkers.ring(2), dots.spread(12)
  fused = walkers.observed(points, rig)
  # Fusion along epipolar lines makes the views agree on joints that they see apart.
  own = fused.points + np.where(np.arange(17) % 2, 60.0, -60.0)[:, None]
  own[:, :, 0] = fused.points[:, :, 0]
  own = dataclasses.replace(fused, points=own)
  agreed = estimate.triangulate(fused, rig)
  assert np.nanmax(agreed.reprojection_px) < 0.1
  errors = outputs.tell(agreed, own, rig, "robust")
  assert errors.shape == (12, 1, 2, 17) and np.nanmedian(errors) > 10
  said = capsys.readouterr().out
  assert "0.00 /" not in said and "cannot tell whether the joints are right" in said
  (sentence, _) = report.verdict(rig.names, agreed, 0.1 * errors, 400.0)
  assert sentence.startswith("With two cameras there is no other view to compare with.")
  assert "good" not in sentence and "epipolar lines only" in sentence
