"""`triangulate`: observations and cameras in, joints with their uncertainty out."""

import dataclasses

import numpy as np
import pytest

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.triangulation import estimate, methods
from tests import scenes

_VIEWS = ("left", "right", "front", "back")
_JOINTS = tuple(f"joint {i}" for i in range(17))


def _observed(sigma=0.0, frames=2, seed=3):
  """Noisy views of one scene, its joints [j, 3] and its cameras [v], float64."""
  scene = scenes.make_scene(seed)
  rng = np.random.default_rng(seed)
  uv = scene.uv + sigma * rng.normal(size=(frames, *scene.uv.shape))
  observations = Observations(uv[:, None], np.ones(uv[:, None].shape[:-1]), _JOINTS, _VIEWS)
  return observations, scene.joints, Cameras(*scene.cameras)


def _rig(cameras, names=_VIEWS):
  count = len(names)
  return Rig(names, ((256, 256),) * count, (lenses.Pinhole(),) * count, cameras, 1.0)


@pytest.mark.parametrize("method", ["robust", "dlt", "dlt_unweighted", "pymvg", "naive", "refine"])
def test_exact_points_give_the_joints(method):
  observations, joints, cameras = _observed()
  found = estimate.triangulate(observations, cameras, method)
  assert found.points.shape == (2, 1, 17, 3) and found.valid.all()
  np.testing.assert_allclose(found.points[:, 0], np.stack([joints] * 2), atol=0.05)
  assert found.reprojection_px.shape == found.inlier.shape == (2, 1, 4, 17)
  assert found.reprojection_px.max() < 0.02 and found.inlier.min() > 0.95
  assert (found.joints, found.views) == (_JOINTS, _VIEWS)


def test_a_world_far_from_its_origin_costs_nothing():
  """The cameras stand where a map's coordinates put them: 388 km east, 3949 km north."""
  observations, joints, cameras = _observed()
  offset = np.array([388e6, 3949e6, 1e5])
  translation = cameras.translation - np.einsum("vab,b->va", cameras.rotation, offset)
  far = dataclasses.replace(cameras, translation=translation)
  found = estimate.triangulate(observations, far)
  assert found.valid.all()
  np.testing.assert_allclose(found.points[0, 0] - offset, joints, atol=0.05)
  assert found.reprojection_px.max() < 0.02


def test_covariance_covers_gaussian_noise():
  """68 and 95 % of 1020 joints' Mahalanobis distances, within 5 and 3 %."""
  made = [_observed(sigma=2.0, frames=1, seed=seed) for seed in range(60)]
  squares = []
  for observations, joints, cameras in made:
    found = estimate.triangulate(observations, cameras)
    off = found.points[0, 0] - joints
    squares += [d @ np.linalg.solve(c, d) for d, c in zip(off, found.covariance[0, 0])]
  # Quantiles of chi squared with 3 degrees of freedom.
  assert abs(np.mean(np.array(squares) < 3.506) - 0.68) < 0.05
  assert abs(np.mean(np.array(squares) < 7.815) - 0.95) < 0.03


def test_a_second_call_compiles_nothing():
  """Nor do other points, cameras or numbers of frames up to the same power of two (from 32 on)."""
  calls = ((2, 3), (33, 3), (32, 4), (40, 4))
  for frames, seed in calls[:2]:
    observations, _, cameras = _observed(frames=frames, seed=seed)
    estimate.triangulate(observations, cameras, "dlt", tolerance_px=7.0)
  locate = methods.make("dlt", tolerance_px=7.0)
  compiled = locate._cache_size()
  for frames, seed in calls[2:]:
    observations, _, cameras = _observed(frames=frames, seed=seed)
    estimate.triangulate(observations, cameras, "dlt", tolerance_px=7.0)
  assert methods.make("dlt", tolerance_px=7.0) is locate
  assert locate._cache_size() == compiled == 2


def test_options_reach_the_method():
  """With a threshold of a nanometre no ray is near any point, so the consensus finds none."""
  observations, _, cameras = _observed(sigma=2.0)
  assert estimate.triangulate(observations, cameras, "naive").valid.all()
  nothing = estimate.triangulate(observations, cameras, "naive", threshold_mm=1e-6)
  assert not nothing.valid.any() and not nothing.points.any()


