"""DeepLabCut's and Lightning Pose's csv, and which file is of which camera."""

import numpy as np
import pytest

from epipolar_jax.keypoints import reading
from tests import damage

_SINGLE = (
  "scorer,net,net,net,net,net,net\n"
  "bodyparts,nose,nose,nose,tail,tail,tail\n"
  "coords,x,y,likelihood,x,y,likelihood\n"
  "0,1.5,2.5,0.9,10,20,1.0\n"
  "1,,,0.0,11,21,0.5\n"
)


def _write(path, text=_SINGLE):
  path.write_text(text, encoding="utf-8")
  return path


def test_a_prediction_of_one_animal(tmp_path):
  found = reading.read_file(_write(tmp_path / "a.csv"))
  assert found.joints == ("nose", "tail") and found.points.shape == (2, 1, 1, 2, 2)
  assert found.views == ("a",) and found.people == ()
  np.testing.assert_array_equal(found.points[0, 0, 0], [[1.5, 2.5], [10.0, 20.0]])
  np.testing.assert_array_equal(found.score[:, 0, 0], [[0.9, 1.0], [0.0, 0.5]])
  assert np.isnan(found.points[1, 0, 0, 0]).all()


def test_two_animals_and_labels_without_likelihood(tmp_path):
  text = (
    "scorer,,,me,me,me,me\nindividuals,,,a,a,b,b\nbodyparts,,,nose,nose,nose,nose\n"
    "coords,,,x,y,x,y\nlabeled-data,video,img01.png,1,2,,\n"
  )
  found = reading.read_file(_write(tmp_path / "b.csv", text))
  assert found.points.shape == (1, 2, 1, 1, 2) and found.joints == ("nose",)
  assert found.people == ("a", "b") and found.first_frame == 1
  np.testing.assert_array_equal(found.score[0, :, 0, 0], [1.0, 0.0])


def test_frames_are_numbered_by_the_first_column_and_gaps_are_not_seen(tmp_path):
  text = _SINGLE.replace("\n1,,", "\n4,7,8")
  found = reading.read_file(_write(tmp_path / "a.csv", text.replace("\n0,", "\n2,")))
  assert found.first_frame == 2 and len(found.points) == 3
  assert not found.seen[1].any() and found.points[2, 0, 0, 1, 0] == 11
  labels = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n"
  two = labels + "labeled-data/a/img07.png,1,2\nlabeled-data/b/img03.png,3,4\n"
  found = reading.read_file(_write(tmp_path / "b.csv", two))
  assert found.first_frame == 0 and len(found.points) == 2, "images of two videos are rows"


def test_lightning_poses_labels_that_are_not_visible_are_not_seen(tmp_path):
  text = "scorer,me,me,me\nbodyparts,nose,nose,nose\ncoords,x,y,visible\n"
  text += "img0.png,1,2,0\nimg1.png,1,2,1\nimg2.png,1,2,2\n"
  found = reading.read_file(_write(tmp_path / "a.csv", text))
  np.testing.assert_array_equal(found.score.ravel(), [0, 1, 1])


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "is empty"),
    ("a,b\n1,2\n", "but not keypoints of any known format: plain npz"),
    (_SINGLE.replace("bodyparts", "parts"), "they begin with 'scorer', 'parts'"),
    (_SINGLE.replace("likelihood,x", "likelihood"), "different lengths"),
    (_SINGLE.replace("1.5", "left"), r"row 4, column 2: 'left' is not a number"),
    (_SINGLE.replace("0,1.5,2.5,0.9,10,20,1.0", "0,1.5"), "row 4: 2 columns, the header has 7"),
    (_SINGLE.replace("tail", "nose"), "columns appear twice, the first is 'nose x'"),
    (_SINGLE.replace("coords,x,y", "coords,x,w"), "nose has the column x alone"),
    (_SINGLE.replace("coords,x,y,likelihood,x,y", "coords,u,v,likelihood,u,v"), "no column"),
  ],
)
def test_what_is_wrong_is_named_with_file_row_and_column(tmp_path, text, message):
  with pytest.raises(ValueError, match=message) as refused:
    reading.read_file(_write(tmp_path / "a.csv", text))
  assert "a.csv" in str(refused.value)


def test_damage(tmp_path):
  path = _write(tmp_path / "a.csv")

  def sound(found):
    assert (np.isfinite(found.points).all(-1) == found.seen).all()

  damage.check_reader(lambda: reading.read_file(path), path, check=sound, rounds=300)


def test_files_are_of_the_camera_whose_name_they_hold(tmp_path):
  names = ("cam1", "cam10", "left")
  found = reading.pair(["x/s_left.csv", "x/s_cam10.csv", "x/s_cam1.csv"], names)
  assert {k: v.name for k, v in found.items()} == {
    "left": "s_left.csv",
    "cam10": "s_cam10.csv",
    "cam1": "s_cam1.csv",
  }
  with pytest.raises(ValueError, match=r"s_top.csv holds the name of no camera; the cameras are"):
    reading.pair(["s_top.csv"], names)
  with pytest.raises(ValueError, match="of cam1 and left"):
    reading.pair(["cam1_left.csv"], names)
  with pytest.raises(ValueError, match="both hold the name of camera left"):
    reading.pair(["left_a.csv", "left_b.csv"], names)
  alone = reading.pair(["2021_1.csv", "2021_2.csv"], ("1", "2"))
  assert {k: v.name for k, v in alone.items()} == {"1": "2021_1.csv", "2": "2021_2.csv"}
  loosely = reading.pair(["cam01_json", "Cam-10.csv"], ("cam_01", "cam_10"))
  assert {k: v.name for k, v in loosely.items()} == {"cam_01": "cam01_json", "cam_10": "Cam-10.csv"}


def test_files_of_one_recording_are_joined_by_frame_and_agree_in_joints(tmp_path):
  a = _write(tmp_path / "a.csv")
  turned = _SINGLE.replace("nose", "?").replace("tail", "nose").replace("?", "tail")
  b = _write(tmp_path / "b.csv", turned)
  made = reading.read({"a": a, "b": b}, fps=30.0)
  assert made.joints == ("nose", "tail") and made.views == ("a", "b") and made.fps == 30.0
  np.testing.assert_array_equal(made.points[0, 0, 1, 0], [10.0, 20.0])
  other = _write(tmp_path / "c.csv", _SINGLE.replace("tail", "paw"))
  with pytest.raises(ValueError, match=r"a.csv and .*c.csv differ in joints: paw, tail"):
    reading.read({"a": a, "c": other})
  short = _write(tmp_path / "d.csv", _SINGLE.rsplit("1,,", 1)[0])
  made = reading.read({"a": a, "d": short})
  np.testing.assert_array_equal(made.seen[:, 0, :, 1], [[True, True], [True, False]])
