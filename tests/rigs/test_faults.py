"""Bad files: every fault is listed, and damage of any kind is a ValueError, fast and small."""

import json
import pathlib
import pickle
import shutil
import zlib

import numpy as np
import pytest

from epipolar_jax.rigs import documents, reading
from epipolar_jax.rigs.rig import Rig
from tests import damage
from tests.rigs import files


def _cameras(tmp_path: pathlib.Path, **changes):
  """A CMU Panoptic file (every field is plain) with changes per camera number."""
  path = files.panoptic(tmp_path, files.truth())
  value = json.loads(path.read_text())
  for key, change in changes.items():
    value["cameras"][int(key[1:])] |= change
  path.write_text(json.dumps(value))
  return path


def test_all_faults_are_told_at_once_by_camera_and_field(tmp_path):
  t = files.truth()
  k = t.intrinsics.copy()
  k[0, 0, 0] = -5
  reflected = (np.diag([1, 1, -1]) @ t.rotation[1]).tolist()
  path = _cameras(
    tmp_path,
    c0={"K": k[0].tolist(), "t": [[1.0], [float("nan")], [3.0]]},
    c1={"K": k[1].T.tolist(), "R": reflected, "distCoef": [0.1] * 6, "resolution": [0, 1080]},
    c2={"R": (1.01 * t.rotation[2]).tolist(), "t": [1, 2], "K": "x", "name": "cam_10"},
  )
  with pytest.raises(ValueError) as caught:
    Rig.read(path)
  message = str(caught.value)
  assert str(path) in message
  assert "10 faults" in message
  for text in (
    "camera cam_10, K: fx should be positive; got -5",
    "camera cam_10, t: has a number that is not finite",
    "camera cam_2, K: row 3 should be 0 0 1; got",
    "is it transposed?",
    "camera cam_2, R: is not a rotation but a reflection",
    "camera cam_2, distCoef: OpenCV's lens has 4, 5, 8, 12 or 14 coefficients; got 6",
    "camera cam_2, resolution: should be a width and a height in px; got [0.0, 1080.0]",
    "camera cam_10, R: is not a rotation: R Rᵀ is 0.02",
    "camera cam_10, t: should be 3 numbers; got 2",
    "camera cam_10, K: should be 3×3 numbers; got 'x'",
    "camera cam_10, name: two cameras are called that",
  ):
    assert text in message, text


def test_row_3_of_lightning_poses_documentation(tmp_path):
  """Its example has cx, cy in row 3."""
  path = files.aniposelib(tmp_path, files.truth())
  k = files.truth().intrinsics[0]
  path.write_text(path.read_text().replace(str(k.tolist()), str(k.T.tolist())))
  with pytest.raises(ValueError, match=r"camera cam_10, matrix: row 3 should be 0 0 1.*transposed"):
    Rig.read(path)


def test_a_camera_that_caliscope_has_not_calibrated(tmp_path):
  path = files.caliscope(tmp_path, files.truth())
  path.write_text(path.read_text().replace("cam_id = 9\nignore = true", "cam_id = 9"))
  with pytest.raises(ValueError, match="camera 9, matrix: is missing\n"):
    Rig.read(path)


def test_missing_duplicate_and_foreign_files(tmp_path):
  with pytest.raises(FileNotFoundError):
    Rig.read(tmp_path / "nothing.toml")
  twice = '{"cameras": [{"K": 1, "K": 2, "distCoef": 1}]}'
  for name, text, message in (
    ("empty.toml", "", "cannot be read as a calibration"),
    ("other.toml", "[project]\nname = 'x'\n", "not a calibration of any known format: plain json"),
    ("twice.json", twice, "two fields of one table are called K"),
    ("dtd.xml", '<!DOCTYPE x [<!ENTITY a "b">]><calibration/>', "DTD or entities is not read"),
    ("alias.yaml", "cameras: &a [1]\nother: [*a, *a]\n", "aliases are not read"),
    ("object.yaml", "cameras: !!python/object/apply:os.system ['true']\n", "not a calibration"),
    ("deep.json", "[" * 100_000, "nested too deeply"),
    ("deep.yaml", "a: " + "[" * 20_000, "nested too deeply"),
    ("wide.xml", "<Cameras><Camera DEVICEID='1'><KeyFrame/></Camera></Cameras>", "is missing"),
  ):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
      Rig.read(tmp_path / name)
  with pytest.raises(ValueError, match="not a calibration of any known format"):
    (tmp_path / "folder").mkdir()
    Rig.read(tmp_path / "folder")


class _Evil:
  def __reduce__(self):
    return (exec, ("raise SystemExit('code of a pickle was run')",))


def test_nothing_in_a_pickle_runs(tmp_path):
  (tmp_path / "a.pickle").write_bytes(pickle.dumps({"intrinsicMat": _Evil()}))
  with pytest.raises(ValueError, match="not allowed"):
    Rig.read(tmp_path / "a.pickle")


def test_sizes_are_checked_before_reading(tmp_path):
  with open(tmp_path / "huge.json", "wb") as file:
    file.truncate(1 << 40)
  with pytest.raises(ValueError, match="too many for a calibration"):
    Rig.read(tmp_path / "huge.json")
  name = np.array([6, 8, 6, 0, 5, 8, 4096, 4096, 1 | 1 << 16], "<u4").tobytes() + b"K\0\0\0"
  values = np.array([9, 8 << 24], "<u4").tobytes() + bytes(8 << 24)
  matrix = np.array([14, len(name + values)], "<u4").tobytes() + name + values
  bomb = zlib.compress(matrix)
  head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
  element = (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb
  (tmp_path / "bomb.mat").write_bytes(head + element)
  with pytest.raises(ValueError, match="unpacks to more than"):
    Rig.read(tmp_path / "bomb.mat")


def test_links_do_not_lead_out_of_a_folder(tmp_path):
  inside, outside = tmp_path / "inside", tmp_path / "outside"
  for folder in (inside, outside):
    folder.mkdir()
    files.biocv(folder, files.truth())
  (inside / "extra.calib").symlink_to(outside / "back.calib")
  assert set(Rig.read(inside).names) == set(files.truth().names)


@pytest.mark.parametrize("name", files.MAKERS)
def test_damage_is_a_value_error(name, tmp_path):
  """A damaged file may still be a calibration; then it is a sound one."""
  rng = np.random.default_rng(list(name.encode()))
  path = files.MAKERS[name](tmp_path, files.truth())
  damaged = path if path.is_file() else next(p for p in sorted(path.rglob("*")) if p.is_file())
  damage.check_reader(
    lambda: Rig.read(path, size_wh=(1920, 1080)), damaged, check=_sound, rounds=25, rng=rng
  )


def _sound(rig):
  assert np.isfinite(rig.cameras.projection_matrix()).all()


@pytest.mark.parametrize("name", ["plain json", "calib.io", "panoptic", "aist++", "opencv json"])
def test_wrong_types_are_value_errors(name, tmp_path):
  rng = np.random.default_rng(5)
  path = files.MAKERS[name](tmp_path, files.truth())
  value = json.loads(path.read_text())
  for _ in range(60):
    path.write_text(json.dumps(damage.mutate(value, rng)))
    try:
      rig = Rig.read(path)
    except ValueError as error:
      assert str(error)
    else:
      assert len(rig.names) <= 3


def test_every_reader_survives_the_files_of_every_other(tmp_path):
  for name, make in files.MAKERS.items():
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    document = documents.load(make(tmp_path, files.truth()))
    recognised = [n for n, f in reading.FORMATS.items() if f.recognise(document)]
    assert recognised[0] == name
