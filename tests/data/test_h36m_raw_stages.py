"""The stages before a Human3.6M frame was stored."""

import cv2
import numpy as np
import pytest

from data.h36m import builder, raw_stages
from tests.data import h36m_raw


def _project(stage, v, lens):
  rotation, _ = cv2.Rodrigues(stage["rotation"][v])
  points, _ = cv2.projectPoints(
    stage["joints_3d"][:, None], rotation, stage["translation"][v], stage["intrinsics"][v], lens
  )
  return points[:, 0]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  records = h36m_raw.records(1, 11)
  folder = tmp_path_factory.mktemp("raw")
  return h36m_raw.write(folder, records, h36m_raw.records(1), h36m_raw.images())


def test_stages_are_the_images_before_and_after_the_lens(raw, tmp_path):
  source = builder.prepare(raw, tmp_path, builder.Options(image_size=64)).as_data_source("train")
  frames = raw_stages.RawFrames(raw, "train")
  example = source[1]
  before, after = frames.stages(example)
  assert [before["name"], after["name"]] == ["Raw", "Undistorted"] and example["frame"] == 11
  record = next(r for r in h36m_raw.records(11) if r["camera_id"] == 2)
  image = cv2.imdecode(np.frombuffer(h36m_raw.images()[f"images/{record['image']}"], np.uint8), 1)
  half = cv2.resize(image[:1000], (500, 500), interpolation=cv2.INTER_AREA)[..., ::-1]
  np.testing.assert_array_equal(before["image"][2], half)
  assert np.abs(after["image"][2].astype(int) - half).mean() > 0.5  # bent straight
  for v in range(4):
    lens = before["distortion"][v]
    np.testing.assert_allclose(_project(before, v, lens), before["joints_2d"][v], atol=0.05)
    np.testing.assert_allclose(_project(after, v, None), after["joints_2d"][v], atol=0.05)
    assert np.abs(before["joints_2d"][v] - after["joints_2d"][v]).max() > 0.2
  np.testing.assert_array_equal(before["straight_2d"], after["joints_2d"])


def test_a_frame_of_other_raw_data_is_refused(raw):
  frames = raw_stages.RawFrames(raw, "validation")
  example = {"subject": 9, "action": b"directions", "subaction": 1, "frame": 11}
  with pytest.raises(ValueError, match=r"no frame 11 of subject 9.*another raw data set"):
    frames.stages(example)
