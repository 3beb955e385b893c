"""A data folder that names code is refused before anything of it is imported."""

import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import check, opening, storing
from data.h36m import builder as h36m


class Small(tfds.core.GeneratorBasedBuilder):
  """One example of two numbers."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = {"x": tfds.features.Tensor(shape=(2,), dtype=np.float32)}
    return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

  def _split_generators(self, manager):
    return {"train": [(0, {"x": np.zeros(2, np.float32)})]}

  def _generate_examples(self):
    raise AssertionError("examples come with the splits")


@pytest.fixture
def prepared(tmp_path):
  """A data set of one example that TFDS wrote."""
  with storing.quiet_tfds():
    builder = Small(data_dir=str(tmp_path), file_format="array_record")
    builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


@pytest.fixture
def marker(tmp_path, monkeypatch):
  """A module that says when it is imported, where Python looks for modules."""
  (tmp_path / "beside.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield tmp_path / "ran"
  sys.modules.pop("beside", None)


def _rename(folder, change):
  path = folder / "features.json"
  tree = json.loads(path.read_text())
  change(tree)
  path.write_text(json.dumps(tree))


def test_our_own_data_sets_open(prepared):
  builder = opening.open_folder(prepared)
  assert len(builder.as_data_source("train")) == 1


def test_tfds_itself_would_run_it(prepared, marker):
  """What the rest guards against: without the check the module runs."""
  _rename(prepared, lambda tree: tree.update(pythonClassName="beside.Feature"))
  with pytest.raises(Exception, match="beside"):
    tfds.builder_from_directory(str(prepared))
  assert marker.exists()


@pytest.mark.parametrize("where", ["top", "field"])
def test_no_door_imports_what_a_folder_names(prepared, marker, monkeypatch, where):
  def change(tree):
    inner = tree["featuresDict"]["features"]["x"]
    (tree if where == "top" else inner)["pythonClassName"] = "beside.Feature"

  _rename(prepared, change)
  with pytest.raises(opening.UnsafeData, match=r"features.json.* the class 'beside.Feature'"):
    opening.open_folder(prepared)
  _, problems = check.check(prepared.parents[1], samples=1)
  assert any("beside.Feature" in problem for problem in problems)
  monkeypatch.setattr(h36m, "_find", lambda data_dir, image_size: prepared)
  with pytest.raises(opening.UnsafeData, match=r"beside.Feature"):
    h36m.open_prepared(prepared, 0)
  assert not marker.exists() and "beside" not in sys.modules


@pytest.mark.parametrize(
  "change",
  [
    lambda tree: tree.update(proto_cls="beside.Feature"),
    lambda tree: tree.pop("pythonClassName"),
    lambda tree: tree["featuresDict"]["features"].update(y=[]),
    lambda tree: tree["featuresDict"].update(other={}),
    lambda tree: tree.update(pythonClassName=["tensorflow_datasets.core.features.Scalar"]),
    lambda tree: tree.update(pythonClassName="tensorflow_datasets.core.features.audio.Audio"),
  ],
)
def test_anything_tfds_does_not_write_is_refused(prepared, change):
  _rename(prepared, change)
  with pytest.raises(opening.UnsafeData, match=r"features.json"):
    opening.check_folder(prepared)


def test_files_that_are_no_json_or_no_files(prepared):
  (prepared / "features.json").write_bytes(b"\xff{")
  with pytest.raises(opening.UnsafeData, match="cannot be read as JSON"):
    opening.check_folder(prepared)
  (prepared / "features.json").unlink()
  with pytest.raises(FileNotFoundError):
    opening.check_folder(prepared)
