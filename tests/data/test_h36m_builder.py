"""Preparing Human3.6M: in parts, by several processes, once."""

import json
import shutil

import cv2
import numpy as np
import pytest

from data import check, faults, integrity
from data.h36m import builder, examples, raw_images
from data.h36m import options as options_lib
from epipolar_jax.inputs import crops
from tests.data import h36m_raw

_OPTIONS = options_lib.Options(image_size=64)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp("raw")
  frames = h36m_raw.records(1, 11)
  return h36m_raw.write(folder, frames, frames, h36m_raw.images())


def test_processes_and_shards_change_nothing(raw, tmp_path, monkeypatch):
  builder.prepare(raw, tmp_path / "one", _OPTIONS)
  monkeypatch.setattr(builder, "_FRAMES_PER_SHARD", 1)
  builder.prepare(raw, tmp_path / "shards", _OPTIONS, processes=2)
  names = sorted(path.name for path in (tmp_path / "shards").rglob("*array_record*"))
  assert names[0] == "h36m-train.array_record-00000-of-00002" and len(names) == 4
  for split in ("train", "validation"):
    whole, parts = (
      builder.open_prepared(tmp_path / name, 64).as_data_source(split) for name in ("one", "shards")
    )
    for a, b in zip(whole, parts, strict=True):
      for field in a:
        np.testing.assert_array_equal(a[field], b[field])
  # Nothing is left behind.
  assert not list((tmp_path / "shards").glob(".h36m*"))
  facts, problems = check.check(tmp_path / "shards")
  assert len(facts) == 2 and not problems


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
  monkeypatch.setattr(builder, "_FRAMES_PER_SHARD", 1)
  frames, members = h36m_raw.records(1, 11), h36m_raw.images()
  name = f"images/{frames[-1]['image']}"
  good = members.pop(name)
  folder = h36m_raw.write(tmp_path / "raw", h36m_raw.records(1), frames, members)
  made, make = [], examples.make

  def counted(frame, **options):
    made.append(frame.records[0]["image_id"])
    return make(frame, **options)

  monkeypatch.setattr(examples, "make", counted)
  with pytest.raises(faults.BadRecord):
    builder.prepare(folder, tmp_path, _OPTIONS)
  assert made == [1, 1, 11]
  h36m_raw.write(tmp_path / "raw", h36m_raw.records(1), frames, members | {name: good})
  # The archive is kept open; a new process would open it anew.
  raw_images._open_archive.cache_clear()
  builder.prepare(folder, tmp_path, _OPTIONS)
  assert made == [1, 1, 11, 11]
  builder.prepare(folder, tmp_path, _OPTIONS)
  assert made == [1, 1, 11, 11]


def test_other_data_in_the_same_place_are_refused(raw, tmp_path):
  builder.prepare(raw, tmp_path, _OPTIONS)
  frames = h36m_raw.records(1)
  other = h36m_raw.write(tmp_path / "other", frames, frames, h36m_raw.images())
  with pytest.raises(ValueError, match=f"made from {raw} with other annotations or options"):
    builder.prepare(other, tmp_path, _OPTIONS)
  with pytest.raises(ValueError, match="margin is 9"):
    options_lib.Options(margin=9.0)


def test_summary_counts_and_finds_damaged_clips(tmp_path):
  frames = h36m_raw.records(1, 11)
  for record in frames:
    if record["image_id"] == 11:
      record.update(action=13)
  folder = h36m_raw.write(tmp_path / "raw", h36m_raw.records(1), frames, h36m_raw.images())
  prepared = builder.prepare(folder, tmp_path, _OPTIONS)
  summary = builder.read_summary(tmp_path, 64)
  assert summary["splits"]["validation"] == {
    "frames": 2,
    "subjects": {"9": 2},
    "damaged": [[1, 2]],
  }
  text = builder.describe(summary)
  assert "validation: 2 frames (S9 2), 1 of damaged clips" in text
  assert json.loads(json.dumps(summary)) == summary
  flags = [(e["action"], e["damaged"]) for e in prepared.as_data_source("validation")]
  assert flags == [(b"directions", False), (b"waiting", True)]


