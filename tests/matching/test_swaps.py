"""Exchanged left and right: injected, found and mended; and good recordings left as they are."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.matching import sides, swaps
from epipolar_jax.skeletons import COCO_17
from tests import walkers

_FRAMES = 40
_REGIONS = sides.regions(COCO_17.joints)
# Right minus left, mm: a person's sides are a hand to two feet apart.
_WIDE = {"legs": 250.0, "arms": 400.0, "body": 80.0}


def _walk(seed=0) -> np.ndarray:
  """A person of 17 joints who walks: legs and arms swing against each other."""
  rng = np.random.default_rng(seed)
  time = np.arange(_FRAMES) / 20
  points = np.tile(rng.uniform([-30, -30, 1500], [30, 30, 1700], (17, 3)), (_FRAMES, 1, 1))
  for part, pairs in _REGIONS.items():
    for order, (left, right) in enumerate(pairs):
      height = {"legs": 900 - 400 * order, "arms": 1400 - 250 * order, "body": 1650}[part]
      for joint, side in ((left, -0.5), (right, 0.5)):
        swing = 120 * order * np.sin(5 * time + (0 if side > 0 else np.pi))
        points[:, joint] = np.stack(
          [side * _WIDE[part] + 0 * time, swing, height + 0 * time], axis=-1
        )
  turn = 0.4 * time
  turned = np.stack([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
  flat = np.einsum("abf,fjb->fja", turned, points[..., :2])
  path = np.stack([500 * np.sin(time / 2), 400 * np.cos(time / 2)], axis=-1)
  return np.concatenate([flat + path[:, None], points[..., 2:]], axis=-1)


def _seen(views=4, *, seed=0, **options):
  rig = walkers.ring(views)
  seen = walkers.observed(_walk(seed), rig, seed=seed, **options)
  return rig, dataclasses.replace(seen, joints=COCO_17.joints)


def _inject(observations, part: str, where: np.ndarray):
  """The same with the pairs of a region exchanged where [f, v]."""
  order = np.arange(17)
  for left, right in _REGIONS[part]:
    order[[left, right]] = right, left
  points, score = observations.points.copy(), observations.score.copy()
  frames, views = np.nonzero(where)
  points[frames, 0, views] = points[frames, 0, views][:, order]
  score[frames, 0, views] = score[frames, 0, views][:, order]
  return dataclasses.replace(observations, points=points, score=score)


def test_exchanged_legs_and_arms_are_found_to_the_frame_and_mended():
  rig, good = _seen(noise_px=3.0)
  legs, arms = np.zeros((2, _FRAMES, 4), bool)
  legs[5:17, 1] = legs[12:20, 2] = legs[38:, 0] = True
  arms[10:30, 3] = True
  found = swaps.mend(_inject(_inject(good, "legs", legs), "arms", arms), rig)
  np.testing.assert_array_equal(found.exchanged["legs"][:, 0], legs)
  np.testing.assert_array_equal(found.exchanged["arms"][:, 0], arms)
  assert not found.exchanged["body"].any()
  np.testing.assert_array_equal(found.observations.points, good.points)
  assert found.sentences() == [
    "camera cam0 had left and right exchanged: legs in 2 of 40 frames",
    "camera cam1 had left and right exchanged: legs in 12 of 40 frames",
    "camera cam2 had left and right exchanged: legs in 8 of 40 frames",
    "camera cam3 had left and right exchanged: arms in 20 of 40 frames",
  ]


def test_a_whole_body_and_seven_cameras():
  rig, good = _seen(7, noise_px=2.0)
  where = np.zeros((_FRAMES, 7), bool)
  where[:, 6] = where[10:20, 3] = True
  bad = good
  for part in _REGIONS:
    bad = _inject(bad, part, where)
  found = swaps.mend(bad, rig)
  for part in ("legs", "arms"):
    np.testing.assert_array_equal(found.exchanged[part][:, 0], where, err_msg=part)
  # Eyes, which only a plane through the cameras tells apart, are nearly where each other are.
  assert np.abs(found.observations.points - good.points).max() < 15


@pytest.mark.parametrize("seed", range(4))
def test_a_good_recording_stays_as_it_is_however_noisy(seed):
  rig, good = _seen(seed=seed, noise_px=8.0, outliers=0.05)
  found = swaps.mend(good, rig)
  assert not any(x.any() for x in found.exchanged.values()) and not found.sentences()
  np.testing.assert_array_equal(found.observations.points, good.points)


def test_missing_joints_and_scores_move_with_their_points():
  rig, good = _seen(noise_px=2.0)
  left, right = _REGIONS["legs"][2]
  points, score = good.points.copy(), good.score.copy()
  points[15, 0, 1, left] = np.nan
  score[:, 0, 1, right] = 0.5
  good = dataclasses.replace(good, points=points, score=score)
  where = np.zeros((_FRAMES, 4), bool)
  where[10:20, 1] = True
  found = swaps.mend(_inject(good, "legs", where), rig)
  np.testing.assert_array_equal(found.exchanged["legs"][:, 0], where)
  np.testing.assert_array_equal(found.observations.score, good.score)


def test_two_views_and_joints_without_sides_are_left_alone():
  rig, good = _seen(2)
  everywhere = np.ones((_FRAMES, 2), bool)
  everywhere[:, 0] = False
  bad = _inject(good, "legs", everywhere)
  np.testing.assert_array_equal(swaps.mend(bad, rig).observations.points, bad.points)
  rig, good = _seen(3)
  names = tuple(f"joint{i}" for i in range(17))
  found = swaps.mend(dataclasses.replace(good, joints=names), rig)
  assert found.exchanged == {} and found.sentences() == []


def test_sides_by_name():
  assert sides.pairs(("LHip", "RHip", "Neck")) == ((0, 1),)
  assert sides.pairs(("right_knee", "left_knee", "hip.R", "hip.L")) == ((1, 0), (3, 2))
  assert sides.pairs(("L1A", "R1A", "L1B", "tail", "leg")) == ((0, 1),)
  assert sides.pairs(COCO_17.joints) == tuple((left, right) for right, left in COCO_17.flip_pairs)
  assert list(sides.regions(("LBigToe", "RBigToe", "LEar", "REar", "lwri", "rwri"))) == [
    "legs",
    "body",
    "arms",
  ]
