"""Every calibration format: told by content, and a known point lands on its known pixel."""

import numpy as np
import pytest
import scipy.io

from epipolar_jax.rigs import documents, lenses, matlab, reading
from epipolar_jax.rigs.rig import Rig
from tests.rigs import files

_SIZE = {"dlt": (1920, 1080)}
_UNIT_MM = {"caliscope": 1000, "pose2sim": 1000, "easymocap": 1000, "mamma": 1000}
_UNIT_MM |= {"calib.io": 1000, "panoptic": 10, "aist++": 10, "plain json": 25.4}
_UNIT_MM |= dict.fromkeys(("aniposelib", "opencv json", "opencv", "dlt"))


def project(rig: Rig, points: np.ndarray) -> np.ndarray:
  """[v, n, 2] px in the images of the rig, lens included, float64."""
  cameras = rig.cameras
  x_c = np.einsum("vij,nj->vni", cameras.rotation, points) + cameras.translation[:, None]
  uv = np.einsum("vij,vnj->vni", cameras.intrinsics, x_c / x_c[..., 2:])[..., :2]
  return rig.distort(uv)


def _expected(name: str, truth: files.Truth) -> np.ndarray:
  if name == "dlt":
    return truth.pixels(np.zeros((3, 4)))
  if name != "vicon":
    return truth.pixels()
  ideal = truth.pixels(np.zeros((3, 4)))
  offset = ideal - (truth.intrinsics[:, None, :2, 2] + 4)
  d2 = np.sum(offset**2, -1, keepdims=True)
  r1, r2, r3 = files.VICON_RADIAL
  return ideal + offset * (r1 * d2 + r2 * d2**2 + r3 * d2**3)


@pytest.mark.parametrize("name", files.MAKERS)
def test_a_known_point_lands_on_its_pixel(name, tmp_path):
  truth = files.truth()
  path = files.MAKERS[name](tmp_path, truth)
  assert reading.recognise(documents.load(path)) == name
  rig = Rig.read(path, size_wh=_SIZE.get(name))
  if name == "h36m":
    assert len(rig.names) == 44
    rig = rig.select(("S2.54138969", "S2.55011271", "S2.58860488"))
  elif name == "caliscope":
    assert rig.names == ("0", "1", "2")
  elif name in ("dlt",):
    assert rig.names == ("cam1", "cam2", "cam3")
  else:
    assert sorted(rig.names) == sorted(truth.names)
    rig = rig.select(truth.names)
  np.testing.assert_allclose(project(rig, truth.points), _expected(name, truth), atol=1e-4)
  if name in ("jarvis", "dannce"):
    assert set(rig.sizes_wh) == {None}
  elif name not in ("dlt", "h36m"):
    assert rig.sizes_wh == truth.sizes_wh
  assert rig.unit_mm == _UNIT_MM.get(name, 1.0)
  np.testing.assert_allclose(rig.cameras.translation, truth.translation, atol=1e-6)


def test_every_format_has_a_file():
  assert files.MAKERS.keys() == reading.FORMATS.keys()


@pytest.mark.parametrize("name", files.MAKERS)
def test_the_suffix_does_not_matter(name, tmp_path):
  path = files.MAKERS[name](tmp_path, files.truth())
  if path.is_file():
    path = path.rename(tmp_path / "calibration.dat")
    assert reading.recognise(documents.load(path)) == name


def test_cameras_keep_the_order_of_the_file_not_that_of_sorted_text(tmp_path):
  path = files.aniposelib(tmp_path, files.truth())
  text = path.read_text().replace("[cam_0]", "[cam_10]")
  path.write_text(text)
  assert Rig.read(path).names == ("cam_10", "cam_2", "back")


def test_single_files_of_folders_and_either_file_of_a_pair(tmp_path):
  truth = files.truth()
  expected = truth.pixels()
  for name, inner, only in (
    ("opencap", "cam_2/cameraIntrinsicsExtrinsics.pickle", "cam_2"),
    ("jarvis", "cam_2.yaml", "cam_2"),
    ("biocv", "cam_2.calib", "cam_2"),
    ("opencv", "cam_2.xml", "cam_2"),
    ("easymocap", "intri.yml", None),
    ("easymocap", "extri.yml", None),
  ):
    folder = tmp_path / (name + inner[:5])
    folder.mkdir()
    files.MAKERS[name](folder, truth)
    rig = Rig.read(folder / inner)
    assert rig.names == ((only,) if only else truth.names)
    wanted = expected[[truth.names.index(n) for n in rig.names]]
    np.testing.assert_allclose(project(rig, truth.points), wanted, atol=1e-4)
  (tmp_path / "easymocapextri" / "intri.yml").unlink()
  with pytest.raises(ValueError, match=r"a pair, and .*intri.yml is missing"):
    Rig.read(tmp_path / "easymocapextri" / "extri.yml")


def test_the_unit_is_that_of_the_argument_then_of_the_format_then_mm(tmp_path):
  path = files.aniposelib(tmp_path, files.truth())
  plain, metres = Rig.read(path), Rig.read(path, unit="m")
  assert plain.unit_mm is None
  assert metres.unit_mm == 1000
  np.testing.assert_allclose(metres.cameras.translation, 1000 * plain.cameras.translation)
  with pytest.raises(ValueError, match="unit should be one of mm, cm, m, inch; got 'feet'"):
    Rig.read(path, unit="feet")


