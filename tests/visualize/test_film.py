"""The film: what it shows, and that it is H.264 that a browser can start to play at once."""

import cv2
import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.visualize import film, palette


def _arrays(frames=2, views=4):
  rng = np.random.default_rng(0)
  truth = rng.uniform([-300, -300, 0], [300, 300, 1700], (frames, 17, 3))
  found = {
    name: {"joints_3d": truth + shift, "joint_valid": np.ones((frames, 17), bool)}
    for name, shift in (("dlt", 60.0), ("robust", 20.0))
  }
  labels = {
    "joints_3d": truth,
    "joints_2d": rng.uniform(5, 60, (frames, views, 17, 2)),
    "crop": np.tile(np.eye(2, 3), (frames, views, 1, 1)),
    "occluded": np.zeros((frames, views), bool),
  }
  predicted = {"joints_2d": labels["joints_2d"] + 2.0, "methods": found}
  return rng.integers(0, 90, (frames, views, 64, 64, 3), dtype=np.uint8), predicted, labels


def test_scenes_show_views_and_a_panel_for_each_method():
  images = list(film.scenes(*_arrays(), skeleton=skeletons.H36M_17, fps=4, hold_s=0.5))
  assert len(images) == 4
  assert {p.shape for p in images} == {(2 * 256 + 40, 2 * 256 + 2 * 400, 3)}
  views, first, second = np.split(images[0], [512, 912], axis=1)
  for part in (views, first, second):
    colors = {tuple(c) for c in part.reshape(-1, 3).tolist()}
    assert {palette.LEFT, palette.RIGHT, palette.MIDDLE} <= colors
    assert part.min(-1).max() > 200  # the truth, white, thin and smoothed
  titles = (first[:36] != second[:36]).any()
  assert titles  # another method and another error
  # The views stay while the skeletons turn; then the next frame comes.
  np.testing.assert_array_equal(images[1][:, :512], images[0][:, :512])
  assert (images[1][:, 512:] != images[0][:, 512:]).any()
  assert (images[2][:, :512] != images[1][:, :512]).any()


def test_one_method_needs_no_name_and_failed_joints_are_left_out():
  images, predicted, labels = _arrays(frames=1, views=2)
  predicted = {"joints_2d": predicted["joints_2d"]} | predicted["methods"]["dlt"]
  predicted["joint_valid"][:] = False
  (image,) = film.scenes(images, predicted, labels, skeleton=skeletons.H36M_17, fps=1, hold_s=1.0)
  assert image.shape == (256 + 40, 2 * 256 + 400, 3)
  panel = {tuple(c) for c in image[:, 512:].reshape(-1, 3).tolist()}
  assert palette.LEFT not in panel and max(min(c) for c in panel) > 200


def test_mp4_is_h264_with_its_index_first(tmp_path):
  path = tmp_path / "a" / "film.mp4"
  images = [np.full((64, 96, 3), shade, np.uint8) for shade in (0, 120, 240, 240)]
  assert film.write_mp4(path, iter(images), fps=10) == 4
  data = path.read_bytes()
  assert b"avc1" in data and data.index(b"moov") < data.index(b"mdat")
  video = cv2.VideoCapture(str(path))
  read = [video.read()[1] for _ in range(4)]
  assert not video.read()[0]
  assert read[0].shape == (64, 96, 3)
  np.testing.assert_allclose([r.mean() for r in read], [0, 120, 240, 240], atol=6)


def test_empty_film_is_refused(tmp_path):
  with pytest.raises(ValueError, match="num_images"):
    film.write_mp4(tmp_path / "film.mp4", iter([]), fps=10)


def test_encoder_that_fails_says_why(tmp_path):
  odd = np.zeros((63, 95, 3), np.uint8)  # H.264 halves the colours: sizes are even
  with pytest.raises(OSError, match=r"film\.mp4: .*divisible by 2"):
    film.write_mp4(tmp_path / "film.mp4", [odd, odd], fps=10)
