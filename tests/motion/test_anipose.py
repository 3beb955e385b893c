"""Anipose's csv: the columns to the byte, and back."""

import numpy as np
import pytest

from epipolar_jax.motion import anipose, formats
from epipolar_jax.motion.motion import Motion
from tests import damage
from tests.motion import motions


def test_the_file_to_the_byte(tmp_path):
  points = np.array([[[[1.5, -2.0, 1e-7]]], [[[np.nan] * 3]]])
  one = np.ones((2, 1, 1))
  made = Motion(points, ("nose",), None, 7, (), 0.25 * one, 3 * one, 0.5 * one)
  anipose.write(tmp_path / "a.csv", made)
  world = "1.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0"
  assert (tmp_path / "a.csv").read_bytes().decode() == (
    "nose_x,nose_y,nose_z,nose_error,nose_ncams,nose_score,M_00,M_01,M_02,M_10,M_11,M_12,M_20,M_21,"
    "M_22,center_0,center_1,center_2,fnum\n"
    f"1.5,-2.0,1e-07,0.25,3.0,0.5,{world},7\n"
    f",,,,,,{world},8\n"
  )


def test_written_and_read_is_the_same(tmp_path):
  made = motions.make(first_frame=12)
  anipose.write(tmp_path / "a.csv", made)
  found = formats.read(tmp_path / "a.csv")
  motions.assert_same(found, made, ("first_frame", "error_px", "num_views", "score"))
  assert found.fps is None


def test_frames_that_are_left_out_are_empty(tmp_path):
  made = motions.make()
  anipose.write(tmp_path / "a.csv", made)
  lines = (tmp_path / "a.csv").read_text().splitlines()
  (tmp_path / "a.csv").write_text("\n".join([*lines[:2], *lines[4:]]))
  found = anipose.read(tmp_path / "a.csv")
  assert len(found.points) == 5 and not found.known[1:3].any()
  np.testing.assert_array_equal(found.points[4], made.points[4])


def test_what_is_wrong_is_named(tmp_path):
  path = tmp_path / "a.csv"
  anipose.write(path, motions.make())
  text = path.read_text()
  for old, new, message in (
    ("RHip_y,", "RHip_q,", "no column RHip_y"),
    ("nose_x", "RHip_x", "two columns are called RHip_x"),
    (",4\n", ",2\n", "frame numbers should be whole, from 0 on, and increase"),
    (",4\n", ",4000000000\n", "no video's count"),
    (",4\n", "\n", "row 6: 30 columns, the header has 31"),
    (",4\n", ",x\n", "row 6, column 31: 'x' is not a number"),
  ):
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
      anipose.read(path)


def test_damage(tmp_path):
  path = tmp_path / "a.csv"
  anipose.write(path, motions.make())
  damage.check_reader(lambda: anipose.read(path), path, check=motions.assert_sound)
