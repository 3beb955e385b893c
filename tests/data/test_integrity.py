"""Damaged files of prepared data are named: the small ones at every opening, all by data.check."""

import contextlib
import json

import pytest

from data import check, integrity, opening, storing
from tests import dots
from tests.data import test_prepared


@pytest.fixture
def prepared(tmp_path):
  made = test_prepared._build(tmp_path, dots.frames(3))
  folder = made.data_path
  integrity.record(folder)
  return folder


def test_whole_data_open(prepared):
  opening.open_folder(prepared)
  assert integrity.faults(prepared) == []


@pytest.mark.parametrize("suffix", ["features.json", "dataset_info.json", ".array_record*"])
def test_one_flipped_bit_is_noticed(prepared, suffix):
  (path,) = prepared.glob(f"*{suffix}")
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 4
  path.write_bytes(content)
  _, problems = check.check(prepared.parents[1], samples=0)
  assert any(f"{path.name} is damaged" in problem for problem in problems)
  if path.suffix == ".json":
    with pytest.raises((integrity.DamagedDataError, opening.UnsafeData), match=path.name):
      opening.open_folder(prepared)


def test_a_missing_file_and_a_spoilt_record_are_named(prepared):
  (path,) = prepared.glob("*.array_record*")
  path.rename(prepared.parent / "elsewhere")
  with pytest.raises(integrity.DamagedDataError, match=r"array_record.* is missing"):
    integrity.check(prepared)
  for text in ("{", "[]"):
    (prepared / integrity.FILE).write_text(text)
    assert len(integrity.faults(prepared)) == 1
  (prepared / integrity.FILE).unlink()
  assert integrity.faults(prepared) == [], "data of the first builders have no record"


@pytest.mark.parametrize(
  ("name", "field", "value"),
  [
    ("dataset_info.json", "fileFormat", True),
    ("dataset_info.json", "fileFormat", "tfrecord"),
    ("dataset_info.json", "splits", [{"shardLengths": [10**30]}]),
    ("features.json", "featuresDict", {}),
  ],
)
def test_descriptions_that_tfds_cannot_read(prepared, name, field, value):
  """Of data without digests, as strangers have them."""
  (prepared / integrity.FILE).unlink()
  path = prepared / name
  path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
  problems = check.check(prepared.parents[1])[1]
  assert len(problems) == 1 and str(prepared) in problems[0]
  with contextlib.suppress(integrity.DamagedDataError):
    opening.open_folder(prepared)


def test_builders_record_what_they_make(tmp_path):
  class Builder:
    data_dir = str(tmp_path / "set" / "1.0.0")

    def download_and_prepare(self):
      (tmp_path / "set" / "1.0.0").mkdir(parents=True, exist_ok=True)
      (tmp_path / "set" / "1.0.0" / "a.json").write_text("{}")

  (tmp_path / "set").mkdir()
  storing.prepare(Builder())
  assert (tmp_path / "set" / "1.0.0" / integrity.FILE).exists()
  storing.prepare(Builder())
  Builder.download_and_prepare = lambda self: (tmp_path / "set/1.0.0/a.json").write_text("{ }")
  with pytest.raises(integrity.DamagedDataError, match=r"a\.json is damaged.*(.|\n)*again"):
    storing.prepare(Builder())
