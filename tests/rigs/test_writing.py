"""Writers: what is read back is the same rig, and what does not fit is said before anything is."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs import documents, lenses, reading, writing
from epipolar_jax.rigs.rig import Rig
from tests.rigs import files


def _rig(*lens: lenses.Lens) -> Rig:
  t = files.truth()
  cameras = Cameras(t.intrinsics, t.rotation, t.translation)
  return Rig(t.names, t.sizes_wh, lens, cameras, 1000.0)


def _of(count: int) -> Rig:
  c = files.truth().coefficients
  more = [0.011, 0.02, -0.01, 0.003, 1e-4, 2e-4, 3e-4, 4e-4, 0.01, -0.02]
  return _rig(*(lenses.OpenCV([*row, *more][:count]) for row in c))


def _assert_same(a: Rig, b: Rig, *, exact: bool):
  assert (a.names, a.sizes_wh, a.lenses) == (b.names, b.sizes_wh, b.lenses)
  for name in ("intrinsics", "rotation", "translation"):
    x, y = getattr(a.cameras, name), getattr(b.cameras, name)
    # Rodrigues' vectors and metres cost a rounding.
    np.testing.assert_allclose(x, y, rtol=0 if exact else 1e-14, atol=0 if exact else 1e-12)


@pytest.mark.parametrize("format", writing.WRITERS)
def test_read_write_read(format, tmp_path):
  rig = _of(4 if format == "pose2sim" else 5)
  notes = rig.write(tmp_path / "written", format)
  assert reading.recognise(documents.load(tmp_path / "written")) == format
  once = Rig.read(tmp_path / "written")
  _assert_same(once, rig, exact=format in ("plain json", "opencv json"))
  once.write(tmp_path / "again", format)
  _assert_same(Rig.read(tmp_path / "again"), once, exact=format in ("plain json", "opencv json"))
  stated = format in ("plain json", "pose2sim", "easymocap")
  assert once.unit_mm == (1000 if stated else None)
  assert bool(notes) != stated


def test_plain_json_carries_every_lens_size_and_unit(tmp_path):
  fisheye, vicon = lenses.Fisheye([0.1, 0, 0, 0]), lenses.ViconRadial((1, 2), (1e-9, 0, 0), False)
  rig = dataclasses.replace(
    _rig(lenses.Pinhole(), fisheye, vicon), sizes_wh=(None, (3, 4), None), unit_mm=None
  )
  assert rig.write(tmp_path / "rig.json") == ()
  back = Rig.read(tmp_path / "rig.json")
  _assert_same(back, rig, exact=True)
  assert back.unit_mm is None
  with pytest.raises(ValueError, match="in mm, not in m"):
    Rig.read(tmp_path / "rig.json", unit="m")


@pytest.mark.parametrize("count", [8, 12, 14])
@pytest.mark.parametrize("format", writing.WRITERS)
def test_coefficients_that_do_not_fit_are_refused_and_nothing_is_written(format, count, tmp_path):
  rig, path = _of(count), tmp_path / "written"
  if format in ("plain json", "opencv json"):
    rig.write(path, format)
    assert Rig.read(path).lenses == rig.lenses
    return
  with pytest.raises(ValueError, match=rf"{format} cannot carry this rig[^$]*cam_10.*[^$]*back"):
    rig.write(path, format)
  assert not path.exists()


def test_what_else_does_not_fit(tmp_path):
  path = tmp_path / "written"
  with pytest.raises(ValueError, match="camera back: 5 lens coefficients; it has 4"):
    _of(5).write(path, "pose2sim")
  vicon = _rig(*[lenses.ViconRadial((1, 2), (1e-9, 0, 0))] * 3)
  for format in ("aniposelib", "pose2sim", "opencv json", "easymocap"):
    with pytest.raises(ValueError, match="camera cam_2: a lens of type ViconRadial"):
      vicon.write(path, format)
  named = dataclasses.replace(_of(4), names=("metadata", "b c", "d"))
  with pytest.raises(ValueError, match="camera metadata: a name that it has another use for"):
    named.write(path, "pose2sim")
  with pytest.raises(ValueError, match="'b c': a name that does not make a YAML key"):
    named.write(path, "easymocap")
  with pytest.raises(ValueError, match="format should be one of plain json, aniposelib"):
    named.write(path, "anipose")
  with pytest.raises(ValueError, match="pose2sim: translations are in m, not in cm"):
    _of(4).write(path, "pose2sim", unit="cm")
  assert not path.exists()


def test_what_the_file_does_not_say_is_returned(tmp_path):
  rig = dataclasses.replace(_of(5), sizes_wh=(None, (3, 4), None))
  notes = rig.write(tmp_path / "a.toml", "aniposelib", unit="m")
  assert notes == (
    "aniposelib does not state the unit of translations: they are in m",
    "the image size of camera cam_10, back is not known",
  )
  back = Rig.read(tmp_path / "a.toml", unit="m")
  _assert_same(back, rig, exact=False)


@pytest.mark.parametrize("format", ["aniposelib", "pose2sim"])
def test_fisheye_lenses_and_awkward_names(format, tmp_path):
  fisheye = [lenses.Fisheye([0.1, 0.01, 0, i]) for i in range(3)]
  names = ('a"b\\c', "Kamera 1 ü.x", "cam]\n[0")
  rig = dataclasses.replace(_rig(*fisheye), names=names)
  rig.write(tmp_path / "rig.toml", format)
  _assert_same(Rig.read(tmp_path / "rig.toml"), rig, exact=False)


def test_rotations_by_half_a_turn_survive_their_vector(tmp_path):
  turns = [
    cv2.Rodrigues(np.array(v))[0] for v in ([np.pi, 0, 0], [0, np.pi - 1e-9, 0], [0, 0, 0.0])
  ]
  rig = _of(5)
  cameras = Cameras(rig.cameras.intrinsics, np.array(turns), rig.cameras.translation)
  rig = dataclasses.replace(rig, cameras=cameras)
  rig.write(tmp_path / "rig.toml", "aniposelib")
  _assert_same(Rig.read(tmp_path / "rig.toml"), rig, exact=False)


def test_opencv_reads_what_is_written_for_easymocap(tmp_path):
  rig = _of(5)
  rig.write(tmp_path, "easymocap")
  storage = cv2.FileStorage(str(tmp_path / "extri.yml"), cv2.FILE_STORAGE_READ)
  found = storage.getNode("T_cam_2").mat()
  np.testing.assert_allclose(found[:, 0], rig.cameras.translation[1] / 1000)
  names = storage.getNode("names")
  assert [names.at(i).string() for i in range(names.size())] == list(rig.names)
  storage.release()


def test_opencv_json_bytes(tmp_path):
  _of(4).write(tmp_path / "a.json", "opencv json")
  value = json.loads((tmp_path / "a.json").read_bytes())
  assert list(value) == ["cam_10", "cam_2", "back"]
  assert np.shape(value["back"]["extrinsics_matrix"]) == (3, 4)
