"""Synthetic hands: they move as hands do, and what is written is read by the RHD builder."""

import argparse

import cv2
import jax
import numpy as np
import pytest

from data.rhd import annotations, builder
from data.synthetic import body as body_lib
from data.synthetic import export, export_rhd, hand_scene, hands, motion
from epipolar_jax import skeletons

_BODY = body_lib.load()


@jax.jit
def _keypoints(rotations):
  shape = np.zeros(_BODY.num_shapes, np.float32)
  vertices, heads, tails = body_lib.skin(_BODY, shape, rotations)
  return hands.joints_of(_BODY, vertices, heads, tails)[17:], heads


def _rest():
  return np.tile(np.eye(3), (_BODY.num_bones, 1, 1))


def _posed(local):
  return [np.asarray(x, np.float64) for x in _keypoints(local.astype(np.float32))]


@pytest.fixture(scope="module")
def generator():
  return hand_scene.Generator(3, identities=3, supersampling=1)


def test_every_part_of_both_hands_has_its_id():
  ids, counts = np.unique(hands.mask_ids(_BODY), return_counts=True)
  np.testing.assert_array_equal(ids, np.arange(1, 34))
  # The body is symmetric.
  np.testing.assert_allclose(counts[1:17], counts[17:], atol=4)


def test_keypoints_are_those_of_the_skeleton():
  points, heads = _posed(_rest())
  for side, hand in zip(hands.SIDES, np.split(points, 2)):
    np.testing.assert_allclose(hand[0], heads[_BODY.bone(f"wrist.{side}")], atol=1e-3)
    lengths = {
      skeletons.RHD_21.joints[child]: np.linalg.norm(hand[parent] - hand[child])
      for parent, child in skeletons.RHD_21.limbs
    }
    # Fingers get shorter towards the tip; knuckles lie 60 to 110 mm from the wrist.
    for finger in ("index", "middle", "ring", "pinky"):
      assert 60 < lengths[f"{finger}4"] < 110
      assert 45 > lengths[f"{finger}3"] > lengths[f"{finger}2"] > 12
    assert 15 < lengths["thumb1"] < 40


def test_left_and_right_are_mirror_images():
  rng = np.random.default_rng(0)
  angles = hands.sample_fingers(rng)
  local = _rest()
  for side in hands.SIDES:
    hands.pose_hand(local, side, *angles)
  left, right = np.split(_posed(local)[0], 2)
  np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1.0)


@pytest.mark.parametrize("side", hands.SIDES)
def test_fingers_close_towards_the_palm_and_spread_apart(side):
  def hand(flexion, spread):
    local = _rest()
    hands.pose_hand(local, side, np.full((5, 3), flexion), np.asarray(spread))
    return np.split(_posed(local)[0], 2)[hands.SIDES.index(side)]

  flat, fist = hand(0.0, np.zeros(5)), hand(60.0, np.zeros(5))
  tips, knuckles = [5, 9, 13, 17], [8, 12, 16, 20]
  normal = np.cross(flat[8] - flat[0], flat[20] - flat[0])
  normal /= np.linalg.norm(normal)
  bent = hand(25.0, np.zeros(5))
  out = (bent - flat)[tips] @ normal
  # The thumb lies before the palm, which tells its front from its back.
  assert (np.sign(out) == np.sign((flat[1] - flat[0]) @ normal)).all() and (np.abs(out) > 15).all()
  to_wrist = np.linalg.norm(fist[tips] - fist[0], axis=1)
  assert (to_wrist < np.linalg.norm(flat[tips] - flat[0], axis=1) - 25).all()
  np.testing.assert_allclose(fist[knuckles], flat[knuckles], atol=1e-3)
  wide = hand(0.0, [0.0, 13.0, 2.0, -9.0, -18.0])
  gaps = [np.linalg.norm(np.diff(x[tips], axis=0), axis=1) for x in (flat, wide)]
  assert (gaps[1] > gaps[0] + 3).all()


def test_random_hands_stay_within_the_limits_of_joints():
  rng = np.random.default_rng(1)
  drawn = [hands.sample_fingers(rng) for _ in range(400)]
  flexion, spread = (np.stack(x) for x in zip(*drawn))
  assert (flexion >= [-22, -8, -6]).all() and (flexion <= [85, 100, 68]).all()
  assert (np.abs(spread) < 35).all()
  # Both open and closed fingers come up, and the two outer joints move together.
  middle, end = flexion[:, 1:, 1].ravel(), flexion[:, 1:, 2].ravel()
  assert np.percentile(middle, 10) < 10 and np.percentile(middle, 90) > 70
  assert np.corrcoef(middle, end)[0, 1] > 0.8


