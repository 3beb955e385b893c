"""Synthetic people in Human3.6M's format go the way of the real ones, up to a step of training."""

import json

import cv2
import numpy as np
import pytest

from configs import h36m
from data import check
from data.h36m import annotations, builder, raw_images
from data.h36m import options as options_lib
from data.synthetic import export, export_h36m
from epipolar_jax import checkpointing
from epipolar_jax.inputs import datasets
from epipolar_jax.training import loop


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp("export") / "h36m"
  counts = ["--frames", "10", "--validation_frames", "4", "--render_size", "128"]
  export.main(["--layout", "h36m", "--output", str(folder), "--zip", *counts])
  return folder


def test_what_is_written_is_in_order(raw):
  facts, problems = check.check(raw, samples=0)
  assert not problems, problems
  assert "train: 40 records, 10 frames with all four cameras, 10 of them looked at" in facts
  records = annotations.read(annotations.path_of(raw, "validation"))
  assert {r["subject"] for r in records} == {9, 11}
  store = raw_images.find_store(raw)
  sizes = {
    r["camera_id"]: cv2.imdecode(np.frombuffer(store.read(r["image"], ""), np.uint8), 1).shape
    for r in records
  }
  assert sizes == {c: (rows, 1000, 3) for c, rows in enumerate((1002, 1000, 1000, 1002))}
  with pytest.raises(SystemExit, match="is not empty"):
    export.main(["--layout", "h36m", "--output", str(raw)])
  with pytest.raises(SystemExit, match=r"frames and validation_frames are .*at least 1"):
    export.main(["--layout", "h36m", "--output", str(raw / "other"), "--frames", "0"])


def test_lenses_bend_the_images_as_the_labels_say(raw):
  """Undistorting an image gives the one that was drawn without distortion."""
  views = annotations.read(annotations.path_of(raw, "train"))[:1]
  view = annotations.view(views[0], "here")
  bent = raw_images.decode(raw_images.find_store(raw).read(view.image, ""), "", "")
  straight = raw_images.undistort(bent, view.intrinsics, view.distortion)
  points = np.stack(np.meshgrid(np.arange(0, 1000, 10.0), np.arange(0, 1000, 10.0)), -1)
  moved = raw_images.undistort_points(points.reshape(-1, 2), view.intrinsics, view.distortion)
  assert 5 < np.abs(moved - points.reshape(-1, 2)).max() < 60
  options = export_h36m.options_lib.Options(
    image_size=128, supersampling=1, train_occlusion=0.0, suits=1.0
  )
  generator = export_h36m._WholeViews(options)
  record = views[0]
  subjects = export_h36m.SUBJECTS["train"]
  index = subjects.index(record["subject"]) + len(subjects) * ((record["image_id"] - 1) // 5)
  drawn = generator.frame("train", index).images[record["camera_id"]][..., ::-1]
  to_sensor = np.linalg.inv(generator.to_drawn())[:2]
  expected = cv2.warpAffine(drawn, to_sensor, (1000, 1000), flags=cv2.INTER_LINEAR)
  inner = (slice(50, -50),) * 2
  error = np.abs(straight[inner].astype(float) - expected[inner]).mean()
  shifted = np.abs(np.roll(straight, 5, 1)[inner].astype(float) - expected[inner]).mean()
  # Measured below: two more interpolations and a JPEG; five pixels beside it is far worse.
  assert error < 2.0 and shifted > 2 * error, (error, shifted)


def test_headline_config_trains_on_it(raw, tmp_path):
  builder.prepare(raw, tmp_path, options_lib.Options(image_size=96))
  config = h36m.get_config()
  config.data.update({"dir": str(tmp_path), "image_size": 64, "num_threads": 2})
  config.data.h36m.update({"stored_size": 96, "train_every": 2, "eval_every": 1})
  assert len(datasets.open_split(config.data, "train")) == 5
  config.model.update({"backbone_depth": 18, "width": 0.125, "deconv_channels": 16})
  config.model.fusion.num_samples = 8
  config.train.update({"batch_size": 4, "num_epochs": 1.6, "log_steps": 1, "eval_epochs": 0.0})
  state, complete = loop.train(config, tmp_path / "run")
  assert complete and int(state.step) == 2
  rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert len(rows) == 2 and all(np.isfinite(row["train/loss"]) for row in rows)
  assert checkpointing.newest(tmp_path / "run").name == "2"
