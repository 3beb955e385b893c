"""Crops against their definition and OpenCV; batches as pure functions of (seed, step)."""

import functools

import cv2
import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.inputs import crops, multiview
from tests import dots


def test_crop_affine_maps_the_square_onto_the_input():
  a = crops.crop_affine(np.array([30.0, 50.0]), 40.0, rotation_deg=0.0, size=80, mirror=False)
  corners = np.array([[10.0, 30.0], [50.0, 70.0]]) @ a[:, :2].T + a[:, 2]
  np.testing.assert_allclose(corners, [[0, 0], [80, 80]], atol=1e-4)


def test_crop_rotation_agrees_with_opencv():
  a = crops.crop_affine(np.array([30.0, 50.0]), 40.0, rotation_deg=20.0, size=80, mirror=False)
  # OpenCV counts angles against the clock.
  expected = cv2.getRotationMatrix2D((30.0, 50.0), -20.0, 2.0)
  expected[:, 2] += np.array([40.0, 40.0]) - np.array([30.0, 50.0])
  np.testing.assert_allclose(a, expected, atol=1e-4)


def test_mirror_is_a_reflection_of_the_same_square():
  args = (np.array([30.0, 50.0]), 40.0)
  plain = crops.crop_affine(*args, rotation_deg=10.0, size=80, mirror=False)
  mirrored = crops.crop_affine(*args, rotation_deg=10.0, size=80, mirror=True)
  np.testing.assert_allclose(plain[1], mirrored[1])
  np.testing.assert_allclose(plain[0] + mirrored[0], [0, 0, 80], atol=1e-4)


def test_what_random_crops_draw():
  """Clipped normal scales and turns, the latter in 60 % of the views; even shifts. 4,000 draws."""
  options = crops.Augmentation(scale_factor=0.2, rotation_factor=30.0, translation_factor=0.1)
  rng, side = np.random.default_rng(0), 40.0
  middle = np.array([30.0, 50.0])
  made = np.stack(
    [crops.random_crop(middle, side, options, rng, size=80, mirror=False) for _ in range(4000)]
  ).astype(np.float64)
  zoom = np.hypot(made[:, 0, 0], made[:, 1, 0])
  turn = np.degrees(np.arctan2(made[:, 1, 0], made[:, 0, 0]))
  shift = np.linalg.solve(made[..., :2], 40.0 - made[..., 2:])[..., 0] - middle
  growth = 80 / zoom / side
  turned = np.abs(turn) > 1e-3
  assert abs(turned.mean() - 0.6) < 0.03  # four standard deviations
  for values, deviation, limit in ((growth - 1, 0.2, 0.2), (turn[turned], 30.0, 60.0)):
    assert np.abs(values).max() <= limit + 1e-3 and abs(values.mean()) < 0.07 * deviation
  # A third of normal numbers lie beyond one deviation, a twentieth beyond two.
  assert abs((np.abs(growth - 1) > 0.1999).mean() - 0.317) < 0.03
  assert abs((np.abs(turn[turned]) > 59.99).mean() - 0.0455) < 0.02
  assert 0.098 * side < np.abs(shift).max() <= 0.1 * side + 1e-3
  assert abs(np.abs(shift).mean() - 0.05 * side) < 0.1


def test_defaults_change_nothing():
  rng = np.random.default_rng(0)
  crop = crops.random_crop(
    np.array([30.0, 50.0]), 40.0, crops.Augmentation(), rng, size=80, mirror=False
  )
  expected = crops.crop_affine(
    np.array([30.0, 50.0]), 40.0, rotation_deg=0.0, size=80, mirror=False
  )
  np.testing.assert_array_equal(crop, expected)
  np.testing.assert_array_equal(crops.color_table(crops.Augmentation(), rng), np.arange(256))


def _batches(**changes):
  options = {
    "size": 32,
    "batch_size": 3,
    "seed": 0,
    "start_step": 0,
    "num_steps": 9,
    "num_threads": 2,
    "load": functools.partial(multiview.load_frame, skeleton=skeletons.H36M_17),
  }
  jitter = crops.Augmentation(0.2, 20.0, 0.05, 0.5, 0.2)
  return list(multiview.train_batches(dots.frames(8), jitter, **(options | changes)))


def test_a_batch_depends_on_seed_and_step_alone():
  whole, tail, threads, other = (
    _batches(),
    _batches(start_step=5),
    _batches(num_threads=1),
    _batches(seed=1),
  )
  assert len(whole) == 9 and len(tail) == 4
  for a, b in [*zip(whole[5:], tail), *zip(whole, threads)]:
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])
  assert not np.array_equal(whole[0]["image"], other[0]["image"])
  # Every epoch shows every frame once, in another order.
  order = np.concatenate([b["frame"] for b in whole])
  assert sorted(order[:8]) == sorted(order[8:16]) == list(range(8))
  assert list(order[:8]) != list(order[8:16])


def test_pixels_follow_the_joints_through_crop_and_mirror():
  # The dot of a joint is under the joint's position: its colour is found there.
  swap = list(skeletons.H36M_17.flip_order)
  mirrored = 0
  for batch in _batches(batch_size=1, num_steps=12):
    flipped = bool(np.linalg.det(batch["crop"][0, 0, :, :2]) < 0)
    mirrored += flipped
    frame = dots.frames(8)[int(batch["frame"][0])]
    expected = frame["joints_3d"][swap] if flipped else frame["joints_3d"]
    np.testing.assert_array_equal(batch["joints_3d"][0], expected)
    for v in range(4):
      affine, uv = batch["crop"][0, v], batch["joints_2d"][0, v]
      projected = expected @ batch["rotation"][0, v].T + batch["translation"][0, v]
      projected = projected @ batch["intrinsics"][0, v].T
      np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], uv, atol=1e-3)
      warped = cv2.warpAffine(frame["image"][v], affine, (32, 32), flags=cv2.INTER_LINEAR)
      difference = np.abs(warped.astype(int) - batch["image"][0, v])
      # Colour jitter of at most 20 % brightness and contrast.
      assert difference.max() <= 0.4 * 255
  assert 0 < mirrored < 12


def test_evaluation_pads_the_last_batch():
  source = dots.frames(5)
  batches = list(multiview.eval_batches(source, size=32, batch_size=3, num_threads=1))
  assert [b["valid"].tolist() for b in batches] == [[True] * 3, [True, True, False]]
  few = multiview.eval_batches(source, size=32, batch_size=4, max_frames=2, num_threads=1)
  assert [b["frame"].tolist()[:2] for b in few] == [[0, 4]]


def test_too_few_frames_for_a_batch():
  with pytest.raises(ValueError, match=r"8 frames, fewer than train\.batch_size 9"):
    _batches(batch_size=9)
