"""Prepared data of one's own with one fault each: data.check names file, example and view."""

import pathlib
import struct

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import check, plausibility, storing
from epipolar_jax import skeletons
from epipolar_jax.inputs import datasets, fields, image_header, multiview, stored_images
from tests import dots


def _build(folder, frames):
  tfds.disable_progress_bar()

  def feature(name, value):
    if name == "image":
      image = tfds.features.Image(shape=(dots.SIZE, dots.SIZE, 3), encoding_format="jpeg")
      return tfds.features.Sequence(image, length=len(value))
    if isinstance(value, str):
      return tfds.features.Text()
    x = np.asarray(value)
    return tfds.features.Tensor(shape=x.shape, dtype=np.int32 if x.dtype.kind == "i" else x.dtype)

  class Mine(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = pathlib.Path(__file__).parent

    def _info(self):
      names = tfds.features.FeaturesDict({k: feature(k, v) for k, v in frames[0].items()})
      return tfds.core.DatasetInfo(builder=self, features=names, disable_shuffling=True)

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      for i, f in enumerate(frames):
        yield i, f | {"image": [storing.encode_jpeg(p, 95) for p in f["image"]]}

  builder = Mine(data_dir=str(folder), file_format="array_record")
  builder.download_and_prepare()
  return builder


def _set(name, value, view=2):
  def change(frame):
    frame[name][view] = value

  return change


def _turn_round(frame):
  turn = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
  frame["rotation"] = np.einsum("ab,vbc->vac", turn, frame["rotation"])
  frame["translation"] = frame["translation"] @ turn
  frame["intrinsics"][:, 0, 0] *= -1


def _repeat_camera(frame):
  for name in ("intrinsics", "rotation", "translation", "joints_2d"):
    frame[name][3] = frame[name][1]


def _swap_labels(frame):
  frame["joints_2d"][[0, 2]] = frame["joints_2d"][[2, 0]]


def _shrink_images(frame):
  frame["image"] = frame["image"][:, ::2, ::2]


def _onto_a_map(frame):
  offset = np.array([388e6, 3949e6, 1e5])
  frame["joints_3d"] = (frame["joints_3d"] + offset).astype(np.float32)
  moved = np.einsum("vab,b->va", frame["rotation"].astype(np.float64), offset)
  frame["translation"] = (frame["translation"] - moved).astype(np.float32)


def _to(factor):
  def change(frame):
    frame["joints_3d"] *= factor
    frame["translation"] *= factor

  return change


_FAULTS = {
  "rotation": (_set("rotation", np.nan), "rotation of view 2 holds NaN"),
  "first camera": (_set("rotation", np.nan, 0), "rotation of view 0 holds NaN"),
  "translation": (_set("translation", np.inf, 3), "translation of view 3 holds NaN"),
  "intrinsics": (_set("intrinsics", np.nan, 1), "intrinsics of view 1 holds NaN"),
  "labels": (_set("joints_2d", np.nan, 1), "view 1: joints_2d of joint 0 is NaN"),
  "labels in 3D": (_set("joints_3d", np.nan, 5), "joints_3d of joint 5 is NaN"),
  "no focal length": (_set("intrinsics", np.diag([0.0, 1.0, 1.0])), "focal length 0, 1 px"),
  "along -z": (_turn_round, "focal length -192"),
  "camera twice": (_repeat_camera, "views 1 and 3 have the same rotation"),
  "on a map": (_onto_a_map, "km from the world's origin; at most 10 km"),
  "swapped": (_swap_labels, "fit the camera of view"),
  "mirrored": (_set("rotation", np.diag([-1.0, 1.0, 1.0])), "is not a rotation"),
  "no box": (_set("box_size", 0.0), "box_size of view 2 is 0 px"),
  "negative box": (_set("box_size", -9.0), "box_size of view 2 is -9 px"),
  "box elsewhere": (_set("box_center", -900.0), "lies outside the image"),
  "other size": (_shrink_images, "40 x 40 px, but its data set declares 80 x 80"),
  "metres": (_to(1e-3), "are they in m"),
  "centimetres": (_to(0.1), "are they in cm"),
  "micrometres": (_to(1e3), "are they in um"),
}


@pytest.mark.parametrize("name", _FAULTS)
def test_faults_are_named(name, tmp_path):
  change, message = _FAULTS[name]
  frames = dots.frames(3)
  for frame in frames if name in ("metres", "centimetres", "micrometres") else frames[1:2]:
    change(frame)
  builder = _build(tmp_path / "incomplete_recordings", frames)
  _, problems = check.check(tmp_path / "incomplete_recordings")
  assert len(problems) == 1 and message in problems[0] and "train" in problems[0], problems
  if any(text in message for text in ("box_size", "rotation of", "km from")):
    with pytest.raises(ValueError, match=r"frame 1: .* of view \d"):
      source = datasets.read(builder, "train")
      next(multiview.eval_batches(source, size=64, batch_size=3, num_threads=1))


@pytest.mark.parametrize("name", fields.REQUIRED[1:])
def test_missing_fields_are_named(name, tmp_path):
  builder = _build(tmp_path, [{k: x for k, x in f.items() if k != name} for f in dots.frames(1)])
  assert any(f"no field {name}" in problem for problem in check.check(tmp_path)[1])
  if name not in ("rotation", "box_size"):
    with pytest.raises(ValueError, match=f"no field {name}"):
      datasets.read(builder, "train")


def test_labels_that_are_masked_are_no_fault(tmp_path):
  frames = dots.frames(2)
  frames[0]["joints_2d"][1, 4] = np.nan
  frames[0]["visible"][1, 4] = False
  source = datasets.read(_build(tmp_path, frames), "train")
  facts, problems = check.check(tmp_path)
  assert not problems and any("1 joints of views are not labelled" in fact for fact in facts)
  (batch,) = multiview.eval_batches(source, size=64, batch_size=2, num_threads=1)
  assert np.isfinite(batch["joints_2d"]).all() and not batch["labelled"][0, 1, 4]
  assert batch["labelled"].sum() == batch["labelled"].size - 1


def test_labelled_goes_before_visible():
  (frame,) = dots.frames(1)
  frame["visible"][:] = False
  assert not fields.labelled(frame).any()
  frame["labelled"] = np.ones((4, 17), bool)
  assert fields.labelled(frame).all()


def test_frames_of_other_numbers_of_views_are_named():
  frames = [*dots.frames(1), *dots.frames(1, views=3)]
  with pytest.raises(ValueError, match=r"has 4 views, but .* has 3: .* cameras"):
    next(multiview.eval_batches(frames, size=32, batch_size=2, num_threads=1))


def _person(rng):
  """A pose whose left and right bones are equally long, in the order of Human3.6M."""
  skeleton, points = skeletons.H36M_17, np.zeros((17, 3))
  lengths = {}
  for joint in range(17):
    lengths[joint] = lengths.get(skeleton.flip_order[joint], 150.0 + 20 * joint)
  done = {skeleton.root}
  while len(done) < 17:
    for joint, parent in enumerate(skeleton.parents):
      if joint not in done and parent in done:
        way = rng.normal(size=3)
        points[joint] = points[parent] + lengths[joint] * way / np.linalg.norm(way)
        done.add(joint)
  return points


def test_coco_order_is_noticed():
  rng = np.random.default_rng(0)
  poses = np.stack([_person(rng) for _ in range(20)])
  assert plausibility.coco_order(poses) == ""
  coco = np.stack([rng.normal(size=(17, 3)) * 300 for _ in range(20)])
  limbs = plausibility._COCO_PAIRS
  for pose in coco:
    for left, right in limbs:
      for a, b in (left, right):
        way = rng.normal(size=3)
        pose[b] = pose[a] + (250 + 30 * left[0]) * way / np.linalg.norm(way)
  assert "COCO" in plausibility.coco_order(coco)


def test_images_are_right_or_refused():
  grey = np.zeros((64, 64), np.uint8)
  grey[:, :32] = 200
  for image in (grey, grey[..., None]):
    stored = np.asarray(stored_images.Jpeg(storing.encode_jpeg(image, 95).getvalue()))
    np.testing.assert_allclose(stored[32, [8, 56]], [[200] * 3, [0] * 3], atol=3)
  for image, hint in (
    (np.zeros((8, 8, 4), np.uint8), "alpha"),
    (np.zeros((8, 8, 3), np.float32), r"255 \* image"),
    (np.zeros((8, 8), np.uint16), "image >> 8"),
    (np.zeros((8, 8, 3), bool), "masks"),
    (np.zeros((8, 8, 2), np.uint8), "shape"),
    (np.zeros((8, 0, 3), np.uint8), "shape"),
  ):
    with pytest.raises(ValueError, match=hint):
      storing.encode_jpeg(image, 90)


def test_sizes_are_read_before_decoding():
  data = storing.encode_jpeg(np.zeros((24, 40, 3), np.uint8), 90).getvalue()
  assert image_header.read(data) == (40, 24)
  at = data.index(b"\xff\xc0") + 5
  bomb = data[:at] + struct.pack(">HH", 16000, 16000) + data[at + 4 :]
  with pytest.raises(ValueError, match="promises 16000 x 16000 px"):
    np.asarray(stored_images.Jpeg(bomb))
  with pytest.raises(ValueError, match="neither a JPEG nor a PNG"):
    np.asarray(stored_images.Jpeg(b"GIF89a" + bytes(40)))
  assert image_header.jpeg_is_whole(data + b"\n") and not image_header.jpeg_is_whole(data[:-2])
