"""What a network knows of its errors reaches the covariances that `predict` writes."""

import cv2
import numpy as np

from epipolar_jax import __main__ as command
from epipolar_jax.cli import detectors
from epipolar_jax.motion import files
from epipolar_jax.triangulation import doubt
from tests import walkers
from tests.footage import dots


def test_covariances_are_those_of_the_network(tmp_path, monkeypatch):
  """A network whose errors are twice what triangulation finds: four times the covariance."""
  rig, images = walkers.ring(3), dots.draw(dots.spread(9), walkers.ring(3))
  rig.write(tmp_path / "rig.json")
  for view, name in enumerate(rig.names):
    (tmp_path / name).mkdir()
    for index in range(9):
      cv2.imwrite(str(tmp_path / name / f"{index}.png"), images[index][view][..., ::-1])
  detector = dots.DotDetector()
  monkeypatch.setattr(detectors, "detector_of", lambda *_, **__: detector)

  def covariance(name, *options):
    given = ["--videos", str(tmp_path / "cam?"), "--no_film", "--out", str(tmp_path / name)]
    given += ["--cameras", str(tmp_path / "rig.json")]
    assert command.main(["predict", *given, *options]) == 0
    found, _ = files.read(tmp_path / name / "joints.npz")
    assert found.valid.all()
    return found.covariance

  before, linear = covariance("own"), covariance("linear", "--method", "dlt")
  joints = detector.skeleton.joints
  twice = (float(np.log(2.0)),) * len(joints)
  detector.doubt = doubt.Doubt(joints, twice, by_spread=1.0, by_score=0.0, wide=1.96, frames=1)
  np.testing.assert_allclose(covariance("learnt"), 4 * before, rtol=1e-5)
  np.testing.assert_array_equal(covariance("other", "--method", "dlt"), linear)
