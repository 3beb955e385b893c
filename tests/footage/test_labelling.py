"""Frames worth labelling: which, and that the corrected files come back in as labels."""

import cv2
import numpy as np

from epipolar_jax.footage import labelling, videos
from epipolar_jax.keypoints import reading
from epipolar_jax.keypoints.observations import Observations
from tests import walkers
from tests.footage import dots


def test_the_worst_frames_are_chosen_apart_from_each_other():
  error = np.ones((40, 2, 3))
  error[10:14] = 50.0  # one bad stretch: one of it
  error[11] = 60.0
  error[30, 0, 0] = 200.0
  error[35] = np.nan  # nothing agrees there at all
  chosen = labelling.choose(error, 4)
  assert {11, 30, 35} <= set(chosen.tolist()) and len(chosen) == 4
  assert np.diff(chosen).min() >= 5
  assert labelling.choose(error[:3], 10).tolist() == [0, 1, 2]
  assert not len(labelling.choose(error, 0))


def test_what_is_written_is_read_as_labels(tmp_path):
  rig, points = walkers.ring(2), dots.spread(6)
  frames = dots.draw(points, rig)
  for view, name in enumerate(rig.names):
    (tmp_path / name).mkdir()
    for f in range(6):
      cv2.imwrite(str(tmp_path / name / f"{f}.png"), frames[f][view][..., ::-1])
  footage = videos.Footage({name: tmp_path / name for name in rig.names})
  uv = walkers.project(points, rig.cameras)[:, None]
  uv[3, 0, 1, 4] = np.nan
  joints = dots.DotDetector.skeleton.joints
  guesses = Observations(uv, np.isfinite(uv[..., 0]).astype(float), joints, rig.names)
  count = labelling.write(tmp_path / "out", footage, guesses, np.array([1, 3]))
  assert count == 4
  image = cv2.imread(str(tmp_path / "out/labeled-data/cam1/img00003.png"))
  np.testing.assert_array_equal(image[..., ::-1], frames[3][1])
  files = sorted((tmp_path / "out/labeled-data").glob("*/CollectedData_*.csv"))
  named = [f"{path.parent.name}={path}" for path in files]
  back = reading.read_recording(named, rig.names)
  assert back.joints == joints and back.first_frame == 1 and len(back.points) == 3
  assert not back.seen[1].any(), "the frame between the two was not labelled"
  np.testing.assert_allclose(back.points[[0, 2]], guesses.points[[1, 3]], atol=0.006)
  assert not back.seen[2, 0, 1, 4]
  annotations = tmp_path / "out/labeled-data/annotations.json"
  same = reading.read_recording([str(annotations)], rig.names)
  assert same.joints == joints and same.first_frame == 1
  np.testing.assert_array_equal(same.points, back.points)
  np.testing.assert_array_equal(same.score, back.score)
