"""Faulty raw Human3.6M: a message with file and record, and a choice to stop or to count."""

import os
import tracemalloc
import zipfile

import cv2
import numpy as np
import pytest

from data import check, faults
from data.h36m import builder, raw_images
from data.h36m import options as options_lib
from epipolar_jax.inputs import multiview
from tests.data import h36m_raw

# Small images: what is tested here happens before they are stored.
_OPTIONS = options_lib.Options(image_size=32)
_FILE = "h36m_validation.pkl"


class _Raw:
  """Records and images to spoil: frames 1 and 11 in validation, camera after camera."""

  def __init__(self):
    self.train = h36m_raw.records(1)
    self.validation = h36m_raw.records(1, 11)
    self.members = h36m_raw.images()

  @property
  def victim(self):
    """Frame 11 of camera 2."""
    return self.validation[5]

  def member(self):
    return f"images/{self.victim['image']}"


def _drop_image(raw):
  del raw.members[raw.member()]


def _truncate(raw):
  raw.members[raw.member()] = raw.members[raw.member()][:10_000]


def _no_jpeg(raw):
  raw.members[raw.member()] = b"<html>please log in</html>"


def _shrink(raw):
  small = np.zeros((480, 640, 3), np.uint8)
  raw.members[raw.member()] = cv2.imencode(".jpg", small)[1].tobytes()


def _nan(raw):
  raw.victim["joints_2d"] = raw.victim["joints_2d"] * np.nan


def _lose_joint(raw):
  raw.victim["joints_3d_camera"] = raw.victim["joints_3d_camera"][:16]


def _lose_field(raw):
  del raw.victim["center"]


def _climb(raw):
  raw.victim["image"] = "../../secret.jpg"


def _lose_camera(raw):
  raw.validation.remove(raw.victim)


def _repeat(raw):
  raw.validation.append(dict(raw.victim))


def _turn_round(raw):
  raw.validation.reverse()


def _translation(raw):
  camera = dict(raw.victim["camera"])
  camera["T"] = -camera["R"] @ camera["T"]
  raw.victim["camera"] = camera


def _all_translations(raw):
  for record in raw.validation:
    if record["image_id"] == 11:
      record["camera"] = record["camera"] | {"T": -record["camera"]["R"] @ record["camera"]["T"]}


def _wrong_focus(raw):
  raw.victim["camera"] = raw.victim["camera"] | {"fx": raw.victim["camera"]["fx"] * 1.3}


def _mirror(raw):
  raw.victim["camera"] = raw.victim["camera"] | {"R": -raw.victim["camera"]["R"]}


_CASES = {
  "missing member": (_drop_image, "no image", r"record 5: s_09.*000011\.jpg is not in .*zip"),
  "truncated": (_truncate, "damaged image", r"record 5: .*jpg is truncated \(10000 bytes\)"),
  "no jpeg": (_no_jpeg, "damaged image", r"record 5: .*jpg is not a JPEG"),
  "wrong size": (_shrink, "wrong size", r"record 5: .*is 640 x 480 px; .*1000 x 1000 or 1002"),
  "nan": (_nan, "not finite", "record 5: joints_2d holds NaN"),
  "joint count": (
    _lose_joint,
    "wrong number of joints",
    "record 5: .*_camera has 16 joints",
  ),
  "no field": (_lose_field, "bad field", r"record 5: center is missing; it must be \[2\]"),
  "path": (_climb, "bad field", "record 5: image is '../../secret.jpg'; .*relative"),
  "three cameras": (_lose_camera, "not in all cameras", "frame 11 of .* is missing in camera 2"),
  "translation": (_translation, "bad camera", "record 5: camera 2 .*T fits as a translation"),
  "translations": (_all_translations, "bad camera", "camera 0, 1, 2, 3 .*T fits as a translation"),
  "focal length": (_wrong_focus, "bad camera", "record 5: camera 2 .* px beside joints_2d"),
  "reflection": (_mirror, "bad camera", "record 5, camera: R is not a rotation"),
}


