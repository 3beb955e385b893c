"""OpenPose's json folders: frames by number, people in slots, joints by set, hands."""

import json

import numpy as np
import pytest

from epipolar_jax.keypoints import joint_sets, reading
from tests import damage


def _person(value: float, joints: int = 25) -> list[float]:
  """x, y, score of every joint; the last is not seen."""
  triples = [[value + i, value - i, 0.5] for i in range(joints - 1)]
  return [x for triple in [*triples, [0, 0, 0]] for x in triple]


def _write(folder, frames: dict[int, list], name="{:012d}_keypoints.json"):
  folder.mkdir(exist_ok=True, parents=True)
  for number, people in frames.items():
    listed = [{"person_id": [-1], "pose_keypoints_2d": person} for person in people]
    content = json.dumps({"version": 1.3, "people": listed})
    (folder / name.format(number)).write_text(content)
  return folder


def test_frames_by_number_people_in_slots_and_000_is_not_seen(tmp_path):
  folder = _write(tmp_path / "cam_1_json", {12: [_person(100)], 14: [_person(7), _person(300)]})
  (folder / "notes.txt").write_text("not a frame")
  found = reading.read_file(folder, joint_set="BODY_25B")
  assert found.views == ("cam_1",) and found.first_frame == 12 and not found.matched
  assert found.joints == joint_sets.JOINT_SETS["BODY_25B"] and found.score.shape == (3, 2, 1, 25)
  np.testing.assert_array_equal(found.points[0, 0, 0, 2], [102, 98])
  np.testing.assert_array_equal(found.points[2, :, 0, 0], [[7, 7], [300, 300]])
  assert not found.seen[1].any() and not found.seen[0, 1].any() and not found.seen[..., 24].any()
  assert (found.score[0, 0, 0, :24] == 0.5).all()


def test_the_joint_set_is_chosen_by_count_only_when_unique(tmp_path):
  folder = _write(tmp_path / "a", {0: [_person(100)]})
  with pytest.raises(ValueError, match="25 joints may be BODY_25 or BODY_25B: name the joint set"):
    reading.read_file(folder)
  with pytest.raises(ValueError, match="has 25 joints, and the joint set HALPE_26 26"):
    reading.read_file(folder, joint_set="HALPE_26")
  with pytest.raises(ValueError, match=r"no skeleton 'BODY'.*joint sets: BODY_25"):
    reading.read_file(folder, joint_set="BODY")
  for count, name in ((26, "HALPE_26"), (133, "COCO_133"), (18, "COCO_18"), (17, "COCO_17")):
    found = reading.read_file(_write(tmp_path / name, {0: [_person(100, count)]}))
    assert found.joints == joint_sets.JOINT_SETS[name]
  with pytest.raises(ValueError, match="its 9 joints are of no known set"):
    reading.read_file(_write(tmp_path / "b", {0: [_person(100, 9)]}))
  own = tmp_path / "own.toml"
  own.write_text('name="n"\nsize_mm=9\njoints=["a","b"]\nparents=["","a"]\n')
  found = reading.read_file(_write(tmp_path / "c", {0: [_person(100, 2)]}), joint_set=own)
  assert found.joints == ("a", "b")


def test_every_joint_set_has_distinct_names_and_both_sides():
  counts = {"MPII_16": 16, "COCO_17": 17, "COCO_18": 18, "HAND_21": 21, "BODY_25": 25}
  counts |= {"BODY_25B": 25, "HALPE_26": 26, "MEDIAPIPE_33": 33, "COCO_133": 133}
  for name, joints in joint_sets.JOINT_SETS.items():
    assert len(joints) == len(set(joints)) == counts[name]
    for joint in joints:
      if joint[0] in "LR" and joint[1].isupper():
        assert "LR"[joint[0] == "L"] + joint[1:] in joints, (name, joint)


def test_hands_follow_the_body_where_a_file_has_them(tmp_path):
  folder = _write(tmp_path / "a", {0: [_person(100, 17)], 1: [_person(100, 17)]})
  path = folder / "000000000000_keypoints.json"
  content = json.loads(path.read_text())
  content["people"][0] |= {"hand_right_keypoints_2d": [5, 6, 1.2] * 21, "face_keypoints_2d": []}
  path.write_text(json.dumps(content))
  found = reading.read_file(folder)
  assert found.joints[17:] == tuple(f"RHand{i}" for i in range(21))
  assert found.score[0, 0, 0, 20] == 1.0 and not found.seen[1, 0, 0, 17:].any()