def test_ranges_join_across_shards():
  assert builder._ranges([True, True, False, True]) == [[0, 2], [3, 4]]
  assert builder._join([[0, 2]], 2, [[0, 1], [2, 3]]) == [[0, 3], [4, 5]]


def test_the_margin_holds_every_augmented_crop():
  """configs/h36m_aug.py: scale 25 %, rotation 30 degrees (60 at most)."""
  augmentation, rng = crops.Augmentation(0.25, 30.0), np.random.default_rng(0)
  corners = np.array([[-0.5, -0.5], [-0.5, 255.5], [255.5, -0.5], [255.5, 255.5]])
  furthest = 0.0
  for _ in range(3000):
    affine = crops.random_crop(np.zeros(2), 1.0, augmentation, rng, size=256, mirror=False)
    inside = cv2.invertAffineTransform(affine)
    furthest = max(furthest, np.abs(corners @ inside[:, :2].T + inside[:, 2]).max())
  assert 1.7 < 2 * furthest < options_lib.Options().margin


def test_cut_keeps_pixels_under_their_coordinates():
  rng = np.random.default_rng(0)
  image = cv2.GaussianBlur(rng.integers(0, 255, (1000, 1000, 3), np.uint8), (0, 0), 8)
  for center, side, size in (((500, 480), 401, 200), ((900, 60), 500, 500), ((500, 500), 100, 300)):
    small, affine = raw_images.cut(image, np.array(center, float), side, size=size)
    assert small.shape == (size, size, 3)
    expected = cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR)
    inner = (slice(size // 4, -size // 4),) * 2
    # The blurred noise has a spread of 3; a shift by half a pixel changes it by 0.3.
    assert np.abs(small[inner].astype(float) - expected[inner]).mean() < 0.35
    middle = affine[:, :2] @ np.array(center) + affine[:, 2]
    np.testing.assert_allclose(middle, size / 2, atol=0.6 * size / side + 0.5)


def test_a_bit_that_flips_in_a_raw_image_is_noticed(tmp_path):
  """When it is prepared again at another size, and by data.check while the raw folder is there."""
  members = h36m_raw.images()
  folder = h36m_raw.write(tmp_path / "raw", h36m_raw.records(1), h36m_raw.records(1), {})
  for name, content in members.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
  out = tmp_path / "out"
  builder.prepare(folder, out, _OPTIONS, images="folder")
  again = options_lib.Options(image_size=32)
  image = h36m_raw.records(1)[2]["image"]
  path = folder / "images" / image
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  (folder / "images.zip").unlink()
  raw_images.decode(bytes(content), "", "")  # nothing else notices
  (problem,) = check.check(out, samples=0)[1]
  assert image in problem and "is not the file that was prepared before" in problem
  with pytest.raises(faults.BadRecord, match=f"{image} is not the file that was prepared before"):
    builder.prepare(folder, out, again, images="folder")
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  assert not check.check(out, samples=0)[1]
  builder.prepare(folder, out, again, images="folder")
  path.unlink()
  assert any(f"{image} is not in" in problem for problem in check.check(out, samples=0)[1])
  shutil.rmtree(folder)
  assert not check.check(out, samples=0)[1]


def test_a_summary_that_is_none(tmp_path):
  folder = tmp_path / "h36m" / options_lib.config_name(64) / str(builder.H36m.VERSION)
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text("{}")
  for text in ("[]", "{}", '{"splits": {"train": {}}}', "[" * 100_000):
    (folder / "summary.json").write_text(text)
    with pytest.raises(integrity.DamagedDataError, match=r"summary\.json is not what the builder"):
      builder.read_summary(tmp_path, 64)
  (folder / "summary.json").write_text('{"splits": {"a": {"frames": "x", "damaged": []}}}')
  with pytest.raises(integrity.DamagedDataError, match="should be whole numbers"):
    builder.read_summary(tmp_path, 64)
