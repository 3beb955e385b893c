"""Other programs read what we write, and the same as we from one file; skipped without them.

sleap-io gives 32 bits.
"""

import warnings

import numpy as np
import pytest

from epipolar_jax.keypoints import reading, sources, writing
from tests.keypoints import files


@pytest.fixture
def quiet():
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    yield


def _read(path):
  return reading.read_source(sources.load(path), None)


def test_sleap_io_reads_the_same_labels(tmp_path, quiet):
  """Of both versions of the format: before 1.1, pixels were counted from a corner."""
  sleap_io = pytest.importorskip("sleap_io")
  for version in (1.0, 1.2):
    path = files.sleap_labels(tmp_path, version)
    labels = sleap_io.load_slp(str(path), open_videos=False)
    assert labels.skeleton.node_names == list(files.JOINTS)
    found = labels.numpy()[files.FIRST :]
    np.testing.assert_allclose(found, _read(path).points[:, :, 0], rtol=1e-6)
    path.unlink()


def test_sleap_io_and_movement_read_our_analysis_file(tmp_path, quiet):
  sleap_io = pytest.importorskip("sleap_io")
  movement = pytest.importorskip("movement.io.load_poses", exc_type=ImportError)
  made = _read(files.deeplabcut(tmp_path))
  path = tmp_path / "out.analysis.h5"
  writing.write(path, made, "sleap analysis")
  labels = sleap_io.load_analysis_h5(str(path))
  np.testing.assert_allclose(labels.numpy()[files.FIRST :], made.points[:, :, 0], rtol=1e-6)
  found = movement.from_sleap_file(path).position
  found = found.transpose("time", "individuals", "keypoints", "space")
  assert list(found.keypoints.values) == list(files.JOINTS)
  np.testing.assert_allclose(found.values[files.FIRST :], made.points[:, :, 0], rtol=1e-6)


def test_movement_reads_our_deeplabcut_csv(tmp_path, quiet):
  movement = pytest.importorskip("movement.io.load_poses", exc_type=ImportError)
  made = _read(files.deeplabcut(tmp_path))
  writing.write(tmp_path / "out.csv", made, "deeplabcut")
  found = movement.from_dlc_file(tmp_path / "out.csv")
  values = found.position.transpose("time", "individuals", "keypoints", "space").values
  np.testing.assert_array_equal(values, made.points[:, :, 0])
  score = found.confidence.transpose("time", "individuals", "keypoints").values
  np.testing.assert_array_equal(score, made.score[:, :, 0])


@pytest.mark.parametrize("layout", ["table", "fixed"])
def test_pandas_writes_what_we_read(tmp_path, quiet, layout):
  """Both of its HDF5 layouts, and labels, whose rows are images."""
  pandas = pytest.importorskip("pandas")
  pytest.importorskip("tables")
  names = ["scorer", "individuals", "bodyparts", "coords"]
  levels = [["net"], files.PEOPLE, files.JOINTS, ["x", "y", "likelihood"]]
  columns = pandas.MultiIndex.from_product(levels, names=names)
  values, index = files.truth().reshape(3, -1), np.arange(files.FIRST, files.FIRST + 3)
  table = pandas.DataFrame(values, columns=columns, index=index)
  table.to_hdf(tmp_path / "cam.h5", key="df_with_missing", mode="w", format=layout)
  found = _read(tmp_path / "cam.h5")
  wanted = _read(files.deeplabcut(tmp_path))
  np.testing.assert_array_equal(found.points, wanted.points)
  np.testing.assert_array_equal(found.score, wanted.score)
  assert (found.people, found.first_frame) == (wanted.people, wanted.first_frame)
  if layout == "fixed":
    images = [("labeled-data", "video", f"img{i:03d}.png") for i in (5, 9, 30)]
    table.index = pandas.MultiIndex.from_tuples(images)
    table.to_hdf(tmp_path / "labels.h5", key="df_with_missing", mode="w")
    found = _read(tmp_path / "labels.h5")
    assert found.first_frame == 5 and len(found.points) == 26
    np.testing.assert_array_equal(found.points[[0, 4, 25]], wanted.points)