def test_a_folder_of_cameras_and_frames_that_one_lacks(tmp_path):
  name = "left.{:04d}.json"
  _write(tmp_path / "pose" / "cam01_json", {0: [_person(100, 17)], 1: [_person(9, 17)]}, name)
  _write(tmp_path / "pose" / "cam02_json", {1: [_person(50, 17), _person(60, 17)], 2: []}, name)
  found = reading.read_file(tmp_path / "pose")
  assert found.views == ("cam01", "cam02") and found.score.shape == (3, 2, 2, 17)
  np.testing.assert_array_equal(
    found.seen.any(-1), [[[1, 0], [0, 0]], [[1, 1], [0, 1]], [[0, 0], [0, 0]]]
  )


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"people": 3}, "people should be a list"),
    ({"people": [{"pose": []}]}, r"people\[0\] has no pose_keypoints_2d"),
    ({"people": [{"pose_keypoints_2d": "x"}]}, "should be a list of numbers, got a str"),
    ({"people": [{"pose_keypoints_2d": [1, 2]}]}, "2 numbers are not x, y and score"),
    ({"people": [{"pose_keypoints_2d": [1, 2, None]}]}, "number 2 is 'None'"),
    ({"people": [{"pose_keypoints_2d": [1, 2, True]}]}, "number 2 is 'True'"),
    ({"people": [{"pose_keypoints_2d": [1, 2, -0.5]}]}, "a score of -0.5"),
    ({"people": [{"pose_keypoints_2d": [1, 2, 300]}]}, "a score of 300"),
    ({"people": [{"pose_keypoints_2d": [10**400, 2, 0.5]}]}, "beyond all reason"),
    ({"people": [{"pose_keypoints_2d": [1, 2, 0.5]}]}, "1 joints, others have 17"),
  ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, change, message):
  folder = _write(tmp_path / "a", {0: [_person(100, 17)], 1: [_person(100, 17)]})
  (folder / "000000000001_keypoints.json").write_text(json.dumps(change))
  with pytest.raises(ValueError, match=message) as refused:
    reading.read_file(folder)
  assert "000000000001_keypoints.json" in str(refused.value)


def test_normalised_coordinates_and_frames_without_number_are_refused(tmp_path):
  people = [(np.array(_person(100, 17)).reshape(-1, 3) / [200, 200, 1]).ravel().tolist()]
  with pytest.raises(ValueError, match="run it with --keypoint_scale 0"):
    reading.read_file(_write(tmp_path / "a", {0: people}))
  folder = _write(tmp_path / "b", {0: [_person(100, 17)]})
  (folder / "x.json").write_text('{"people": []}')
  with pytest.raises(ValueError, match=r"x\.json: its name has no frame number"):
    reading.read_file(folder)
  (folder / "x.json").rename(folder / "other_0.json")
  with pytest.raises(ValueError, match="have the same frame number"):
    reading.read_file(folder)
  with pytest.raises(ValueError, match="nobody in any frame"):
    reading.read_file(_write(tmp_path / "c", {0: []}))
  folder = _write(tmp_path / "d", {0: [], 999_999_999: [_person(100, 17)]})
  with pytest.raises(ValueError, match="that is no video's count"):
    reading.read_file(folder)


def test_links_do_not_lead_out_of_a_folder(tmp_path):
  outside = _write(tmp_path / "outside", {5: [_person(100, 17)]})
  folder = _write(tmp_path / "a", {0: [_person(100, 17)]})
  (folder / "out_5.json").symlink_to(outside / "000000000005_keypoints.json")
  assert len(reading.read_file(folder).points) == 1


def test_damage(tmp_path):
  folder = _write(tmp_path / "a", {0: [_person(100, 17)], 1: [_person(9, 17), _person(5, 17)]})
  path = folder / "000000000001_keypoints.json"

  def sound(found):
    assert np.isfinite(found.points[found.seen]).all() and len(found.points) == 2

  damage.check_reader(lambda: reading.read_file(folder), path, check=sound)
  rng, value = np.random.default_rng(1), json.loads(path.read_text())
  for _ in range(60):
    path.write_text(json.dumps(damage.mutate(value, rng)))
    try:
      sound(reading.read_file(folder))
    except ValueError as error:
      assert str(error)
