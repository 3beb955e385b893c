"""A recording of several cameras: one file each, by name, or all in one."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.keypoints import reading, writing
from epipolar_jax.keypoints.observations import Observations


def _made(views=("cam_1", "cam_2"), first=3) -> Observations:
  rng = np.random.default_rng(0)
  points = rng.uniform(1, 500, (4, 1, len(views), 17, 2))
  names = tuple(f"j{i}" for i in range(17))
  return Observations(points, np.full(points.shape[:-1], 0.5), names, views, first_frame=first)


def test_a_file_each_or_all_in_one(tmp_path):
  made, cameras = _made(), ("cam_2", "cam_1", "cam_10")
  paths, _ = writing.write(tmp_path / "csv", made, "deeplabcut")
  found = reading.read_recording(paths[::-1], cameras, fps=25.0)
  assert found.views == ("cam_2", "cam_1") and found.fps == 25.0
  np.testing.assert_array_equal(found.select(views=made.views).points, made.points)
  left = tmp_path / "a=b.csv"
  paths[0].rename(left)
  found = reading.read_recording([paths[1], f"cam_10={left}"], cameras)
  assert set(found.views) == {"cam_10", "cam_2"}
  writing.write(tmp_path / "all.npz", made, "plain npz")
  found = reading.read_recording([tmp_path / "all.npz"], cameras)
  np.testing.assert_array_equal(found.points, made.points)
  writing.write(tmp_path / "pose", _made(("cam1", "cam2")), "openpose")
  found = reading.read_recording([tmp_path / "pose"], cameras, joint_set="COCO_17")
  assert found.views == ("cam_1", "cam_2")


def test_a_folder_that_holds_itself_is_refused(tmp_path):
  (tmp_path / "pose").mkdir()
  (tmp_path / "pose" / "again").symlink_to(tmp_path / "pose")
  with pytest.raises(ValueError, match=r"again: a folder, but not keypoints of any known format"):
    reading.read_file(tmp_path / "pose")
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match=r"empty: a folder, but not keypoints"):
    reading.read_file(tmp_path / "empty")


def test_what_does_not_fit_is_named(tmp_path):
  made = _made()
  writing.write(tmp_path / "all.npz", made, "plain npz")
  with pytest.raises(ValueError, match="cam_1 holds the name of no camera; the cameras are x, y"):
    reading.read_recording([tmp_path / "all.npz"], ("x", "y"))
  with pytest.raises(ValueError, match="two views are of one camera: cam_1 of cam, cam_2 of cam"):
    reading.read_recording([tmp_path / "all.npz"], ("cam", "y"))
  with pytest.raises(
    ValueError, match=r"all\.npz holds the views cam_1, cam_2, not camera a alone"
  ):
    reading.read_recording([f"a={tmp_path / 'all.npz'}", f"b={tmp_path / 'all.npz'}"], ("a", "b"))
  one, other = made.select(views=("cam_1",)), made.select(views=("cam_2",))
  writing.write(tmp_path / "cam_1.csv", one, "deeplabcut")
  later = dataclasses.replace(other, first_frame=10)
  writing.write(tmp_path / "cam_2.csv", later, "deeplabcut")
  files = [tmp_path / "cam_1.csv", tmp_path / "cam_2.csv"]
  with pytest.raises(ValueError, match="cam_1 has frames 3 to 6, cam_2 has frames 10 to 13"):
    reading.read_recording(files, ("cam_1", "cam_2"))
  with pytest.raises(ValueError, match="give each camera once"):
    reading.read_recording([*files, f"cam_1={tmp_path / 'other.csv'}"], ("cam_1", "cam_2"))
