"""The prior of poses for two cameras: laws, gaps, refusals, files, and what it is worth."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial import transform

from data.synthetic import two_views
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.triangulation import body_network, body_prior
from epipolar_jax.triangulation import estimate as estimates

_JOINTS = body_prior.SKELETON.joints
_FRAMES = 12


@pytest.fixture(scope="module")
def scene():
  """People before two cameras, 100 degrees apart: observations with errors, cameras, truth, mm."""
  rng = np.random.default_rng(0)
  joints = 1000.0 * two_views.poses(_FRAMES, "test", rng)
  rotation, centres = two_views.cameras(1, np.random.default_rng(3))
  k = np.diag([1000.0, 1000.0, 1.0])
  cameras = Cameras(
    np.stack([k, k]), rotation[0], -1000.0 * np.einsum("vab,vb->va", rotation[0], centres[0])
  )
  x = np.einsum("vab,fjb->fvja", cameras.rotation, joints) + cameras.translation[:, None]
  uv = 1000.0 * x[..., :2] / x[..., 2:]
  score = np.full(uv.shape[:-1], 0.93)
  noisy = uv + rng.normal(0, 2.0, uv.shape)
  # Wrists of one view are guesses, and known to be.
  wrists = [_JOINTS.index("lwri"), _JOINTS.index("rwri")]
  noisy[:, 0, wrists] += rng.normal(0, 60.0, (_FRAMES, 2, 2))
  score[:, 0, wrists] = 0.2
  seen = Observations(noisy[:, None], score[:, None], _JOINTS, ("a", "b"))
  return seen, cameras, joints[:, None]


def _estimated(seen, cameras):
  plain = estimates.triangulate(seen, cameras)
  found, changed = body_prior.shipped().apply(plain, seen, cameras)
  return plain, found, changed


def _off(found, truth, joints=slice(None)):
  return np.linalg.norm(found.points - truth, axis=-1)[..., joints].mean()


def test_guessed_wrists_come_nearer_and_the_rest_does_not_suffer(scene):
  seen, cameras, truth = scene
  plain, found, changed = _estimated(seen, cameras)
  assert changed.all()
  wrists = [_JOINTS.index("lwri"), _JOINTS.index("rwri")]
  others = [i for i in range(len(_JOINTS)) if i not in wrists]
  assert _off(found, truth, wrists) < 0.7 * _off(plain, truth, wrists)
  assert _off(found, truth, others) < 1.3 * _off(plain, truth, others)
  sigma = np.sqrt(np.einsum("...aa->...a", found.covariance))
  assert sigma[..., wrists, :].mean() > 1.5 * sigma[..., others, :].mean()
  assert np.linalg.eigvalsh(found.covariance).min() > 0


def test_it_turns_and_moves_with_the_cameras(scene):
  seen, cameras, _ = scene
  turn = transform.Rotation.from_rotvec([0.3, -0.9, 1.7]).as_matrix()
  move = np.array([20_000.0, -7_000.0, 500.0])
  rotation = cameras.rotation @ turn.T
  moved = Cameras(
    cameras.intrinsics, rotation, cameras.translation - np.einsum("vab,b->va", rotation, move)
  )
  _, found, _ = _estimated(seen, cameras)
  _, other, _ = _estimated(seen, moved)
  np.testing.assert_allclose(other.points, found.points @ turn.T + move, atol=0.2)
  size = np.abs(found.covariance).max(axis=(-1, -2), keepdims=True)
  np.testing.assert_allclose(
    other.covariance / size, turn @ found.covariance @ turn.T / size, atol=5e-3
  )


def test_neither_the_order_of_the_views_nor_a_mirror_matters(scene):
  seen, cameras, _ = scene
  _, found, _ = _estimated(seen, cameras)
  swapped = Observations(seen.points[:, :, ::-1], seen.score[:, :, ::-1], _JOINTS, ("b", "a"))
  _, other, _ = _estimated(swapped, cameras[np.array([1, 0])])
  np.testing.assert_allclose(other.points, found.points, atol=0.1)
  flip = list(body_prior.SKELETON.flip_order)
  mirror, sides = np.array([1.0, -1.0, 1.0]), np.array([-1.0, 1.0, 1.0])
  reflected = Cameras(
    cameras.intrinsics,
    sides[:, None] * cameras.rotation * mirror,
    cameras.translation * sides,
  )
  mirrored = Observations(
    seen.points[..., flip, :] * sides[:2], seen.score[..., flip], _JOINTS, ("a", "b")
  )
  _, other, _ = _estimated(mirrored, reflected)
  np.testing.assert_allclose(other.points, (found.points * mirror)[..., flip, :], atol=0.1)


def test_gaps_stay_gaps_and_nothing_becomes_nan(scene):
  seen, cameras, _ = scene
  points, score = seen.points.copy(), seen.score.copy()
  knee, hip = _JOINTS.index("rkne"), _JOINTS.index("rhip")
  points[2, 0, 1, knee], score[2, 0, 1, knee] = np.nan, 0.0
  points[4], score[4] = np.nan, 0.0
  points[6, 0, 0, hip], score[6, 0, 0, hip] = np.nan, 0.0
  plain, found, changed = _estimated(Observations(points, score, _JOINTS, ("a", "b")), cameras)
  np.testing.assert_array_equal(found.valid, plain.valid)
  assert not found.valid[2, 0, knee] and not found.valid[4].any()
  for name in ("points", "covariance"):
    assert np.isfinite(getattr(found, name)).all()
    np.testing.assert_array_equal(getattr(found, name)[~changed], getattr(plain, name)[~changed])
  assert changed[2].sum() == len(_JOINTS) - 1
  # Without a hip there is no frame of the body's own.
  assert not changed[6].any() and found.valid[6].sum() == len(_JOINTS) - 1
  assert (np.isnan(found.reprojection_px) == np.isnan(plain.reprojection_px)).all()


def test_reprojection_errors_are_of_the_new_points(scene):
  seen, cameras, _ = scene
  _, found, _ = _estimated(seen, cameras)
  x = np.einsum("vab,fpjb->fpvja", cameras.rotation, found.points) + cameras.translation[:, None]
  uv = 1000.0 * x[..., :2] / x[..., 2:]
  np.testing.assert_allclose(
    found.reprojection_px, np.linalg.norm(uv - seen.points, axis=-1), atol=1e-6
  )


def test_joints_of_coco_in_any_order_and_strangers_are_left_alone(scene):
  seen, cameras, truth = scene
  kept = [i for i, name in enumerate(_JOINTS) if name[1:] in ("hip", "kne", "ank", "sho", "elb")]
  kept = [*kept[::-1], _JOINTS.index("head")]
  names = (*(_JOINTS[i] for i in kept[:-1]), "hat")
  some = Observations(seen.points[..., kept, :], seen.score[..., kept], names, ("a", "b"))
  plain, found, changed = _estimated(some, cameras)
  assert changed[..., :-1].all() and not changed[..., -1].any()
  np.testing.assert_array_equal(found.points[..., -1, :], plain.points[..., -1, :])
  assert _off(found, truth[..., kept, :]) < 1.3 * _off(plain, truth[..., kept, :])


def test_rows_do_not_depend_on_each_other(scene):
  seen, cameras, _ = scene
  _, found, _ = _estimated(seen, cameras)
  many = 300 // _FRAMES + 1  # more than one block of rows
  again = Observations(
    np.tile(seen.points, (many, 1, 1, 1, 1)),
    np.tile(seen.score, (many, 1, 1, 1)),
    _JOINTS,
    ("a", "b"),
  )
  _, other, _ = _estimated(again, cameras)
  np.testing.assert_allclose(other.points, np.tile(found.points, (many, 1, 1, 1)), atol=0.05)


def test_gradients_are_finite_where_nothing_is_seen():
  rotation, centres = two_views.cameras(1, np.random.default_rng(3))
  params = body_network.init(jax.random.key(0), width=8, blocks=1)
  j = len(_JOINTS)

  def total(xy, seen):
    points, covariance = body_network.predict(
      params, xy, np.full((1, 2, j), 0.9), seen, np.float32(rotation), np.float32(centres)
    )
    return points.sum() + covariance.sum()

  for seen in (np.zeros((1, 2, j), bool), np.ones((1, 2, j), bool)):
    value, slope = jax.value_and_grad(total)(np.zeros((1, 2, j, 2), np.float32), seen)
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_others_are_refused_in_words(scene):
  seen, cameras, _ = scene
  with pytest.raises(ValueError, match=r"for two cameras, and there are 3 \(a, b, c\)"):
    body_prior.check(_JOINTS, ("a", "b", "c"))
  plain = estimates.triangulate(seen, cameras)
  mouse = dataclasses.replace(plain, joints=tuple(f"paw{i}" for i in range(len(_JOINTS))))
  with pytest.raises(ValueError, match="no rhip, lhip, rsho, lsho among the joints paw0"):
    body_prior.shipped().apply(mouse, seen, cameras)


def test_written_is_what_is_read_and_damage_is_named(tmp_path):
  params = body_network.init(jax.random.key(0), width=8, blocks=2)
  path = tmp_path / "weights.npz"
  body_prior.BodyPrior(params, 1.5).write(path)
  again = body_prior.read(path)
  assert again.scale == 1.5
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
    again.params,
    {name: tuple(map(np.asarray, layer)) for name, layer in params.items()},
  )
  arrays = dict(np.load(path))
  for name, value in {
    "in/0": arrays["in/0"][:-1],
    "b0/2": np.full_like(arrays["b0/2"], np.nan),
    "form": np.int64(9),
  }.items():
    np.savez(path, **(arrays | {name: value}))
    with pytest.raises(ValueError, match=r"weights\.npz is no body prior"):
      body_prior.read(path)
  np.savez(path, **{name: x for name, x in arrays.items() if name != "b0/3"})
  with pytest.raises(ValueError, match=r"weights\.npz is no body prior"):
    body_prior.read(path)
