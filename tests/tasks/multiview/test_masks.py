"""Views that are not there and labels that count less: what they hold must not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import tasks
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import multiview
from epipolar_jax.models import pose_resnet
from epipolar_jax.models.fusion import lines
from tests import dots, small_network

_ABSENT = 2


@pytest.fixture(autouse=True)
def _small(monkeypatch):
  monkeypatch.setattr(pose_resnet, "PoseResNet", small_network.SmallNetwork)


def _batch(**more):
  frames = dots.frames(2)
  for frame in frames:
    frame["present"] = np.arange(4) != _ABSENT
    frame["labelled"] = np.tile(frame["present"][:, None], (1, 17))
    frame.update(more)
  (batch,) = multiview.eval_batches(frames, size=64, batch_size=2, num_threads=1)
  return multiview.device_part(batch)


def _other(batch):
  """The same frames with something else in the place of the view that is not there."""
  rng = np.random.default_rng(0)
  changed = {name: np.array(x) for name, x in batch.items()}
  changed["image"][:, _ABSENT] = rng.integers(0, 255, changed["image"][:, _ABSENT].shape)
  changed["joints_2d"][:, _ABSENT] = 5.0
  for name in ("rotation", "translation", "intrinsics"):
    changed[name][:, _ABSENT] = changed[name][:, 0]
  return changed


@pytest.mark.parametrize(
  ("merge", "sources"),
  [("late", "nearest"), ("late", "all"), ("heatmaps", "all"), ("none", "nearest")],
)
def test_what_fills_the_place_of_an_absent_view_does_not_matter(merge, sources):
  config = dots.config()
  config.model.fusion.merge, config.model.fusion.sources = merge, sources
  config.eval.triangulation = "dlt,robust"
  task = tasks.build(config, axis_name=None)
  variables = task.init(jax.random.key(0))
  # Fusion starts as nothing; make it count.
  variables = jax.tree.map(lambda x: x + 0.1, variables)
  batch = _batch()
  predict = jax.jit(task.predict)
  one, two = predict(variables, batch), predict(variables, _other(batch))
  seen = np.arange(4) != _ABSENT
  for name in ("joints_2d", "score"):
    np.testing.assert_allclose(one[name][:, seen], two[name][:, seen], atol=1e-4, err_msg=name)
  assert not np.asarray(one["score"])[:, _ABSENT].any()
  np.testing.assert_allclose(one["joints_3d"], two["joints_3d"], rtol=1e-4, atol=0.05)
  everything = {k: x for k, x in batch.items() if k != "present"}
  if merge != "none":
    other = predict(variables, everything)["joints_2d"]
    assert np.abs(other - one["joints_2d"])[:, seen].max() > 1e-3, "fusion saw nothing anyway"


def test_sources_are_drawn_among_those_that_are_there():
  centres = jnp.array([[0.0, 0, 0], [1.0, 0, 0], [3.0, 0, 0], [7.0, 0, 0]])
  eye = jnp.broadcast_to(jnp.eye(3), (4, 3, 3))
  cameras = Cameras(eye, eye, -centres)
  there = jnp.array([True, False, True, True])
  nearest = lines.choose_sources(cameras, rule="nearest", present=there)
  np.testing.assert_array_equal(nearest[:, 0], [2, 0, 0, 2])
  every = lines.choose_sources(cameras, rule="all", present=there)
  assert (np.asarray(every) != np.arange(4)[:, None]).all(), "no view is its own source"
  np.testing.assert_array_equal(every[[0, 2, 3], -1], [1, 1, 1])
  drawn = [
    lines.choose_sources(cameras, rule="any", key=jax.random.key(i), present=there)
    for i in range(30)
  ]
  assert {int(x) for x in np.ravel([d[0] for d in drawn])} == {2, 3}
  assert {int(x) for x in np.ravel([d[1] for d in drawn])} == {0, 2, 3}


def test_labels_count_by_their_weight():
  config = dots.config()
  config.model.fusion.merge, config.model.fusion.sources = "none", "nearest"
  task = tasks.build(config, axis_name=None)
  variables = task.init(jax.random.key(0))
  loss = jax.jit(task.loss)

  def mean(batch):
    total, weight, _ = loss(variables, batch, jax.random.key(0))
    return float(total), float(weight)

  plain, count = mean(_batch())
  ones, same = mean(_batch(label_weight=np.ones((4, 17), np.float32)))
  np.testing.assert_allclose((ones, same), (plain, count), rtol=1e-6)
  half, fewer = mean(_batch(label_weight=np.full((4, 17), 0.5, np.float32)))
  np.testing.assert_allclose((half, fewer), (plain / 2, count / 2), rtol=1e-5)
  weight = np.ones((4, 17), np.float32)
  weight[:, 3:] = 0.0
  three, few = mean(_batch(label_weight=weight))
  batch = _batch()
  batch["labelled"] = batch["labelled"] & (np.arange(17) < 3)
  np.testing.assert_allclose((three, few), mean(batch), rtol=1e-5)
