"""Weights of which one knows where they lie, on a scene whose joints are known."""

import numpy as np
import pytest

from epipolar_jax import models
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tools import attention
from tests import scenes

_SIDE, _SAMPLES = 256, 48


def _scene():
  """Cameras, joints [v, j, 2], which views are looked at [v, m], and all samples."""
  scene = scenes.make_scene(3, size=_SIDE)
  cameras = Cameras(*scene.cameras)
  others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
  samples = np.asarray(attention._samples(cameras, others, _SIDE // models.STRIDE, _SAMPLES))
  return scene, cameras, others, samples


def test_even_weights_are_as_near_as_the_samples():
  scene, cameras, others, samples = _scene()
  even = np.full(samples.shape[:-1], 1 / _SAMPLES, np.float32)
  known = np.ones(scene.uv.shape[:2], bool)
  found = attention.looks(even, others, cameras, scene.uv, known, side=_SIDE)
  assert len(found.near) > 100
  np.testing.assert_allclose(found.near, found.even, rtol=1e-6)
  np.testing.assert_allclose(found.spread, found.samples, rtol=1e-6)
  # A line of some 64 feature pixels in 48 samples: three or so are near a point of it.
  assert 0.02 < np.median(found.even) < 0.2


def test_weights_on_the_true_match_are_all_near_it():
  scene, cameras, others, samples = _scene()
  size = _SIDE // models.STRIDE
  true = (scene.uv - (models.STRIDE - 1) / 2) / models.STRIDE
  u, v = np.rint(true).astype(int).clip(0, size - 1).T
  weights = np.zeros(samples.shape[:-1], np.float32)
  for view, row in enumerate(others):
    for place, other in enumerate(row):
      at = samples[view, place, v[:, view] * size + u[:, view]]
      best = np.linalg.norm(at - true[other][:, None], axis=-1).argmin(axis=1)
      weights[view, place, v[:, view] * size + u[:, view], best] = 1.0
  known = np.ones(scene.uv.shape[:2], bool)
  known[:, 4] = False
  found = attention.looks(weights, others, cameras, scene.uv, known, side=_SIDE)
  everywhere = attention.looks(weights, others, cameras, scene.uv, np.ones_like(known), side=_SIDE)
  assert len(found.near) < len(everywhere.near)
  # Rounding to a pixel moves the line by half a pixel or so, samples are a pixel or more apart.
  assert np.mean(found.near) > 0.95 and np.median(found.off) < 1.0
  # Two joints can share a pixel.
  assert np.median(found.spread) == pytest.approx(1.0)


def test_a_network_without_such_attention_is_refused():
  with pytest.raises(SystemExit, match="merge is 'heatmaps', which compares no features"):
    attention.main(["clothed"])
  with pytest.raises(SystemExit, match="--frames 0: at least 1"):
    attention.main(["clothed", "--frames", "0"])
