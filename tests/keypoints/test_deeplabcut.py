"""DeepLabCut's and Lightning Pose's csv, and which file is of which camera."""

import numpy as np
import pytest

from epipolar_jax.keypoints import deeplabcut, reading

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
  points, score, joints = deeplabcut.read(_write(tmp_path / "a.csv"))
  assert joints == ("nose", "tail") and points.shape == (2, 1, 2, 2)
  np.testing.assert_array_equal(points[0, 0], [[1.5, 2.5], [10.0, 20.0]])
  np.testing.assert_array_equal(score[:, 0], [[0.9, 1.0], [0.0, 0.5]])
  assert np.isnan(points[1, 0, 0]).all()


def test_two_animals_and_labels_without_likelihood(tmp_path):
  text = (
    "scorer,,,me,me,me,me\nindividuals,,,a,a,b,b\nbodyparts,,,nose,nose,nose,nose\n"
    "coords,,,x,y,x,y\nlabeled-data,video,img01.png,1,2,,\n"
  )
  points, score, joints = deeplabcut.read(_write(tmp_path / "b.csv", text))
  assert points.shape == (1, 2, 1, 2) and joints == ("nose",)
  np.testing.assert_array_equal(score[0, :, 0], [1.0, 0.0])


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "they begin with nothing"),
    ("a,b\n1,2\n", "they begin with 'a', '1'"),
    (_SINGLE.replace("likelihood,x", "likelihood"), "different lengths"),
    (_SINGLE.replace("1.5", "left"), r"row 4, column 2: 'left' is not a number"),
    (_SINGLE.replace("0,1.5,2.5,0.9,10,20,1.0", "0,1.5"), "row 4: 2 columns, the header has 7"),
    (_SINGLE.replace("tail", "nose"), "columns appear twice, the first is 'nose likelihood'"),
    (_SINGLE.replace("coords,x,y", "coords,x,z"), "nose has the column x alone"),
    (_SINGLE.replace("coords,x,y,likelihood,x,y", "coords,u,v,likelihood,u,v"), "no column"),
  ],
)
def test_what_is_wrong_is_named_with_file_row_and_column(tmp_path, text, message):
  with pytest.raises(ValueError, match=message) as refused:
    deeplabcut.read(_write(tmp_path / "a.csv", text))
  assert "a.csv" in str(refused.value)


def test_random_damage_never_ends_in_another_error(tmp_path):
  """Cut, swapped and overwritten bytes: a table, or a ValueError that names the file."""
  rng = np.random.default_rng(0)
  path, whole = tmp_path / "a.csv", _SINGLE.encode()
  for _ in range(300):
    data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
    for _ in range(rng.integers(0, 6)):
      data[rng.integers(len(data))] = rng.integers(256)
    path.write_bytes(bytes(data))
    try:
      points, score, joints = deeplabcut.read(path)
    except ValueError as error:
      assert "a.csv" in str(error)
    else:
      assert points.shape[:3] == score.shape and len(joints) == score.shape[2]
      assert (np.isfinite(points).all(-1) | (score == 0)).all()


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


def test_files_of_one_recording_agree_in_frames_and_joints(tmp_path):
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
  with pytest.raises(ValueError, match=r"a.csv has 2 frames of 1 animals, .*d.csv 1 of 1"):
    reading.read({"a": a, "d": short})
