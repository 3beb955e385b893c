"""`epipolar triangulate` mends exchanged sides, says so, and leaves them if asked."""

import dataclasses

import numpy as np

from epipolar_jax import __main__ as command
from epipolar_jax.keypoints import writing
from epipolar_jax.motion import files
from tests import walkers


def test_exchanged_sides_are_mended_and_said(tmp_path, capsys):
  rig, truth = walkers.ring(3), walkers.walk(40)
  seen = walkers.observed(truth, rig, noise_px=1.0)
  names = ("LHip", "RHip", "LKnee", "RKnee", *(f"joint{i}" for i in range(13)))
  points = seen.points.copy()
  points[10:20, 0, 1, :4] = points[10:20, 0, 1][:, [1, 0, 3, 2]]
  bad = dataclasses.replace(seen, points=points, joints=names)
  writing.write(tmp_path / "seen.npz", bad, "plain npz")
  rig.write(tmp_path / "rig.json")
  arguments = ["triangulate", "--keypoints", str(tmp_path / "seen.npz"), "--out", str(tmp_path)]
  arguments += ["--cameras", str(tmp_path / "rig.json")]
  assert command.main(arguments) == 0
  sentence = "Camera cam1 had left and right exchanged: legs in 10 of 40 frames (exchanged back"
  assert sentence in capsys.readouterr().out
  found = files.read(tmp_path / "joints.npz")[0]
  assert found.inlier[10:20, 0, 1, :4].mean() > 0.9
  np.testing.assert_allclose(found.points[:, 0, :4], truth[:, :4], atol=30)
  assert command.main([*arguments, "--keep_sides"]) == 0
  assert "had left and right" not in capsys.readouterr().out
  assert files.read(tmp_path / "joints.npz")[0].inlier[10:20, 0, 1, :4].mean() < 0.5