@pytest.mark.parametrize(("spoil", "kind", "message"), _CASES.values(), ids=_CASES)
def test_fault_stops_or_is_counted(tmp_path, spoil, kind, message):
  raw = _Raw()
  spoil(raw)
  folder = h36m_raw.write(tmp_path / "raw", raw.train, raw.validation, raw.members)
  with pytest.raises(faults.BadRecord, match=f"{_FILE}, .*{message}") as error:
    builder.prepare(folder, tmp_path, _OPTIONS, stop=True, stop_incomplete=True)
  assert error.value.kind == kind
  builder.prepare(folder, tmp_path, _OPTIONS, stop=False)
  summary = builder.read_summary(tmp_path, 32)
  assert summary["left_out"] == {kind: 1}
  assert str(error.value) == summary["first_of_each"][kind]
  assert summary["splits"]["validation"]["subjects"] == {"9": 1}
  source = builder.open_prepared(tmp_path, 32).as_data_source("validation")
  assert [example["frame"] for example in source] == [1]


@pytest.mark.parametrize(
  ("spoil", "kind", "message"),
  [
    (_repeat, "duplicate", "record 8 is camera 2 of the same frame as record 5"),
    (_turn_round, "clip out of order", "frame 1 of subject 9, .* comes after frame 11"),
  ],
)
def test_order_is_mended_or_stops(tmp_path, spoil, kind, message):
  raw = _Raw()
  spoil(raw)
  folder = h36m_raw.write(tmp_path / "raw", raw.train, raw.validation, raw.members)
  with pytest.raises(faults.BadRecord, match=f"{_FILE}, .*{message}"):
    builder.prepare(folder, tmp_path, _OPTIONS)
  builder.prepare(folder, tmp_path, _OPTIONS, stop=False)
  assert builder.read_summary(tmp_path, 32)["left_out"] == {kind: 1}
  source = builder.open_prepared(tmp_path, 32).as_data_source("validation")
  assert [example["frame"] for example in source] == [1, 11]


def test_annotations_that_are_no_list_of_records(tmp_path):
  folder = h36m_raw.write(tmp_path / "raw", h36m_raw.records(1), [], {})
  with pytest.raises(ValueError, match=r"h36m_validation\.pkl must hold a list of records"):
    builder.prepare(folder, tmp_path, _OPTIONS)
  (folder / "annot" / "h36m_train.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
  with pytest.raises(ValueError, match=r"h36m_train.pkl: .*'os\.system', which is not allowed"):
    builder.prepare(folder, tmp_path, _OPTIONS)


def test_missing_files_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"has no folder annot: .*h36m_train\.pkl"):
    builder.prepare(tmp_path, tmp_path, _OPTIONS)
  (tmp_path / "annot").mkdir()
  with pytest.raises(FileNotFoundError, match=r"none of images, images\.zip, undistored"):
    builder.prepare(tmp_path, tmp_path, _OPTIONS)
  with pytest.raises(ValueError, match="images is 'tar'; allowed: auto, folder"):
    builder.prepare(tmp_path, tmp_path, _OPTIONS, images="tar")


def test_check_names_everything_wrong(tmp_path):
  raw = _Raw()
  _truncate(raw)
  folder = h36m_raw.write(tmp_path, raw.train, raw.validation, raw.members)
  (folder / "annot" / "h36m_train.pkl").unlink()
  facts, problems = check.check(folder)
  assert "validation: 8 records, 2 frames with all four cameras, 2 of them looked at" in facts
  assert len(problems) == 3
  assert "h36m_train.pkl is missing" in problems[0]
  assert problems[1] == "h36m_validation.pkl has no frame of S11"
  assert "damaged image: 1 of those looked at, the first: h36m_validation.pkl" in problems[2]


def test_check_of_other_folders(tmp_path):
  assert "no data set known here; it holds nothing" in check.check(tmp_path)[1][0]
  assert "is not a folder" in check.check(tmp_path / "no")[1][0]
  (tmp_path / "images.zip").touch()
  assert "has no folder annot" in check.check(tmp_path)[1][0]


