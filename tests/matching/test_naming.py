"""Views that are not of the camera whose name they have are found, and by which they are."""

import dataclasses
import itertools

import numpy as np
import pytest

from epipolar_jax.matching import naming
from tests.matching import crowds


@pytest.mark.parametrize("count", [1, 3])
def test_names_that_are_right_fit(count):
  crowd = crowds.make(count, sigma=2.0, frames=12)
  found = naming.check(crowd.observations, crowd.rig)
  assert found.verdict == "fits" and found.named_px < 4 < 6 < found.other_px
  assert found.sentence().startswith("views fit the cameras of their names: epipolar distance ")


@pytest.mark.parametrize("count", [1, 3])
def test_every_swap_and_cycle_is_found(count):
  crowd = crowds.make(count, sigma=2.0, frames=12)
  views = crowds.VIEWS
  for order in itertools.permutations(range(4)):
    renamed = tuple(views[i] for i in order)
    found = naming.check(dataclasses.replace(crowd.observations, views=renamed), crowd.rig)
    assert (found.verdict == "fits") == (renamed == views), renamed
    if renamed != views:
      assert found.other == views
  cycle = dataclasses.replace(crowd.observations, views=("right", "front", "left", "back"))
  said = naming.check(cycle, crowd.rig).sentence()
  assert said.startswith("the keypoints are not of the cameras whose names they have: ")
  assert "px with right taken by left, front taken by right, left taken by front" in said


def test_more_views_than_permutations_are_tried_of(monkeypatch):
  monkeypatch.setattr(naming, "_MOST_PERMUTED", 2)
  crowd = crowds.make(1, sigma=2.0, frames=12)
  for order in ((1, 0, 2, 3), (3, 1, 2, 0), (0, 1, 3, 2)):
    renamed = tuple(crowds.VIEWS[i] for i in order)
    found = naming.check(dataclasses.replace(crowd.observations, views=renamed), crowd.rig)
    assert found.verdict == "wrong" and found.other == crowds.VIEWS
  assert naming.check(crowd.observations, crowd.rig).verdict == "fits"


def test_cameras_that_are_alike_are_unclear():
  """The last two are one camera under two names."""
  crowd = crowds.make(1)
  twice = np.array([0, 1, 2, 2])
  rig = dataclasses.replace(crowd.rig, cameras=crowd.rig.cameras[twice])
  points = crowd.observations.points[:, :, twice]
  score = crowd.observations.score[:, :, twice]
  found = naming.check(dataclasses.replace(crowd.observations, points=points, score=score), rig)
  assert found.verdict == "unclear" and found.other == ("left", "right", "back", "front")
  assert found.sentence().startswith("it is not clear that views are of the cameras of their names")


def test_nothing_in_common_says_nothing():
  crowd = crowds.make(1, frames=8)
  points = crowd.observations.points.copy()
  for view in range(4):
    points[np.arange(8) % 4 != view, :, view] = np.nan
  apart = dataclasses.replace(crowd.observations, points=points)
  assert naming.check(apart, crowd.rig) is None
  assert naming.check(crowd.observations.select(views=("left",)), crowd.rig) is None
  with pytest.raises(ValueError, match="no camera x"):
    other = dataclasses.replace(crowd.observations, views=("x", *crowds.VIEWS[1:]))
    naming.check(other, crowd.rig)