def test_qualisys_pixels_are_64ths_but_its_lens_is_not(tmp_path):
  truth = files.truth()
  rig = Rig.read(files.qualisys(tmp_path, truth))
  np.testing.assert_allclose(rig.cameras.intrinsics, truth.intrinsics, rtol=1e-12)
  assert rig.lenses[0] == lenses.OpenCV((*truth.coefficients[0].tolist(), 0.0))


def test_opencap_sizes_are_height_first_in_the_file_and_width_first_in_the_rig(tmp_path):
  rig = Rig.read(files.opencap(tmp_path, files.truth()))
  assert rig.sizes_wh[rig.names.index("cam_10")] == (1920, 1080)


def test_dlt_needs_the_height(tmp_path):
  path = files.dlt(tmp_path, files.truth())
  with pytest.raises(ValueError, match=r"from the bottom of the image.*size_wh"):
    Rig.read(path)


def test_dannce_pixels_are_counted_from_one(tmp_path):
  truth = files.truth()
  rig = Rig.read(files.dannce(tmp_path, truth))
  np.testing.assert_allclose(rig.cameras.intrinsics, truth.intrinsics, rtol=1e-12)


@pytest.mark.parametrize("name", ["pose2sim", "aniposelib"])
def test_fisheye(name, tmp_path):
  truth = files.truth()
  path = files.MAKERS[name](tmp_path, truth)
  text = path.read_text().replace("fisheye = false", "fisheye = true")
  if name == "aniposelib":
    text = text.replace(", 0.0]\nrotation", "]\nfisheye = true\nrotation")
  path.write_text(text)
  assert reading.recognise(documents.load(path)) == name
  assert Rig.read(path).lenses[0] == lenses.Fisheye(truth.coefficients[0])


def test_vicon_as_mamma_says(tmp_path):
  truth = files.truth()
  path = files.mamma(tmp_path, truth)
  text = path.read_text().replace("radtan", "vicon_radial_2")
  for c in truth.coefficients:
    text = text.replace(str(c.tolist()), "[960.5, 540.25, 1.0e-9, 0, 0]")
  path.write_text(text)
  assert Rig.read(path).lenses[0] == lenses.ViconRadial((960.5, 540.25), (1e-9, 0, 0))


def test_ros_and_stereo_files(tmp_path):
  ros = """image_width: 640
image_height: 480
camera_name: head
camera_matrix:
  rows: 3
  cols: 3
  data: [500.0, 0., 320, 0, 501, 240, 0, 0, 1]
distortion_model: equidistant
distortion_coefficients:
  rows: 1
  cols: 4
  data: [1e-2, 2e-3, 0, 0]
"""
  (tmp_path / "head.yaml").write_text(ros)
  rig = Rig.read(tmp_path / "head.yaml")
  assert rig.names == ("head",)
  assert rig.sizes_wh == ((640, 480),)
  assert rig.lenses == (lenses.Fisheye((0.01, 0.002, 0, 0)),)
  np.testing.assert_array_equal(rig.cameras.rotation, np.eye(3)[None])
  truth = files.truth()
  k, d = truth.intrinsics, truth.coefficients
  fields = {"M1": k[0], "D1": d[0], "M2": k[1], "D2": d[1]}
  fields |= {"R": truth.rotation[2], "T": truth.translation[2]}
  files._storage(tmp_path / "stereo.yml", **fields)
  rig = Rig.read(tmp_path / "stereo.yml")
  assert rig.names == ("1", "2")
  np.testing.assert_allclose(rig.cameras.rotation[1], truth.rotation[2])
  np.testing.assert_allclose(rig.cameras.translation[1], truth.translation[2])


def test_rig_undistort_inverts_distort(tmp_path):
  truth = files.truth()
  rig = Rig.read(files.aniposelib(tmp_path, truth))
  back = rig.undistort(truth.pixels())
  np.testing.assert_allclose(back, truth.pixels(np.zeros((3, 4))), atol=1e-6)


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_files_as_scipy_writes_them(compressed, tmp_path):
  struct = {
    "K": np.arange(9.0).reshape(3, 3),
    "t": np.float32([[1, 2, 3]]),
    "r": np.eye(3, dtype="i2"),
  }
  cells = np.empty((1, 2), object)
  cells[0] = "left", "rïght"
  values = {"params": struct, "camnames": cells, "R": np.zeros((0, 0)), "labels": np.ones(10**6)}
  path = tmp_path / "a.mat"
  scipy.io.savemat(path, values, do_compression=compressed)
  names = frozenset(("params", "camnames", "R"))
  found = matlab.loads(path.read_bytes(), names)
  assert found.keys() == names
  assert found["camnames"] == ["left", "rïght"]
  assert found["R"].shape == (0, 0)
  for field, value in struct.items():
    np.testing.assert_array_equal(found["params"][field], value)


def test_dannce_folders_with_a_file_a_camera(tmp_path):
  truth = files.truth()
  source = tmp_path / "source"
  source.mkdir()
  params = scipy.io.loadmat(files.dannce(source, truth), simplify_cells=True)["params"]
  for name, table in zip(truth.names, params):
    scipy.io.savemat(tmp_path / f"{name}_params.mat", table, do_compression=True)
  rig = Rig.read(tmp_path).select(truth.names)
  np.testing.assert_allclose(project(rig, truth.points), truth.pixels(), atol=1e-4)