def test_arms_reach_as_arms_do():
  rng = np.random.default_rng(2)
  names = ("upperarm01", "lowerarm01", "wrist")
  for _ in range(20):
    local = _rest()
    for side in hands.SIDES:
      hands.pose_arm(local, side, np.float64(_BODY.rest_heads), rng)
      assert np.abs(np.linalg.det(local) - 1).max() < 1e-9
    _, heads = _posed(local)
    for side in hands.SIDES:
      rows = [_BODY.bone(f"{name}.{side}") for name in names]
      shoulder, elbow, wrist = heads[rows]
      upper, lower = elbow - shoulder, wrist - elbow
      full = np.linalg.norm(upper) + np.linalg.norm(lower)
      assert 0.44 < np.linalg.norm(wrist - shoulder) / full < 0.97
      # Before the body, or beside it.
      assert wrist[1] < shoulder[1] - 60 or abs(wrist[0]) > abs(shoulder[0]) + 60
      # The elbow bends about its hinge: the arm's plane turns with the upper arm.
      hinge = local[rows[0]] @ motion._hinge("lowerarm01", side)[0]
      assert np.cross(upper, lower) @ hinge > 0.99 * np.linalg.norm(np.cross(upper, lower))


def test_images_agree_with_their_labels(generator):
  for index in range(3):
    labelled = generator.labelled_image("train", index)
    homogeneous = labelled.joints_3d @ labelled.intrinsics.T
    np.testing.assert_allclose(
      homogeneous[:, :2] / homogeneous[:, 2:], labelled.joints_2d, atol=1e-3
    )
    assert labelled.image.shape == (320, 320, 3) and labelled.mask.max() <= 33
    assert labelled.visible.sum() >= 8 and (labelled.mask > 1).sum() > 300
    assert (labelled.mask == 1).any() and (labelled.mask == 0).any()
    np.testing.assert_array_equal(
      labelled.visible, hand_scene.visible_joints(labelled.mask, labelled.joints_2d)
    )
    assert (np.abs(labelled.joints_2d[labelled.visible] - 159.5) <= 160).all()
  again = generator.labelled_image("train", 2)
  np.testing.assert_array_equal(again.image, labelled.image)
  np.testing.assert_array_equal(again.joints_3d, labelled.joints_3d)
  other = generator.labelled_image("validation", 2)
  assert np.abs(other.joints_3d - labelled.joints_3d).max() > 1


def test_a_joint_is_seen_where_its_part_is():
  mask = np.zeros((320, 320), np.uint8)
  mask[100:120, 100:120] = 18 + 3  # the right index finger's tip
  joints = np.full((42, 2), 110.0)
  seen = hand_scene.visible_joints(mask, joints)
  # Tip and end joint of the right index finger.
  np.testing.assert_array_equal(seen.nonzero()[0], [21 + 5, 21 + 6])
  assert not hand_scene.visible_joints(mask, joints - 200).any()
  assert hand_scene.visible_joints(mask, joints + np.array([11, 0])).any()
  assert not hand_scene.visible_joints(mask, joints + np.array([12, 0])).any()


def _options(output):
  return argparse.Namespace(
    output=output, images=3, validation_images=1, people=3, seed=3, layout="rhd"
  )


def test_what_is_written_is_read_and_a_stopped_run_goes_on(tmp_path, generator, monkeypatch):
  monkeypatch.setattr(hand_scene, "Generator", lambda *_, **__: generator)
  export_rhd.write(tmp_path / "whole", _options(tmp_path))

  drawn, draw = [], generator.labelled_image

  def stops(split, index):
    if len(drawn) == 3:
      raise KeyboardInterrupt
    drawn.append((split, index))
    return draw(split, index)

  monkeypatch.setattr(generator, "labelled_image", stops)
  monkeypatch.setattr(export_rhd, "_THREADS", 1)
  with pytest.raises(KeyboardInterrupt):
    export_rhd.write(tmp_path / "parts", _options(tmp_path))
  assert not (tmp_path / "parts" / "training" / "anno_training.pickle").exists()
  with pytest.raises(FileNotFoundError):
    builder.prepare(tmp_path / "parts", tmp_path, "train")
  # As if the machine had stopped while a record was written.
  with (tmp_path / "parts" / "training" / "records.partial").open("ab") as file:
    file.write(b"half")
  monkeypatch.setattr(generator, "labelled_image", draw)
  export_rhd.write(tmp_path / "parts", _options(tmp_path))

  files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*.*"))
  assert len(files) == 2 * 4 + 4
  for file in files:
    assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()

  source = builder.prepare(tmp_path / "whole", tmp_path, "train").as_data_source("train")
  assert len(source) == 3
  for example in source:
    made = generator.labelled_image("train", example["frame"])
    hand = slice(21 * example["hand_side"], 21 * example["hand_side"] + 21)
    np.testing.assert_allclose(example["joints_3d"], made.joints_3d[hand], atol=1e-3)
    np.testing.assert_array_equal(example["visible"], made.visible[hand])
    path = tmp_path / "whole" / "training" / "color" / f"{example['frame']:05d}.png"
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], made.image)
  record = annotations.read(tmp_path / "whole" / "training" / "anno_training.pickle")[0]
  assert set(record) == {"xyz", "uv_vis", "K"}


def test_a_folder_of_other_data_is_refused(tmp_path):
  (tmp_path / "training").mkdir()
  (tmp_path / "training" / "mine.txt").write_text("mine")
  with pytest.raises(SystemExit, match="holds other data"):
    export.main(["--layout", "rhd", "--output", str(tmp_path)])
  with pytest.raises(SystemExit, match="must be at least 1"):
    export.main(["--layout", "rhd", "--output", str(tmp_path / "new"), "--images", "0"])
