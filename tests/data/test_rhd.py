"""Preparing Rendered Hand Pose: what the original's loader takes, and what bad files lead to."""

import pathlib
import pickle
import shutil

import cv2
import ml_collections
import numpy as np
import pytest

from data import faults
from data.rhd import annotations, builder, check
from epipolar_jax.inputs import datasets
from tests import golden_files

_TINY = golden_files.FOLDER / "rhd_tiny"


@pytest.fixture
def raw(tmp_path) -> pathlib.Path:
  """A raw data set of the two golden images, twice."""
  for folder in annotations.FOLDERS.values():
    shutil.copytree(_TINY, tmp_path / "raw" / folder)
    (tmp_path / "raw" / folder / "anno.pickle").rename(
      tmp_path / "raw" / folder / f"anno_{folder}.pickle"
    )
  return tmp_path / "raw"


def _edit(raw, change):
  """Rewrites the training annotations after `change(records)`, whose arrays may be written to."""
  path = raw / "training" / "anno_training.pickle"
  records = {
    frame: {name: np.array(value) for name, value in record.items()}
    for frame, record in annotations.read(path).items()
  }
  change(records)
  path.write_bytes(pickle.dumps(records))


def test_examples_hold_what_the_original_loads(raw, tmp_path):
  """RHDDataset.__getitem__ (data/datasets/RHD.py:45) without noise."""
  golden = golden_files.load("rhd_dataset")
  source = builder.prepare(raw, tmp_path, "train").as_data_source("train")
  assert len(source) == 2
  for frame, example in enumerate(source):
    name = f"eval_wrist1_flip1.{frame}"
    joints = example["joints_3d"].astype(np.float64)
    scale = np.linalg.norm(joints[12] - joints[11])
    assert example["frame"] == frame
    assert example["hand_side"] == golden[f"{name}.hand-side"].item()
    np.testing.assert_allclose(scale / 1000, golden[f"{name}.scale"], rtol=1e-5)
    np.testing.assert_allclose(
      (joints - joints[0]) / scale, golden[f"{name}.normed-points-3d"], atol=1e-5
    )
    np.testing.assert_array_equal(example["visible"], golden[f"{name}.visibility"])
    hand = slice(21 * example["hand_side"], 21 * example["hand_side"] + 21)
    uv = annotations.read(_TINY / "anno.pickle")[frame]["uv_vis"][hand, :2]
    np.testing.assert_allclose(example["joints_2d"], uv, rtol=1e-6)
    image = cv2.imread(str(_TINY / "color" / f"{frame:05d}.png"))[..., ::-1]
    assert np.abs(example["image"].astype(int) - image).mean() < 2


def test_prepared_data_open_without_the_raw_files(raw, tmp_path):
  with pytest.raises(FileNotFoundError, match=r"data\.rhd\.builder --raw FOLDER --data_dir"):
    builder.open_split(tmp_path, "validation")
  builder.prepare(raw, tmp_path, "validation")
  shutil.rmtree(raw)
  assert len(builder.open_split(tmp_path, "validation").as_data_source("validation")) == 2
  with pytest.raises(FileNotFoundError, match="University of Freiburg"):
    builder.prepare(raw, tmp_path, "validation")
  with pytest.raises(ValueError, match="one of train, validation"):
    builder.open_split(tmp_path, "test")


def test_the_config_names_it(raw, tmp_path):
  builder.prepare(raw, tmp_path, "train")
  config = ml_collections.ConfigDict({"name": "rhd", "dir": str(tmp_path)})
  assert len(datasets.open_split(config, "train")) == 2


def test_other_raw_data_are_not_mixed_up(raw, tmp_path):
  builder.prepare(raw, tmp_path, "train")
  _edit(raw, lambda records: records.pop(0))
  with pytest.raises(ValueError, match="was prepared from other annotations"):
    builder.prepare(raw, tmp_path, "train")


def test_a_stopped_run_goes_on_where_it_stopped(raw, tmp_path, monkeypatch):
  monkeypatch.setattr(builder, "_HANDS_PER_SHARD", 1)
  path, made, make = raw / "training" / "color" / "00001.png", [], builder.make_example
  whole = path.read_bytes()

  def counted(*args, **options):
    made.append(args[1][0])
    return make(*args, **options)

  monkeypatch.setattr(builder, "make_example", counted)
  path.unlink()
  with pytest.raises(faults.BadRecord):
    builder.prepare(raw, tmp_path, "train")
  with pytest.raises(FileNotFoundError):
    builder.open_split(tmp_path, "train")
  path.write_bytes(whole)
  prepared = builder.prepare(raw, tmp_path, "train")
  assert made == [0, 1, 1]
  assert [example["frame"] for example in prepared.as_data_source("train")] == [0, 1]
  assert prepared.info.metadata["left_hands"] == prepared.info.metadata["right_hands"] == 1
  # Nothing is left behind.
  assert not list(tmp_path.glob(".rhd*"))


def test_faults_of_other_processes_arrive(raw, tmp_path, monkeypatch):
  monkeypatch.setattr(builder, "_HANDS_PER_SHARD", 1)
  (raw / "training" / "mask" / "00001.png").unlink()
  with pytest.raises(faults.BadRecord, match=r"00001\.png cannot be read") as caught:
    builder.prepare(raw, tmp_path, "train", processes=2)
  assert caught.value.kind == "no mask"


def _set(frame, name, value):
  def change(records):
    records[frame][name] = value(records[frame][name])

  return change


def _mirrored(camera):
  camera[0, 0] *= -1
  return camera


def _with_nan(array):
  array[5, 1] = np.nan
  return array


