"""Cutting hands out: the square holds the joints; the original's version agrees with its loader."""

import cv2
import numpy as np
import pytest

from data.rhd import annotations
from epipolar_jax.inputs import hand_crops
from tests import golden_files

_TINY = golden_files.FOLDER / "rhd_tiny"
_RECORDS = annotations.read(_TINY / "anno.pickle")


def _hand(frame, side):
  """Joints and visibility of one hand of the golden images."""
  uv_vis = _RECORDS[frame]["uv_vis"]
  hand = slice(21 * side, 21 * side + 21)
  return uv_vis[hand, :2].copy(), uv_vis[hand, 2] == 1


def _case(golden, name):
  """What the golden case cuts: frame, centre, side, and the joints in the cut."""
  frame = int(name[-1])
  side = int(golden[f"{name}.hand-side"].item())
  noise = golden.get(f"{name}.noise_uv", np.zeros((42, 2)))[21 * side :][:21]
  joints, visible = _hand(frame, side)
  if "wrist0" in name:
    joints, visible = hand_crops.palm(joints, visible)
  joints = joints + noise
  center, size = hand_crops.original_square(
    joints, visible, golden.get(f"{name}.noise_crop_center")
  )
  return frame, joints, visible, center, size


_CASES = [
  f"{kind}.{frame}"
  for kind in ("eval_wrist0_flip0", "eval_wrist1_flip1", "train_wrist0_flip0")
  for frame in (0, 1)
]


def _original_box(center, side):
  """(top, left, bottom, right) px of what the original resizes to the crop's size."""
  middle = np.clip(center, 0.0, 319)
  corners = np.concatenate([middle - side / 2, middle + side / 2]).astype(int)
  return np.clip(corners, 0, 319).tolist()


def _original_joints(joints, center, side, *, offset):
  """[21, 2] joints in the crop of 256 px, where the original draws its heatmaps: u along rows.

  `offset` [2], (v, u) px, is added to the centre in training and in evaluation alike.
  """
  moved = (joints - (center + offset)[::-1]) * np.clip(256 / side, 1.0, 10.0)
  moved[12] = 0.0  # the base of the middle finger
  return moved + 128


@pytest.mark.parametrize("name", _CASES)
def test_joints_in_the_crop_equal_the_original(name):
  """RHDDataset.__getitem__ (data/datasets/RHD.py:45): its heatmaps, drawn from our joints."""
  golden = golden_files.load("rhd_dataset")
  _, joints, visible, center, size = _case(golden, name)
  np.testing.assert_array_equal(visible, golden[f"{name}.visibility"])
  drawn = _original_joints(joints, center, size, offset=golden[f"{name}.noise_crop_offset"])
  # Every 16th pixel of a map with four image pixels to one; u runs along its rows.
  place = np.arange(0, 224, 16) * 4 + 1.5
  squared = (place[:, None] - drawn[:, None, :1]) ** 2 + (place - drawn[:, 1:, None]) ** 2
  maps = np.exp(-np.minimum(squared / (2 * 25.0**2), 4.60517019)) * visible[:, None, None]
  np.testing.assert_allclose(maps, golden[f"{name}.heatmap_s16"], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in _CASES if "wrist0" in name])
def test_the_cut_image_equals_the_original(name):
  golden = golden_files.load("rhd_dataset")
  frame, _, _, center, size = _case(golden, name)
  image = annotations.read_image(_TINY / "color" / f"{frame:05d}.png", channels=3)
  top, left, bottom, right = _original_box(center, size)
  cut = image[top:bottom, left:right].astype(np.float64)
  stretched = (cut - cut.min()) * 255 / (cut.max() - cut.min())
  resized = cv2.resize(stretched, (256, 256), interpolation=cv2.INTER_LINEAR)
  difference = np.abs(resized[::4, ::4].transpose(2, 0, 1) - golden[f"{name}.img_s4_u8"])
  # The golden image was resized by another library.
  assert difference.mean() < 1.5


def test_the_square_holds_the_visible_joints():
  joints, visible = _hand(0, 1)
  visible = visible & (np.arange(21) != 3)
  joints[3] += 400.0
  center, side = hand_crops.square(joints, visible)
  np.testing.assert_array_equal(center, joints[12])
  assert np.abs(joints[visible] - center).max() == pytest.approx(side / 2)
  assert hand_crops.square(joints, np.zeros(21, bool))[1] == 500.0
  assert hand_crops.square(np.ones((21, 2)), visible)[1] == 50.0


def test_the_palm_is_seen_when_wrist_or_finger_is():
  joints, _ = _hand(0, 0)
  for wrist, base, expected in ((0, 0, False), (1, 0, True), (0, 1, True), (1, 1, True)):
    visible = np.zeros(21, bool)
    visible[[0, 12]] = wrist, base
    points, seen = hand_crops.palm(joints, visible)
    np.testing.assert_allclose(points[0], (joints[0] + joints[12]) / 2)
    np.testing.assert_array_equal(points[1:], joints[1:])
    assert seen[0] == expected
