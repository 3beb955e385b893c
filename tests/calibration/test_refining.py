"""Bundle adjustment and refining: laws on synthetic rigs whose truth is known."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.calibration import boards, bundle, judging, refining, world
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs import lenses
from epipolar_jax.triangulation import estimate
from tests import walkers
from tests.calibration import alignment


def _turned(vector: np.ndarray) -> np.ndarray:
  angle = np.linalg.norm(vector)
  x, y, z = vector / max(angle, 1e-12)
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _disturbed(rig, *, degrees: float, mm: float, seed: int = 0):
  """The rig with every camera turned and moved in a random direction."""
  rng = np.random.default_rng(seed)
  r, centres = [], []
  for rotation, translation in zip(rig.cameras.rotation, rig.cameras.translation):
    axis, shift = rng.normal(size=3), rng.normal(size=3)
    r.append(_turned(np.radians(degrees) * axis / np.linalg.norm(axis)) @ rotation)
    centres.append(-rotation.T @ translation + mm * shift / np.linalg.norm(shift))
  r = np.stack(r)
  t = -np.einsum("vij,vj->vi", r, np.stack(centres))
  return dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, r, t))


def test_a_rig_that_is_a_degree_and_20_mm_off_is_mended():
  """The aim of a rig with 200 frames of 3 px noise and 10 % gross errors."""
  rig = walkers.ring(4)
  observations = walkers.observed(walkers.walk(200), rig, noise_px=3.0, outliers=0.1)
  wrong = _disturbed(rig, degrees=1.0, mm=20.0)
  refined = refining.refine(observations, wrong)
  assert refined.better
  assert np.nanmedian(refined.before) > 2 * np.nanmedian(refined.after)
  assert refined.far == ()
  turned, moved = alignment.errors(refined.rig.cameras, rig.cameras)
  wrong_turned, wrong_moved = alignment.errors(wrong.cameras, rig.cameras)
  assert turned.max() < 0.1 < wrong_turned.max()
  assert moved.max() < 5.0 < wrong_moved.max()
  # The world is that of the disturbed rig: no common turn beyond its own mean.
  for view in range(4):
    one = (wrong.names[view],)
    turn, move = refining.difference(wrong.select(one), refined.rig.select(one))
    assert turn < 2.0 and move < 100.0


def _elsewhere(rig, turn: np.ndarray, shift: np.ndarray):
  """The same rig in another world: cameras and what they look at turned, then shifted."""
  r = np.asarray(rig.cameras.rotation) @ turn.T
  t = np.asarray(rig.cameras.translation) - r @ shift
  return dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, r, t))


def _points(observations, rig) -> np.ndarray:
  found = estimate.triangulate(observations, rig)
  return np.where(found.valid[:, 0, :, None], found.points[:, 0], np.nan)


def test_the_world_is_kept():
  rig = walkers.ring(4)
  observations = walkers.observed(walkers.walk(30), rig, noise_px=1.0, outliers=0.1)
  moved = _elsewhere(rig, _turned(np.radians([2.0, -3.0, 5.0])), np.array([40.0, -300.0, 90.0]))
  back, left_mm = world.kept(observations, rig, moved)
  assert left_mm < 0.01
  np.testing.assert_allclose(back.cameras.rotation, rig.cameras.rotation, atol=1e-5)
  np.testing.assert_allclose(back.cameras.translation, rig.cameras.translation, atol=0.05)
  # Refined cameras are another rig: their points lie as near to the old ones as they can.
  wrong = _disturbed(rig, degrees=1.0, mm=30.0)
  refined = refining.refine(observations, wrong)
  old = _points(observations, wrong)

  def off(rig) -> np.ndarray:
    return np.linalg.norm(_points(observations, rig) - old, axis=-1)

  np.testing.assert_allclose(np.nanmedian(off(refined.rig)), refined.moved_mm, rtol=0.01)
  least, still = np.nanmean(off(refined.rig)), np.zeros(3)
  for shift in 10.0 * np.eye(3):
    for sign in (-1, 1):
      assert np.nanmean(off(_elsewhere(refined.rig, np.eye(3), sign * shift))) > least
  for turn in np.radians(0.5 * np.eye(3)):
    for sign in (-1, 1):
      assert np.nanmean(off(_elsewhere(refined.rig, _turned(sign * turn), still))) > least
  # A rig that shows too few points is left as it is.
  blind = dataclasses.replace(observations, score=0 * observations.score)
  same, left_mm = world.kept(blind, rig, moved)
  assert same is moved and np.isnan(left_mm)


def test_a_rig_that_is_right_is_left_alone():
  rig = walkers.ring(4)
  observations = walkers.observed(walkers.walk(200), rig, noise_px=2.0)
  refined = refining.refine(observations, rig)
  turned, moved = alignment.errors(refined.rig.cameras, rig.cameras)
  # A turn and a move of a camera that sees one person nearly make up for each other.
  assert turned.max() < 1.0 and moved.max() < 60.0
  assert np.nanmedian(refined.after) < 1.05 * np.nanmedian(refined.before)


def test_a_wrong_focal_length_needs_intrinsics():
  """The walk comes near and goes far, so that no move of the camera makes up for the lens."""
  rig = walkers.ring(4, lens=lenses.OpenCV((-0.1, 0.02, 0.001, 0.0)))
  walk = walkers.walk(200)
  walk = walk + 1500 * np.sin(np.arange(200) / 3)[:, None, None] * np.array([1.0, 0.4, 0.0])
  observations = walkers.observed(walk, rig, noise_px=0.5)
  k = np.array(rig.cameras.intrinsics)
  k[1, :2, :2] *= 1.03
  wrong = dataclasses.replace(rig, cameras=dataclasses.replace(rig.cameras, intrinsics=k))
  poses = refining.refine(observations, wrong)
  both = refining.refine(observations, wrong, refining.Free(focal=True, principal=True))
  assert np.nanmedian(both.after) < 0.97 * np.nanmedian(poses.after)
  assert abs(poses.rig.cameras.intrinsics[1, 0, 0] / 1133 - 1) < 1e-9
  focal = both.rig.cameras.intrinsics[:, 0, 0]
  # The prior (2 %) keeps a quarter of the 3 %: depth hardly tells a lens from a step back.
  assert abs(focal[1] / focal[[0, 2, 3]].mean() - 1) < 0.012
  assert (both.sigma[:, 6] > 0).all() and (poses.sigma[:, 6:] == 0).all()


def test_a_camera_that_is_altogether_wrong_is_named():
  rig = walkers.ring(4)
  observations = walkers.observed(walkers.walk(200), rig, noise_px=1.0)
  r, t = np.array(rig.cameras.rotation), np.array(rig.cameras.translation)
  turn = _turned(np.radians([0.0, 20.0, 0.0]))
  r[1], t[1] = turn @ r[1], turn @ t[1]
  wrong = dataclasses.replace(rig, cameras=Cameras(rig.cameras.intrinsics, r, t))
  assert "cam1" in refining.refine(observations, wrong).far


def test_what_cannot_be_fitted_is_said():
  rig = walkers.ring(3)
  walk = walkers.walk(40)
  with pytest.raises(ValueError, match="more than 10 frames"):
    refining.refine(walkers.observed(walk[:8], rig), rig)
  blind = walkers.observed(walk, rig)
  blind = dataclasses.replace(blind, score=np.where(np.arange(3)[:, None] == 0, blind.score, 0.1))
  with pytest.raises(ValueError, match="refining 3 cameras needs more that two views see"):
    refining.refine(blind, rig)
  uv, seen, sigmas = np.zeros((1, 1, 3, 2)), np.eye(3, dtype=bool)[None, :1], bundle.Sigmas(1, 1)
  for value, text in ((0.0, "no point is seen by two views"), (np.nan, "should be finite")):
    points = bundle.Placed.of_points(np.full((1, 3), value))
    with pytest.raises(ValueError, match=text):
      bundle.adjust(uv, seen, rig.cameras, points, sigmas, noise_px=1.0)


def test_leaving_one_out_finds_the_camera_that_moved():
  rig = walkers.ring(5)
  observations = walkers.observed(walkers.walk(10), rig)
  right = judging.leave_one_out(observations, rig.cameras)
  assert right.shape == (10, 5, 17) and right.max() < 0.05
  t = np.array(rig.cameras.translation)
  t[2] += [60.0, 0, 0]
  moved = dataclasses.replace(rig.cameras, translation=t)
  errors = np.median(judging.leave_one_out(observations, moved), axis=(0, 2))
  assert errors.argmax() == 2 and errors[2] > 4.0
  unseen = dataclasses.replace(observations, score=observations.score * (np.arange(17) != 5))
  errors = judging.leave_one_out(unseen, rig.cameras)
  assert np.isnan(errors[..., 5]).all() and np.isfinite(errors[..., :5]).all()
  with pytest.raises(ValueError, match="needs three views"):
    judging.leave_one_out(observations.select(views=("cam0", "cam1")), rig.cameras[:2])


def test_a_board_shows_scale_focal_length_and_lens():
  """A chessboard of 200 mm squares whose cameras have a wrong lens, focal length and scale."""
  rig = walkers.ring(3, lens=lenses.OpenCV((-0.15, 0.05, 0.0, 0.0)))
  joints = tuple(str(i) for i in range(12))
  layout = boards.corners("5x4x200", joints)
  rng = np.random.default_rng(0)
  turns = np.stack([_turned(rng.normal(size=3)) for _ in range(60)])
  path = rng.uniform([-900, -900, 300], [900, 900, 1500], (60, 3))
  points = np.einsum("fij,nj->fni", turns, layout) + path[:, None]
  seen = walkers.observed(points, rig, noise_px=0.2)
  seen = dataclasses.replace(seen, joints=joints)
  k, t = np.array(rig.cameras.intrinsics), np.array(rig.cameras.translation)
  k[1, :2, :2] *= 1.02
  cameras = dataclasses.replace(rig.cameras, intrinsics=k, translation=1.02 * t)
  other = (lenses.OpenCV((-0.1, 0.05, 0.0, 0.0)), *rig.lenses[1:])
  wrong = dataclasses.replace(rig, cameras=cameras, lenses=other)
  found = refining.refine(seen, wrong, refining.Free(focal=True, radial=True), board=layout)
  assert found.better and found.corners_mm[1] < 0.5 * found.corners_mm[0]
  size = np.linalg.norm(np.asarray(found.rig.cameras.translation), axis=-1)
  np.testing.assert_allclose(size / np.linalg.norm(t, axis=-1), 1.0, atol=0.01)
  assert abs(found.rig.cameras.intrinsics[1, 0, 0] / 1100.0 - 1) < 0.008
  assert abs(found.rig.lenses[0].coefficients[0] + 0.15) < 0.02
  assert (found.sigma[:, [6, 9, 10]] > 0).all() and (found.sigma[:, 7:9] == 0).all()
  with pytest.raises(ValueError, match=r"not a corner of a board of 3 x 3 squares, .* are 0 to 3"):
    boards.corners("3x3x20", joints)
  for text in ("4x5", "2x5x54", "4x5x-1", "4x5xnan", "axbxc"):
    with pytest.raises(ValueError, match="a board is COLUMNSxROWSxMM"):
      boards.corners(text, joints)


def test_a_known_length_sets_the_scale():
  rig = walkers.ring(3)
  walk = walkers.walk(40)
  walk[:, 1] = walk[:, 0] + [0.0, 0.0, 500.0]
  observations = walkers.observed(walk, rig, noise_px=0.3)
  found = refining.refine(observations, rig, length=("joint0", "joint1", 250.0))
  assert abs(found.factor - 0.5) < 0.005
  size = np.linalg.norm(np.asarray(found.rig.cameras.translation), axis=-1)
  wanted = 0.5 * np.linalg.norm(rig.cameras.translation, axis=-1)
  np.testing.assert_allclose(size, wanted, rtol=0.01)
  with pytest.raises(ValueError, match="no joint nose for the known length"):
    refining.refine(observations, rig, length=("nose", "joint1", 250.0))


def test_lenses_that_are_not_opencvs_keep_their_radial_terms():
  rig = walkers.ring(3, lens=lenses.Fisheye((0.1, 0.0, 0.0, 0.0)))
  observations = walkers.observed(walkers.walk(40), rig)
  with pytest.raises(ValueError, match="camera cam0: radial terms are refined of OpenCV's lens"):
    refining.refine(observations, rig, refining.Free(radial=True))