@pytest.mark.parametrize(
  "change, kind, message",
  [
    (_set(1, "xyz", _with_nan), "xyz not finite", "xyz has NaN or infinite"),
    (_set(1, "xyz", lambda xyz: xyz[:21]), "wrong xyz", r"of shape \(21, 3\).*\(42, 3\)"),
    (_set(1, "xyz", lambda xyz: 1000 * xyz), "size of a hand", "must be in metres"),
    (_set(1, "K", _mirrored), "joints do not reproject", "K and xyz do not belong together"),
    (_set(1, "K", lambda camera: camera @ np.diag([1.2, 1, 1])), "joints do not reproject", "px"),
    (_set(1, "uv_vis", lambda uv: uv[:, ::-1]), "joints do not reproject", "px away from uv_vis"),
    (lambda records: records[1].pop("K"), "wrong K", "K is missing"),
    (lambda records: records.update({7: records[1]}), "no mask", "00007.png cannot be read"),
  ],
)
def test_a_bad_record_stops_or_is_counted(raw, tmp_path, change, kind, message):
  _edit(raw, change)
  with pytest.raises(faults.BadRecord, match=message) as caught:
    builder.prepare(raw, tmp_path, "train")
  assert caught.value.kind == kind
  assert "anno_training.pickle, record 1" in str(caught.value) or "00007" in str(caught.value)
  made = builder.prepare(raw, tmp_path, "train", stop=False)
  assert made.info.metadata["dropped"] == {kind: 1}
  kept = len(made.as_data_source("train"))
  assert kept == made.info.metadata["records"] - 1
  assert f"1 left out, {kind}" in builder.summary(made)


def _truncate(path):
  path.write_bytes(path.read_bytes()[:-300])


def _shrink(path):
  cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:300])


def _swap_for_color(path):
  shutil.copyfile(path.parent.parent / "color" / path.name, path)


def _add_id(path):
  mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
  mask[0, 0] = 34
  cv2.imwrite(str(path), mask)


@pytest.mark.parametrize(
  "folder, damage, message",
  [
    ("color", pathlib.Path.unlink, "cannot be read: No such file"),
    ("color", _truncate, "truncated or damaged PNG"),
    ("color", _shrink, r"\(300, 320, 3\); it must be uint8 \(320, 320, 3\)"),
    ("mask", pathlib.Path.unlink, "cannot be read: No such file"),
    ("mask", _truncate, "truncated or damaged PNG"),
    ("mask", _swap_for_color, r"must be uint8 \(320, 320\)"),
    ("mask", _add_id, "holds id 34; a mask has 0..33"),
  ],
)
def test_a_bad_image_stops_or_is_counted(raw, tmp_path, folder, damage, message):
  path = raw / "training" / folder / "00000.png"
  damage(path)
  with pytest.raises(faults.BadRecord, match=message) as caught:
    builder.prepare(raw, tmp_path, "train")
  assert str(path) in str(caught.value)
  made = builder.prepare(raw, tmp_path, "train", stop=False)
  assert [example["frame"] for example in made.as_data_source("train")] == [1]


def test_a_bad_annotation_file_stops(raw, tmp_path):
  path = raw / "training" / "anno_training.pickle"
  content = path.read_bytes()
  for bad, message in (
    (content[:-9], "truncated"),
    (pickle.dumps([1, 2]), "must hold a dict of records"),
    (pickle.dumps({}), "must hold a dict of records"),
    (pickle.dumps({"a": 1}), "must hold a dict of records"),
  ):
    path.write_bytes(bad)
    with pytest.raises(ValueError, match=message):
      builder.prepare(raw, tmp_path, "train", stop=False)
  path.write_bytes(pickle.dumps({0: 1, 1: 2}))
  with pytest.raises(ValueError, match=r"no record of .* can be used"):
    builder.prepare(raw, tmp_path, "train", stop=False)


def test_the_hand_with_more_pixels_is_taken():
  for frame, larger in ((0, 1), (1, 0)):
    pixels = annotations.hand_pixels(_TINY / "mask" / f"{frame:05d}.png")
    mask = cv2.imread(str(_TINY / "mask" / f"{frame:05d}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pixels, [((mask > 1) & (mask < 18)).sum(), (mask > 17).sum()])
    assert pixels.argmax() == larger


def test_the_check_says_what_is_there_and_what_is_wrong(raw, tmp_path):
  assert check.recognizes(raw) and not check.recognizes(tmp_path)
  facts, problems = check.check(raw, samples=0)
  assert not problems and any("train: 2 records, 2 images looked at" in fact for fact in facts)
  assert "python -m data.rhd.builder" in facts[-1]
  (raw / "training" / "mask" / "00001.png").unlink()
  _edit(raw, _set(0, "K", _mirrored))
  (raw / "evaluation" / "anno_evaluation.pickle").unlink()
  _, problems = check.check(raw, samples=0)
  assert [problem.split(":")[0] for problem in problems[:2]] == [
    "joints do not reproject",
    "no mask",
  ]
  assert "anno_evaluation.pickle. Rendered Hand Pose" in problems[2]


def test_one_hand_may_be_behind_the_camera():
  intrinsics = np.array([[280.0, 0, 160], [0, 280, 160], [0, 0, 1]])
  rng = np.random.default_rng(0)
  joints = rng.normal([0, 0, 500], 40, (42, 3))
  joints[21:, 2] -= 700
  uv = joints @ intrinsics.T
  uv = uv[:, :2] / uv[:, 2:]
  assert annotations.reprojection_error(joints, uv, intrinsics) < 1e-6
  assert annotations.reprojection_error(joints, uv + 9.0, intrinsics) > 9.0
  joints[20, 2] = -100
  assert annotations.reprojection_error(joints, uv, intrinsics) == np.inf
