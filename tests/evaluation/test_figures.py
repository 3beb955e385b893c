"""Figures of the inside of the network: what is in them, and that TensorBoard gets them."""

import jax
import numpy as np
import pytest

from epipolar_jax import tasks
from epipolar_jax.evaluation import figures
from epipolar_jax.inputs import datasets
from epipolar_jax.models import pose_resnet
from epipolar_jax.training import loop
from epipolar_jax.visualize import palette, panels
from tests import dots, runs, small_network


@pytest.fixture(autouse=True)
def dot_frames(monkeypatch):
  monkeypatch.setattr(pose_resnet, "PoseResNet", small_network.SmallNetwork)
  splits = {"train": dots.frames(8), "validation": dots.frames(2, seed=1)}
  monkeypatch.setattr(datasets, "open_split", lambda config, split: splits[split])


def test_figures_of_two_frames():
  config = dots.config()
  config.model.fusion.update({"merge": "heatmaps", "sources": "all"})
  task = tasks.build(config, axis_name=None)
  variables = task.init(jax.random.key(0, impl="rbg"))
  drawn = figures.make(config, "validation")(variables)
  assert drawn["heatmaps"].shape == (2 * 256, 4 * 256, 3)
  assert drawn["attention"].shape == (2 * 512, 4 * 256, 3)
  green = np.all(drawn["attention"] == palette.ATTENTION, -1)
  tiles = green.reshape(2, 2, 256, 4, 256).sum((2, 4))
  assert np.all(tiles[:, 0] > 50)  # a point in every view
  assert np.all(tiles[:, 1] > 200)  # and its line where the view looks


def test_no_figures_when_none_are_wanted():
  config = dots.config()
  config.eval.num_images = 0
  assert figures.make(config, "validation")(None) == {}


def test_heat_is_where_the_map_is():
  images = np.full((1, 64, 64, 3), 100, np.uint8)
  maps = np.zeros((1, 16, 16, 3))
  maps[0, 4, 12, 1] = 0.2
  row = panels.heatmap_row(images, maps).astype(int)
  assert row.shape == (256, 256, 3)
  bright = np.unravel_index(row.sum(-1).argmax(), (256, 256))
  np.testing.assert_allclose(bright, [4.5 * 16, 12.5 * 16], atol=12)
  np.testing.assert_allclose(row[200, 20], 100, atol=2)  # elsewhere the image itself


def test_training_logs_figures(tmp_path, monkeypatch):
  runs.install(monkeypatch)
  config = runs.config(model__fusion__merge="late", train__eval_epochs=0.25)
  loop.train(config, tmp_path, stop_at=2)
  (events,) = (tmp_path / "tensorboard").iterdir()
  found = events.read_bytes()
  for name in (b"eval/predictions", b"eval/heatmaps", b"eval/attention", b"eval/mpjpe_mm"):
    assert name in found
