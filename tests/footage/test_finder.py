"""Finding everybody in an image: tiles cover it, repeats are dropped, small and large are found."""

import cv2
import numpy as np
import pytest

from epipolar_jax.footage import detector, finder, windows
from epipolar_jax.rigs import lenses
from epipolar_jax.skeletons import COCO_17

_SIZE = 64


class _Blobs:
  """Stands in for `Detector`: red discs are centres, joints lie on a circle around them.

  It sees those whose diameter is 0.2 to 0.9 of the window, better if its border does not cut them,
  as networks see people.
  """

  skeleton, size = COCO_17, _SIZE

  def _in(self, window):
    labels = cv2.connectedComponentsWithStats((window[..., 0] > 128).astype(np.uint8))
    count, _, stats, centres = labels
    for i in range(1, count):
      wide = stats[i, cv2.CC_STAT_WIDTH]
      if 0.2 * _SIZE < wide < 0.9 * _SIZE:
        area = stats[i, cv2.CC_STAT_AREA] / (np.pi / 4 * wide * stats[i, cv2.CC_STAT_HEIGHT])
        yield centres[i], wide / 2, min(area, 1 / area)

  def people(self, crops):
    crops = list(crops)
    uv = np.zeros((len(crops), 6, 17, 2))
    score, center = np.zeros((len(crops), 6, 17)), np.zeros((len(crops), 6))
    for n, crop in enumerate(crops):
      for k, (at, radius, round_) in enumerate(list(self._in(crop))[:6]):
        uv[n, k], score[n, k], center[n, k] = self._joints(at, radius), 0.8, 0.9 * round_
    return detector.People(uv, score, center)

  def maps(self, crops):
    return np.array(list(crops)).reshape(-1, _SIZE, _SIZE, 3)

  def decode(self, maps):
    uv, score = np.zeros((len(maps), 17, 2)), np.zeros((len(maps), 17))
    for n, crop in enumerate(maps):
      middle = sorted(self._in(crop), key=lambda x: np.abs(x[0] - _SIZE / 2).sum())
      if middle:
        uv[n], score[n] = self._joints(*middle[0][:2]), 0.7
    return uv, score

  @staticmethod
  def _joints(at, radius):
    angle = 2 * np.pi * np.arange(17) / 17
    return at + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def test_people_of_all_sizes_are_found_once_each():
  image = np.zeros((480, 640, 3), np.uint8)
  people = (((150, 200), 140), ((450, 300), 60), ((560, 80), 32))
  for at, radius in people:
    cv2.circle(image, at, radius, (255, 0, 0), -1)

  def cut(boxes):
    pinhole = lenses.Pinhole(), np.eye(3)
    return (windows.square(image, *pinhole, box, size=_SIZE) for box in boxes)

  find = finder.Finder(_Blobs())
  uv, score = find(cut, (640, 480))
  assert uv.shape == (3, 17, 2) and (score > 0.5).all()
  for at, radius in people:
    off = np.linalg.norm(uv.mean(axis=1) - at, axis=-1)
    nearest = np.argmin(off)
    assert off[nearest] < 3.0
    np.testing.assert_allclose(np.ptp(uv[nearest], axis=0), 2 * radius, rtol=0.15)
  image[:] = 0
  assert find(cut, (640, 480))[0].shape == (0, 17, 2)


@pytest.mark.parametrize(
  ("size_wh", "side"), (((640, 480), 160), ((100, 700), 350), ((64, 64), 64))
)
def test_tiles_cover_the_image_and_half_of_each_other(size_wh, side):
  places = finder.tiles(size_wh, side)
  assert (places[:, 2] == side).all()
  for axis, length in enumerate(size_wh):
    at = np.unique(places[:, axis])
    assert (np.diff(at) <= side / 2 + 1e-9).all()
    assert at[0] - side / 2 <= -0.5 and at[-1] + side / 2 >= length - 0.5


def test_the_better_of_two_detections_of_one_person_is_kept():
  person = np.random.default_rng(0).uniform(0, 100, (17, 2))
  half = person.copy()
  half[:10] = half[:10] * 0.3 + 60  # the legs agree, the rest lies elsewhere
  beside = person + np.array([70.0, 0.0])
  kept = finder.distinct(np.stack([half, person, beside]), np.array([0.5, 0.9, 0.7]))
  assert kept == [1, 2]
  assert finder.distinct(np.zeros((0, 17, 2)), np.zeros(0)) == []


def test_movenet_keeps_to_the_person_in_the_middle():
  """Another person's joints count less: a law of the map, for any image."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 192, 192, 3), np.uint8)
  alone = detector.Detector("lightning")
  several = detector.Detector("lightning", several=True)
  plain, kept = alone.maps(images), several.maps(images)
  assert np.isfinite(kept).all() and (kept <= plain + 1e-4).all()
  unchanged = np.isclose(kept, plain, atol=1e-4).reshape(2, -1, 17).mean(axis=1)
  assert ((unchanged > 0.005) & (unchanged < 0.3)).all()  # a disc around where each is expected
  assert several.description["several"] and "several" not in alone.description
  people = several.people(images)
  assert (np.diff(people.center, axis=1) <= 0).all() and np.isfinite(people.uv).all()
  assert ((people.score >= 0) & (people.score <= 1)).all()
