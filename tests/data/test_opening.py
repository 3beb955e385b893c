"""Data sets that bring code: nothing of theirs is imported, at any door."""

import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from configs import h36m, synthetic
from configs import lifting_direct_rhd as rhd_config
from data import check, integrity, opening
from data.h36m import builder
from data.rhd import builder as rhd
from epipolar_jax.inputs import datasets
from tests.data import h36m_raw

_MARKER = "marker_beside_data"
_RHD_TINY = h36m_raw.GOLDEN / "rhd_tiny"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp("prepared")
  rows = h36m_raw.records(1)
  raw = h36m_raw.write(folder / "raw", rows, rows, h36m_raw.images())
  builder.prepare(raw, folder, builder.Options(image_size=32))
  shutil.rmtree(folder / "raw")
  return folder


@pytest.fixture
def marked(tmp_path, prepared, monkeypatch):
  """A copy of a prepared data set with a module beside it, which leaves a file when imported."""
  folder = tmp_path / "data"
  # Whoever changes data also takes the record of their digests away.
  shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns(integrity.FILE))
  trace = tmp_path / "trace"
  (folder / f"{_MARKER}.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
  monkeypatch.syspath_prepend(str(folder))
  monkeypatch.chdir(folder)
  yield folder
  assert not trace.exists(), "a module of the data set ran"


def _evil(content=None):
  return {"pythonClassName": f"{_MARKER}.Feature", "jsonFeature": {"json": "{}"}, **(content or {})}


def _edit(folder: pathlib.Path, name: str, change) -> None:
  (path,) = folder.glob(f"h36m/*/*/{name}")
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))


def _fields(value):
  return value["featuresDict"]["features"]


_SPOILT = {
  "a field": ("features.json", lambda v: _fields(v).update(extra=_evil())),
  "the images of a sequence": (
    "features.json",
    lambda v: _fields(v)["image"]["sequence"].update(feature=_evil()),
  ),
  "all of it": ("features.json", lambda v: v.update(_evil())),
  "TFDS's old form": (
    "features.json",
    lambda v: v.update(type=f"{_MARKER}.Feature", content={}),
  ),
  "a field in the old form": (
    "features.json",
    lambda v: _fields(v).update(extra={"type": f"{_MARKER}.Feature", "content": {}}),
  ),
  "the names of the protocol buffer": (
    "features.json",
    lambda v: _fields(v).update(extra={"python_class_name": f"{_MARKER}.Feature"}),
  ),
  "JSON in a text": (
    "features.json",
    lambda v: _fields(v).update(
      extra={
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "jsonFeature": {"json": json.dumps({"x": {"type": f"{_MARKER}.F", "content": {}}})},
      }
    ),
  ),
  "dataset_info.json": ("dataset_info.json", lambda v: v.update(features=_evil())),
  "a class of TFDS that is not used here": (
    "features.json",
    lambda v: _fields(v).update(
      extra={"pythonClassName": "tensorflow_datasets.core.features.audio_feature.Audio"}
    ),
  ),
}


def _raw_hands(to):
  shutil.copytree(_RHD_TINY, to / "training")
  (to / "training" / "anno.pickle").rename(to / "training" / "anno_training.pickle")
  return to


def _open_config(folder):
  config = h36m.get_config().data
  config.dir, config.h36m.stored_size = str(folder), 32
  return datasets.open_split(config, "train")


@pytest.mark.parametrize("kind", _SPOILT)
def test_prepared_data_run_no_code(marked, kind):
  _edit(marked, *_SPOILT[kind])
  _, problems = check.check(marked)
  assert problems and "opened" in problems[0]
  with pytest.raises(opening.UnsafeData, match=r"features\.json|dataset_info\.json"):
    _open_config(marked)
  with pytest.raises(opening.UnsafeData):
    builder.open_prepared(marked, 32)


def test_raw_folders_run_no_code(marked, tmp_path):
  _edit(marked, *_SPOILT["a field"])
  for name, fill in {
    "h36m": lambda to: h36m_raw.write(
      to, h36m_raw.records(1), h36m_raw.records(1), h36m_raw.images()
    ),
    "rhd": _raw_hands,
  }.items():
    raw = tmp_path / name
    shutil.copytree(marked / "h36m", raw / "looks")
    fill(raw)
    assert any("opened" in problem for problem in check.check(raw)[1]), name
  builder.prepare(tmp_path / "h36m", tmp_path / "out", builder.Options(image_size=32))


def test_builders_of_our_own_read_no_classes_of_the_data(marked, tmp_path):
  """Hands and synthetic people are opened by the types in the code."""
  root = _raw_hands(tmp_path / "raw")
  out = tmp_path / "hands"
  made = rhd.prepare(root, out, "train")
  for name in ("features.json", "dataset_info.json"):
    path = pathlib.Path(made.data_dir) / name
    value = json.loads(path.read_text())
    value |= {"features": _evil()} if name == "dataset_info.json" else _evil()
    path.write_text(json.dumps(value))
  (pathlib.Path(made.data_dir) / integrity.FILE).unlink()
  config = rhd_config.get_config().data
  config.dir = str(out)
  source = datasets.open_split(config, "train")
  assert len(source) and source[0]["joints_3d"].shape == (21, 3)


def test_data_as_they_should_be_open(marked):
  assert check.check(marked)[1] == []
  assert _open_config(marked)[0]["labelled"].all()


def test_without_array_record_nothing_is_made(monkeypatch, tmp_path):
  """As on Windows, for which it has no wheel."""
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda n: None if n == "array_record" else find(n)
  )
  config = synthetic.get_config().data
  config.dir = str(tmp_path)
  with pytest.raises(datasets.MissingDataError, match="none for Windows: use WSL"):
    datasets.open_split(config, "train")
  raw = h36m_raw.write(
    tmp_path / "raw", h36m_raw.records(1), h36m_raw.records(1), h36m_raw.images()
  )
  with pytest.raises(datasets.MissingDataError, match="none for Windows: use WSL"):
    builder.prepare(raw, tmp_path / "out", builder.Options(image_size=32))


def test_another_package_called_data_is_named(tmp_path):
  """In a project that has one of its own, with this one on the path behind it."""
  root = pathlib.Path(__file__).parents[2]
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "__init__.py").write_text("")
  code = "from epipolar_jax.inputs import datasets; datasets.open_split({}, 'train')"
  ran = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={"PYTHONPATH": f"{tmp_path}:{root}", "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )
  last = ran.stderr.strip().splitlines()[-1]
  assert "MissingDataError" in last and str(tmp_path / "data") in last, ran.stderr
  assert "run from that root" in last and "No module named" not in ran.stderr
