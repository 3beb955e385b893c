"""A network trained here as a detector: what evaluation predicts, window by window."""

import jax
import numpy as np
import pytest

from epipolar_jax import tasks
from epipolar_jax.footage import tracker, trained
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import multiview
from epipolar_jax.models import pose_resnet
from tests import dots as people
from tests import small_network, walkers
from tests.footage import dots


def _config(merge, sources="all"):
  config = people.config()
  config.model.fusion.merge, config.model.fusion.sources = merge, sources
  return config


@pytest.mark.parametrize(
  ("merge", "sources"), [("heatmaps", "all"), ("late", "all"), ("late", "nearest")]
)
def test_it_finds_what_evaluation_predicts(monkeypatch, merge, sources):
  monkeypatch.setattr(pose_resnet, "PoseResNet", small_network.SmallNetwork)
  config = _config(merge, sources)
  task = tasks.build(config, axis_name=None)
  variables = jax.tree.map(lambda x: x + 0.1, task.init(jax.random.key(0)))
  frame = people.frames(1)[0] | {"present": np.array([True, True, False, True])}
  (batch,) = multiview.eval_batches([frame], size=64, batch_size=1, num_threads=1)
  wanted = jax.jit(task.predict)(variables, multiview.device_part(batch))
  detector = trained.TrainedDetector(config, variables)
  maps = detector.maps(batch["image"][0])
  cameras = Cameras(frame["intrinsics"], frame["rotation"], frame["translation"])
  crop = np.concatenate([batch["crop"][0], np.tile([[[0.0, 0, 1]]], (4, 1, 1))], axis=1)
  moved = Cameras(crop @ cameras.intrinsics, cameras.rotation, cameras.translation)
  uv, score = detector.fuse(maps, frame["present"], moved)
  seen = frame["present"]
  np.testing.assert_allclose(uv[seen], wanted["joints_2d"][0][seen], atol=1e-2)
  np.testing.assert_allclose(score[seen], wanted["score"][0][seen], atol=1e-4)
  alone, _ = detector.decode(maps)
  assert np.abs(alone - uv)[seen].max() > 0.01, "fusion changed nothing"
  other = trained.TrainedDetector(config, jax.tree.map(lambda x: x + 1e-3, variables))
  assert other.description != detector.description
  unfused = trained.TrainedDetector(config, variables, fuse=False, doubt="learnt with fusion")
  assert unfused.gain == 0 and unfused.doubt is None and detector.doubt is None
  np.testing.assert_array_equal(unfused.fuse(maps, frame["present"], moved)[0], alone)
  assert detector.maps([]).shape == (0, *maps.shape[1:])


def test_it_says_which_networks_it_cannot_take():
  config = _config("early")
  with pytest.raises(ValueError, match=r"merge 'early' needs all views .* late, heatmaps and none"):
    trained.TrainedDetector(config, {})
  config = _config("late")
  config.model.fusion.compare = "rgb"
  with pytest.raises(ValueError, match=r"compare 'features' .*, not with 'rgb' and True"):
    trained.TrainedDetector(config, {})


def test_tiles_cover_the_image():
  for size_wh, side in (((640, 480), 200.0), ((100, 700), 150.0), ((300, 300), 900.0)):
    places = trained.tiles(size_wh, side)
    side = places[0, 2]
    assert side <= max(size_wh) and len(places) < 200
    for point in np.random.default_rng(0).uniform(0, size_wh, (200, 2)) - 0.5:
      off = np.abs(places[:, :2] - point).max(axis=1).min()
      # A body whose middle is not near the border lies well inside some window.
      border = min(*point, *(np.array(size_wh) - 1 - point))
      assert off <= (side / 5 if border >= side / 2 else side / 2 + 0.5)


class _NearSighted(dots.DotDetector):
  """Knows windows of about a body's size alone, as a trained network does."""

  searches = True

  def decode(self, maps):
    uv, score = super().decode(maps)
    dot = (maps > 0).sum(axis=(1, 2))
    return uv, np.where(dot >= 3, score, 0.01)


def test_a_body_is_searched_for_where_whole_images_are_not_known():
  rig, points = walkers.ring(3), dots.spread(8)
  far = points + np.array([900.0, 300.0, 0.0])
  part, _ = tracker.Tracker(_NearSighted(), rig)(dots.draw(far, rig), None)
  assert part.found.all()
  box = np.ptp(walkers.project(far, rig.cameras), axis=2).max(axis=-1)
  np.testing.assert_allclose(part.windows[..., 2] / box, 1.35, atol=0.25)
