"""TRC: the file to the byte, which way is up, and back."""

import itertools

import numpy as np
import pytest

from epipolar_jax import skeletons
from epipolar_jax.keypoints import joint_sets
from epipolar_jax.motion import formats, trc
from epipolar_jax.motion.motion import Motion
from tests import damage
from tests.motion import motions


def test_the_file_to_the_byte(tmp_path):
  points = np.array([[[[1000.0, 2000.0, 3000.0], [-1.0, 0.5, 4.0]]], [[[np.nan] * 3, [0.0] * 3]]])
  trc.write(tmp_path / "a.trc", Motion(points, ("RHip", "nose"), fps=50.0))
  assert (tmp_path / "a.trc").read_bytes().decode() == (
    "PathFileType\t4\t(X/Y/Z)\ta.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\t"
    "OrigNumFrames\n"
    "50.0\t50.0\t2\t2\tm\t50.0\t1\t2\n"
    "Frame#\tTime\tRHip\t\t\tnose\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "1\t0.0\t2.0\t3.0\t1.0\t0.0005\t0.004\t-0.001\n"
    "2\t0.02\t\t\t\t0.0\t0.0\t0.0\n"
  )


@pytest.mark.parametrize("name", ["coco_17", "h36m_17", "union_20"])
def test_our_humans_have_the_names_of_opensims_markers(name, tmp_path):
  joints = skeletons.SKELETONS[name].joints
  trc.write(tmp_path / "a.trc", Motion(np.zeros((1, 1, len(joints), 3)), joints, fps=1.0))
  markers = trc.read(tmp_path / "a.trc").joints
  assert len(set(markers)) == len(joints)
  sides = {f"{a}{b}" for a in "LR" for b in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")}
  assert sides <= set(markers) and markers[joints.index("lkne")] == "LKnee"
  if name == "coco_17":
    assert markers == joint_sets.JOINT_SETS["COCO_17"], "the order is COCO's, too"


def test_names_of_others_are_kept(tmp_path):
  joints = ("nose", "lsho", "tail")
  trc.write(tmp_path / "a.trc", Motion(np.zeros((1, 1, 3, 3)), joints, fps=1.0))
  assert trc.read(tmp_path / "a.trc").joints == joints


@pytest.mark.parametrize("up", trc.UPS)
def test_up_becomes_y_without_a_reflection(up, tmp_path):
  axes = np.zeros((1, 1, 3, 3))
  axes[0, 0] = 1000 * np.eye(3)
  path = tmp_path / "a.trc"
  trc.write(path, Motion(axes, tuple("xyz"), fps=1.0), up=up)
  filed = np.array(path.read_text().splitlines()[5].split("\t")[2:], float).reshape(3, 3)
  sign = -1 if up[0] == "-" else 1
  np.testing.assert_array_equal(sign * filed["xyz".index(up[-1])], [0, 1, 0])
  assert np.linalg.det(filed) == 1
  np.testing.assert_array_equal(trc.read(path, up=up).points, axes)


def test_written_and_read_is_the_same(tmp_path):
  path, made = tmp_path / "a.trc", motions.make(first_frame=12)
  for unit, up in itertools.product(("mm", "m", "cm"), ("z", "-y")):
    trc.write(path, made, up=up, unit=unit)
    found = trc.read(path, up=up)
    # Metres cost a rounding.
    motions.assert_same(found, made, ("first_frame", "fps"), atol=0 if unit == "mm" else 1e-12)
  motions.assert_same(formats.read(path, up="-y"), made, atol=1e-12)


def test_several_people_get_a_file_each_and_what_is_lost_is_said(tmp_path):
  made = motions.make(2, people=("ann", "bob"))
  paths, lost = formats.write(tmp_path / "a.trc", made, "trc")
  assert [path.name for path in paths] == ["a_person0.trc", "a_person1.trc"]
  assert lost == ["names of people", "reprojection errors", "numbers of views", "scores"]
  motions.assert_same(trc.read(paths[1]), made.person(1), atol=1e-12)


def test_what_is_wrong_is_named(tmp_path):
  path, made = tmp_path / "a.trc", motions.make()
  with pytest.raises(ValueError, match="say --fps"):
    trc.write(path, motions.make(fps=None))
  with pytest.raises(ValueError, match=r"cannot hold the joint name 'a\\tb'"):
    trc.write(path, Motion(made.points, ("a\tb", "c", "d"), fps=1.0))
  with pytest.raises(ValueError, match="up should be one of x, y, z, -x, -y, -z; got 'w'"):
    trc.write(path, made, up="w")
  with pytest.raises(ValueError, match="unit should be one of mm, cm, m; got 'ft'"):
    trc.write(path, made, unit="ft")
  assert not path.exists()
  trc.write(path, made)
  text = path.read_text()
  for old, new, message in (
    ("Units\t", "Unit\t", "row 2 should name DataRate"),
    ("\tm\t", "\tft\t", "Units should be one of mm, cm, m; got 'ft'"),
    ("nose\t\t", "\t\t", "NumMarkers 3.0, and row 4 names 2 markers"),
    ("60.0\t60.0\t5", "60.0\t60.0\t6", "NumFrames is 6, and there are 5 rows"),
    ("\n5\t", "\n2\t", "frame numbers should be whole"),
    ("\n5\t", "\nfive\t", "row 10, column 1: 'five' is not a number"),
  ):
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
      trc.read(path)


def test_damage(tmp_path):
  path = tmp_path / "a.trc"
  trc.write(path, motions.make())
  damage.check_reader(lambda: trc.read(path), path, check=motions.assert_sound)
