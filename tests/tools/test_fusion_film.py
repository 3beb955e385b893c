"""The animated image of fusion: both halves, all frames, one window."""

import cv2
import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.tools import fusion_film, hidden_view


def _seen(shift):
  uv = np.linspace((40.0, 40.0), (90.0, 90.0), 17)[None] + np.array([[[shift, 0.0]]])
  windows = np.full((1, 128, 128, 3), 60, np.uint8)
  score = np.ones((1, 17))
  return hidden_view.Seen(windows, np.zeros((1, 2, 3)), uv, score, uv + 20, score)


def test_the_film_has_all_frames_and_both_halves(tmp_path):
  skeleton = skeletons.SKELETONS["coco_17"]
  frames = [fusion_film.drawn(_seen(shift), 0, skeleton) for shift in (0.0, 5.0, 10.0)]
  alone, fused = np.split(frames[0], 2, axis=1)
  assert alone.shape == fused.shape and not np.array_equal(alone, fused)
  path = tmp_path / "fusion.webp"
  fusion_film.write(path, frames, 12.5)
  _, animation = cv2.imreadanimation(str(path))
  assert len(animation.frames) == 3
  assert list(animation.durations) == [80, 80, 80]
  back = cv2.cvtColor(animation.frames[1][..., :3], cv2.COLOR_BGR2RGB)
  assert np.abs(back.astype(float) - frames[1]).mean() < 8  # lossy


def test_one_window_holds_all():
  boxes = np.array([[10.0, 20.0, 8.0], [30.0, 20.0, 4.0]])
  np.testing.assert_allclose(fusion_film._steady(boxes), [19.0, 20.0, 26.0])


def test_nobody_is_no_film(tmp_path):
  with pytest.raises(ValueError, match="nobody was found"):
    fusion_film.write(tmp_path / "a.webp", [], 25.0)