def test_what_is_missing_stays_missing_and_an_outlier_is_named():
  observations, joints, cameras = _observed()
  points, score = observations.points.copy(), observations.score.copy()
  points[0, 0, 1:, 4] = np.nan  # seen once
  score[0, 0, :, 9] = 0.0  # by nobody
  points[1, 0, 2, 5] += 80.0
  found = estimate.triangulate(
    dataclasses.replace(observations, points=points, score=score), cameras
  )
  expected = np.ones((2, 1, 17), bool)
  expected[0, 0, [4, 9]] = False
  np.testing.assert_array_equal(found.valid, expected)
  for array in (found.points, found.covariance, found.inlier):
    assert np.isfinite(array).all()
  assert not found.points[~found.valid].any() and not found.covariance[~found.valid].any()
  assert np.isnan(found.reprojection_px[0, 0, :, [4, 9]]).all()
  np.testing.assert_allclose(found.points[1, 0, 5], joints[5], atol=2.0)
  assert found.inlier[1, 0, 2, 5] < 0.05 and found.reprojection_px[1, 0, 2, 5] > 100


def test_a_rig_is_matched_by_name_and_its_lenses_are_corrected():
  observations, joints, cameras = _observed()
  order = np.array([2, 0, 3, 1])
  rig = _rig(cameras[order], tuple(_VIEWS[i] for i in order))
  found = estimate.triangulate(observations, rig)
  np.testing.assert_allclose(found.points[0, 0], joints, atol=0.05)

  class Shifted(lenses.Pinhole):
    def undistort(self, points, intrinsics):
      return points - 7.0

  bent = dataclasses.replace(_rig(cameras), lenses=(Shifted(),) * 4)
  moved = dataclasses.replace(observations, points=observations.points + 7.0)
  found = estimate.triangulate(moved, bent)
  np.testing.assert_allclose(found.points[0, 0], joints, atol=0.05)


def test_any_number_of_frames():
  observations, joints, cameras = _observed(frames=1027)
  found = estimate.triangulate(observations, cameras, "dlt")
  assert found.points.shape == (1027, 1, 17, 3) and found.valid.all()
  np.testing.assert_allclose(found.points[[0, 1023, 1024, 1026], 0, 3], [joints[3]] * 4, atol=0.05)
  none = dataclasses.replace(
    observations, points=observations.points[:0], score=observations.score[:0]
  )
  assert estimate.triangulate(none, cameras, "dlt").points.shape == (0, 1, 17, 3)


def test_errors_name_the_view_and_what_to_do():
  observations, _, cameras = _observed()
  with pytest.raises(ValueError, match="no camera for the view back: the rig has left, right"):
    estimate.triangulate(observations, _rig(cameras[:3], _VIEWS[:3]))
  with pytest.raises(ValueError, match=r"4 views .* need cameras \[4\], got \(3,\)"):
    estimate.triangulate(observations, cameras[:3])
  with pytest.raises(ValueError, match="at least 2 views, got left"):
    estimate.triangulate(observations.select(views=("left",)), cameras[:1])
  with pytest.raises(ValueError, match="rpsm needs more than 2D points"):
    estimate.triangulate(observations, cameras, "rpsm")
  with pytest.raises(ValueError, match="no method 'best'; there are dlt"):
    estimate.triangulate(observations, cameras, "best")
  broken = dataclasses.replace(cameras, translation=cameras.translation * [[1], [np.nan], [1], [1]])
  with pytest.raises(ValueError, match="camera right: translation is not finite"):
    estimate.triangulate(observations, broken)
  two = dataclasses.replace(
    observations,
    points=np.repeat(observations.points, 2, axis=1),
    score=np.repeat(observations.score, 2, axis=1),
  )
  with pytest.raises(ValueError, match="observations of 2 people: match them across the views"):
    estimate.triangulate(two, cameras)


def test_matched_people_are_triangulated_each_by_itself():
  one, two = (_observed(sigma=2.0, seed=seed)[0] for seed in (3, 4))
  _, _, cameras = _observed()
  both = dataclasses.replace(
    one,
    points=np.concatenate([one.points, two.points + 5.0], axis=1),
    score=np.concatenate([one.score, 0.5 * two.score], axis=1),
    matched=True,
  )
  found = estimate.triangulate(both, cameras, "dlt")
  assert found.points.shape == (2, 2, 17, 3) and found.covariance.shape == (2, 2, 17, 3, 3)
  moved = dataclasses.replace(two, points=two.points + 5.0, score=0.5 * two.score)
  for person, alone in enumerate((one, moved)):
    wanted = estimate.triangulate(alone, cameras, "dlt")
    for name in ("points", "valid", "covariance", "inlier", "reprojection_px"):
      value = getattr(found, name)[:, person]
      np.testing.assert_allclose(value, getattr(wanted, name)[:, 0], rtol=1e-4, err_msg=name)
