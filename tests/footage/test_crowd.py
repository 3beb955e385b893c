"""Several people: found, followed, told apart and let go, on images whose joints are known."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.footage import crowd, prediction
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.matching import people
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.footage import dots

_RIG = walkers.ring(4)
_APART = np.array([1500.0, -500.0, 0.0])


class _Dots(dots.DotDetector):
  """Keeps to the person in the middle of a window; the second one's dots are blue as well."""

  def maps(self, windows) -> np.ndarray:
    windows = np.array(list(windows), np.uint8).reshape(-1, dots.SIZE, dots.SIZE, 3)
    v, u = np.mgrid[: dots.SIZE, : dots.SIZE] - dots.SIZE / 2
    blue = (windows[..., 2] > windows[..., 0] / 2)[..., None]
    maps = super().maps(windows)
    both = [np.where(side, maps, 0.0) for side in (blue, ~blue)]
    mass = [x.sum(axis=(1, 2, 3)) for x in both]
    middle = [
      [np.einsum("nhwj,hw->n", x, axis) / np.maximum(m, 1e-3) for axis in (u, v)]
      for x, m in zip(both, mass)
    ]
    off = [np.where(m > 0, np.hypot(*at), np.inf) for at, m in zip(middle, mass)]
    return np.where((off[0] < off[1])[:, None, None, None], *both)


class _Finder:
  """Stands in for `finder.Finder`: knows the people in each view's first image; counts searches."""

  size = dots.SIZE
  joints = dots.DotDetector.skeleton.joints

  def __init__(self, *walkers_at):
    self.searches = 0
    self._uv = [walkers.project(points[:1], _RIG.cameras)[0] for points in walkers_at]

  def __call__(self, cut, size_wh):
    view = self.searches % len(_RIG.names)
    self.searches += 1
    # In another order in each view, and somebody whom no other view sees.
    found = [uv[view] for uv in self._uv[:: 1 - 2 * (view % 2)]]
    alone = np.random.default_rng(view).uniform(0, 900, (17, 2))
    return np.stack([*found, alone]), np.full((len(found) + 1, 17), 0.8)


def _two(frames: int):
  """Two helices that walk side by side, and images of both."""
  first = dots.spread(frames) - _APART / 2
  second = first + _APART
  images = dots.draw(first, _RIG)
  for drawn, more in zip(images, dots.draw(second, _RIG)):
    for image, other in zip(drawn, more):
      other[..., 2] = other[..., 0]
      np.copyto(image, other, where=other.any(axis=-1, keepdims=True))
  return first, second, images


def _points(own, score):
  names = dots.DotDetector.skeleton.joints
  seen = Observations(own, score, names, _RIG.names)
  matched = people.chosen(seen, people.tracks(seen, _RIG))
  return estimate.triangulate(matched, _RIG.cameras)


def _off(found, points):
  """Median distance, mm, of each person who was found from points [f, j, 3]."""
  off = np.linalg.norm(found.points - points[:, None], axis=-1)
  return np.median(np.where(found.valid, off, np.inf), axis=(0, 2))


def test_two_people_are_found_followed_and_told_apart():
  first, second, images = _two(8)
  find = _Finder(first, second)
  part, poses = crowd.Crowd(_Dots(), _RIG, find)(images, (), 0)
  assert part.found.shape == (8, 2) and part.found.all() and len(poses) == 2
  found = _points(part.own, part.own_score)
  assert found.points.shape[1] == 2
  assert {int(np.argmin(_off(found, x))) for x in (first, second)} == {0, 1}
  assert max(_off(found, x).min() for x in (first, second)) < 20.0
  # They are known: no search, and both are still there.
  searches = find.searches
  again, _ = crowd.Crowd(_Dots(), _RIG, find)(images, poses, 8)
  assert find.searches == searches and again.found.all()
  # A search of whole images finds nobody new.
  again, _ = crowd.Crowd(_Dots(), _RIG, find)(images, poses, 32)
  assert find.searches == searches + 4 and again.found.shape == (8, 2)


def test_who_leaves_is_let_go_and_nobody_is_an_empty_axis():
  first, second, images = _two(8)
  find = _Finder(first, second)
  _, poses = crowd.Crowd(_Dots(), _RIG, find)(images, (), 0)
  only = dots.draw(first, _RIG)
  part, left = crowd.Crowd(_Dots(), _RIG, find)(only, poses, 8)
  assert len(left) == 1 and part.found.shape == (8, 1) and part.found.all()
  assert np.abs(left[0].points - first[-1]).mean() < 20.0
  empty = [[np.zeros_like(image) for image in frame] for frame in images]
  part, nobody = crowd.Crowd(_Dots(), _RIG, find)(empty, left, 16)
  assert nobody == () and part.found.shape == (8, 0) and part.own.shape == (8, 0, 4, 17, 2)


def test_a_person_who_is_known_twice_is_one():
  first, second, images = _two(4)
  find = _Finder(first, second)
  _, poses = crowd.Crowd(_Dots(), _RIG, find)(images, (), 0)
  twice = (*poses, dataclasses.replace(poses[0], points=poses[0].points + 30.0))
  part, now = crowd.Crowd(_Dots(), _RIG, find)(images, twice, 4)
  assert len(now) == 2 and part.found.shape == (4, 2)


class _Drawn:
  """Stands in for `Footage`: frames drawn here, which fail at one of them."""

  def __init__(self, images, *, fail_at=None):
    self.description = {"file": "drawn"}
    self._images, self._fail_at = images, fail_at

  def frames(self, start=0):
    for index in range(start, len(self._images)):
      if index == self._fail_at:
        raise KeyboardInterrupt
      yield self._images[index]


def test_a_killed_prediction_of_several_people_gives_the_same(tmp_path):
  first, second, images = _two(20)
  alone = dots.draw(first[16:], _RIG)
  images = images[:16] + alone

  def run(folder, **options):
    footage = _Drawn(images, **options)
    return prediction.predict(footage, _RIG, _Dots(), folder, finder=_Finder(first, second))

  whole = run(tmp_path / "whole")
  # The last part holds one person: the second slot is empty there.
  assert whole.found.shape == (20, 2) and whole.found[:16].all()
  assert whole.found[16:].tolist() == [[True, False]] * 4
  assert np.isnan(whole.own[16:, 1]).all() and not whole.own_score[16:, 1].any()
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path / "killed", fail_at=17)
  resumed = run(tmp_path / "killed")
  for field in dataclasses.fields(whole):
    a, b = getattr(whole, field.name), getattr(resumed, field.name)
    np.testing.assert_array_equal(a, b, err_msg=field.name)
