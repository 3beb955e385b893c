"""Exchanged images are suspected from what a network finds; nothing else is."""

import numpy as np
import pytest

from epipolar_jax.tasks.multiview import swapped_views

_SIZE = 128


def _scene(rng, *, noise_px):
  """Labels of four views in stored images of 200 px, crops around them, and what is found."""
  middle = rng.uniform(70, 130, (12, 4, 1, 2))
  labels = middle + rng.normal(0, 20, (12, 4, 17, 2))
  scale = _SIZE / rng.uniform(90, 140, (12, 4))
  crop = np.zeros((12, 4, 2, 3))
  crop[..., 0, 0] = crop[..., 1, 1] = scale
  crop[..., 2] = _SIZE / 2 - scale[..., None] * middle[..., 0, :]
  seen = labels + rng.normal(0, noise_px, labels.shape)
  return labels, crop, seen


def _to_network(crop, seen):
  return crop[..., None, [0, 1], [0, 1]] * seen + crop[..., None, :, 2]


@pytest.mark.parametrize("pair", [(0, 1), (3, 1)])
def test_swapped_images_are_named_and_no_others(pair):
  rng = np.random.default_rng(0)
  labels, crop, seen = _scene(rng, noise_px=2)
  labelled = rng.random(labels.shape[:3]) < 0.9
  labels = np.where(labelled[..., None], labels, np.nan)
  assert not swapped_views.doubts(_to_network(crop, seen), labels, labelled, crop, _SIZE)
  a, b = pair
  order = np.arange(4)
  order[[a, b]] = b, a
  points = _to_network(crop, seen[:, order])
  found = swapped_views.doubts(points, labels, labelled, crop, _SIZE)
  named = [(f"found in view {x} ", f"of view {y} ") for x, y in sorted([(a, b), (b, a)])]
  assert len(found) == 2 and all(text in line for t, line in zip(named, found) for text in t)


def test_networks_that_find_nothing_are_no_doubt():
  rng = np.random.default_rng(1)
  labels, crop, seen = _scene(rng, noise_px=60)
  labelled = np.ones(labels.shape[:3], bool)
  assert not swapped_views.doubts(_to_network(crop, seen), labels, labelled, crop, _SIZE)
  labelled[:] = False
  assert not swapped_views.doubts(_to_network(crop, seen), labels, labelled, crop, _SIZE)