def _prepare_victim(tmp_path, change):
  raw = _Raw()
  change(raw)
  folder = h36m_raw.write(tmp_path / "raw", raw.train, raw.validation, raw.members)
  return builder.prepare(folder, tmp_path, _OPTIONS, stop=False)


@pytest.mark.parametrize(
  "field, value",
  [
    ("subject", 10**500),
    ("image_id", 2**40),
    ("image", "a\0b.jpg"),
    ("image", "C:/secret.jpg"),
    ("center", np.array([-5000.0, 500.0])),
    ("scale", np.array([3.0, -3.0])),
  ],
  ids=["huge", "wide", "NUL", "drive", "box outside", "negative box"],
)
def test_every_faulty_record_can_be_skipped(tmp_path, field, value):
  made = _prepare_victim(tmp_path, lambda raw: raw.victim.update({field: value}))
  assert made.info.splits["validation"].num_examples == 1


@pytest.mark.parametrize("factor", [1e-3, 0.1, 1e3], ids=["m", "cm", "um"])
def test_lengths_in_another_unit_are_noticed(tmp_path, factor):
  raw = _Raw()
  for record in (*raw.train, *raw.validation):
    record["joints_3d_camera"] = record["joints_3d_camera"] * factor
    record["camera"] = record["camera"] | {"T": np.asarray(record["camera"]["T"]) * factor}
  folder = h36m_raw.write(tmp_path / "raw", raw.train, raw.validation, raw.members)
  assert any("must be in mm: are they in" in p for p in check.check(folder)[1])
  with pytest.raises(faults.BadRecord, match="must be in mm"):
    builder.prepare(folder, tmp_path, _OPTIONS)


def test_swapped_images_are_noticed(tmp_path):
  raw = _Raw()
  first = raw.validation[0]
  pair = [r for r in raw.validation if r["image_id"] == first["image_id"]][:2]
  pair[0]["image"], pair[1]["image"] = pair[1]["image"], pair[0]["image"]
  folder = h36m_raw.write(tmp_path / "raw", raw.train, raw.validation, raw.members)
  assert any("images of two cameras are swapped" in p for p in check.check(folder)[1])


def test_windows_paths_and_bytes_after_the_end_are_read(tmp_path):
  def change(raw):
    for record in (*raw.train, *raw.validation):
      record["image"] = record["image"].replace("/", "\\")
    raw.members[raw.member().replace("\\", "/")] += b"\xff\xff\n a trailer"

  assert _prepare_victim(tmp_path, change).info.splits["validation"].num_examples == 2


def test_joints_without_visibility_carry_no_label(tmp_path):
  def change(raw):
    seen = np.array(raw.validation[0]["joints_vis"])
    seen[5] = 0
    raw.validation[0]["joints_vis"] = seen

  _prepare_victim(tmp_path, change)
  source = builder.open_prepared(tmp_path, 32).as_data_source("validation")
  missing = [np.argwhere(~example["labelled"]).tolist() for example in source]
  assert sorted(missing) == [[], [[0, 5]]]
  (batch,) = multiview.eval_batches(source, size=32, batch_size=2, num_threads=1)
  assert (~batch["labelled"]).sum() == 1


def test_pipes_are_refused(tmp_path):
  raw = _Raw()
  folder = h36m_raw.write(tmp_path / "raw", raw.train, raw.validation, {})
  (folder / "images.zip").unlink()
  for name, data in raw.members.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
  (folder / raw.member()).unlink()
  os.mkfifo(folder / raw.member())
  assert any("is a FIFO" in problem for problem in check.check(folder)[1])


def test_a_member_that_lies_about_its_size_is_not_inflated(tmp_path):
  path = tmp_path / "images.zip"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("images/x.jpg", bytes(200 << 20))
  data = bytearray(path.read_bytes())
  entry = data.rindex(b"PK\x01\x02")
  data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
  path.write_bytes(data)
  tracemalloc.start()
  with pytest.raises(faults.BadRecord, match="cannot be read"):
    raw_images.Store(path, False).read("x.jpg", "record 0")
  assert tracemalloc.get_traced_memory()[1] < 8 << 20
  tracemalloc.stop()
