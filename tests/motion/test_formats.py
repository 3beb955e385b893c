"""Every 3D format: written and read again, what is lost is said, damaged."""

import dataclasses

import h5py
import numpy as np
import pytest

from epipolar_jax.motion import c3d, files, formats, motion, sleap_anipose
from epipolar_jax.triangulation.estimate import Estimate
from tests import damage
from tests.motion import motions


def _path(folder, name):
  return folder / f"out{formats.FORMATS[name].suffix}"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", formats.WRITTEN)
def test_written_and_read_is_the_same(name, count, tmp_path):
  made = motions.make(count, first_frame=3, people=("ann", "bob")[:count])
  paths, lost = formats.write(_path(tmp_path, name), made, name)
  format = formats.FORMATS[name]
  assert len(paths) == (1 if format.people else count)
  for i, path in enumerate(paths):
    found, wanted = formats.read(path), made if format.people else made.person(i)
    if name == "sleap-anipose":
      assert np.isnan(found.points[:3]).all()
      found = dataclasses.replace(found, points=found.points[3:], first_frame=3)
    # C3D has 32 bits; TRC's metres cost a rounding.
    atol = {"c3d": 1e-4, "trc": 1e-12}.get(name, 0)
    motions.assert_same(found, wanted, tuple(format.carries), atol=atol)
    again = path.with_name(f"again{path.suffix}")
    formats.write(again, found, name)
    motions.assert_same(formats.read(again), formats.read(path), atol=atol)
  carried = {"fps", "first_frame", "people", "error_px", "num_views", "score"} - format.carries
  assert len(lost) == len(carried)


def _estimate() -> Estimate:
  rng = np.random.default_rng(0)
  valid = rng.uniform(size=(4, 2, 3)) > 0.3
  inlier = rng.uniform(size=(4, 2, 5, 3))
  reprojection = np.where(rng.uniform(size=inlier.shape) > 0.2, 10 * inlier, np.nan)
  reprojection = np.where(valid[:, :, None], reprojection, np.nan)
  points = rng.normal(size=(4, 2, 3, 3)) * valid[..., None]
  covariance = rng.normal(size=(4, 2, 3, 3, 3)) * valid[..., None, None]
  views = tuple("vwxyz")
  return Estimate(points, valid, covariance, inlier, reprojection, tuple("abc"), views)


def test_joints_npz_has_every_field_and_is_a_motion(tmp_path):
  path, made = tmp_path / "joints.npz", _estimate()
  files.write(path, made, fps=30.0, first_frame=12)
  with np.load(path) as file:
    fields = {"points", "valid", "covariance", "inlier", "reprojection_px", "joints", "cameras"}
    assert fields | {"fps", "first_frame", "unit"} == set(file.files)
  found = formats.read(path)
  assert (found.fps, found.first_frame, found.joints) == (30.0, 12, made.joints)
  np.testing.assert_array_equal(found.known, made.valid)
  f, p, j = np.argwhere(made.valid)[4]
  agree = (made.inlier[f, p, :, j] >= 0.5) & np.isfinite(made.reprojection_px[f, p, :, j])
  assert found.num_views[f, p, j] == agree.sum() > 0
  assert np.isclose(found.error_px[f, p, j], made.reprojection_px[f, p, agree, j].mean())
  seen = np.isfinite(made.reprojection_px[f, p, :, j])
  assert np.isclose(found.score[f, p, j], made.inlier[f, p, seen, j].mean())
  with pytest.raises(ValueError, match="format should be one of anipose, trc"):
    formats.write(tmp_path / "x.npz", found, "joints npz")


@pytest.mark.parametrize("name", ["deeplabcut 3d", "sleap-anipose", "c3d", "joints npz"])
def test_damage(name, tmp_path):
  path = _path(tmp_path, name)
  if name == "joints npz":
    files.write(path, _estimate())
  else:
    formats.write(path, motions.make(2 if formats.FORMATS[name].people else 1), name)
  damage.check_reader(lambda: formats.read(path), path, check=motions.assert_sound, rounds=100)


def test_what_is_wrong_with_c3d_is_named(tmp_path):
  path, made = tmp_path / "a.c3d", motions.make()
  with pytest.raises(ValueError, match="say --fps"):
    c3d.write(path, motions.make(fps=None))
  with pytest.raises(ValueError, match="cannot hold the joint name 'näse'"):
    c3d.write(path, dataclasses.replace(made, joints=("a", "näse", "c")))
  with pytest.raises(ValueError, match="1 to 65535 frames of 1 to 255 joints; these are 0 of 3"):
    c3d.write(path, motion.Motion(np.zeros((0, 1, 3, 3)), tuple("abc"), fps=1.0))
  with pytest.raises(ValueError, match="frame numbers go to 65535; the first is 70000"):
    c3d.write(path, motions.make(first_frame=70000))
  assert not path.exists()
  path.write_bytes(b"\x02\x50" + bytes(600))
  with pytest.raises(ValueError, match="a damaged C3D file"):
    formats.read(path)


def test_axis_that_is_up_is_stated_in_c3d(tmp_path):
  path = tmp_path / "a.c3d"
  for up, stated in (("z", b"+Z"), ("-y", b"-Y"), ("x", b"+X")):
    formats.write(path, motions.make(), "c3d", up=up)
    data = path.read_bytes()
    place = data.index(b"Y_SCREEN")
    assert stated in data[place : place + 20]
  with pytest.raises(ValueError, match="up should be one of x, y, z, -x, -y, -z; got 'w'"):
    formats.write(path, motions.make(), "anipose", up="w")


def test_sleap_anipose_without_names(tmp_path):
  path = tmp_path / "points3d.h5"
  with h5py.File(path, "w") as file:
    file["tracks"] = np.zeros((4, 2, 3, 3))
  assert sleap_anipose.read(path).joints == ("0", "1", "2")
  with h5py.File(path, "w") as file:
    file["tracks"] = np.zeros((2, 2, 3, 4))
  with pytest.raises(ValueError, match=r"tracks is \(2, 2, 3, 4\); it should be"):
    formats.read(path)


def test_a_file_of_no_known_format(tmp_path):
  (tmp_path / "a.csv").write_text("a,b\n1,2\n")
  with pytest.raises(ValueError, match="not 3D joints of any known format: joints npz, anipose"):
    formats.read(tmp_path / "a.csv")
  with pytest.raises(ValueError, match="is not a regular file"):
    formats.read(tmp_path)
  with pytest.raises(FileNotFoundError):
    formats.read(tmp_path / "none.trc")


def test_motion_refuses_what_does_not_belong_together():
  points = np.zeros((2, 1, 3, 3))
  for change, message in (
    ({"joints": ("a", "b")}, r"\[frames, people, 2 joints, 3\], got \[2, 1, 3, 3\]"),
    ({"joints": ("a", "b", "b")}, "more than one joint is called b"),
    ({"people": ("x", "y")}, "2 names for 1 people"),
    ({"fps": 0.0}, "frames a second should be above 0, got 0.0"),
    ({"score": np.zeros((2, 1))}, r"score is \[2, 1\], not \[2, 1, 3\]"),
  ):
    with pytest.raises(ValueError, match=message):
      motion.Motion(**({"points": points, "joints": ("a", "b", "c")} | change))
