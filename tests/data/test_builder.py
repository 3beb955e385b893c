"""Preparing, caching and reading back; and the promise that none of it imports TensorFlow."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from configs import clothed
from data.synthetic import builder, scene
from data.synthetic import options as options_lib
from epipolar_jax import skeletons
from epipolar_jax.inputs import batches

OPTIONS = options_lib.Options(
  image_size=48,
  supersampling=1,
  num_views=3,
  train_frames=3,
  validation_frames=1,
  test_frames=2,
  train_identities=3,
  train_rigs=3,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  return folder, {split: builder.prepare(OPTIONS, folder, split) for split in options_lib.SPLITS}


def test_what_is_read_is_what_was_made(prepared):
  _, data = prepared
  generator = scene.Generator(OPTIONS)
  for split in options_lib.SPLITS:
    source = data[split].as_data_source(split)
    assert len(source) == OPTIONS.num_frames(split)
    read, made = source[len(source) - 1], builder.make_example(generator, split, len(source) - 1)
    assert set(read) == set(made)
    for name, value in made.items():
      if name == "image":
        decoded = [
          cv2.imdecode(np.frombuffer(jpeg.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
          for jpeg in value
        ]
        # Two JPEG decoders may round differently.
        np.testing.assert_allclose(np.stack(read["image"]), decoded, atol=4)
      elif name == "action":
        assert read["action"].decode() == value
      else:
        np.testing.assert_array_equal(read[name], value)


def test_tensorflow_is_never_imported(prepared):
  assert "tensorflow" not in sys.modules


def test_a_second_prepare_makes_nothing(prepared, monkeypatch):
  folder, _ = prepared
  monkeypatch.setattr(scene, "Generator", lambda options: pytest.fail("made again"))
  again = builder.prepare(OPTIONS, folder, "train").as_data_source("train")
  assert len(again) == OPTIONS.train_frames


def test_every_option_changes_the_fingerprint_of_what_it_changes():
  def fingerprints(options):
    return {b: options_lib.fingerprint(options, b) for b in ("train", "validation", "test")}

  before = fingerprints(OPTIONS)
  assert before == fingerprints(dataclasses.replace(OPTIONS)) and len(set(before.values())) == 3
  others = {"margin": 1.5, "actions": ("walking",), "suits": 0.5, "cameras": "far"}
  others |= {"skeleton": "coco_17"}
  for field in dataclasses.fields(OPTIONS):
    value = getattr(OPTIONS, field.name)
    if field.name not in others:
      others[field.name] = value + 1 if isinstance(value, int) else value / 2 + 0.01
    changed = dataclasses.replace(OPTIONS, **{field.name: others[field.name]})
    for base, value in fingerprints(changed).items():
      # The number of training frames says nothing about the test frames.
      same = field.name.endswith("_frames") and field.name != f"{base}_frames"
      assert (value == before[base]) == same, (field.name, base)


def test_data_of_other_joints_lie_beside_those_of_the_first_and_have_the_same_images(prepared):
  folder, data = prepared
  others = dataclasses.replace(OPTIONS, skeleton="coco_17")
  made = builder.prepare(others, folder, "validation")
  assert "_coco_17_" in made.data_dir and "coco" not in data["validation"].data_dir
  first = data["validation"].as_data_source("validation")[0]
  other = made.as_data_source("validation")[0]
  np.testing.assert_array_equal(np.stack(other["image"]), np.stack(first["image"]))
  nose = skeletons.H36M_17.index("nose")
  np.testing.assert_array_equal(other["joints_3d"][0], first["joints_3d"][nose])


def test_the_network_and_the_data_have_the_same_joints(tmp_path):
  config = clothed.get_config("coco_17")
  config.data.dir, config.data.flip_probability, config.train.batch_size = str(tmp_path), 1.0, 1
  config.data.synthetic = dataclasses.asdict(OPTIONS) | {"skeleton": "coco_17"}
  source = batches.open_split(config, "validation")
  # Mirrored, every left joint is where the right one was.
  (batch,) = batches.train_batches(config, source, start_step=0, num_steps=1)
  joints = skeletons.COCO_17.joints
  twin = [joints.index({"l": "r", "r": "l"}.get(x[0], x[0]) + x[1:]) for x in joints]
  np.testing.assert_array_equal(batch["joints_3d"][0], source[0]["joints_3d"][twin])
  assert twin[:5] == [0, 2, 1, 4, 3]
  config.data.synthetic.skeleton = "h36m_17"
  with pytest.raises(ValueError, match=r"skeleton is h36m_17: root, .* coco_17 has nose, .* same"):
    batches.open_split(config, "validation")


def test_options_out_of_range_are_refused():
  with pytest.raises(ValueError, match="num_views is 1"):
    dataclasses.replace(OPTIONS, num_views=1)
  with pytest.raises(ValueError, match="skeleton is 'rhd_21'; it must be one of h36m_17, coco_17"):
    dataclasses.replace(OPTIONS, skeleton="rhd_21")
  with pytest.raises(ValueError, match="one of train, validation"):
    options_lib.base_split("tset")


def test_a_killed_prepare_leaves_nothing_that_looks_finished(tmp_path):
  root = pathlib.Path(builder.__file__).parents[2]
  many = ["--train_frames", "100000", "--image_size", "32", "--supersampling", "1"]
  process = subprocess.Popen(
    [sys.executable, "-m", "data.synthetic.builder", "--data_dir", os.fspath(tmp_path), *many],
    cwd=root,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("synthetic/*/*incomplete*")):
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.1)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert not list(tmp_path.glob("synthetic/*/1.0.0/dataset_info.json"))
  assert not list(tmp_path.glob("synthetic/*/1.0.0"))


def test_what_a_killed_prepare_left_is_removed_by_the_next(tmp_path):
  few = dataclasses.replace(OPTIONS, train_frames=1)
  made = pathlib.Path(builder.prepare(few, tmp_path, "validation").data_dir)
  half = made.parent / f"{made.name}.incompleteABC123"
  made.rename(half)
  again = builder.prepare(few, tmp_path, "validation")
  assert len(again.as_data_source("validation")) == 1
  assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_a_frame_that_is_not_consistent_is_refused():
  generator = scene.Generator(OPTIONS)
  frame = generator.frame("train", 0)
  broken = dataclasses.replace(frame, joints_2d=frame.joints_2d + 1)
  generator.frame = lambda split, index: broken
  with pytest.raises(ValueError, match="reproject"):
    builder.make_example(generator, "train", 0)
