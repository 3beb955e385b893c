"""Who is who across views and frames, in crowds whose truth is known."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.matching import people, pinholes
from tests.matching import crowds


def _located(observations, rig):
  """[f, p, j, 3] by DLT."""
  points, rig = pinholes.prepare(observations, rig)
  cameras, origin = pinholes.matrices(rig)
  found = [[pinholes.locate(person, cameras) for person in frame] for frame in points]
  return np.array(found) + origin


@pytest.mark.parametrize(("count", "scale"), [(2, 1.0), (3, 1.0), (4, 1.0), (3, 1e-3)])
def test_everybody_is_followed(count, scale):
  """Tracks are people, whole, and nobody changes places."""
  crowd = crowds.make(count, seed=count, scale=scale)
  found = people.match(crowd.observations, crowd.rig)
  assert found.matched and found.points.shape[1] == count
  off = np.linalg.norm(_located(found, crowd.rig)[:, :, None] - crowd.points[:, None], axis=-1)
  of = np.nanmedian(off, axis=(0, 3)).argmin(axis=1)
  assert sorted(of) == list(range(count))
  off = np.stack([off[:, i, person] for i, person in enumerate(of)], axis=1)
  known = np.isfinite(off).any(-1)
  assert known.mean() > 0.98
  # Of two views alone 20 mm off; another person is 1000 mm away.
  assert np.nanmedian(off[known], axis=-1).max() < 60 * scale
  assert found.seen.sum() > 0.98 * crowd.observations.seen.sum()


def test_nobody_is_taken_twice_and_points_stay_as_they_were():
  crowd = crowds.make(3, seed=7)
  found = people.match(crowd.observations, crowd.rig)
  for f, v in np.ndindex(len(found.points), 4):
    here = found.points[f, :, v][found.seen[f, :, v]]
    assert len(np.unique(here, axis=0)) == len(here)
    given = crowd.observations.points[f, :, v].reshape(-1, 2)
    assert all((given == point).all(1).any() for point in here)


def test_one_person_is_the_one_seen_most_and_a_bystander_of_one_view_is_left_out():
  crowd = crowds.make(2, seed=1)
  points = crowd.observations.points.copy()
  for f, v in np.ndindex(len(points), 4):
    if v != 2:  # the second is seen by one camera alone
      points[f, crowd.slots[f, 1, v], v] = np.nan
  seen_once = dataclasses.replace(crowd.observations, points=points)
  found = people.match(seen_once, crowd.rig)
  assert found.points.shape[1] == 1
  crowd = crowds.make(3, seed=1)
  points = crowd.observations.points.copy()
  points[25:, :, :, :] = np.where(
    (np.arange(3)[None, :, None] == crowd.slots[25:, 1][:, None])[..., None, None],
    points[25:],
    np.nan,
  )
  fewer = dataclasses.replace(crowd.observations, points=points)
  found = people.match(fewer, crowd.rig, people=1)
  off = _located(found, crowd.rig)[:, 0] - crowd.points[:, 1]
  assert np.nanmedian(np.linalg.norm(off, axis=-1)) < 8


def test_somebody_who_was_lost_is_known_again():
  crowd = crowds.make(2, seed=6, frames=60, missing=0.0)
  points = crowd.observations.points.copy()
  points[10:50] = np.nan  # meanwhile both walk half their size
  found = people.match(dataclasses.replace(crowd.observations, points=points), crowd.rig)
  assert found.points.shape[1] == 2 and not found.seen[10:50].any()
  assert found.seen[50:].any((2, 3)).all()


def test_after_a_long_time_pieces_are_joined_if_one_person_is_wanted(monkeypatch):
  monkeypatch.setattr(people, "_PATIENCE", 5)
  crowd = crowds.make(2, seed=5, missing=0.0)
  points = crowd.observations.points.copy()
  for f, v in np.ndindex(40, 4):
    points[f, crowd.slots[f, 1, v], v] = np.nan
  points[10:20] = np.nan
  alone = dataclasses.replace(crowd.observations, points=points)
  assert people.match(alone, crowd.rig).points.shape[1] == 2
  found = people.match(alone, crowd.rig, people=1)
  assert found.points.shape[1] == 1 and found.seen.any((1, 2, 3)).sum() == 30


def test_a_detection_in_a_wrong_place_is_let_go_and_the_others_stay():
  crowd = crowds.make(2, seed=6, frames=4, missing=0.0)
  points, rig = pinholes.prepare(crowd.observations, crowd.rig)
  slots = crowd.slots[2, 0]
  points[2, slots[1], 1] += [0.0, 200.0]
  tracker = people._Tracker(points, rig)
  kept, found = tracker._agreed(2, slots)
  np.testing.assert_array_equal(kept, np.where(np.arange(4) == 1, -1, slots))
  off = found + pinholes.matrices(rig)[1] - crowd.points[2, 0]
  assert np.nanmedian(np.linalg.norm(off, axis=-1)) < 10
  # Of two views that do not agree either may be wrong.
  kept, found = tracker._agreed(2, np.where(np.arange(4) < 2, slots, -1))
  assert (kept == -1).all() and found is None
  shifted = dataclasses.replace(crowd.observations, points=rig.distort(points))
  everybody = people.match(shifted, crowd.rig)
  assert everybody.seen[2].any(-1).sum() == 7, "of eight detections one is of nobody"


def test_what_is_matched_or_of_one_person_stays_as_it_is():
  crowd = crowds.make(2, frames=4)
  matched = dataclasses.replace(crowd.observations, matched=True, people=("a", "b"))
  found = people.match(matched, crowd.rig)
  np.testing.assert_array_equal(found.points, matched.points)
  one = people.match(matched, crowd.rig, people=1)
  most = int(matched.seen.sum((0, 2, 3)).argmax())
  assert one.people == (("a", "b")[most],) and one.points.shape[1] == 1
  with pytest.raises(ValueError, match="people should be at least 1, got 0"):
    people.match(matched, crowd.rig, people=0)
  with pytest.raises(ValueError, match="matched across 2 views or more"):
    people.match(crowd.observations.select(views=("left",)), crowd.rig)


def test_nothing_seen_is_nobody():
  crowd = crowds.make(2, frames=3)
  empty = dataclasses.replace(crowd.observations, points=crowd.observations.points * np.nan)
  found = people.match(empty, crowd.rig)
  assert found.points.shape == (3, 0, 4, 9, 2) and found.matched
